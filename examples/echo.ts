// One server, as many clients as there are descriptors: each gets back what it sends. pipe() carries the backpressure: while a
// client does not read, its socket is not read either, so TCP itself stops that client, and memory stays flat.
//
//   node .build/examples/echo.js --port 4000
//   nc 127.0.0.1 4000

import { parseArgs } from 'node:util';
import { type AddressInfo, createServer } from 'millrace';

const { values } = parseArgs({
  options: { port: { type: 'string', default: '4000' }, host: { type: 'string', default: '127.0.0.1' } },
});

// allowHalfOpen: a client that has ended its side still gets the rest of its echo. pipe() then ends ours.
// noDelay: small answers leave at once instead of waiting for the last one to be acknowledged (Nagle).
const server = createServer({ allowHalfOpen: true, noDelay: true }, (socket) => {
  const peer = `${socket.remoteAddress}:${socket.remotePort}`;
  // A reset or a timeout ends this connection and no other.
  socket.on('error', (error) => console.log(`${peer} failed: ${error.message}`));
  socket.pipe(socket);
});

server.on('error', (error) => {
  console.error(error.message);
  // Before listening this is final. Later it is an accept that failed, for want of a descriptor say: the server lives on.
  if (!server.listening) process.exitCode = 1;
});
server.listen({ port: Number(values.port), host: values.host, backlog: 1024 }, () => {
  const { address, port } = server.address() as AddressInfo;
  console.log(`listening on ${address}:${port}`);
});
