import assert from 'node:assert/strict';
import { ADDRCONFIG, ALL, V4MAPPED } from 'node:dns';
import type { NetConnectOpts } from 'node:net';
import { join } from 'node:path';
import test from 'node:test';
import net, { engine } from 'millrace';
import { collect, dialling, folder, keep, leakGuard, limit, once, portOf, serve } from '../support/net.ts';

await leakGuard();

/** Where the engine is Node's own, the running Node must be this new for the newest behaviour. */
const since = (major: number): typeof limit & { skip: string | false } => {
  const isOld = engine === 'node' && Number(process.versions.node.split('.')[0]) < major;
  return { ...limit, skip: isOld ? `Node does so since ${major}` : false };
};

type Loose = Record<string, unknown>;
const connect = (options: Loose): ReturnType<typeof net.connect> => net.connect(options as unknown as NetConnectOpts);

/** Asserts that connect throws, and destroys the socket, which Node has given a handle by then. */
function refuses(options: Loose, expected: Loose): void {
  const socket = new net.Socket();
  assert.throws(() => socket.connect(options as unknown as NetConnectOpts), expected);
  socket.destroy();
}

// ---- what a lookup is asked for ----

const asked: [string, Loose, Loose][] = [
  ['nothing', {}, { family: undefined, hints: ADDRCONFIG, all: true }],
  ['family 0', { family: 0 }, { family: 0, hints: ADDRCONFIG, all: true }],
  ['family 4', { family: 4 }, { family: 4, hints: 0 }],
  ['family 6', { family: 6 }, { family: 6, hints: 0 }],
  ["family 'IPv4'", { family: 'IPv4' }, { family: 4, hints: 0 }],
  ["family 'IPv6'", { family: 'IPv6' }, { family: 6, hints: 0 }],
  ['family and hints', { family: 6, hints: V4MAPPED | ALL }, { family: 6, hints: V4MAPPED | ALL }],
  ['hints', { hints: V4MAPPED }, { family: undefined, hints: V4MAPPED, all: true }],
  ['localAddress', { localAddress: '127.0.0.2' }, { family: undefined, hints: ADDRCONFIG }],
  ['autoSelectFamily false', { autoSelectFamily: false }, { family: undefined, hints: ADDRCONFIG }],
  ['autoSelectFamily null', { autoSelectFamily: null }, { family: undefined, hints: ADDRCONFIG, all: true }],
];
for (const [name, options, expected] of asked) {
  test(`with ${name} the lookup is asked for ${JSON.stringify(expected)}`, limit, async (t) => {
    const got = await new Promise<[string, Loose]>((resolve) => {
      keep(
        t,
        connect({ port: 1, host: 'mill', ...options, lookup: (host: string, o: Loose) => resolve([host, { ...o }]) }),
      );
    });
    assert.deepEqual(got, ['mill', expected]);
  });
}

const badHints: [unknown, string][] = [
  [1, 'ERR_INVALID_ARG_VALUE'],
  [-1, 'ERR_INVALID_ARG_VALUE'],
  ['x', 'ERR_INVALID_ARG_TYPE'],
];
for (const [hints, code] of badHints) {
  test(`hints ${JSON.stringify(hints)} are ${code}`, limit, () => {
    refuses({ port: 1, host: 'localhost', hints }, { code });
  });
}

test('a family that is none is an error of the lookup', limit, () => {
  for (const family of [3, 'x', {}]) refuses({ port: 1, host: 'localhost', family }, { code: 'ERR_INVALID_ARG_VALUE' });
});

// ---- what a lookup brings ----

const PORT = 1;
const noAddress = (text: string): Loose => ({ code: 'ERR_INVALID_IP_ADDRESS', message: `Invalid IP address: ${text}` });
const noFamily = (family: unknown): Loose => ({
  code: 'ERR_INVALID_ADDRESS_FAMILY',
  message: `Invalid address family: ${String(family)} x:${PORT}`,
  host: 'x',
  port: PORT,
});
const mismatch = (ip: string): Loose => ({
  code: 'EINVAL',
  message: `connect EINVAL ${ip}:${PORT} - Local (undefined:undefined)`,
  syscall: 'connect',
});

const single: [unknown[], Loose][] = [
  [['nope', 4], noAddress('nope')],
  [[undefined, undefined], noAddress('undefined')],
  [[null, 4], noAddress('null')],
  [[5, 4], noAddress('5')],
  [[['127.0.0.1'], 4], noAddress("[ '127.0.0.1' ]")],
  [['127.0.0.1', '4'], noFamily('4')],
  [['127.0.0.1', undefined], noFamily(undefined)],
  [['127.0.0.1', 'IPv4'], noFamily('IPv4')],
  [['127.0.0.1', 6], mismatch('127.0.0.1')],
  [['::1', 4], mismatch('::1')],
];
for (const [result, expected] of single) {
  test(`a lookup that brings ${JSON.stringify(result)} is ${String(expected['message'])}`, since(22), async () => {
    const lookup = (_host: string, _options: Loose, callback: (...args: unknown[]) => void): void =>
      process.nextTick(callback, null, ...result);
    const [error] = await once(connect({ port: PORT, host: 'x', autoSelectFamily: false, lookup }), 'error');
    for (const [key, value] of Object.entries(expected)) assert.equal(error[key], value, key);
  });
}

