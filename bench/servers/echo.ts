// An echo server for the benchmark, in a process of its own: node echo.js --impl millrace|node-net
//
// What every server in this folder does, in any language: listen on a free port of 127.0.0.1, print one JSON line
// {"port","pid","engine","control"}, and end when stdin closes. With "control": true it answers each line on stdin with one JSON
// line: `stats` {connections, errors, rss, heapUsed}; `gc` the same after collecting garbage (needs --expose-gc).
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';

type Net = Pick<typeof import('node:net'), 'createServer'> & { engine?: string };

const { values } = parseArgs({ options: { impl: { type: 'string', default: 'millrace' } } });
if (values.impl !== 'millrace' && values.impl !== 'node-net')
  throw new Error(`--impl must be millrace or node-net, not ${values.impl}`);
const net: Net = values.impl === 'millrace' ? await import('millrace') : await import('node:net');

let connections = 0;
let errors = 0;

// noDelay for everybody: with Nagle's algorithm the last segment of a large echo can wait 40 ms for a delayed ACK.
const server = net.createServer({ noDelay: true }, (socket) => {
  connections++;
  socket.on('data', (data) => socket.write(data));
  socket.on('error', () => errors++);
  socket.on('close', () => connections--);
});

// The backlog is as long as the kernel allows, so that opening thousands at once loses no SYN.
server.listen({ port: 0, host: '127.0.0.1', backlog: 4096 }, () => {
  const { port } = server.address() as { port: number };
  console.log(JSON.stringify({ port, pid: process.pid, engine: net.engine ?? 'node:net', control: true }));
});

/** Several collections with turns between them: finalizers run, and freed pages go back to the kernel from other threads. */
async function collect(): Promise<void> {
  if (!globalThis.gc) throw new Error('gc asked for without --expose-gc');
  for (let round = 0; round < 4; round++) {
    globalThis.gc();
    await sleep(100);
  }
}

for await (const line of createInterface({ input: process.stdin })) {
  if (line === 'gc') await collect();
  const { rss, heapUsed } = process.memoryUsage();
  console.log(JSON.stringify({ connections, errors, rss, heapUsed }));
}
process.exit();
