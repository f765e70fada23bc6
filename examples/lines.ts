// A protocol of lines. TCP keeps the order of bytes, not the borders between writes: one 'data' may bring half a line, or ten,
// or the first byte of an é. A codec of millrace/framing puts that right; this server counts the characters of every line.
//
//   node .build/examples/lines.js --port 4000
//   nc 127.0.0.1 4000

import { parseArgs } from 'node:util';
import { type AddressInfo, createServer } from 'millrace';
import { lines } from 'millrace/framing';

const { values } = parseArgs({
  options: {
    port: { type: 'string', default: '4000' },
    host: { type: 'string', default: '127.0.0.1' },
    'max-line-bytes': { type: 'string', default: '65536' },
  },
});

const codec = lines({ maxFrameBytes: Number(values['max-line-bytes']) }).utf8();

// allowHalfOpen: with it we may still answer a last line that came without a newline, and end when we are done.
const server = createServer({ allowHalfOpen: true, noDelay: true }, (socket) => {
  const decoder = codec.decoder((line) => socket.write(`${[...line].length} ${line}\n`));

  socket.on('error', (error) => console.log(`a connection failed: ${error.message}`));
  socket.on('data', (chunk: Buffer) => answer(() => decoder.push(chunk)));
  socket.on('end', () => {
    answer(() => decoder.end());
    socket.end();
  });

  function answer(decode: () => void): void {
    try {
      decode();
    } catch (error) {
      refuse((error as Error).message);
    }
    // Who does not read the answers is not read either: at most one chunk of answers waits in memory.
    if (socket.writableNeedDrain) {
      socket.pause();
      socket.once('drain', () => socket.resume());
    }
  }

  function refuse(reason: string): void {
    console.log(`refused: ${reason}`);
    socket.end(`error: ${reason}\n`);
    // What still comes is read and thrown away, for a while: closing with unread bytes would send a reset, and the reset can
    // overtake the sentence that explains it.
    socket.removeAllListeners('data').removeAllListeners('end').resume();
    const patience = setTimeout(() => socket.destroy(), 2_000);
    socket.on('close', () => clearTimeout(patience));
  }
});

server.on('error', (error) => {
  console.error(error.message);
  process.exitCode = 1;
});
server.listen({ port: Number(values.port), host: values.host }, () => {
  const { address, port } = server.address() as AddressInfo;
  console.log(`listening on ${address}:${port}`);
});
