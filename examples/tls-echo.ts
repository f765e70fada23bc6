// Encrypted echo: Node's own tls on millrace sockets. A tls server that never listens takes each accepted socket as its
// 'connection', does the handshake on it, and gives back the same connection in plain text as 'secureConnection'.
//
//   openssl req -x509 -newkey rsa:2048 -nodes -keyout key.pem -out cert.pem -days 30 -subj /CN=localhost -addext subjectAltName=DNS:localhost
//   node .build/examples/tls-echo.js --key key.pem --cert cert.pem --port 4000
//   node .build/examples/tls-client.js --ca cert.pem --port 4000 hello

import { readFileSync } from 'node:fs';
import tls from 'node:tls';
import { parseArgs } from 'node:util';
import { type AddressInfo, createServer } from 'millrace';

const { values } = parseArgs({
  options: {
    port: { type: 'string', default: '4000' },
    host: { type: 'string', default: '127.0.0.1' },
    key: { type: 'string', default: 'key.pem' },
    cert: { type: 'string', default: 'cert.pem' },
  },
});

const secure = tls.createServer({
  key: readFileSync(values.key),
  cert: readFileSync(values.cert),
  handshakeTimeout: 10_000,
});
secure.on('secureConnection', (socket) => {
  console.log(`a client came with ${socket.getProtocol()}, ${socket.getCipher().name}`);
  socket.on('error', (error) => console.log(`a connection failed: ${error.message}`));
  socket.pipe(socket);
});
// Plain text, a port scan, a client that doesn't trust the certificate: each ends its own connection only.
secure.on('tlsClientError', (error) => console.log(`no handshake: ${error.message}`));

// allowHalfOpen: when to end is for tls to say, which may still have answers to send after the client's end.
const server = createServer({ allowHalfOpen: true, noDelay: true }, (socket) => {
  socket.on('error', () => {}); // tls reports it, as 'tlsClientError' or on its own socket
  secure.emit('connection', socket);
});

server.on('error', (error) => {
  console.error(error.message);
  process.exitCode = 1;
});
server.listen({ port: Number(values.port), host: values.host }, () => {
  const { address, port } = server.address() as AddressInfo;
  console.log(`listening on ${address}:${port}`);
});
