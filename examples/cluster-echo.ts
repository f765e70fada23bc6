// The same echo on all cores: one worker for each, and they share the port. Every connection is greeted with the process it
// reached. A worker that dies is replaced; SIGTERM lets all connections end first, SIGHUP starts new workers from new code.
//
//   node .build/examples/cluster-echo.js --port 4000 --workers 4
//   nc 127.0.0.1 4000                        several times

import { parseArgs } from 'node:util';
import { createServer } from 'millrace';
import { run } from 'millrace/cluster';

const { values } = parseArgs({
  options: {
    port: { type: 'string', default: '4000' },
    host: { type: 'string', default: '127.0.0.1' },
    workers: { type: 'string', default: 'auto' },
  },
});

try {
  // This file runs in each worker, too: there `run` calls `setup`, and what stands behind it is the primary's alone.
  const group = await run({
    workers: values.workers === 'auto' ? 'auto' : Number(values.workers),
    setup: serve,
    onOnline: ({ pid }) => console.log(`worker ${pid} is ready`),
    onExit: ({ pid }, { code, signal, error }) => {
      console.log(`worker ${pid} ended (${signal ?? code})`);
      if (error !== undefined) console.error(error.message);
    },
  });
  console.log(`listening on ${values.host}:${group.port}`);
} catch (error) {
  console.error((error as Error).message);
  process.exitCode = 1;
}

function serve(): void {
  const server = createServer({ allowHalfOpen: true, noDelay: true }, (socket) => {
    socket.on('error', (error) => console.log(`a connection failed: ${error.message}`));
    socket.write(`you reached process ${process.pid}\n`);
    socket.pipe(socket);
  });
  server.listen({ port: Number(values.port), host: values.host });
}
