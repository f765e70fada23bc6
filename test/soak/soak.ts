/**
 * Clients of every kind of bad behaviour against one server, for a bounded time; then everything must be as before:
 *
 *   node .build/test/soak/soak.js [seconds; default 60]
 *
 * Half of the time the descriptor table is full, because the program starts itself with a low `ulimit -n` for it. Ends
 * with code 0 if the server still answers, no byte was wrong, no descriptor, buffer, slot or handle is left and memory
 * is what it was after the warm-up, give or take `MOST_GROWTH_BYTES`.
 */
import { spawnSync } from 'node:child_process';
import { once } from 'node:events';
import type { AddressInfo, Server, Socket } from 'node:net';
import { setImmediate as turn } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import net, { engine } from 'millrace';
import { descriptors, engineState } from '../support/net.ts';

const MOST_GROWTH_BYTES = 24 * 1024 * 1024;
/** Longer than a listener without descriptors waits before it tries again. */
const CALM_MS = 1_200;
const AT_ONCE = 60;
const MB = 1024 * 1024;

setFlagsFromString('--expose-gc');
const gc = runInNewContext('gc') as () => void;

const bytes = Buffer.alloc(4 * MB);
for (let i = 0; i < bytes.length; i++) bytes[i] = Math.imul(i, 2654435761) >>> 24;

const counts: Record<string, number> = {};
const count = (what: string): void => {
  counts[what] = (counts[what] ?? 0) + 1;
};
const problems: string[] = [];

const random = (below: number): number => Math.floor(Math.random() * below);

/** An echo that checks nothing: it is the client who knows what it sent. */
function startServer(): Promise<Server> {
  const server = net.createServer({ allowHalfOpen: true }, (socket) => {
    socket.on('error', () => count('errors of accepted sockets'));
    socket.pipe(socket);
    if (random(40) === 0) setTimeout(() => socket.resetAndDestroy(), random(5));
  });
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(0, '127.0.0.1', () => resolve(server));
  });
}

/** The lives that a client may lead. Each ends by itself, and closes its socket. */
const lives: Record<string, (client: Socket) => void> = {
  echo: (client) => void client.end(bytes.subarray(0, random(100_000))),
  large: (client) => void client.end(bytes.subarray(0, MB + random(3 * MB))),
  manySmall: (client) => {
    const size = 1 + random(200);
    for (let i = 0; i < 100; i++) client.write(bytes.subarray(i * size, (i + 1) * size));
    client.end();
  },
  slowReader: (client) => {
    client.on('data', () => {
      client.pause();
      setTimeout(() => client.resume(), random(3));
    });
    client.end(bytes.subarray(0, 200_000));
  },
  neverReads: (client) => {
    client.pause().write(bytes);
    setTimeout(() => client.destroy(), random(30));
  },
  reset: (client) => {
    client.write(bytes.subarray(0, random(300_000)));
    setTimeout(() => client.resetAndDestroy(), random(10));
  },
  vanish: (client) => void client.destroy(),
  vanishWhenConnected: (client) => void client.once('connect', () => client.destroy()),
  resetAtOnce: (client) => void client.resetAndDestroy(),
  halfClose: (client) => void setTimeout(() => client.end(), random(5)),
  idle: (client) => void client.setTimeout(5 + random(20), () => client.destroy()),
};
const names = Object.keys(lives);

/** One client from birth to 'close'. */
async function live(port: number): Promise<void> {
  const name = names[random(names.length)] as string;
  count(name);
  const client = net.connect({ port, host: '127.0.0.1', allowHalfOpen: random(2) === 0 });
  let got = 0;
  client.on('data', (chunk: Buffer) => {
    if (Buffer.compare(chunk, bytes.subarray(got, got + chunk.length)) !== 0) problems.push(`${name}: a wrong byte`);
    got += chunk.length;
  });
  client.on('error', (error: NodeJS.ErrnoException) => {
    count(error.code ?? error.message);
    if (!/^(ECONNRESET|EPIPE|EMFILE|ECANCELED|ECONNREFUSED|ETIMEDOUT)$/.test(error.code ?? ''))
      problems.push(String(error));
  });
  // Nobody waits for ever for a connection that a full table keeps in the backlog.
  const patience = setTimeout(() => client.destroy(), 1_000);
  const closed = new Promise((resolve) => client.once('close', resolve));
  lives[name]?.(client);
  await closed;
  clearTimeout(patience);
}

