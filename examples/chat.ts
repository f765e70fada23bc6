// Every line from one client reaches all others. A client that does not read what is sent to it would make our memory grow line
// by line: over MAX_UNSENT_BYTES it is dropped, and the others never wait for it. (apps/chat is this, grown up.)
//
//   node .build/examples/chat.js --port 4000
//   nc 127.0.0.1 4000                        in two terminals

import { parseArgs } from 'node:util';
import { type AddressInfo, createServer, type Socket } from 'millrace';
import { lines } from 'millrace/framing';

const MAX_UNSENT_BYTES = 1024 * 1024;

const { values } = parseArgs({
  options: { port: { type: 'string', default: '4000' }, host: { type: 'string', default: '127.0.0.1' } },
});

const codec = lines({ maxFrameBytes: 4096 }).utf8();
const clients = new Set<Socket>();

const server = createServer({ noDelay: true }, (socket) => {
  const name = `guest-${socket.remotePort}`;
  const decoder = codec.decoder((line) => tellOthers(socket, `${name}: ${line}\n`));

  socket.on('error', (error) => console.log(`${name} failed: ${error.message}`));
  socket.on('data', (chunk: Buffer) => {
    try {
      decoder.push(chunk);
    } catch (error) {
      socket.destroy(error as Error);
    }
  });
  socket.on('close', () => {
    clients.delete(socket);
    tellOthers(socket, `* ${name} left\n`);
  });

  clients.add(socket);
  socket.write(`* you are ${name}, with ${clients.size - 1} others\n`);
  tellOthers(socket, `* ${name} joined\n`);
});

function tellOthers(from: Socket, line: string): void {
  const bytes = Buffer.from(line); // encoded once, whatever the number of clients
  for (const socket of clients) {
    if (socket === from || !socket.writable) continue;
    socket.write(bytes);
    // destroy() only starts the end; 'close', where the others are told, comes later, so this loop is not entered twice.
    if (socket.writableLength > MAX_UNSENT_BYTES) socket.destroy(new Error('reads too slowly'));
  }
}

server.on('error', (error) => {
  console.error(error.message);
  process.exitCode = 1;
});
server.listen({ port: Number(values.port), host: values.host }, () => {
  const { address, port } = server.address() as AddressInfo;
  console.log(`listening on ${address}:${port}`);
});
