// The same echo on all cores: node:cluster starts one process for each, and they share the port. Every connection is greeted with
// the process it reached. A worker that dies is replaced, unless it dies again and again at its start.
//
//   node .build/examples/cluster-echo.js --port 4000 --workers 4
//   nc 127.0.0.1 4000                        several times

import cluster from 'node:cluster';
import { availableParallelism } from 'node:os';
import { parseArgs } from 'node:util';
import { createServer } from 'millrace';

const { values } = parseArgs({
  options: {
    port: { type: 'string', default: '4000' },
    host: { type: 'string', default: '127.0.0.1' },
    workers: { type: 'string', default: String(availableParallelism()) },
  },
});

if (cluster.isPrimary) runPrimary(Number(values.workers));
else serve();

function runPrimary(workers: number): void {
  let listening = 0;
  cluster.on('listening', (worker, { address, port }) => {
    console.log(`worker ${worker.process.pid} is ready`);
    if (++listening === workers) console.log(`listening on ${address}:${port}`);
  });
  cluster.on('exit', (worker, code, signal) => {
    console.log(`worker ${worker.process.pid} ended (${signal ?? code})`);
    // One that never came to listen would fail the same way again.
    if (listening >= workers) cluster.fork();
    else process.exitCode = 1;
  });
  for (let i = 0; i < workers; i++) cluster.fork();
}

function serve(): void {
  const server = createServer({ allowHalfOpen: true, noDelay: true }, (socket) => {
    socket.on('error', (error) => console.log(`a connection failed: ${error.message}`));
    socket.write(`you reached process ${process.pid}\n`);
    socket.pipe(socket);
  });
  server.on('error', (error) => {
    console.error(error.message);
    if (!server.listening) process.exit(1);
  });
  server.listen({ port: Number(values.port), host: values.host });
}
