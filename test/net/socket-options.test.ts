import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import nodeNet, { type NetConnectOpts, type Socket } from 'node:net';
import test from 'node:test';
import net, { engine } from 'millrace';
import { loadNative, type Native } from '#src/engine/native.ts';
import {
  close,
  descriptorOf,
  dial,
  dialling,
  hasIPv6,
  keep,
  kernelSocket,
  leakGuard,
  limit,
  type Net,
  once,
  pair,
  portOf,
  serve,
  within,
} from '../support/net.ts';

await leakGuard();

/** The native part, which can be asked on every engine; a reason in words where there is none. */
const native = loadNative();

/** What the kernel holds for a TCP socket: getsockopt(2), with the names of socket(7), tcp(7) and ip(7). */
function optionsOf(socket: Socket): Record<string, number> {
  const { fd } = (socket as unknown as { _handle: { fd: number } })._handle;
  const get = (level: number, name: number): number => {
    const value = new Int32Array(1);
    assert.equal((native as Native).getOption(fd, level, name, new Uint8Array(value.buffer)) > 0, true);
    return value[0] as number;
  };
  const [SOL_SOCKET, IPPROTO_TCP, IPPROTO_IP] = [1, 6, 0];
  return {
    keepAlive: get(SOL_SOCKET, 9),
    noDelay: get(IPPROTO_TCP, 1),
    idle: get(IPPROTO_TCP, 4),
    interval: get(IPPROTO_TCP, 5),
    count: get(IPPROTO_TCP, 6),
    userTimeout: get(IPPROTO_TCP, 18),
    tos: get(IPPROTO_IP, 1),
  };
}

const skip = typeof native === 'string' ? native : false;

test('what is set on one socket is not set on the next', { ...limit, skip }, async (t) => {
  const { client } = await pair(t);
  client.setNoDelay();
  client.setKeepAlive(true, 33_000);
  client.setNoDelay(false);
  const { client: second } = await pair(t, { client: { keepAlive: true, keepAliveInitialDelay: 7000 } });
  const { client: third } = await pair(t, { client: { noDelay: true } });
  const seen = [client, second, third].map(optionsOf).map(({ noDelay, keepAlive }) => [noDelay, keepAlive]);
  assert.deepEqual(seen, [
    [0, 1],
    [0, 1],
    [1, 0],
  ]);
  assert.deepEqual([optionsOf(client)['idle'], optionsOf(second)['idle']], [33, 7]);
});

test('a new socket has the properties of one of Node, and no others', limit, () => {
  assert.deepEqual(Object.keys(new net.Socket()).sort(), Object.keys(new nodeNet.Socket()).sort());
});

test('setNoDelay and setKeepAlive reach the kernel', { ...limit, skip }, async (t) => {
  const { client } = await pair(t);
  let options = optionsOf(client);
  assert.equal(options['noDelay'], 0);
  assert.equal(options['keepAlive'], 0);
  assert.equal(client.setNoDelay(), client);
  assert.equal(client.setKeepAlive(true, 33_000), client);
  options = optionsOf(client);
  assert.equal(options['noDelay'], 1);
  assert.equal(options['keepAlive'], 1);
  assert.equal(options['idle'], 33);
  client.setNoDelay(false);
  client.setKeepAlive(false);
  options = optionsOf(client);
  assert.equal(options['noDelay'], 0);
  assert.equal(options['keepAlive'], 0);
});

type KeepAlive = (...args: unknown[]) => Socket;
const setKeepAlive = (socket: Socket, ...args: unknown[]): Socket =>
  (socket.setKeepAlive as unknown as KeepAlive).apply(socket, args);

/** Node's own sockets have them since 24.19 and 26.4, ours on every line. */
const hasProbes = engine !== 'node' || nodeNet.Socket.prototype.setKeepAlive.length >= 4;

