// A client: connects, writes, prints the answer until the server ends, and says in a sentence what went wrong if it did.
//
//   node .build/examples/hello-server.js
//   node .build/examples/hello-client.js --port 4000 Hello from here

import { parseArgs } from 'node:util';
import { createConnection } from 'millrace';

const { values, positionals } = parseArgs({
  options: { port: { type: 'string', default: '4000' }, host: { type: 'string', default: 'localhost' } },
  allowPositionals: true,
});
const port = Number(values.port);
const host = values.host;
const message = positionals.join(' ') || 'Hello from a client';

const socket = createConnection({ port, host }, () => {
  console.log(`connected to ${socket.remoteAddress}:${socket.remotePort}`);
  // end() writes, then ends only our side: the answer still comes.
  socket.end(`${message}\n`);
});

socket.setEncoding('utf8');
socket.on('data', (text: string) => process.stdout.write(text));
socket.on('end', () => console.log('the server ended the connection'));
socket.on('error', (error: NodeJS.ErrnoException) => {
  console.error(
    error.code === 'ECONNREFUSED' ? `nobody listens on ${host}:${port}: is the server running?` : reason(error),
  );
  process.exitCode = 1;
});

/** A name with several addresses fails with one error for each of them, and an empty message of its own. */
function reason(error: Error): string {
  return error instanceof AggregateError ? error.errors.map(reason).join('; ') : error.message;
}
