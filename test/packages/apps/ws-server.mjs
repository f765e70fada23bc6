/** A WebSocket server that sends everything back. */
import http from 'node:http';
import net from 'node:net';
import { WebSocketServer } from 'ws';
import { heard, port, proveMillrace, say } from './app.mjs';

const server = http.createServer();
const sockets = new WebSocketServer({ server, perMessageDeflate: true });
sockets.on('connection', (socket) => {
  proveMillrace(2);
  socket.on('message', (data, isBinary) => socket.send(data, { binary: isBinary }));
});
// http.Server listens on Node's own sockets; this is how it gets others.
const listener = net.createServer((socket) => server.emit('connection', socket));
listener.listen(port, '127.0.0.1', () => say('listening'));
await heard();
listener.close();
for (const socket of sockets.clients) socket.close();