/** What `setKeepAlive` is called with, and what the kernel then holds: idle seconds, interval seconds, probes. */
const SYSTEMS_OWN = [7200, 75, 9];
const PROBES: [args: unknown[], idle: number[]][] = [
  [[true], SYSTEMS_OWN],
  [[true, 999], SYSTEMS_OWN],
  [
    [true, 33_000],
    [33, 1, 10],
  ],
  [
    [true, 33_999, 5999],
    [33, 5, 10],
  ],
  [
    [true, 33_000, 5000, 3],
    [33, 5, 3],
  ],
  [
    [true, 33_000, undefined, 3],
    [33, 1, 3],
  ],
  [
    [true, 33_000, -5000, 1.5],
    [33, 1, 10],
  ],
  [[true, 33_000, 999, 3], SYSTEMS_OWN],
  [[true, 33_000, 5000, 0], SYSTEMS_OWN],
  [[true, 40_000_000, 5000, 3], SYSTEMS_OWN], // the kernel takes 32767 seconds at most: tcp(7) says nothing of it
  [
    [true, 33_000, 5000, 128],
    [33, 5, 9],
  ],
  [[{ enable: true, initialDelay: 7000, interval: 3000, count: 4 }], [7, 3, 4]],
  [[{ enable: true, initialDelay: 7000 }], [7, 1, 10]],
];

test('idle time, interval and count of keep-alive reach the kernel', { ...limit, skip }, async (t) => {
  if (!hasProbes) return t.skip('since Node 24.19 and 26.4');
  const server = await serve(t);
  for (const [args, expected] of PROBES) {
    const connected = await dial(t, server);
    assert.equal(setKeepAlive(connected, ...args), connected);
    const fresh = keep(t, new net.Socket());
    assert.equal(setKeepAlive(fresh, ...args), fresh);
    fresh.connect(portOf(server), '127.0.0.1');
    await once(fresh, 'connect');
    for (const socket of [connected, fresh]) {
      const options = optionsOf(socket);
      assert.deepEqual(
        [options['keepAlive'], options['idle'], options['interval'], options['count']],
        [1, ...expected],
        JSON.stringify(args),
      );
    }
  }
});

test('keep-alive is switched off by every form', { ...limit, skip }, async (t) => {
  if (!hasProbes) return t.skip('since Node 24.19 and 26.4');
  const { client } = await pair(t);
  for (const off of [[], [false], [null], [{}], [{ initialDelay: 5000 }]]) {
    setKeepAlive(client, true, 5000);
    assert.equal(optionsOf(client)['keepAlive'], 1);
    setKeepAlive(client, ...off);
    assert.equal(optionsOf(client)['keepAlive'], 0, JSON.stringify(off));
  }
});

test('setNoDelay and setKeepAlive before the connection reach the kernel', { ...limit, skip }, async (t) => {
  const server = await serve(t);
  const client = dialling(t, server);
  client.setNoDelay(true).setKeepAlive(true, 44_000);
  await once(client, 'connect');
  const options = optionsOf(client);
  assert.deepEqual([options['noDelay'], options['keepAlive'], options['idle']], [1, 1, 44]);
});

test('the options noDelay and keepAlive of connect and of a server reach the kernel', { ...limit, skip }, async (t) => {
  const { client, peer } = await pair(t, {
    server: { noDelay: true, keepAlive: true, keepAliveInitialDelay: 55_000 },
    client: { noDelay: true, keepAlive: true, keepAliveInitialDelay: 66_000 } as object,
  });
  const [atClient, atPeer] = [optionsOf(client), optionsOf(peer)];
  assert.deepEqual([atClient['noDelay'], atClient['keepAlive'], atClient['idle']], [1, 1, 66]);
  assert.deepEqual([atPeer['noDelay'], atPeer['keepAlive'], atPeer['idle']], [1, 1, 55]);
});

test('a keep-alive timer of the kernel runs', { ...limit, skip: process.platform !== 'linux' }, async (t) => {
  const { client } = await pair(t);
  const timer = (): string | undefined =>
    kernelSocket(client.localPort as number, client.remotePort as number)?.timer.slice(0, 2);
  assert.equal(timer(), '00');
  client.setKeepAlive(true, 10_000);
  assert.equal(timer(), '02');
});

