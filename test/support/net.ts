/**
 * What the tests of sockets share: servers and clients that go away with their test, waits with a limit, and a guard
 * against what a file leaves behind.
 *
 * Nothing here sleeps: a wait ends with an event, or with a condition looked at once in each turn of the event loop.
 */
import assert from 'node:assert/strict';
import { readdirSync, readFileSync, readlinkSync, rmSync } from 'node:fs';
import { mkdtemp } from 'node:fs/promises';
import type {
  AddressInfo,
  ListenOptions,
  NetConnectOpts,
  Server,
  ServerOpts,
  Socket,
  SocketConstructorOpts,
} from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after } from 'node:test';
import { setImmediate as turn } from 'node:timers/promises';
import net, { engine } from 'millrace';

/** The module under test, as a type: what `millrace` must be a drop-in for. */
export type Net = typeof import('node:net');

/** Options of every test here. */
export const limit = { timeout: 10_000 } as const;

/** How long a single wait may take; less than a test, so that the wait that failed names itself. */
export const WAIT_MS = 5_000;

/** The part of a test's context that is needed here; compat scenarios bring their own. */
export interface Stage {
  after(fn: () => void | Promise<void>): void;
}

interface Emitter {
  on(event: string, listener: (...args: any[]) => void): unknown;
  removeListener(event: string, listener: (...args: any[]) => void): unknown;
}

// ---------------------------------------------------------------------------------------------------------- going away

const stages = new WeakMap<Stage, Set<Socket | Server>>();

/** Sockets whose 'close' was seen. `socket.closed` is no help: net emits 'close' itself, later than the stream is closed. */
const gone = new WeakSet<Socket>();

/** Waits for 'close' of a socket of ours (from `dial`, `pair`, `serve`, `keep`), which may have come already. */
export async function close(socket: Socket): Promise<void> {
  if (gone.has(socket)) return;
  await new Promise<void>((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`no 'close' within ${WAIT_MS} ms`)), WAIT_MS);
    socket.once('close', () => {
      clearTimeout(timer);
      resolve();
    });
  });
}

/** Has a socket or a server destroyed when the test is over. Its late errors are nobody's business then. */
export function keep<T extends Socket | Server>(t: Stage, thing: T): T {
  let kept = stages.get(t);
  if (!kept) {
    kept = new Set();
    stages.set(t, kept);
    t.after(() => sweep(kept as Set<Socket | Server>));
  }
  const all = kept;
  const keepSocket = (socket: Socket): void => {
    all.add(socket);
    socket.on('close', () => {
      gone.add(socket);
      all.delete(socket);
    });
    // A socket that is connected again is open again.
    socket.on('connect', () => {
      gone.delete(socket);
      all.add(socket);
    });
  };
  if (isSocket(thing)) {
    keepSocket(thing);
  } else {
    all.add(thing);
    thing.on('connection', keepSocket);
  }
  return thing;
}

function isSocket(thing: Socket | Server): thing is Socket {
  return 'destroySoon' in thing;
}

async function sweep(kept: Set<Socket | Server>): Promise<void> {
  const things = [...kept];
  // First nobody minds errors any more, on either side; only then is anything closed.
  for (const thing of things) thing.on('error', () => {});
  const closed: Promise<unknown>[] = [];
  for (const thing of things) {
    if (isSocket(thing)) {
      closed.push(close(thing));
      thing.destroy();
    } else {
      thing.on('connection', (socket: Socket) => socket.on('error', () => {}).destroy());
      if (thing.listening) closed.push(new Promise((resolve) => thing.close(resolve)));
    }
  }
  await within(Promise.all(closed), 'closing what the test left open');
}

// ---------------------------------------------------------------------------------------------------- servers, clients

export interface ServeOptions {
  /** For `createServer`. */
  server?: ServerOpts;
  /** For `listen`; port 0 of 127.0.0.1 unless given. */
  listen?: ListenOptions;
  /** The module under test unless given. */
  net?: Net;
}

/** A listening server that is closed after the test, with all its sockets. */
export async function serve(
  t: Stage,
  onConnection?: (socket: Socket) => void,
  options: ServeOptions = {},
): Promise<Server> {
  const server = keep(t, (options.net ?? net).createServer(options.server ?? {}));
  if (onConnection) server.on('connection', onConnection);
  server.listen(options.listen ?? { port: 0, host: '127.0.0.1' });
  await once(server, 'listening');
  return server;
}

/** Where to connect to reach a server. */
export function where(server: Server): { port: number; host: string } | { path: string } {
  const address = server.address();
  assert.ok(address !== null, 'the server listens');
  if (typeof address === 'string') return { path: address };
  const host = address.address === '::' ? '::1' : address.address === '0.0.0.0' ? '127.0.0.1' : address.address;
  return { port: address.port, host };
}

export function portOf(server: Server): number {
  return (server.address() as AddressInfo).port;
}

type Target = Server | NetConnectOpts;
type DialOptions = SocketConstructorOpts & Partial<NetConnectOpts> & { net?: Net };

