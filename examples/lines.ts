// A protocol of lines. TCP keeps the order of bytes, not the borders between writes: one 'data' may bring half a line, or ten,
// or the first byte of an é. The decoder (line-decoder.ts) puts that right; this server counts the characters of every line.
//
//   node .build/examples/lines.js --port 4000
//   nc 127.0.0.1 4000

import { parseArgs } from 'node:util';
import { type AddressInfo, createServer } from 'millrace';
import { LineDecoder } from './line-decoder.ts';

const { values } = parseArgs({
  options: {
    port: { type: 'string', default: '4000' },
    host: { type: 'string', default: '127.0.0.1' },
    'max-line-bytes': { type: 'string', default: '65536' },
  },
});

// allowHalfOpen: with it we may still answer a last line that came without a newline, and end when we are done.
const server = createServer({ allowHalfOpen: true, noDelay: true }, (socket) => {
  const decoder = new LineDecoder(Number(values['max-line-bytes']));

  socket.on('error', (error) => console.log(`a connection failed: ${error.message}`));
  socket.on('data', (chunk: Buffer) => answer(decoder.push(chunk)));
  socket.on('end', () => {
    answer(decoder.end());
    socket.end();
  });

  function answer(lines: Iterable<string>): void {
    try {
      for (const line of lines) socket.write(`${[...line].length} ${line}\n`);
    } catch (error) {
      refuse((error as RangeError).message);
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
