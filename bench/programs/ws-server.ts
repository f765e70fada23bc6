// A WebSocket echo server under test, by the package ws.
import { createServer } from 'node:http';
import { announce } from './announce.ts';
import { load } from './packages.ts';

interface WebSocket {
  on(event: 'message', listener: (data: Buffer, isBinary: boolean) => void): void;
  send(data: Buffer, options: { binary: boolean }): void;
}
interface WebSocketServer {
  on(event: 'connection', listener: (socket: WebSocket) => void): void;
}
const { WebSocketServer } = load<{ WebSocketServer: new (options: object) => WebSocketServer }>('ws');

const server = createServer();
const sockets = new WebSocketServer({ server, perMessageDeflate: false });
sockets.on('connection', (socket) =>
  socket.on('message', (data, binary) => {
    socket.send(data, { binary });
  }),
);
await announce(server);