test('setNoDelay and setKeepAlive are accepted at every stage', limit, async (t) => {
  const fresh = keep(t, new net.Socket());
  assert.equal(fresh.setNoDelay().setKeepAlive(true), fresh);
  const { client } = await pair(t);
  client.destroy();
  assert.equal(client.setNoDelay().setKeepAlive(true, 1000), client);
  await close(client);
});

test('setNoDelay on a unix socket does nothing', limit, async (t) => {
  const path = `\0millrace-options-${process.pid}`;
  if (process.platform !== 'linux') return t.skip('Linux only');
  const { client } = await pair(t, { listen: { path } });
  assert.equal(client.setNoDelay(true), client);
  assert.equal(client.setKeepAlive(true), client);
});

type Ours = Socket & { setUserTimeout(ms: number): Ours };
const hasUserTimeout = 'setUserTimeout' in net.Socket.prototype;

test('setUserTimeout reaches the kernel, before and after the connection', { ...limit, skip }, async (t) => {
  if (!hasUserTimeout) return t.skip('ours, not on this engine');
  const server = await serve(t);
  const client = dialling(t, server) as Ours;
  assert.equal(client.setUserTimeout(7001), client);
  await once(client, 'connect');
  assert.equal(optionsOf(client)['userTimeout'], 7001);
  client.setUserTimeout(2 ** 31 - 1);
  assert.equal(optionsOf(client)['userTimeout'], 2 ** 31 - 1);
  client.setUserTimeout(0);
  assert.equal(optionsOf(client)['userTimeout'], 0);
});

test('setUserTimeout refuses what is no time, and does nothing on a unix socket', limit, async (t) => {
  if (!hasUserTimeout) return t.skip('ours, not on this engine');
  const socket = keep(t, new net.Socket()) as Ours;
  for (const [value, code] of [
    ['1', 'ERR_INVALID_ARG_TYPE'],
    [undefined, 'ERR_INVALID_ARG_TYPE'],
    [-1, 'ERR_OUT_OF_RANGE'],
    [1.5, 'ERR_OUT_OF_RANGE'],
    [Number.NaN, 'ERR_OUT_OF_RANGE'],
    [2 ** 31, 'ERR_OUT_OF_RANGE'],
  ] as const)
    assert.throws(() => socket.setUserTimeout(value as number), { code }, String(value));
  const { client } = await pair(t, { listen: { path: `\0millrace-user-timeout-${process.pid}` } });
  assert.equal((client as Ours).setUserTimeout(1000), client);
});

test('ref and unref return the socket, and the server', limit, async (t) => {
  const { client, server } = await pair(t);
  assert.equal(client.unref(), client);
  assert.equal(client.ref(), client);
  assert.equal(server.unref(), server);
  assert.equal(server.ref(), server);
  const fresh = keep(t, new net.Socket());
  assert.equal(fresh.unref(), fresh);
  assert.equal(fresh.ref(), fresh);
});

test('a socket is a stream.Duplex and an EventEmitter by its prototypes', limit, async () => {
  const { Duplex } = await import('node:stream');
  const { EventEmitter } = await import('node:events');
  const socket = new net.Socket();
  assert.ok(socket instanceof Duplex);
  // Where the engine is Node's own, Node's classes stand between.
  const [BaseSocket, BaseServer] = net.engine === 'node' ? [nodeNet.Socket, nodeNet.Server] : [Duplex, EventEmitter];
  assert.equal(Object.getPrototypeOf(net.Socket.prototype), BaseSocket.prototype);
  assert.equal(Object.getPrototypeOf(net.Socket), BaseSocket);
  assert.equal(Object.getPrototypeOf(net.Server.prototype), BaseServer.prototype);
  assert.equal(socket.constructor.name, 'Socket');
  assert.equal(net.createServer().constructor.name, 'Server');
  assert.equal(socket.allowHalfOpen, false);
  assert.equal(new net.Socket({ allowHalfOpen: true }).allowHalfOpen, true);
});

