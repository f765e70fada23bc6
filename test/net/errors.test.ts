import assert from 'node:assert/strict';
import type { NetConnectOpts, Server, Socket } from 'node:net';
import { constants } from 'node:os';
import { join } from 'node:path';
import test from 'node:test';
import net from 'millrace';
import { run } from '../support/child.ts';
import {
  close,
  collect,
  dialling,
  folder,
  freePort,
  hasIPv6,
  keep,
  leakGuard,
  limit,
  once,
  pair,
  portOf,
  REFUSED_PORT,
  serve,
  trace,
} from '../support/net.ts';

await leakGuard();

type Fields = Record<string, unknown>;

/** Every own field of an error but the stack, as a plain object: what a user can see of it. */
function fields(error: Error): Fields {
  assert.ok(error instanceof Error);
  const all: Fields = { name: error.name, message: error.message };
  for (const key of Object.keys(error)) all[key] = (error as unknown as Fields)[key];
  return all;
}

async function listenError(t: test.TestContext, listen: (server: Server) => void): Promise<Fields> {
  const server = keep(t, net.createServer());
  const failed = once(server, 'error');
  listen(server);
  const [error] = await failed;
  assert.equal(server.listening, false);
  return fields(error);
}

async function connectError(t: test.TestContext, options: NetConnectOpts): Promise<Fields> {
  const socket = dialling(t, options);
  const log = trace(socket, ['connect', 'ready', 'end', 'error', 'close']);
  const [error] = await once(socket, 'error');
  await once(socket, 'close');
  assert.deepEqual(log, [`error:${error.code}`, 'close:true']);
  return fields(error);
}

const EADDRINUSE = -constants.errno.EADDRINUSE;
const ECONNREFUSED = -constants.errno.ECONNREFUSED;

test('EADDRINUSE of a port has all fields', limit, async (t) => {
  const port = portOf(await serve(t));
  assert.deepEqual(await listenError(t, (server) => server.listen(port, '127.0.0.1')), {
    name: 'Error',
    message: `listen EADDRINUSE: address already in use 127.0.0.1:${port}`,
    code: 'EADDRINUSE',
    errno: EADDRINUSE,
    syscall: 'listen',
    address: '127.0.0.1',
    port,
  });
});

test('EADDRINUSE of a port of every address names ::', limit, async (t) => {
  if (!(await hasIPv6())) return t.skip('no ::1 here');
  const port = portOf(await serve(t, undefined, { listen: { port: 0 } }));
  assert.deepEqual(await listenError(t, (server) => server.listen(port)), {
    name: 'Error',
    message: `listen EADDRINUSE: address already in use :::${port}`,
    code: 'EADDRINUSE',
    errno: EADDRINUSE,
    syscall: 'listen',
    address: '::',
    port,
  });
});

test('EADDRINUSE of a path has port -1', limit, async (t) => {
  const path = join(await folder(t), 's');
  await serve(t, undefined, { listen: { path } });
  assert.deepEqual(await listenError(t, (server) => server.listen(path)), {
    name: 'Error',
    message: `listen EADDRINUSE: address already in use ${path}`,
    code: 'EADDRINUSE',
    errno: EADDRINUSE,
    syscall: 'listen',
    address: path,
    port: -1,
  });
});

test('EADDRNOTAVAIL names the address without port 0', limit, async (t) => {
  // 192.0.2.0/24 is for documentation (RFC 5737): nobody has it.
  assert.deepEqual(await listenError(t, (server) => server.listen(0, '192.0.2.1')), {
    name: 'Error',
    message: 'listen EADDRNOTAVAIL: address not available 192.0.2.1',
    code: 'EADDRNOTAVAIL',
    errno: -constants.errno.EADDRNOTAVAIL,
    syscall: 'listen',
    address: '192.0.2.1',
  });
});

test('a path in a folder that does not exist is EACCES, as libuv has it', limit, async (t) => {
  const path = join(await folder(t), 'no', 's');
  assert.deepEqual(await listenError(t, (server) => server.listen(path)), {
    name: 'Error',
    message: `listen EACCES: permission denied ${path}`,
    code: 'EACCES',
    errno: -constants.errno.EACCES,
    syscall: 'listen',
    address: path,
    port: -1,
  });
});

test('EACCES of a privileged port has all fields', limit, async (t) => {
  const isRoot = process.getuid?.() === 0;
  const child = run(
    t,
    `net.createServer().on('error', (error) => say(JSON.stringify({ ...error, message: error.message })))
      .listen(1, '127.0.0.1', () => { say('listens'); process.exit(); });`,
    isRoot ? { uid: 65534, gid: 65534 } : {},
  );
  const { stdout, stderr } = await child.exit;
  if (stdout === 'listens\n' || stderr !== '') return t.skip('no privileged ports here, or no way to be another user');
  assert.deepEqual(JSON.parse(stdout), {
    message: 'listen EACCES: permission denied 127.0.0.1:1',
    code: 'EACCES',
    errno: -constants.errno.EACCES,
    syscall: 'listen',
    address: '127.0.0.1',
    port: 1,
  });
});

