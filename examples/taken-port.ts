// A port that is taken is an 'error' event, not the end of the program: this server serves on a spare port meanwhile, tries
// again every second, and moves to the port it wanted as soon as that is free. Nobody who is connected notices the move.
//
//   node .build/examples/hello-server.js --port 4000
//   node .build/examples/taken-port.js --port 4000        then end the first one

import { parseArgs } from 'node:util';
import { type AddressInfo, createServer, type Server, type Socket } from 'millrace';

const { values } = parseArgs({
  options: {
    port: { type: 'string', default: '4000' },
    host: { type: 'string', default: '127.0.0.1' },
    'retry-ms': { type: 'string', default: '1000' },
  },
});
const port = Number(values.port);
const host = values.host;
const retryMs = Number(values['retry-ms']);

const wanted = createServer(serve);
const spare = createServer(serve);
let tries = 0;

wanted.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code !== 'EADDRINUSE') {
    // No right to the port, no such address: waiting would not help.
    console.error(error.message);
    process.exit(1);
  }
  if (tries++ === 0) {
    console.log(`port ${port} is taken, trying again every ${retryMs} ms`);
    spare.listen({ port: 0, host });
  }
  setTimeout(() => wanted.listen({ port, host }), retryMs);
});

wanted.on('listening', () => {
  report(wanted);
  if (tries > 0) spare.close(() => console.log('the last client of the spare port has left'));
});
spare.on('listening', () => report(spare));

wanted.listen({ port, host });

function serve(socket: Socket): void {
  socket.on('error', (error) => console.log(`a connection failed: ${error.message}`));
  socket.write(`this is port ${socket.localPort}\n`);
  socket.pipe(socket);
}

function report(server: Server): void {
  const { address, port } = server.address() as AddressInfo;
  console.log(`listening on ${address}:${port}`);
}
