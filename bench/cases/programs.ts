// Real programs that know nothing of millrace, with and without `--import millrace/register`: clients of redis and PostgreSQL, an
// HTTP server, a WebSocket echo. Cost is the CPU time of the program under test per operation; the other end is on the load's CPU.
// A row `millrace-…` is the same program as the row `node…` on that Node, registered.
import { spawnSync } from 'node:child_process';
import { chownSync, existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import net from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Child, Server } from '../child.ts';
import { columns, type LoadResult, load, toSample } from '../drive.ts';
import type { Prepared, Rival } from '../rivals.ts';
import type { Bench, Case, Sample, Trial } from '../trial.ts';
import { Unavailable, withDependencies } from '../workshop.ts';

export const programs: Case = {
  name: 'programs',
  trials: (asked) => {
    const bench = warm(asked);
    return [
      trial(bench, 'redis', 'redis client, pipelined GETs', 'GET', (start) =>
        withRedis(bench, (port) => client(bench, start('redis-client'), port)),
      ),
      trial(bench, 'postgres', 'PostgreSQL client, 8 connections, 10 rows', 'query', (start) =>
        withPostgres(bench, (folder) => client(bench, start('postgres-client'), folder)),
      ),
      trial(bench, 'http', 'HTTP server, 50 connections', 'req', (start, rival) =>
        exchange(bench, start('http-server'), rival, http),
      ),
      trial(bench, 'ws', 'WebSocket echo (ws), 50 connections', 'msg', (start, rival) =>
        exchange(bench, start('ws-server'), rival, ws),
      ),
    ];
  },
};

interface Program {
  command: string[];
  env: Record<string, string>;
  engine: string;
}
type Start = (name: string) => Program;

function trial(
  bench: Bench,
  name: string,
  title: string,
  per: string,
  run: (start: Start, rival: Rival) => Promise<Sample>,
): Trial {
  return {
    id: `program-${name}`,
    title: `${title}: the program as it is, and with millrace/register`,
    parameters: {},
    cost: { key: 'cpuUsPerOperation', head: `CPU µs/${per}`, digits: 2 },
    columns: columns(per).filter((column) => column.head !== 'saturated' && !column.head.startsWith('faults')),
    kind: 'program',
    isQuick: false,
    maxRuns: 2,
    overheadSeconds: name === 'postgres' ? 3.2 : 1.5,
    run: (rival, prepared) => run((program) => start(bench, rival, prepared, program), rival),
  };
}

/** The code of these programs is larger than an echo's: it gets a second at least to be compiled. */
const warm = (bench: Bench): Bench => ({
  ...bench,
  options: { ...bench.options, warmupSeconds: Math.max(1, bench.options.warmupSeconds) },
});

function start(bench: Bench, rival: Rival, prepared: Prepared, name: string): Program {
  return {
    command: [
      prepared.command[0] ?? '',
      ...(rival.family === 'ours' ? ['--import', registerUrl()] : []),
      new URL(`../programs/${name}.js`, import.meta.url).pathname,
    ],
    env: { ...rival.env, BENCH_PACKAGES: withDependencies({ root: bench.root, mayInstall: false }, 'bench/programs') },
    engine: rival.engine,
  };
}

function registerUrl(): string {
  try {
    return import.meta.resolve('millrace/register');
  } catch {
    throw new Unavailable('this millrace has no millrace/register');
  }
}

/** A client under test, against a server at `where`. */
async function client({ options, placement }: Bench, program: Program, where: string): Promise<Sample> {
  const times = [options.warmupSeconds, options.seconds].map(String);
  const child = new Child('client', [...placement.server, ...program.command, where, ...times], program.env);
  try {
    const result = await child.read((options.warmupSeconds + options.seconds + 30) * 1000);
    if (result['engine'] !== program.engine)
      throw new Error(`the program should run on ${program.engine}, but runs on ${String(result['engine'])}`);
    return toSample({ load: {}, ...result } as unknown as LoadResult, 0);
  } finally {
    await child.stop();
  }
}

interface Exchange {
  prelude: string;
  request: Uint8Array;
}
const http: Exchange = { prelude: '', request: Buffer.from('GET / HTTP/1.1\r\nHost: localhost\r\n\r\n') };
const handshake = ['GET / HTTP/1.1', 'Host: localhost', 'Upgrade: websocket', 'Connection: Upgrade'];
const ws: Exchange = {
  prelude: `${[...handshake, 'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==', 'Sec-WebSocket-Version: 13'].join('\r\n')}\r\n\r\n`,
  // RFC 6455, 5.2: FIN and binary, masked with zeros, 64 bytes.
  request: Buffer.concat([Buffer.from([0x82, 0x80 | 64, 0, 0, 0, 0]), Buffer.from('ws'.repeat(32))]),
};

