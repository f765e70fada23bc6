// Bun's own sockets: Bun.listen, as its documentation shows it. `write` takes what the kernel takes; the rest waits for
// `drain`. Kinds: echo, broadcast, source, sink (see servers/server.ts). noDelay is set; the backlog can't be chosen.
import { createInterface } from 'node:readline';

interface State {
  /** Bytes that the kernel has not taken yet. */
  waiting: Uint8Array[];
  /** source: bytes still to be made. sink: bytes counted. */
  bytes: number;
}
interface BunSocket {
  data: State;
  write(data: Uint8Array | string): number;
  end(data?: string): void;
  setNoDelay(on: boolean): void;
}
declare const Bun: {
  listen(options: {
    hostname: string;
    port: number;
    allowHalfOpen?: boolean;
    socket: Record<string, (socket: BunSocket, data: Uint8Array) => void>;
  }): { port: number };
  gc(isForced: boolean): void;
};

const [kind = '', parameter = '0'] = process.argv.slice(2);
const block = Uint8Array.from({ length: 65_536 }, (_, p) => p ^ (p >> 8));
const sockets = new Set<BunSocket>();
let errors = 0;

function send(socket: BunSocket, data: Uint8Array): void {
  const { waiting } = socket.data;
  const taken = waiting.length > 0 ? 0 : Math.max(0, socket.write(data));
  if (taken < data.length) waiting.push(data.subarray(taken));
}

function flush(socket: BunSocket): void {
  const { waiting } = socket.data;
  while (waiting[0]) {
    const taken = Math.max(0, socket.write(waiting[0]));
    if (taken < waiting[0].length) {
      waiting[0] = waiting[0].subarray(taken);
      return;
    }
    waiting.shift();
  }
}

function pump(socket: BunSocket): void {
  const { data } = socket;
  flush(socket);
  while (data.bytes > 0 && data.waiting.length === 0) {
    const piece = data.bytes < block.length ? block.subarray(0, data.bytes) : block;
    data.bytes -= piece.length;
    send(socket, piece);
  }
  if (data.bytes === 0 && data.waiting.length === 0) socket.end();
}

type Handlers = Record<'open' | 'data' | 'drain' | 'end', (socket: BunSocket, data: Uint8Array) => void>;
const kinds: Record<string, Partial<Handlers>> = {
  echo: { data: send },
  broadcast: {
    open: (socket) => send(socket, new Uint8Array([0x2b])),
    data: (_, message) => {
      for (let nth = 0; nth < Number(parameter); nth++) for (const each of sockets) send(each, message);
    },
  },
  source: {
    open: (socket) => {
      socket.data.bytes = Number(parameter);
      pump(socket);
    },
    drain: pump,
  },
  sink: {
    data: (socket, data) => {
      socket.data.bytes += data.length;
    },
    end: (socket) => socket.end(`${socket.data.bytes}`),
  },
};
const handlers = kinds[kind];
if (!handlers) throw new Error(`bun has no ${kind}`);

const server = Bun.listen({
  hostname: '127.0.0.1',
  port: 0,
  allowHalfOpen: kind === 'sink',
  socket: {
    data: () => {},
    drain: flush,
    ...handlers,
    open: (socket, data) => {
      socket.data = { waiting: [], bytes: 0 };
      socket.setNoDelay(true);
      sockets.add(socket);
      handlers.open?.(socket, data);
    },
    close: (socket) => {
      sockets.delete(socket);
    },
    error: () => {
      errors++;
    },
  },
});
console.log(JSON.stringify({ port: server.port, pid: process.pid, engine: 'bun' }));

for await (const line of createInterface({ input: process.stdin })) {
  if (line === 'gc') for (let round = 0; round < 4; round++) Bun.gc(true);
  console.log(JSON.stringify({ connections: sockets.size, errors }));
}
process.exit();
