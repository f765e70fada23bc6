// The echo server whose instructions main.ts counts: node server.js --impl millrace|direct|node-net --rounds R --connections N
//
// Rounds in lockstep, so that what a turn has to do does not depend on time: when all N connections have been answered, the server
// stands still in a read of stdin until the driver has seen all echoes, sent all messages of the next round and says so. A turn
// then finds N sockets with a message each. After R rounds the process ends.
import { readSync } from 'node:fs';
import { parseArgs } from 'node:util';

type Net = Pick<typeof import('node:net'), 'createServer'> & { engine?: string };

const { values } = parseArgs({
  options: {
    impl: { type: 'string', default: 'millrace' },
    rounds: { type: 'string', default: '1' },
    connections: { type: 'string', default: '1' },
  },
});
const roundBytes = 64 * Number(values.connections);
let left = Number(values.rounds);
let bytes = 0;
const go = new Uint8Array(1);

function stand(): void {
  left--;
  if (left === 0) process.exit();
  readSync(0, go);
}

function count(length: number): void {
  bytes += length;
  if (bytes < roundBytes) return;
  bytes = 0;
  setImmediate(stand); // after this turn's answers have left
}

function announce(port: number | undefined, engine: string): void {
  console.log(JSON.stringify({ port, engine }));
}

const place = { port: 0, hostname: '127.0.0.1', backlog: 4096 };

if (values.impl === 'direct') {
  const { engine } = await import('millrace');
  const { listen } = await import('millrace/direct');
  const { port } = await listen({
    ...place,
    data(c, view) {
      c.write(view);
      count(view.length);
    },
  });
  announce(port, engine);
} else {
  const net: Net = values.impl === 'millrace' ? await import('millrace') : await import('node:net');
  const server = net.createServer({ noDelay: true }, (socket) => {
    socket.on('data', (data) => {
      socket.write(data);
      count(data.length);
    });
  });
  server.listen({ ...place, host: place.hostname }, () => {
    const { port } = server.address() as { port: number };
    announce(port, net.engine ?? 'node');
  });
}
