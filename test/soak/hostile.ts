/**
 * Hostile peers of every kind against one server of sessions, one of requests and one of the direct tier, for a bounded
 * time, beside a client that behaves:
 *
 *   node .build/test/soak/hostile.js [seconds; default 60]
 *
 * Attackers live in a process of their own, on node:net. Prints a table: how many attacks of which kind, refusals and
 * ends by reason, peak memory, and what the client measured before and meanwhile. Ends with code 0 if the server lived,
 * the client was always answered, all reasons are those that are expected, and nothing is left. docs/security.md has
 * figures.
 */
import { fork } from 'node:child_process';
import net, { type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import v8 from 'node:v8';
import vm from 'node:vm';
import { engine } from 'millrace';
import { listen } from 'millrace/direct';
import { lengthPrefixed, lines, type StandardSchemaV1 } from 'millrace/framing';
import { defineContract, dial, MemoryBudget, respond, serve } from 'millrace/session';
import { descriptors, engineState } from '../support/net.ts';

const MB = 1024 * 1024;
const host = '127.0.0.1';
v8.setFlagsFromString('--expose-gc');
const collect: () => void = vm.runInNewContext('gc');

/** Connections that a flood makes at once, and holds. */
const CROWD = 10_000;
const AT_ONCE = 200;

type Ports = Record<'lines' | 'frames' | 'proxied' | 'requests' | 'direct', number>;

const random = (below: number): number => Math.floor(Math.random() * below);

// -------------------------------------------------------------------------------------------------------- the attackers

interface Attack {
  readonly to: keyof Ports;
  run(socket: Socket): void;
  /** Most that it lives. 200 unless given. */
  lifeMs?: number;
}

/** Writes again and again as long as the kernel takes it. */
function flood(socket: Socket, bytes: Uint8Array): void {
  const more = (): void => {
    while (socket.writable && socket.write(bytes));
  };
  socket.on('drain', more);
  more();
}

const every = (socket: Socket, ms: number, act: () => void): void => {
  const timer = setInterval(act, ms);
  socket.once('close', () => clearInterval(timer));
};

/** Ends with a RST, wherever it is. libuv can't while it shuts down. */
function reset(socket: Socket): void {
  if (socket.writableEnded) socket.destroy();
  else socket.resetAndDestroy();
}

const PROXY = 'PROXY TCP4 192.0.2.1 198.51.100.1 51000 443\r\n';
const V2 = Buffer.from('0d0a0d0a000d0a515549540a2111000cc0000201c6336401c73801bb', 'hex');

const attacks: Record<string, Attack> = {
  'an endless line': { to: 'lines', run: (socket) => flood(socket, Buffer.alloc(64 * 1024, 'x')) },
  'a huge length': {
    to: 'frames',
    run: (socket) => void socket.write(Buffer.from(['00100001', '7fffffff', 'ffffffff'][random(3)] as string, 'hex')),
  },
  'a large length, and a few bytes': {
    to: 'frames',
    run: (socket) => void socket.write(Buffer.from('000fffff0102', 'hex')),
  },
  'a byte now and then': {
    to: 'lines',
    lifeMs: 4_000,
    run: (socket) => every(socket, 100, () => void socket.write('x')),
  },
  'says nothing': { to: 'lines', lifeMs: 4_000, run: () => {} },
  'one message, then silence': { to: 'lines', lifeMs: 6_000, run: (socket) => void socket.write('"hello"\n') },
  'never reads': {
    to: 'lines',
    lifeMs: 2_000,
    run: (socket) => {
      socket.pause();
      flood(socket, Buffer.from(`${JSON.stringify('x'.repeat(1_000))}\n`.repeat(50)));
    },
  },
  'never reads frames': {
    to: 'frames',
    lifeMs: 2_000,
    run: (socket) => {
      socket.pause();
      const frame = Buffer.alloc(4 + 60_000, 'x');
      frame.writeUInt32BE(60_000);
      flood(socket, frame);
    },
  },
  'resets within a frame': {
    to: 'frames',
    run: (socket) =>
      void socket.write(Buffer.from('00001000aabbcc', 'hex'), () => setTimeout(reset, random(5), socket)),
  },
  'resets while it is sent to': {
    to: 'lines',
    run: (socket) => {
      flood(socket, Buffer.from(`"${'x'.repeat(5_000)}"\n`));
      setTimeout(reset, random(30), socket);
    },
  },
  'ends within a frame': { to: 'frames', run: (socket) => void socket.end(Buffer.from('00001000aabbcc', 'hex')) },
  'ends, and reads on': { to: 'lines', run: (socket) => void socket.end('"a"\n"b"\n') },
  'ends, and does not read': { to: 'lines', lifeMs: 3_000, run: (socket) => void socket.pause().end('"a"\n') },
  'comes and goes': { to: 'lines', run: (socket) => void socket.destroy() },
  'comes and resets': { to: 'lines', run: reset },
  'no UTF-8': { to: 'lines', run: (socket) => void socket.write(Buffer.from('22c32822ff0a', 'hex')) },
  'JSON, 100,000 deep': {
    to: 'lines',
    run: (socket) => void socket.write(`${'['.repeat(100_000)}${']'.repeat(100_000)}\n`),
  },
  'poisoned JSON': { to: 'lines', run: (socket) => void socket.write('{"__proto__":{"x":1}}\n') },
  'no JSON': { to: 'lines', run: (socket) => void socket.write('{"a":\n') },
  'bytes by chance': {
    to: 'frames',
    run: (socket) => void socket.end(Buffer.from(Array.from({ length: 200 }, () => random(256)))),
  },
  'a PROXY header, cut': {
    to: 'proxied',
    run: (socket) =>
      void socket.end(random(2) === 0 ? PROXY.slice(0, random(PROXY.length)) : V2.subarray(0, random(V2.length))),
  },
  'a PROXY header that lies': {
    to: 'proxied',
    run: (socket) => {
      const lie = Buffer.from(V2);
      const at = 12 + random(4); // version, family, length
      lie[at] = (lie[at] as number) ^ (1 << random(8));
      socket.end(lie);
    },
  },
  'a PROXY header in pieces': {
    to: 'proxied',
    lifeMs: 3_000,
    run: (socket) => {
      let at = 0;
      every(socket, 20, () => void (at < V2.length && socket.write(V2.subarray(at, ++at))));
    },
  },
  'bogus requests': {
    to: 'requests',
    run: (socket) => {
      const kinds = [
        '[8]',
        '[1,-1,"echo",0,0]',
        '[2,1,1]',
        '[3,1,-1]',
        '[4,-1]',
        '[1,1,"echo",0,1e99]',
        '{}',
        '[1,1,{},0,0]',
      ];
      socket.write(`[1,1,"echo",0,0,1]\n${kinds[random(kinds.length)]}\n`);
    },
  },
  'calls without end': {
    to: 'requests',
    lifeMs: 1_000,
    run: (socket) => {
      let id = 1;
      every(socket, 5, () => {
        for (let i = 0; i < 100; i++, id++)
          socket.write(`[1,${id},"wait",0,0]\n${id % 3 === 0 ? `[5,${id},"X",""]\n` : ''}`);
      });
    },
  },
  'streams without end, unread': {
    to: 'requests',
    lifeMs: 1_000,
    run: (socket) => {
      socket.pause();
      for (let id = 1; id <= 100; id++) socket.write(`[1,${id},"count",0,2147483647]\n`);
    },
  },
  'direct: never reads': {
    to: 'direct',
    lifeMs: 1_000,
    run: (socket) => {
      socket.pause();
      flood(socket, Buffer.alloc(64 * 1024));
    },
  },
  'direct: resets at any moment': {
    to: 'direct',
    run: (socket) => {
      flood(socket, Buffer.alloc(10_000));
      setTimeout(reset, random(20), socket);
    },
  },
};
const kinds = Object.keys(attacks);

/** In a process of its own: attacks until it is told to stop, then says how many of which kind. */
async function attacker(ports: Ports): Promise<void> {
  const counts: Record<string, number> = {};
  let isStopped = false;
  process.on('message', () => {
    isStopped = true;
  });
  // Without a server there is nobody to attack.
  process.on('disconnect', () => process.exit());
  const open = new Set<Socket>();
  const connect = (kind: string, port: number): Socket => {
    counts[kind] = (counts[kind] ?? 0) + 1;
    const localAddress = `127.0.${1 + random(4)}.${1 + random(200)}`;
    const socket = net.connect({ port, host, localAddress, allowHalfOpen: true, noDelay: true } as never);
    socket.on('error', () => {});
    open.add(socket);
    socket.once('close', () => open.delete(socket));
    return socket;
  };
  const one = async (): Promise<void> => {
    while (!isStopped) {
      const kind = kinds[random(kinds.length)] as string;
      const { to, run, lifeMs = 200 } = attacks[kind] as Attack;
      const socket = connect(kind, ports[to]);
      const closed = new Promise((resolve) => socket.once('close', resolve));
      socket.on('data', () => {});
      socket.once('connect', () => !socket.destroyed && run(socket));
      const end = setTimeout(() => socket.destroy(), lifeMs / 2 + random(lifeMs / 2));
      await closed;
      clearTimeout(end);
    }
  };
  /** Comes with as many as it can, holds them for a moment, goes. */
  const crowd = async (): Promise<void> => {
    while (!isStopped) {
      const sockets: Socket[] = [];
      for (let i = 0; i < CROWD && !isStopped; i++) {
        sockets.push(connect('a crowd of ten thousand, one of them', ports.lines));
        if (i % 200 === 199) await sleep(5);
      }
      await sleep(500);
      for (const socket of sockets) socket.destroy();
      await sleep(3_000);
    }
  };
  await Promise.all([...Array.from({ length: AT_ONCE }, one), crowd()]);
  for (const socket of open) socket.destroy();
  process.send?.(counts);
  process.disconnect?.();
}

// ----------------------------------------------------------------------------------------------------------- the server

const any: StandardSchemaV1<unknown> = {
  '~standard': { version: 1, vendor: 'soak', validate: (value) => ({ value }) },
};
const contract = defineContract({
  echo: { kind: 'request', input: any, output: any },
  wait: { kind: 'request' },
  count: { kind: 'stream', items: any },
});

async function defender(seconds: number): Promise<void> {
  const problems: string[] = [];
  process.on('uncaughtException', (error) => problems.push(`uncaught: ${error.stack}`));
  process.on('unhandledRejection', (error) => problems.push(`unhandled: ${error}`));
  const memory = new MemoryBudget(32 * MB);
  const limits = {
    ...{ memory, connections: 4_000, perAddress: 100, acceptRate: { perSecond: 5_000, burst: 10_000 } },
    ...{ firstByteMs: 1_000, handshakeMs: 2_000, frameMs: 1_500, idleMs: 3_000, writeMs: 1_000, lingerMs: 500 },
  };
  const common = { port: 0, host, limits, onError: (error: unknown) => void problems.push(`onError: ${error}`) };
  const echo = async (session: AsyncIterable<unknown> & { send(message: never): Promise<void> }): Promise<void> => {
    for await (const message of session) await session.send(message as never);
  };
  const waiting = new Set<object>();
  const servers = {
    lines: await serve<unknown, unknown>(
      {
        ...{ ...common, codec: lines({ maxFrameBytes: 64 * 1024 }).json() },
        onClosed: (session, { reason, message }) =>
          void (
            session.peer.address === host &&
            reason !== 'ENDED' &&
            problems.push(`the client's session, ${Math.round(performance.now())} ms after the start: ${message}`)
          ),
      },
      echo,
    ),
    frames: await serve({ ...common, codec: lengthPrefixed({ maxFrameBytes: MB }) }, echo),
    proxied: await serve(
      { ...common, codec: lines().utf8(), proxyProtocol: { trustedProxies: ['127.0.0.0/8'], timeoutMs: 1_000 } },
      echo,
    ),
    requests: await serve<unknown, unknown>({ ...common, codec: lines().json() }, async (session) => {
      await respond(session, contract, {
        echo: (input) => input,
        wait: async (_, { signal }) => {
          const place = {};
          waiting.add(place);
          if (!signal.aborted) await new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve()));
          waiting.delete(place);
        },
        async *count() {
          for (;;) yield 'x'.repeat(500);
        },
      }).done;
    }),
  };
  let opens = 0;
  let closes = 0;
  const direct = await listen({
    ...{ port: 0, hostname: host, maxConnections: 1_000, limits: { maxBufferedBytes: MB } },
    open: () => void opens++,
    data: (c, view) => void c.write(view),
    close: () => void closes++,
    error() {},
  });
  const ports = Object.fromEntries(
    Object.entries({ ...servers, direct }).map(([name, { port }]) => [name, port]),
  ) as Ports;

  // The client that behaves: asks once in 5 ms, and writes down how long each answer took.
  const client = await dial<unknown, unknown>({ port: ports.lines, host, codec: lines().json() });
  let isOver = false;
  let times: number[] = [];
  const client$ = (async () => {
    for (let i = 0; !isOver; i++) {
      const start = performance.now();
      await client.send(i);
      if ((await client.receive()) !== i) problems.push('a wrong answer');
      times.push(performance.now() - start);
      await sleep(5);
    }
  })().catch((error) => problems.push(`the client: ${error}`));
  let mostResident = 0;
  let atMost = '';
  let mostHeld = 0;
  const watch = setInterval(() => {
    const usage = process.memoryUsage();
    if (usage.rss > mostResident) {
      mostResident = usage.rss;
      atMost = `heap ${mb(usage.heapUsed)} of ${mb(usage.heapTotal)}, outside ${mb(usage.external)}`;
    }
    mostHeld = Math.max(mostHeld, memory.heldBytes);
  }, 50);

  await sleep(2_000);
  const calm = times;
  times = [];
  const before = { descriptors: descriptors(), live: live() };
  // Flags for the memory of this process are not for theirs.
  const child = fork(fileURLToPath(import.meta.url), ['attack', JSON.stringify(ports)], { execArgv: [] });
  const gone = new Promise((resolve) => child.once('close', resolve));
  const told = new Promise<Record<string, number>>((resolve, reject) => {
    child.once('message', resolve);
    child.once('exit', (code) => reject(new Error(`the attackers ended: ${code}`)));
  });
  const cpu = process.cpuUsage();
  await sleep(seconds * 1_000);
  const { user, system } = process.cpuUsage(cpu);
  const stormy = times;
  const open = {
    sessions: Object.values(servers).reduce((sum, server) => sum + server.metrics().openSessions, 0),
    calls: waiting.size,
  };
  const during = live();
  child.send('stop');
  const counts = await told;
  await gone;
  // The longest limit is 3 s, and requests that wait for ever end with their connections.
  const isCalm = (): boolean =>
    direct.connectionCount === 0 &&
    waiting.size === 0 &&
    Object.values(servers).every((server) => server.metrics().openConnections === (server === servers.lines ? 1 : 0));
  for (let i = 0; i < 400 && !isCalm(); i++) await sleep(25);
  if (!isCalm()) {
    const open = Object.values(servers).map((server) => server.metrics().openConnections);
    problems.push(`still open: ${open}, direct ${direct.connectionCount}, waiting ${waiting.size}`);
  }
  if (memory.heldBytes > 0) problems.push(`${memory.heldBytes} bytes are held`);
  if (opens !== closes) problems.push(`direct: ${opens} opens, ${closes} closes`);
  // The first child process opens one for good, which tells of children that end.
  const left = descriptors().filter((name) => name.startsWith('socket:') && !before.descriptors.includes(name));
  if (left.length > 0) problems.push(`descriptors are left: ${left}`);
  const after = live();
  // Code and tables that grew are not given back.
  if (after.heap > before.live.heap + 16 * MB) problems.push(`${mb(after.heap - before.live.heap)} of heap are kept`);
  isOver = true;
  await client$;
  await client.close();
  clearInterval(watch);
  await Promise.all([...Object.values(servers).map((server) => server.close()), direct.close()]);
  await sleep(100);
  for (const [name, count] of Object.entries((await engineState()) ?? {}))
    if (count > 0) problems.push(`${count} ${name} are left`);

  const sum = (of: 'refused' | 'closed'): Record<string, number> => {
    const all: Record<string, number> = {};
    for (const server of Object.values(servers))
      for (const [reason, count] of Object.entries(server.metrics()[of])) all[reason] = (all[reason] ?? 0) + count;
    return all;
  };
  const metrics = Object.values(servers).map((server) => server.metrics());
  const busy = Math.round((user + system) / 1e4 / seconds);
  console.log(`hostile: ${engine}, Node ${process.version}, ${seconds} s, ${busy} % of a core`);
  table('attacks', counts);
  table('refused', sum('refused'));
  table('closed', sum('closed'));
  const row = {
    'direct opens': opens,
    'direct closes': closes,
    'late ticks': Math.max(...metrics.map(({ loop }) => loop.lateTicks)),
  };
  table('others', row);
  console.log(`memory: resident ${mb(mostResident)} at most (${atMost}); held by sessions at most ${mb(mostHeld)}`);
  console.log(`needed before: ${said(before.live)}`);
  console.log(`needed at the end of the attacks: ${said(during)}; ${open.sessions} sessions, ${open.calls} calls`);
  console.log(`needed when all have gone: ${said(after)}`);
  console.log(`client before: ${latency(calm)}`);
  console.log(`client meanwhile: ${latency(stormy)}`);
  for (const problem of new Set(problems)) console.error(`hostile: ${engine}: ${problem}`);
  process.exitCode = problems.length === 0 ? 0 : 1;
}