async function answers(port: number): Promise<boolean> {
  for (let attempt = 0; attempt < 50; attempt++) {
    const client = net.connect(port, '127.0.0.1').on('error', () => {});
    let text = '';
    client.on('data', (chunk: Buffer) => {
      text += String(chunk);
    });
    client.end('still there?');
    await new Promise((resolve) => client.once('close', resolve));
    if (text === 'still there?') return true;
  }
  return false;
}

async function crowd(port: number, ms: number): Promise<void> {
  const end = performance.now() + ms;
  const one = async (): Promise<void> => {
    while (performance.now() < end) await live(port);
  };
  await Promise.all(Array.from({ length: AT_ONCE }, one));
}

/** What is in use once everything has had the time to close. */
async function inUse(
  server: Server,
): Promise<{ memory: number; descriptors: number; connections: number; engine: number }> {
  const state = async () => {
    const { endpoints = 1, arenaInUse = 0, lentBuffers = 0 } = (await engineState()) ?? {};
    const connections = (server as unknown as { _connections: number })._connections;
    return { connections, engine: endpoints - 1 + arenaInUse + lentBuffers }; // the server itself is an endpoint
  };
  // After a full table connections of clients that are long gone still wait in the backlog, until the listener tries again.
  let calmSince = performance.now();
  for (
    const end = calmSince + 15_000;
    performance.now() < end && performance.now() - calmSince < CALM_MS;
    await turn()
  ) {
    const now = await state();
    if (now.connections + now.engine > 0) calmSince = performance.now();
  }
  for (let i = 0; i < 50; i++) await turn();
  gc();
  await turn();
  gc();
  const { external, heapUsed } = process.memoryUsage();
  return { ...(await state()), memory: external + heapUsed, descriptors: descriptors().length };
}

async function soak(seconds: number): Promise<void> {
  const server = await startServer();
  const { port } = server.address() as AddressInfo;
  await crowd(port, seconds * 200);
  const before = await inUse(server);
  await crowd(port, seconds * 800);
  const after = await inUse(server);
  for (const what of ['descriptors', 'connections', 'engine'] as const)
    if (after[what] > before[what]) problems.push(`${what}: ${before[what]} before, ${after[what]} left`);
  const growth = after.memory - before.memory;
  if (growth > MOST_GROWTH_BYTES) problems.push(`memory grew by ${(growth / MB).toFixed(1)} MB`);
  if (!(await answers(port))) problems.push('the server does not answer');
  server.close();
  await once(server, 'close');
  console.log(`soak: ${engine}: memory ${(growth / MB).toFixed(1)} MB,`, JSON.stringify(counts));
  for (const problem of new Set(problems)) console.error(`soak: ${engine}: ${problem}`);
  process.exitCode = problems.length === 0 ? 0 : 1;
}

const seconds = Number(process.argv[2] ?? 60);
if (process.env['MILLRACE_SOAK_CHILD'] === undefined) {
  // Once with room for everybody, once with a table that is full on both sides.
  for (const descriptorLimit of [4096, 70]) {
    console.log(`soak: ${engine}, ${seconds / 2} s with at most ${descriptorLimit} descriptors`);
    const self = [process.execPath, '--no-warnings', fileURLToPath(import.meta.url), String(seconds / 2)];
    const { status, signal } = spawnSync('sh', ['-c', `ulimit -n ${descriptorLimit}; exec "$@"`, 'sh', ...self], {
      stdio: 'inherit',
      env: { ...process.env, MILLRACE_SOAK_CHILD: '1' },
      timeout: seconds * 1000 + 60_000,
    });
    if (status !== 0) {
      console.error(`soak: ended with ${signal ?? status}`);
      process.exitCode = 1;
    }
  }
} else {
  await soak(seconds);
}
