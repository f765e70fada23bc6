// Deno's own sockets: Deno.listen, one asynchronous loop for each connection over a buffer of 16 KiB, read and
// write awaited in turn (faster than `conn.readable.pipeTo(conn.writable)`). Kinds: echo, broadcast, source, sink
// (see servers/server.ts). noDelay is set; the backlog can't be chosen.
import process from 'node:process';
import { createInterface } from 'node:readline';

interface Connection {
  read(into: Uint8Array): Promise<number | null>;
  write(data: Uint8Array): Promise<number>;
  closeWrite(): Promise<void>;
  close(): void;
  setNoDelay(on: boolean): void;
}
declare const Deno: {
  listen(options: { hostname: string; port: number }): AsyncIterable<Connection> & { addr: { port: number } };
};

const [kind = '', parameter = '0'] = process.argv.slice(2);
const block = Uint8Array.from({ length: 65_536 }, (_, p) => p ^ (p >> 8));
const connections = new Set<Connection>();
let errors = 0;

async function writeAll(connection: Connection, data: Uint8Array): Promise<void> {
  for (let at = 0; at < data.length; ) at += await connection.write(at === 0 ? data : data.subarray(at));
}

const kinds: Record<string, (connection: Connection) => Promise<void>> = {
  echo: async (connection) => {
    const buffer = new Uint8Array(16_384);
    for (let n = await connection.read(buffer); n !== null; n = await connection.read(buffer))
      await writeAll(connection, buffer.subarray(0, n));
  },
  broadcast: async (connection) => {
    const buffer = new Uint8Array(16_384);
    await writeAll(connection, new Uint8Array([0x2b]));
    for (let n = await connection.read(buffer); n !== null; n = await connection.read(buffer)) {
      const message = buffer.slice(0, n);
      for (let nth = 0; nth < Number(parameter); nth++)
        await Promise.all([...connections].map((each) => writeAll(each, message)));
    }
  },
  source: async (connection) => {
    for (let left = Number(parameter); left > 0; left -= block.length)
      await writeAll(connection, left < block.length ? block.subarray(0, left) : block);
  },
  sink: async (connection) => {
    const buffer = new Uint8Array(16_384);
    let count = 0;
    for (let n = await connection.read(buffer); n !== null; n = await connection.read(buffer)) count += n;
    await writeAll(connection, new TextEncoder().encode(`${count}`));
  },
};
const serve = kinds[kind];
if (!serve) throw new Error(`deno has no ${kind}`);

async function live(connection: Connection, run: typeof serve): Promise<void> {
  connections.add(connection);
  connection.setNoDelay(true);
  try {
    await run?.(connection);
  } catch {
    errors++;
  }
  connections.delete(connection);
  connection.close();
}

async function accept(listener: AsyncIterable<Connection>): Promise<void> {
  for await (const connection of listener) void live(connection, serve);
}

const listener = Deno.listen({ hostname: '127.0.0.1', port: 0 });
console.log(JSON.stringify({ port: listener.addr.port, pid: process.pid, engine: 'deno' }));
void accept(listener);

for await (const line of createInterface({ input: process.stdin })) {
  const { gc } = globalThis as { gc?: () => void };
  if (line === 'gc') for (let round = 0; round < 4; round++) gc?.();
  console.log(JSON.stringify({ connections: connections.size, errors }));
}
process.exit();