/** A server under test, driven by the load with the same exchange again and again. */
async function exchange(bench: Bench, program: Program, rival: Rival, what: Exchange): Promise<Sample> {
  const prepared = { command: program.command, gc: [], version: '' };
  const plan = { kind: 'program', mode: 'exchange', connections: 50 } as const;
  const server = await Server.start({ ...rival, env: program.env }, prepared, plan, bench.placement.server);
  try {
    const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');
    const answer = await firstAnswer(server.port, what);
    const flags = {
      connections: 50,
      request: hex(what.request),
      answer: hex(answer),
      prelude: hex(Buffer.from(what.prelude)),
    };
    return await load(bench, server, { ...plan, flags });
  } finally {
    await server.stop();
  }
}

/** What the server answers, so that the load can compare: all that comes within 200 ms. */
async function firstAnswer(port: number, { prelude, request }: Exchange): Promise<Buffer> {
  const socket = net.connect(port, '127.0.0.1');
  let got: Buffer = Buffer.alloc(0);
  socket.on('data', (data: Buffer) => {
    got = Buffer.concat([got, data]);
  });
  try {
    if (prelude !== '') {
      socket.write(prelude);
      for (let tries = 0; tries < 100 && !got.includes('\r\n\r\n'); tries++) await sleep(20);
      if (!got.toString('latin1').startsWith('HTTP/1.1 101')) throw new Error('the handshake failed');
      got = Buffer.alloc(0);
    }
    socket.write(request);
    for (let tries = 0; tries < 100 && got.length === 0; tries++) await sleep(20);
    await sleep(200);
    if (got.length === 0) throw new Error('the program gave no answer');
    return got;
  } finally {
    socket.destroy();
  }
}

async function withRedis({ placement }: Bench, act: (port: string) => Promise<Sample>): Promise<Sample> {
  if (spawnSync('redis-server', ['--version']).status !== 0) throw new Unavailable("needs Debian's redis-server");
  const port = String(await freePort());
  const settings = ['--port', port, '--bind', '127.0.0.1', '--save', '', '--appendonly', 'no', '--loglevel', 'warning'];
  const server = new Child('redis-server', [...placement.load, 'redis-server', ...settings]);
  try {
    await untilOpen(Number(port));
    return await act(port);
  } finally {
    await server.kill();
  }
}

/** A cluster of its own in a temporary folder, reached over TCP. PostgreSQL refuses to run as root: then it is user postgres. */
async function withPostgres({ placement }: Bench, act: (port: string) => Promise<Sample>): Promise<Sample> {
  const bin = postgresFolder();
  const as = process.getuid?.() === 0 ? ['setpriv', '--reuid=postgres', '--regid=postgres', '--clear-groups'] : [];
  const folder = mkdtempSync(join(tmpdir(), 'millrace-bench-postgres-'));
  const command = (name: string, ...args: string[]): string[] => [...as, join(bin, name), ...args];
  try {
    if (as.length > 0) chownSync(folder, idOf('-u'), idOf('-g'));
    const [file = '', ...args] = command(
      'initdb',
      '-D',
      join(folder, 'data'),
      '-U',
      'postgres',
      '-A',
      'trust',
      '--no-sync',
    );
    const made = spawnSync(file, args, { encoding: 'utf8', cwd: folder });
    if (made.status !== 0) throw new Unavailable(`initdb fails: ${made.stderr.trim().slice(-500)}`);
    const port = String(await freePort());
    const settings = ['-p', port, '-h', '127.0.0.1', '-k', folder, '-c', 'fsync=off'];
    const server = new Child('postgres', [
      ...placement.load,
      ...command('postgres', '-D', join(folder, 'data'), ...settings),
    ]);
    try {
      await untilOpen(Number(port));
      return await act(port);
    } finally {
      await server.kill();
    }
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function postgresFolder(): string {
  const versions = '/usr/lib/postgresql';
  const folders = existsSync(versions) ? readdirSync(versions).map((version) => join(versions, version, 'bin')) : [];
  const found = folders.sort().findLast((folder) => existsSync(join(folder, 'initdb')));
  if (!found) throw new Unavailable("needs Debian's postgresql");
  return found;
}

function idOf(which: '-u' | '-g'): number {
  const { stdout, status } = spawnSync('id', [which, 'postgres'], { encoding: 'utf8' });
  if (status !== 0) throw new Unavailable('there is no user postgres to run PostgreSQL as');
  return Number(stdout);
}

async function freePort(): Promise<number> {
  const server = net.createServer().listen(0, '127.0.0.1');
  await new Promise((resolve) => server.once('listening', resolve));
  const { port } = server.address() as net.AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}

async function untilOpen(port: number): Promise<void> {
  for (let tries = 0; tries < 200; tries++) {
    const isOpen = await new Promise<boolean>((resolve) => {
      const socket = net.connect(port, '127.0.0.1');
      socket.once('connect', () => resolve(true)).once('error', () => resolve(false));
      socket.once('connect', () => socket.destroy());
    });
    if (isOpen) return;
    await sleep(50);
  }
  throw new Error(`nothing listens on port ${port} after 10 s`);
}