test("a server's error comes in a later tick than listen", limit, async (t) => {
  const port = portOf(await serve(t));
  const server = keep(t, net.createServer());
  let isSync = true;
  const failed = new Promise<boolean>((resolve) => server.on('error', () => resolve(isSync)));
  server.listen(port, '127.0.0.1');
  isSync = false;
  assert.equal(await failed, false);
});

test('a name that cannot be looked up is an error of the server', limit, async (t) => {
  // RFC 6761: .invalid never resolves.
  const error = await listenError(t, (server) => server.listen(0, 'nowhere.invalid'));
  assert.equal(error['syscall'], 'getaddrinfo');
  assert.equal(error['hostname'], 'nowhere.invalid');
});

test('ECONNREFUSED of IPv4 has all fields', limit, async (t) => {
  const port = REFUSED_PORT;
  assert.deepEqual(await connectError(t, { port, host: '127.0.0.1' }), {
    name: 'Error',
    message: `connect ECONNREFUSED 127.0.0.1:${port}`,
    code: 'ECONNREFUSED',
    errno: ECONNREFUSED,
    syscall: 'connect',
    address: '127.0.0.1',
    port,
  });
});

test('ECONNREFUSED of IPv6 has all fields', limit, async (t) => {
  if (!(await hasIPv6())) return t.skip('no ::1 here');
  const port = REFUSED_PORT;
  assert.deepEqual(await connectError(t, { port, host: '::1' }), {
    name: 'Error',
    message: `connect ECONNREFUSED ::1:${port}`,
    code: 'ECONNREFUSED',
    errno: ECONNREFUSED,
    syscall: 'connect',
    address: '::1',
    port,
  });
});

test('a refused client that was bound names its own address', limit, async (t) => {
  const port = REFUSED_PORT;
  const localPort = await freePort();
  assert.deepEqual(await connectError(t, { port, host: '127.0.0.1', localAddress: '127.0.0.1', localPort }), {
    name: 'Error',
    message: `connect ECONNREFUSED 127.0.0.1:${port} - Local (127.0.0.1:${localPort})`,
    code: 'ECONNREFUSED',
    errno: ECONNREFUSED,
    syscall: 'connect',
    address: '127.0.0.1',
    port,
    localAddress: '127.0.0.1',
    localPort,
  });
});

test('a local address that is not ours is an error of bind', limit, async (t) => {
  const port = portOf(await serve(t));
  assert.deepEqual(await connectError(t, { port, host: '127.0.0.1', localAddress: '192.0.2.1' }), {
    name: 'Error',
    message: 'bind EADDRNOTAVAIL 192.0.2.1',
    code: 'EADDRNOTAVAIL',
    errno: -constants.errno.EADDRNOTAVAIL,
    syscall: 'bind',
    address: '192.0.2.1',
  });
});

test('ENOENT of a unix socket has all fields and no port', limit, async (t) => {
  const path = join(await folder(t), 'missing');
  assert.deepEqual(await connectError(t, { path }), {
    name: 'Error',
    message: `connect ENOENT ${path}`,
    code: 'ENOENT',
    errno: -constants.errno.ENOENT,
    syscall: 'connect',
    address: path,
  });
});

test('a file that is not a socket is refused', limit, async (t) => {
  const path = join(await folder(t), 'file');
  const { writeFileSync } = await import('node:fs');
  writeFileSync(path, '');
  assert.deepEqual(await connectError(t, { path }), {
    name: 'Error',
    message: `connect ECONNREFUSED ${path}`,
    code: 'ECONNREFUSED',
    errno: ECONNREFUSED,
    syscall: 'connect',
    address: path,
  });
});

test('the error of a lookup is the error of the socket', limit, async (t) => {
  const failure = Object.assign(new Error('getaddrinfo ENOTFOUND nowhere'), { code: 'ENOTFOUND', hostname: 'nowhere' });
  const socket = dialling(t, {
    port: 1,
    host: 'nowhere',
    lookup: (_host, _options, callback) => process.nextTick(callback, failure, undefined, undefined),
  });
  const lookups: unknown[][] = [];
  socket.on('lookup', (...args) => lookups.push(args));
  const [error] = await once(socket, 'error');
  assert.equal(error, failure);
  assert.deepEqual(await once(socket, 'close'), [true]);
  assert.deepEqual(lookups, [[failure, undefined, undefined, 'nowhere']]);
});