/** In bytes. */
interface Live {
  heap: number;
  outside: number;
  resident: number;
}

/** What is needed: in use behind a full collection. */
function live(): Live {
  collect();
  const { heapUsed, external, rss } = process.memoryUsage();
  return { heap: heapUsed, outside: external, resident: rss };
}

const said = ({ heap, outside, resident }: Live): string =>
  `heap ${mb(heap)}, outside ${mb(outside)}, resident ${mb(resident)}`;

const mb = (bytes: number): string => `${(bytes / MB).toFixed(1)} MB`;

function latency(times: number[]): string {
  const sorted = [...times].sort((a, b) => a - b);
  const at = (part: number): string =>
    `${(sorted[Math.min(sorted.length - 1, Math.floor(part * sorted.length))] ?? Number.NaN).toFixed(2)} ms`;
  return `${times.length} answers, half within ${at(0.5)}, 99 % within ${at(0.99)}, the last ${at(1)}`;
}

function table(name: string, counts: Record<string, number>): void {
  const rows = Object.entries(counts).sort(([, a], [, b]) => b - a);
  const total = rows.reduce((sum, [, count]) => sum + count, 0);
  console.log(`${name}: ${total}`);
  for (const [what, count] of rows) console.log(`  ${String(count).padStart(8)}  ${what}`);
}

if (process.argv[2] === 'attack') await attacker(JSON.parse(process.argv[3] as string) as Ports);
else await defender(Number(process.argv[2] ?? 60));
