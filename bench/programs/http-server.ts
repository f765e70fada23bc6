// An HTTP server under test: a small JSON answer on kept connections. No Date header: the load compares every byte.
import { createServer } from 'node:http';
import { announce } from './announce.ts';

const body = JSON.stringify({ message: 'hello', numbers: [1, 2, 3] });
const server = createServer((_request, response) => {
  response.sendDate = false;
  response.writeHead(200, { 'content-type': 'application/json', 'content-length': body.length });
  response.end(body);
});
await announce(server);