/** What we have on top of Node: our own methods, and overrides that gather the writes of a tick. */
const ON_TOP = ['setUserTimeout', 'tcpInfo', 'fd', 'destroy', 'write', 'writableCorked'];

const isNodes = net.engine === 'node' ? "Node's own prototype is underneath" : false;

test('the prototype of Socket has the names of Node, visible and fixed as there', { ...limit, skip: isNodes }, () => {
  const nodes = nodeNet.Socket.prototype as unknown as object;
  const ours = net.Socket.prototype as unknown as object;
  const newer = ['getTypeOfService', 'setTypeOfService'];
  const extra = Object.getOwnPropertyNames(ours).filter((name) => !Object.hasOwn(nodes, name));
  for (const name of extra) assert.ok(ON_TOP.includes(name) || newer.includes(name), name);
  for (const name of Object.getOwnPropertyNames(nodes)) {
    const [expected, actual] = [nodes, ours].map((object) => Object.getOwnPropertyDescriptor(object, name));
    assert.ok(actual, `${name} is there`);
    const shape = (at: PropertyDescriptor | undefined): unknown[] => [at?.enumerable, at?.configurable, typeof at?.get];
    assert.deepEqual(shape(actual), shape(expected), name);
  }
  const visible = (object: object): string[] => {
    const names = [];
    for (const name in object) if (!ON_TOP.slice(0, 3).includes(name) && !newer.includes(name)) names.push(name);
    return names.sort();
  };
  assert.deepEqual(visible(ours), visible(nodes));
});

test('a socket has the properties of a Node socket, and can be written as JSON', limit, async (t) => {
  const { client } = await pair(t);
  const fresh = (module: Net): Socket => keep(t, new module.Socket());
  const names = (socket: Socket): string[] => Object.keys(JSON.parse(JSON.stringify(socket)) as object).sort();
  assert.deepEqual(names(fresh(net)), names(fresh(nodeNet)));
  assert.ok(!Object.keys(client).includes('_handle'));
  assert.doesNotThrow(() => JSON.stringify(client));
  const inner = client as unknown as Record<string, unknown>;
  for (const name of ['_server', '_parent', 'server', '_pendingData']) assert.equal(inner[name], null, name);
  assert.deepEqual([inner['_hadError'], inner['_host'], inner['_connecting']], [false, null, false]);
});

test('a handle is there as soon as connect() was called, and is what the connection uses', limit, async (t) => {
  const server = await serve(t);
  type Handle = Record<string, (...args: unknown[]) => unknown>;
  const socket = keep(t, new net.Socket()) as unknown as Socket & { _handle: Handle | null };
  assert.equal(socket._handle, null);
  socket.connect({ port: portOf(server), host: '127.0.0.1', noDelay: true } as NetConnectOpts);
  const handle = socket._handle as unknown as Handle;
  socket.setNoDelay(true);
  const calls: unknown[][] = [];
  const { setNoDelay } = handle;
  handle['setNoDelay'] = (...args) => {
    calls.push(args);
    return setNoDelay?.apply(handle, args);
  };
  await once(socket, 'connect');
  assert.equal(socket._handle, handle);
  assert.deepEqual(calls, [[true]]);
  const state = handle as unknown as { fd: number; reading: boolean; writeQueueSize: number; bytesRead: number };
  assert.ok(state.fd > 2);
  assert.deepEqual([state.writeQueueSize, state.bytesRead], [0, 0]);
  assert.equal(handle['hasRef']?.(), true);
  handle['unref']?.();
  assert.equal(handle['hasRef']?.(), false);
  handle['ref']?.();
  const out: Record<string, unknown> = {};
  assert.equal(handle['getsockname']?.(out), 0);
  assert.deepEqual(out, { address: '127.0.0.1', family: 'IPv4', port: socket.localPort });
  assert.equal(handle['getpeername']?.(out), 0);
  assert.equal(out['port'], portOf(server));
  assert.equal(typeof handle['getAsyncId']?.(), 'number');
  socket.destroy();
  assert.equal(socket._handle, null);
  await close(socket);
});