const several: [unknown, Loose][] = [
  [[{ address: 'nope', family: 4 }], noAddress('nope')],
  [[{ address: 5, family: 4 }], noAddress('5')],
  [[{ address: '127.0.0.1', family: 'IPv4' }], noFamily('IPv4')],
  [
    [
      { address: '127.0.0.1', family: 5 },
      { address: 'nope', family: 4 },
    ],
    noFamily(5),
  ],
  [['127.0.0.1'], noAddress('undefined')],
  ['127.0.0.1', noAddress('undefined')],
  [[{ address: '127.0.0.1', family: 6 }], mismatch('127.0.0.1')],
  [
    [
      { address: '127.0.0.1', family: 6 },
      { address: '::1', family: 4 },
    ],
    { code: 'EINVAL', name: 'AggregateError' },
  ],
];
/** Node throws a TypeError of its own out of the lookup's callback. */
const worse: [unknown, Loose][] = [undefined, null, {}, 5, [], [null]].map((result) => [
  result,
  noAddress('undefined'),
]);
for (const [result, expected] of [...several, ...(engine === 'node' ? [] : worse)]) {
  const name = JSON.stringify(result);
  test(`a lookup of all addresses that brings ${name} is ${String(expected['message'])}`, limit, async () => {
    const lookup = (_host: string, _options: Loose, callback: (...args: unknown[]) => void): void =>
      process.nextTick(callback, null, result);
    const client = connect({ port: PORT, host: 'x', autoSelectFamily: true, lookup });
    const [error] = await once(client, 'error');
    for (const [key, value] of Object.entries(expected)) assert.equal(error[key], value, key);
  });
}

// ---- where from ----

const ports: [number, string | undefined][] = [
  [65536, 'bind EADDRINUSE 0.0.0.0:65536'],
  [1.5, 'bind EADDRINUSE 0.0.0.0:1.5'],
  [Number.NaN, undefined],
  [0, undefined],
];
for (const [localPort, message] of ports) {
  test(`localPort ${localPort} is ${message ?? 'any port'}`, limit, async (t) => {
    const server = await serve(t, (socket) => socket.end());
    const client = dialling(t, { port: portOf(server), host: '127.0.0.1', localPort });
    if (message === undefined) return void (await once(client, 'connect'));
    const [error] = await once(client, 'error');
    assert.equal(error.message, message);
  });
}

test('an address that is not here can not be bound', limit, async (t) => {
  const client = dialling(t, { port: 1, host: '127.0.0.1', localAddress: '192.0.2.1' });
  const [error] = await once(client, 'error');
  assert.equal(error.message, 'bind EADDRNOTAVAIL 192.0.2.1');
});

// ---- where to ----

test('a host with a null byte is an error', since(22), () => {
  refuses(
    { port: 1, host: 'a\0b' },
    {
      code: 'ERR_INVALID_ARG_VALUE',
      message: "The property 'options.host' must be a string without null bytes. Received 'a\\x00b'",
    },
  );
});

test('no host, or an empty one, is localhost', limit, async (t) => {
  const server = await serve(t, (socket) => socket.end('hi'), { listen: { port: 0, host: 'localhost' } });
  for (const host of [undefined, null, ''])
    assert.equal((await collect(keep(t, connect({ port: portOf(server), host })))).toString(), 'hi');
});

test('an empty path without a port is port 0 of localhost', limit, async (t) => {
  const [error] = await once(keep(t, connect({ path: '' })), 'error');
  assert.equal(error.code, 'ECONNREFUSED');
  assert.equal(error.syscall, 'connect');
});

test('a path of 108 bytes is reached, a longer one is EINVAL', since(24), async (t) => {
  const directory = await folder(t);
  const path = join(directory, 'x'.repeat(108 - directory.length - 1));
  assert.equal(Buffer.byteLength(path), 108);
  await serve(t, (socket) => socket.end('hi'), { listen: { path } });
  assert.equal((await collect(keep(t, net.connect(path)))).toString(), 'hi');
  for (const long of [`${path}x`, `\0${path}`, `/${'é'.repeat(54)}`]) {
    const [error] = await once(keep(t, net.connect({ path: long })), 'error');
    assert.deepEqual([error.code, error.errno, error.syscall, error.address], ['EINVAL', -22, 'connect', long]);
    assert.equal(error.message, `connect EINVAL ${long} - Local (undefined:undefined)`);
    const [refused] = await once(keep(t, net.createServer().listen(long)), 'error');
    assert.equal(refused.code, 'EINVAL');
  }
});

test('an abstract path of 108 bytes is reached', since(22), async (t) => {
  const path = `\0millrace-${process.pid}-`.padEnd(108, 'x');
  await serve(t, (socket) => socket.end('hi'), { listen: { path } });
  assert.equal((await collect(keep(t, net.connect(path)))).toString(), 'hi');
});

test('a path with a null byte is EINVAL, not the path before it', since(22), async (t) => {
  const path = join(await folder(t), 's');
  await serve(t, (socket) => socket.end('hi'), { listen: { path } });
  const [error] = await once(keep(t, net.connect({ path: `${path}\0.other` })), 'error');
  assert.equal(error.code, 'EINVAL');
  const [refused] = await once(keep(t, net.createServer().listen(`${path}2\0`)), 'error');
  assert.equal(refused.code, 'EINVAL');
});