test('ENOTFOUND of the system lookup has all fields', limit, async (t) => {
  const error = await connectError(t, { port: 1, host: 'nowhere.invalid' });
  assert.equal(error['syscall'], 'getaddrinfo');
  assert.equal(error['hostname'], 'nowhere.invalid');
  assert.match(error['message'] as string, /^getaddrinfo (ENOTFOUND|EAI_AGAIN) nowhere\.invalid$/);
});

test('when every address fails, an AggregateError has each error', limit, async (t) => {
  if (!(await hasIPv6())) return t.skip('no ::1 here');
  const port = REFUSED_PORT;
  const lookup = (
    _host: string,
    options: { all?: boolean },
    callback: (error: null, addresses: { address: string; family: number }[]) => void,
  ): void => {
    assert.equal(options.all, true);
    callback(null, [
      { address: '::1', family: 6 },
      { address: '127.0.0.1', family: 4 },
    ]);
  };
  const socket = dialling(t, {
    port,
    host: 'both',
    lookup: lookup as never,
    autoSelectFamily: true,
    autoSelectFamilyAttemptTimeout: 2000,
  });
  const [error] = await once(socket, 'error');
  assert.ok(error instanceof AggregateError);
  assert.equal((error as unknown as Fields)['code'], 'ECONNREFUSED');
  assert.equal(error.message, '');
  assert.deepEqual(error.errors.map(fields), [
    {
      name: 'Error',
      message: `connect ECONNREFUSED ::1:${port}`,
      code: 'ECONNREFUSED',
      errno: ECONNREFUSED,
      syscall: 'connect',
      address: '::1',
      port,
    },
    {
      name: 'Error',
      message: `connect ECONNREFUSED 127.0.0.1:${port}`,
      code: 'ECONNREFUSED',
      errno: ECONNREFUSED,
      syscall: 'connect',
      address: '127.0.0.1',
      port,
    },
  ]);
  assert.deepEqual(socket.autoSelectFamilyAttemptedAddresses, [`::1:${port}`, `127.0.0.1:${port}`]);
});

test('a reset peer is ECONNRESET of read', limit, async (t) => {
  const { client, peer } = await pair(t);
  const log = trace(client, ['data', 'end', 'error', 'close']);
  peer.resetAndDestroy();
  const [error] = await once(client, 'error');
  assert.deepEqual(fields(error), {
    name: 'Error',
    message: 'read ECONNRESET',
    code: 'ECONNRESET',
    errno: -constants.errno.ECONNRESET,
    syscall: 'read',
  });
  assert.deepEqual(await once(client, 'close'), [true]);
  assert.deepEqual(log, ['error:ECONNRESET', 'close:true']);
});

test('a peer that is gone is EPIPE of write', limit, async (t) => {
  const path = join(await folder(t), 's');
  // AF_UNIX knows at once; half-open, so that the write is tried at all.
  const { client, peer } = await pair(t, { listen: { path }, client: { allowHalfOpen: true } });
  client.resume();
  peer.destroy();
  await once(client, 'end');
  const called = new Promise<NodeJS.ErrnoException | null | undefined>((resolve) => void client.write('x', resolve));
  const [error] = await once(client, 'error');
  assert.deepEqual(fields(error), {
    name: 'Error',
    message: 'write EPIPE',
    code: 'EPIPE',
    errno: -constants.errno.EPIPE,
    syscall: 'write',
  });
  assert.equal(await called, error);
  assert.deepEqual(await once(client, 'close'), [true]);
});

test('a write after the end of the other side is refused without allowHalfOpen', limit, async (t) => {
  const { client, peer } = await pair(t);
  client.resume();
  const ended = once(client, 'end');
  peer.end();
  await ended;
  const failed = once(client, 'error');
  const called = new Promise<any>((resolve) => void client.write('x', resolve));
  const [error] = await failed;
  assert.equal(await called, error);
  assert.equal(error.message, 'This socket has been ended by the other party');
  assert.equal(error.code, 'EPIPE');
});

test('a write after end() is refused', limit, async (t) => {
  const { client, peer } = await pair(t);
  peer.resume();
  client.end();
  const failed = once(client, 'error');
  const called = new Promise<any>((resolve) => void client.write('x', resolve));
  const [error] = await failed;
  assert.deepEqual(fields(error), { name: 'Error', message: 'write after end', code: 'ERR_STREAM_WRITE_AFTER_END' });
  assert.equal(await called, error);
});

test('a write after destroy() is told to its callback only', limit, async (t) => {
  const { client } = await pair(t);
  const log = trace(client, ['error', 'close']);
  client.destroy();
  const called = new Promise<any>((resolve) => {
    assert.equal(client.write('x', resolve), false);
  });
  const error = await called;
  assert.equal(error.code, 'ERR_STREAM_DESTROYED');
  assert.equal(error.message, 'Cannot call write after a stream was destroyed');
  await close(client);
  assert.deepEqual(log, ['close:false']);
});

