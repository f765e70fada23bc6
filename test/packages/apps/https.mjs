/** An HTTPS server that sends bodies and WebSocket messages back, over HTTP/1.1 and HTTP/2. Arguments: port, folder. */
import { readFileSync } from 'node:fs';
import http2 from 'node:http2';
import https from 'node:https';
import { join } from 'node:path';
import { WebSocketServer } from 'ws';
import { heard, port, proveMillrace, say } from './app.mjs';

const [, , , folder, way] = process.argv;
const certificate = { key: readFileSync(join(folder, 'tls.key')), cert: readFileSync(join(folder, 'tls.crt')) };

function answer(request, response) {
  proveMillrace(2);
  response.setHeader('version', request.httpVersion);
  request.pipe(response);
}

const server = way === 'h2' ? http2.createSecureServer(certificate, answer) : https.createServer(certificate, answer);
// Clients that refuse us.
server.on(way === 'h2' ? 'sessionError' : 'clientError', (_, socket) => socket.destroy());
if (way !== 'h2')
  new WebSocketServer({ server, perMessageDeflate: false }).on('connection', (socket) => {
    socket.on('message', (data, isBinary) => socket.send(data, { binary: isBinary }));
  });
server.listen(port, '127.0.0.1', () => say('listening'));
await heard();
await new Promise((resolve) => {
  server.close(resolve);
  server.closeAllConnections?.();
});
