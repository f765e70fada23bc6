// The life of one connection, seen from the server: it greets, prints what it receives, answers, and notices the end.
//
//   node .build/examples/hello-server.js --port 4000
//   nc 127.0.0.1 4000

import { inspect, parseArgs } from 'node:util';
import { type AddressInfo, createServer } from 'millrace';

const { values } = parseArgs({
  options: { port: { type: 'string', default: '4000' }, host: { type: 'string', default: '127.0.0.1' } },
});

const server = createServer((socket) => {
  // Kept in a variable: once the connection is gone, the socket no longer knows who it was.
  const peer = `${socket.remoteAddress}:${socket.remotePort}`;
  console.log(`${peer} connected`);

  socket.setEncoding('utf8'); // 'data' then brings text, and a character cut in two by TCP arrives whole
  socket.write('Hello! Say something.\n');
  socket.on('data', (text: string) => {
    console.log(`${peer} says ${quoted(text)}`);
    socket.write(`You said: ${text}`);
  });

  // The peer has ended its side. Ours ends by itself, because allowHalfOpen is false.
  socket.on('end', () => console.log(`${peer} ended`));
  // Without this listener a peer that resets its connection would take the whole process down.
  socket.on('error', (error) => console.log(`${peer} failed: ${error.message}`));
  socket.on('close', () => console.log(`${peer} closed`));
});

server.on('error', (error) => {
  console.error(error.message);
  process.exitCode = 1;
});
server.listen({ port: Number(values.port), host: values.host }, () => {
  const { address, port } = server.address() as AddressInfo;
  console.log(`listening on ${address}:${port}`);
});

/** What a peer sends can hold escape sequences; quoted, it can't write to our terminal. */
function quoted(text: string): string {
  return inspect(text, { breakLength: Infinity });
}