test('write and end check their arguments', limit, async (t) => {
  const { client } = await pair(t);
  for (const value of [1, true, {}, []]) {
    assert.throws(() => client.write(value as never), { name: 'TypeError', code: 'ERR_INVALID_ARG_TYPE' });
    assert.throws(() => client.end(value as never), { name: 'TypeError', code: 'ERR_INVALID_ARG_TYPE' });
  }
  assert.throws(() => client.write(null as never), { name: 'TypeError', code: 'ERR_STREAM_NULL_VALUES' });
  assert.throws(() => client.write('x', 'no-such-encoding' as never), {
    name: 'TypeError',
    code: 'ERR_UNKNOWN_ENCODING',
  });
  assert.equal(client.destroyed, false);
});

const badConnects: [string, unknown[], string][] = [
  ['nothing', [], 'ERR_MISSING_ARGS'],
  ['an empty object', [{}], 'ERR_MISSING_ARGS'],
  ['a port that is too large', [65536], 'ERR_SOCKET_BAD_PORT'],
  ['a negative port', [-1], 'ERR_SOCKET_BAD_PORT'],
  ['a port that is text', [{ port: 'x' }], 'ERR_SOCKET_BAD_PORT'],
  ['a port that is an object', [{ port: {} }], 'ERR_INVALID_ARG_TYPE'],
  ['a host that is a number', [{ port: 1, host: 5 }], 'ERR_INVALID_ARG_TYPE'],
  ['a path that is a number', [{ path: 5 }], 'ERR_INVALID_ARG_TYPE'],
  ['a lookup that is text', [{ port: 1, host: 'x', lookup: 'x' }], 'ERR_INVALID_ARG_TYPE'],
  ['a local address that is a name', [{ port: 1, host: '127.0.0.1', localAddress: 'x' }], 'ERR_INVALID_IP_ADDRESS'],
  ['a local port that is text', [{ port: 1, host: '127.0.0.1', localPort: 'x' }], 'ERR_INVALID_ARG_TYPE'],
  ['bad hints', [{ port: 1, host: 'x', hints: 12345 }], 'ERR_INVALID_ARG_VALUE'],
  ['autoSelectFamily that is text', [{ port: 1, autoSelectFamily: 'x' }], 'ERR_INVALID_ARG_TYPE'],
];
for (const [name, args, code] of badConnects) {
  test(`connect with ${name} throws ${code}`, limit, (t) => {
    const socket = keep(t, new net.Socket());
    assert.throws(
      () => (socket.connect as (...args: unknown[]) => Socket)(...args),
      (error: NodeJS.ErrnoException) => {
        assert.equal(error.code, code);
        return true;
      },
    );
  });
}

test('a socket is not for objects', limit, () => {
  for (const mode of ['objectMode', 'readableObjectMode', 'writableObjectMode'])
    assert.throws(() => new net.Socket({ [mode]: true }), { name: 'TypeError', code: 'ERR_INVALID_ARG_VALUE' });
});

test('an error without a listener ends the process with its message', limit, async (t) => {
  const port = REFUSED_PORT;
  const { code, stderr } = await run(t, `net.connect(${port}, '127.0.0.1');`).exit;
  assert.equal(code, 1);
  assert.match(stderr, new RegExp(`Error: connect ECONNREFUSED 127\\.0\\.0\\.1:${port}`));
  assert.match(stderr, /Unhandled 'error' event/);
  assert.match(stderr, /Emitted 'error' event on Socket instance/);
  assert.match(stderr, /errno: -\d+,\s+code: 'ECONNREFUSED',\s+syscall: 'connect',\s+address: '127\.0\.0\.1',/);
});

test("a server's error without a listener ends the process with its message", limit, async (t) => {
  const port = portOf(await serve(t));
  const { code, stderr } = await run(t, `net.createServer().listen(${port}, '127.0.0.1');`).exit;
  assert.equal(code, 1);
  assert.match(stderr, new RegExp(`Error: listen EADDRINUSE: address already in use 127\\.0\\.0\\.1:${port}`));
  assert.match(stderr, /Emitted 'error' event on Server instance/);
});

test('a client that answers after an error of another one is not disturbed', limit, async (t) => {
  const server = await serve(t, (socket) => void socket.pipe(socket));
  const good = dialling(t, server);
  const bad = dialling(t, { port: REFUSED_PORT, host: '127.0.0.1' });
  const failed = once(bad, 'error');
  good.end('fine');
  assert.equal((await collect(good)).toString(), 'fine');
  await failed;
});