/** A client on its way, destroyed after the test. */
export function dialling(t: Stage, target: Target, { net: module = net, ...options }: DialOptions = {}): Socket {
  const to = 'listen' in target ? where(target as Server) : target;
  return keep(t, module.connect({ ...to, ...options } as NetConnectOpts));
}

/** A connected client, destroyed after the test. */
export async function dial(t: Stage, target: Target, options: DialOptions = {}): Promise<Socket> {
  const socket = dialling(t, target, options);
  await once(socket, 'connect');
  return socket;
}

export interface PairOptions extends ServeOptions {
  /** For `connect`. */
  client?: SocketConstructorOpts & Partial<NetConnectOpts>;
}

/** Both ends of one connection: `client` dialled, `peer` was accepted by `server`. */
export async function pair(
  t: Stage,
  options: PairOptions = {},
): Promise<{ client: Socket; peer: Socket; server: Server }> {
  const server = await serve(t, undefined, options);
  const accepted = once(server, 'connection');
  const client = await dial(t, server, { ...options.client, net: options.net ?? net });
  const [peer] = (await accepted) as [Socket];
  return { client, peer, server };
}

/**
 * A port on which nothing listens: tcpmux, of 1988. A port that was free a moment ago would not do, because another test may
 * be given it.
 */
export const REFUSED_PORT = 1;

/** A port that was free a moment ago, to bind to. */
export async function freePort(host = '127.0.0.1'): Promise<number> {
  const server = net.createServer().listen(0, host);
  await once(server, 'listening');
  const port = portOf(server);
  server.close();
  await once(server, 'close');
  return port;
}

/** A folder for unix sockets, removed after the test. The path is short: a socket's has at most 107 bytes. */
export async function folder(t: Stage): Promise<string> {
  const path = await mkdtemp(join(tmpdir(), 'mr-'));
  t.after(() => rmSync(path, { recursive: true, force: true }));
  return path;
}

let ipv6: boolean | undefined;

/** Whether ::1 exists here. */
export async function hasIPv6(): Promise<boolean> {
  if (ipv6 === undefined) {
    const server = net.createServer();
    ipv6 = await new Promise<boolean>((resolve) => {
      server.once('error', () => resolve(false));
      server.listen(0, '::1', () => server.close(() => resolve(true)));
    });
  }
  return ipv6;
}

// -------------------------------------------------------------------------------------------------------------- waiting

/** The arguments of the next `event`. An 'error' before it, or the limit, ends the wait. */
export function once(emitter: Emitter, event: string, limitMs = WAIT_MS): Promise<any[]> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => finish(() => reject(new Error(`no '${event}' within ${limitMs} ms`))), limitMs);
    const onEvent = (...args: any[]): void => finish(() => resolve(args));
    const onError = (error: Error): void => finish(() => reject(error));
    function finish(settle: () => void): void {
      clearTimeout(timer);
      emitter.removeListener(event, onEvent);
      emitter.removeListener('error', onError);
      settle();
    }
    emitter.on(event, onEvent);
    if (event !== 'error') emitter.on('error', onError);
  });
}

/** A promise with a limit that names what was waited for. */
export function within<T>(promise: Promise<T>, what: string, limitMs = WAIT_MS): Promise<T> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`not within ${limitMs} ms: ${what}`)), limitMs);
    promise.then(resolve, reject).finally(() => clearTimeout(timer));
  });
}

/** Waits, turn by turn of the event loop, until the condition holds. */
export async function until(condition: () => boolean, what: string, limitMs = WAIT_MS): Promise<void> {
  const end = performance.now() + limitMs;
  while (!condition()) {
    if (performance.now() > end) throw new Error(`not within ${limitMs} ms: ${what}`);
    await turn();
  }
}

/** Lets the event loop go round. */
export async function turns(count: number): Promise<void> {
  for (let i = 0; i < count; i++) await turn();
}

/** Waits until a number stays the same for `calmTurns` turns; for what the kernel takes until it is full. */
export async function settled(read: () => number, calmTurns = 300): Promise<number> {
  let last = read();
  for (let calm = 0; calm < calmTurns; calm++) {
    await turn();
    const now = read();
    if (now !== last) calm = 0;
    last = now;
  }
  return last;
}

/** Everything a socket receives until 'end'. */
export function collect(socket: Socket): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    socket.on('data', (chunk: Buffer | string) => chunks.push(typeof chunk === 'string' ? Buffer.from(chunk) : chunk));
    socket.once('end', () => resolve(Buffer.concat(chunks)));
    socket.once('error', reject);
    socket.once('close', () => reject(new Error("'close' without 'end'")));
  });
}

/** Exactly the next `count` bytes; the socket is in flowing mode meanwhile and paused afterwards. */
export function take(socket: Socket, count: number): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    let got = 0;
    const onData = (chunk: Buffer): void => {
      chunks.push(chunk);
      got += chunk.length;
      if (got < count) return;
      finish();
      socket.pause();
      const all = Buffer.concat(chunks);
      if (got > count) socket.unshift(all.subarray(count));
      resolve(all.subarray(0, count));
    };
    const onEnd = (): void => {
      finish();
      reject(new Error(`${got} bytes of ${count} before the end`));
    };
    const onError = (error: Error): void => {
      finish();
      reject(error);
    };
    function finish(): void {
      socket.removeListener('data', onData).removeListener('end', onEnd).removeListener('error', onError);
    }
    socket.on('data', onData).on('end', onEnd).on('error', onError).resume();
  });
}

