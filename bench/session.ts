// node .build/bench/session.js [--runs N] [--in-flight N] [--node PATH]: what a session costs above the direct tier.
//
// An echo of messages of 64 bytes behind a prefix of four, on 50 connections, each with one message on its way (or as many as
// asked for): in handlers that send bytes back as they come, in handlers with a decoder, and in sessions. Each run is a server in
// a process of its own on one CPU, the load on another. Printed is the server's CPU time (user and system) for each message, the
// median of the runs. `echo` is what the marks @hot in src/session name.
import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { setTimeout as pass } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { type Connection, connect, listen } from 'millrace/direct';
import { type Decoder, lengthPrefixed } from 'millrace/framing';
import { serve } from 'millrace/session';

const CONNECTIONS = 50;
const FRAME_BYTES = 68;
const WARM_UP_MS = 700;
const MEASURED_MS = 1500;

const codec = lengthPrefixed({ lengthFieldLength: 4 });
const local = { port: 0, hostname: '127.0.0.1' } as const;

/** Each returns the port it listens on. */
const servers: Record<string, () => Promise<number | undefined>> = {
  'direct, bytes': async () => (await listen({ ...local, data: (c, view) => void c.write(view) })).port,

  'direct, decoder': async () => {
    const open = (c: Connection<Decoder<Buffer>>): void => {
      c.data = codec.decoder((frame) => void c.write(codec.encode(frame)));
    };
    return (await listen<Decoder<Buffer>>({ ...local, open, data: (c, view) => void c.data.push(view) })).port;
  },

  session: async () => {
    const server = await serve({ port: 0, host: '127.0.0.1', codec }, async (session) => {
      for await (const frame of session) await session.send(frame);
    });
    return server.port;
  },
};

const { values } = parseArgs({
  options: {
    serve: { type: 'string' },
    runs: { type: 'string', default: '5' },
    'in-flight': { type: 'string', default: '1' },
    node: { type: 'string', default: process.execPath },
  },
});

if (values.serve !== undefined) await beServer(values.serve);
else await measureAll(Number(values.runs), Number(values['in-flight']));

/** Prints its port, then its CPU time in µs for each line it is sent. */
async function beServer(name: string): Promise<void> {
  console.log(await servers[name]?.());
  for await (const _ of createInterface(process.stdin)) {
    const { user, system } = process.cpuUsage();
    console.log(user + system);
  }
  process.exit();
}

async function measureAll(runs: number, inFlight: number): Promise<void> {
  const costs = new Map(Object.keys(servers).map((name) => [name, [] as number[]]));
  for (let run = 0; run < runs; run++) {
    for (const [name, all] of costs) all.push(await measure(name, inFlight));
  }
  console.log(`CPU µs a message, ${CONNECTIONS} connections, ${inFlight} in flight, median of ${runs} (least, most)`);
  for (const [name, all] of costs) {
    const [least, median, most] = [0, runs >> 1, runs - 1].map((n) => all.sort((a, b) => a - b)[n]?.toFixed(2));
    console.log(`${name.padEnd(16)} ${median} (${least}, ${most})`);
  }
}

async function measure(name: string, inFlight: number): Promise<number> {
  const program = [values.node, fileURLToPath(import.meta.url), '--serve', name];
  const child: ChildProcessWithoutNullStreams = spawn('taskset', ['-c', '0', ...program]);
  const answers = createInterface(child.stdout)[Symbol.asyncIterator]();
  const ask = async (): Promise<number> => Number((await answers.next()).value);
  const frame = codec.encode(Buffer.alloc(FRAME_BYTES - 4, 'x'));
  const port = await ask();
  let bytes = 0;
  const connections: Connection[] = [];
  for (let i = 0; i < CONNECTIONS; i++) connections.push(await dial(port, frame, (received) => (bytes += received)));
  for (const connection of connections) connection.write(Buffer.concat(Array<Buffer>(inFlight).fill(frame)));
  const cpu = (): Promise<number> => {
    child.stdin.write('\n');
    return ask();
  };
  await pass(WARM_UP_MS);
  const [cpuBefore, bytesBefore] = [await cpu(), bytes];
  await pass(MEASURED_MS);
  const [cpuAfter, bytesAfter] = [await cpu(), bytes];
  for (const connection of connections) connection.terminate();
  child.stdin.end();
  return (cpuAfter - cpuBefore) / ((bytesAfter - bytesBefore) / FRAME_BYTES);
}

/** A connection that sends a frame for each that comes back. */
function dial(port: number, frame: Buffer, onBytes: (bytes: number) => void): Promise<Connection> {
  let pending = 0;
  return connect({
    ...{ port, hostname: '127.0.0.1' },
    data(c, { length }) {
      onBytes(length);
      pending += length;
      const whole = Math.floor(pending / FRAME_BYTES);
      pending -= whole * FRAME_BYTES;
      if (whole > 0) c.write(Buffer.concat(Array<Buffer>(whole).fill(frame)));
    },
  });
}
