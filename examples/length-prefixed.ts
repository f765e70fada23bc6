// A protocol of frames: 4 bytes of length, big-endian, then the body. This server answers each frame with its text in capitals.
// A length over the maximum is refused when it is declared, with a frame that says why.
//
//    0        1        2        3        4                    4 + length
//   +--------+--------+--------+--------+----------- - - ---+
//   |      length of the body, big-endian      |  body      |
//   +--------+--------+--------+--------+----------- - - ---+
//
//   node .build/examples/length-prefixed.js --port 4000
//   printf '\0\0\0\5hello' | nc -N 127.0.0.1 4000 | xxd

import { parseArgs } from 'node:util';
import { type AddressInfo, createServer } from 'millrace';
import { lengthPrefixed } from 'millrace/framing';

const { values } = parseArgs({
  options: {
    port: { type: 'string', default: '4000' },
    host: { type: 'string', default: '127.0.0.1' },
    'max-frame-bytes': { type: 'string', default: '65536' },
  },
});

// The body becomes text only once it is whole, so no character can be cut.
const codec = lengthPrefixed({ lengthFieldLength: 4, maxFrameBytes: Number(values['max-frame-bytes']) }).utf8();

const server = createServer({ allowHalfOpen: true, noDelay: true }, (socket) => {
  const decoder = codec.decoder((body) => socket.write(codec.encode(body.toUpperCase())));

  socket.on('error', (error) => console.log(`a connection failed: ${error.message}`));
  socket.on('data', (chunk: Buffer) => {
    try {
      decoder.push(chunk);
    } catch (error) {
      refuse((error as Error).message);
    }
    if (socket.writableNeedDrain) {
      socket.pause();
      socket.once('drain', () => socket.resume());
    }
  });
  socket.on('end', () => {
    if (decoder.isMidFrame) console.log('a peer ended in the middle of a frame');
    socket.end();
  });

  function refuse(reason: string): void {
    console.log(`refused: ${reason}`);
    socket.end(lengthPrefixed().utf8().encode(`error: ${reason}`));
    // Read on and throw away, for a while: closing with unread bytes resets the connection, and our answer with it.
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