/** Writes down the named events of an emitter, in order; a data event with its text. */
export function trace(emitter: Emitter, events: readonly string[], log: string[] = [], name = ''): string[] {
  for (const event of events) {
    emitter.on(event, (...args: any[]) => {
      const detail =
        event === 'data'
          ? `:${String(args[0])}`
          : event === 'close' && typeof args[0] === 'boolean'
            ? `:${args[0]}`
            : event === 'error'
              ? `:${args[0].code}`
              : '';
      log.push(`${name}${event}${detail}`);
    });
  }
  return log;
}

// ---------------------------------------------------------------------------------------------------------- what is left

/** What `inspect()` of the engine counts: endpoints, lent buffers, arena slots. All are zero when everything is closed. */
type EngineState = Record<string, number>;

/** The engine's own books, if there is an engine. */
export async function engineState(): Promise<EngineState | undefined> {
  if (engine === 'node') return undefined;
  const path = '#src/engine/engine.ts';
  const module = (await import(path).catch(() => ({}))) as { inspect?: () => EngineState };
  return module.inspect?.();
}

/** What every open descriptor points to. */
export function descriptors(): string[] {
  const found: string[] = [];
  for (const fd of readdirSync('/proc/self/fd')) {
    try {
      found.push(readlinkSync(`/proc/self/fd/${fd}`));
    } catch {
      // The descriptor of this very listing.
    }
  }
  return found.sort();
}

function netResources(): string {
  return process
    .getActiveResourcesInfo()
    .filter((name) => /TCP|Pipe(Connect)?Wrap|PipeServer/.test(name))
    .sort()
    .join(' ');
}

/**
 * Asserts after the file that nothing of it is left: descriptors, handles, buffers of the engine. To be awaited before
 * the first test. What is opened only once, by the first use of something, has to be used by `warm`.
 */
export async function leakGuard(warm?: () => Promise<void>): Promise<void> {
  const server = net.createServer((socket) => socket.end('x')).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const client = net.connect(portOf(server), '127.0.0.1').resume();
  await once(client, 'close');
  server.close();
  await once(server, 'close');
  await warm?.();
  await turns(20);
  // The server's end of that connection may take longer than the client's.
  const settled = performance.now() + WAIT_MS;
  while (Object.values((await engineState()) ?? {}).some((n) => n !== 0) && performance.now() < settled) await turn();
  const isLinux = process.platform === 'linux';
  const opened = isLinux ? descriptors() : [];
  const resources = netResources();

  after(async () => {
    // What keeps the process alive after the last test would keep the whole run waiting: this timer does not, it only ends it.
    setTimeout(() => {
      console.error('something keeps this test file alive');
      process.exit(1);
    }, 4_000).unref();
    let state: EngineState | undefined;
    let left: string[] = [];
    const clean = async (): Promise<boolean> => {
      left = isLinux ? descriptors() : [];
      state = await engineState();
      return (
        left.length <= opened.length && netResources() === resources && Object.values(state ?? {}).every((n) => n === 0)
      );
    };
    const end = performance.now() + 2_000;
    while (!(await clean()) && performance.now() < end) await turn();
    const file = process.argv[1];
    // Fewer is no leak: Node.js itself had one open for a moment when we looked first.
    assert.ok(
      left.length <= opened.length,
      `${file}: descriptors left behind: ${left.filter((name) => !opened.includes(name)).join(', ')}`,
    );
    assert.equal(netResources(), resources, `${file}: active handles are those of the beginning`);
    for (const [name, count] of Object.entries(state ?? {})) assert.equal(count, 0, `${file}: engine: ${name} is zero`);
  });
}

// ------------------------------------------------------------------------------------------------------------ the kernel

/** One row of /proc/net/tcp: the kernel's view of a connection of this machine. */
export interface KernelSocket {
  state: string;
  timer: string;
  inode: string;
}

/** The kernel's view of the IPv4 socket with this local and remote port. */
export function kernelSocket(localPort: number, remotePort: number): KernelSocket | undefined {
  const hex = (port: number): string => port.toString(16).toUpperCase().padStart(4, '0');
  for (const line of readFileSync('/proc/net/tcp', 'utf8').split('\n').slice(1)) {
    const [, local, remote, state, , timer, , , , inode] = line.trim().split(/\s+/);
    if (local?.endsWith(`:${hex(localPort)}`) && remote?.endsWith(`:${hex(remotePort)}`))
      return { state: state as string, timer: timer as string, inode: inode as string };
  }
  return undefined;
}

/** This process's descriptor of a socket with that inode. */
export function descriptorOf(inode: string): number | undefined {
  for (const fd of readdirSync('/proc/self/fd')) {
    try {
      if (readlinkSync(`/proc/self/fd/${fd}`) === `socket:[${inode}]`) return Number(fd);
    } catch {
      // The descriptor of this very listing.
    }
  }
  return undefined;
}
