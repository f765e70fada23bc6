// The measured server in the API of node:net, in a process of its own; Node, Bun and Deno run it alike.
//
//   node server.js KIND [PARAMETER] --impl millrace|node-net
//
// What every server does, in any language (rivals/): listen on a free port of 127.0.0.1, print one JSON line
// {"port","pid","engine"}, answer each line on stdin with one JSON line {"connections","errors"} (`gc`: after collecting
// garbage, where there is any), and end when stdin closes. KIND is one of
//
//   echo                         what comes goes back
//   broadcast W                  greets with '+'; each message goes W times to every connection, by W writes of their own
//   broadcast-corked W           the same, all writes of a message in one cork()
//   source B                     sends B bytes of `block`, as fast as they are taken, then ends
//   sink                         counts what comes; at its end answers the count in digits and ends
//   send-file F, receive-file F  by pipe(), from and to a file; the latter answers like `sink`
//   tls-echo, tls-source B, tls-sink  the same over TLS, with key.pem and cert.pem of the folder BENCH_CERTIFICATE
import { createReadStream, createWriteStream, readFileSync } from 'node:fs';
import type { Server, Socket } from 'node:net';
import { join } from 'node:path';
import type { TlsOptions } from 'node:tls';
import { parseArgs } from 'node:util';
import { announce, answerUntilEnd, block } from './answers.ts';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { impl: { type: 'string', default: 'millrace' } },
});
const [name = '', parameter = ''] = positionals;
const isTls = name.startsWith('tls-');
const kind = isTls ? name.slice(4) : name;
if (values.impl !== 'millrace' && values.impl !== 'node-net')
  throw new Error(`--impl must be millrace or node-net, not ${values.impl}`);
const isOurs = values.impl === 'millrace';

const sockets = new Set<Socket>();
let errors = 0;

const kinds: Record<string, (socket: Socket) => void> = {
  echo: (socket) => socket.on('data', (data) => socket.write(data)),

  broadcast: (socket) => {
    const writes = Number(parameter);
    socket.write('+');
    socket.on('data', (message) => {
      for (let nth = 0; nth < writes; nth++) for (const each of sockets) each.write(message);
    });
  },

  'broadcast-corked': (socket) => {
    const writes = Number(parameter);
    socket.write('+');
    socket.on('data', (message) => {
      for (const each of sockets) each.cork();
      for (let nth = 0; nth < writes; nth++) for (const each of sockets) each.write(message);
      for (const each of sockets) each.uncork();
    });
  },

  source: (socket) => {
    let left = Number(parameter);
    const pump = (): void => {
      while (left > 0) {
        const piece = left < block.length ? block.subarray(0, left) : block;
        left -= piece.length;
        if (!socket.write(piece)) return;
      }
      socket.end();
    };
    socket.on('drain', pump).resume();
    pump();
  },

  sink: (socket) => {
    let count = 0;
    socket.on('data', (data) => (count += data.length)).on('end', () => socket.end(`${count}`));
  },

  'send-file': (socket) => createReadStream(parameter).pipe(socket).resume(),

  'receive-file': (socket) => {
    const file = socket.pipe(createWriteStream(parameter));
    file.on('close', () => socket.end(`${file.bytesWritten}`));
  },
};

const serve = kinds[kind];
if (!serve) throw new Error(`there is no kind '${name}', only ${Object.keys(kinds).join(', ')}`);

// noDelay for everybody: with Nagle's algorithm the last segment of a large echo can wait 40 ms for a delayed ACK.
// The half of an echo connection that is still open is closed by Node, as by default; an upload's answer comes after its end.
const allowHalfOpen = kind === 'sink' || kind === 'receive-file';
const options = { noDelay: true, allowHalfOpen };
function accept(socket: Socket): void {
  sockets.add(socket);
  socket.on('error', () => errors++);
  socket.on('close', () => sockets.delete(socket));
  serve?.(socket);
}

async function plainServer(): Promise<[server: Server, engine: string]> {
  const net = isOurs ? await import('millrace') : await import('node:net');
  return [net.createServer(options, accept), 'engine' in net ? (net.engine as string) : 'node:net'];
}

async function tlsServer(): Promise<[server: Server, engine: string]> {
  const folder = process.env['BENCH_CERTIFICATE'] ?? '';
  const [key, cert] = ['key.pem', 'cert.pem'].map((file) => readFileSync(join(folder, file)));
  const tls = isOurs ? await import('millrace/tls') : await import('node:tls');
  const own = 'engine' in tls && tls.engine === 'openssl' ? (await import('millrace')).engine : "node's tls";
  return [tls.createServer({ ...options, key, cert } as TlsOptions, accept), isOurs ? own : 'node:net'];
}

const [server, engine] = await (isTls ? tlsServer() : plainServer());

// The backlog is as long as the kernel allows, so that opening thousands at once loses no SYN.
server.listen({ port: 0, host: '127.0.0.1', backlog: 4096 }, () => {
  const { port } = server.address() as { port: number };
  announce(port, engine);
});

await answerUntilEnd(() => ({ connections: sockets.size, errors }));