test('a class can extend Socket and Server, and old code can inherit from them', limit, async (t) => {
  const { inherits } = await import('node:util');
  class Mine extends net.Socket {
    mark = 'mine';
  }
  class MyServer extends net.Server {}
  function Old(this: Socket): void {
    (net.Socket as unknown as () => void).call(this);
  }
  inherits(Old, net.Socket);

  const server = keep(t, new MyServer((socket: Socket) => socket.end('to you')));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const port = (server.address() as { port: number }).port;
  for (const socket of [new Mine(), new (Old as unknown as new () => Socket)()]) {
    keep(t, socket);
    socket.connect(port, '127.0.0.1');
    assert.equal(String((await once(socket, 'data'))[0]), 'to you');
    assert.ok(socket instanceof net.Socket);
  }
});

test('typeOfService is set and read', limit, async (t) => {
  const { client } = await pair(t);
  const socket = client as Socket & { setTypeOfService(tos: number): Socket; getTypeOfService(): number };
  if (!('setTypeOfService' in net.Socket.prototype)) return t.skip('since Node 24.15 and 25.6');
  assert.equal(typeof socket.setTypeOfService, 'function');
  assert.equal(socket.getTypeOfService(), 0);
  assert.equal(socket.setTypeOfService(0x10), socket);
  assert.equal(socket.getTypeOfService(), 0x10);
  for (const [value, code] of [
    [256, 'ERR_OUT_OF_RANGE'],
    [-1, 'ERR_OUT_OF_RANGE'],
    [1.5, 'ERR_OUT_OF_RANGE'],
    [Number.NaN, 'ERR_INVALID_ARG_TYPE'],
    ['16', 'ERR_INVALID_ARG_TYPE'],
    [undefined, 'ERR_INVALID_ARG_TYPE'],
  ] as const)
    assert.throws(() => socket.setTypeOfService(value as number), { code }, String(value));
  assert.throws(() => new net.Socket({ typeOfService: 256 } as object), { code: 'ERR_OUT_OF_RANGE' });
  const fresh = keep(t, new net.Socket({ typeOfService: 8 } as object)) as typeof socket;
  assert.equal(fresh.getTypeOfService(), 8);
  if (await hasIPv6()) {
    const options = { listen: { port: 0, host: '::1' }, client: { typeOfService: 0x20 } as object };
    const { client: ipv6 } = await pair(t, options);
    assert.equal((ipv6 as typeof socket).getTypeOfService(), 0x20);
  }
  const { client: unix } = await pair(t, { listen: { path: `\0millrace-tos-${process.pid}` } });
  assert.equal((unix as typeof socket).setTypeOfService(4), unix);
  assert.equal((unix as typeof socket).getTypeOfService(), 4);
});

test('a socket made of a descriptor is a connection', { ...limit, skip: process.platform !== 'linux' }, async (t) => {
  // One end of a connection whose other end is in a child: what inetd does.
  const server = await serve(t, (socket) => socket.end('from the server'));
  const client = await dial(t, server);
  const row = kernelSocket(client.localPort as number, client.remotePort as number);
  const fd = descriptorOf((row as { inode: string }).inode) as number;
  const { root } = await import('../support/child.ts');
  client.pause();
  const source = `import net from 'millrace'; const socket = new net.Socket({ fd: 3, readable: true, writable: true });
    let got = ''; socket.setEncoding('utf8').on('data', (text) => (got += text)).on('end', () => process.stdout.write(got));`;
  const env = { ...process.env };
  delete env['NODE_TEST_CONTEXT'];
  const child = spawn(process.execPath, ['--no-warnings', '--input-type=module', '-e', source], {
    cwd: root,
    env,
    stdio: ['ignore', 'pipe', 'inherit', fd],
  });
  t.after(() => {
    child.kill('SIGKILL');
  });
  let got = '';
  child.stdout?.on('data', (chunk: Buffer) => (got += chunk));
  const [code] = await within(once(child, 'close'), 'the child');
  assert.equal(code, 0);
  // The parent may have been quicker.
  assert.ok(got === 'from the server' || got === '', got);
});
