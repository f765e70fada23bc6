import assert from 'node:assert/strict';
import { existsSync, renameSync, statSync, writeFileSync } from 'node:fs';
import nodeNet, { type AddressInfo, type Server } from 'node:net';
import { join } from 'node:path';
import test from 'node:test';
import net from 'millrace';
import { run } from '../support/child.ts';
import { collect, dial, folder, hasIPv6, keep, leakGuard, limit, once, portOf, serve } from '../support/net.ts';

await leakGuard();

const isLinux = process.platform === 'linux';

async function listening(server: Server): Promise<Server> {
  await once(server, 'listening');
  return server;
}

test('listen(0) takes a free port of every address, of both families where there is IPv6', limit, async (t) => {
  const server = await listening(
    keep(
      t,
      net.createServer((socket) => socket.end('any')),
    ).listen(0),
  );
  const address = server.address() as AddressInfo;
  assert.ok(address.port > 0 && address.port < 65536);
  const both = await hasIPv6();
  assert.deepEqual([address.address, address.family], both ? ['::', 'IPv6'] : ['0.0.0.0', 'IPv4']);
  for (const host of both ? ['127.0.0.1', '::1'] : ['127.0.0.1'])
    assert.equal((await collect(await dial(t, { port: address.port, host }))).toString(), 'any');
});

test('listen() without arguments takes a free port', limit, async (t) => {
  const server = await listening(keep(t, net.createServer()).listen());
  assert.ok(portOf(server) > 0);
});

const forms: [string, (server: Server) => Server][] = [
  ['listen(port, host)', (server) => server.listen(0, '127.0.0.1')],
  ['listen(port, host, backlog)', (server) => server.listen(0, '127.0.0.1', 5)],
  ['listen(port as text, host)', (server) => server.listen('0' as never, '127.0.0.1')],
  ['listen({ port, host })', (server) => server.listen({ port: 0, host: '127.0.0.1' })],
  ['listen({ port, host, backlog })', (server) => server.listen({ port: 0, host: '127.0.0.1', backlog: 1 })],
  ['listen({ port, host, exclusive })', (server) => server.listen({ port: 0, host: '127.0.0.1', exclusive: true })],
];
for (const [name, listen] of forms) {
  test(`${name} listens on that address`, limit, async (t) => {
    const server = await listening(
      listen(
        keep(
          t,
          net.createServer((socket) => socket.end('ok')),
        ),
      ),
    );
    assert.deepEqual(server.address(), { address: '127.0.0.1', family: 'IPv4', port: portOf(server) });
    assert.equal((await collect(await dial(t, server))).toString(), 'ok');
  });
}

const callbackForms: [string, (server: Server, callback: () => void) => Server][] = [
  ['listen(callback)', (server, callback) => server.listen(callback)],
  ['listen(port, callback)', (server, callback) => server.listen(0, callback)],
  ['listen(port, host, callback)', (server, callback) => server.listen(0, '127.0.0.1', callback)],
  ['listen(port, backlog, callback)', (server, callback) => server.listen(0, 7, callback)],
  ['listen(port, host, backlog, callback)', (server, callback) => server.listen(0, '127.0.0.1', 7, callback)],
  ['listen(options, callback)', (server, callback) => server.listen({ port: 0 }, callback)],
  ['listen(null, callback)', (server, callback) => server.listen(null as never, callback)],
  ['listen(undefined, callback)', (server, callback) => server.listen(undefined as never, callback)],
];
for (const [name, listen] of callbackForms) {
  test(`${name} calls back with the server as this`, limit, async (t) => {
    const server = keep(t, net.createServer());
    const self = await new Promise<unknown>((resolve) => {
      listen(server, function (this: unknown) {
        resolve(this);
      });
    });
    assert.equal(self, server);
  });
}

test('a host given by name is looked up before listening', limit, async (t) => {
  const server = keep(
    t,
    net.createServer((socket) => socket.end('named')),
  );
  server.listen(0, 'localhost');
  assert.equal(server.address(), null);
  await once(server, 'listening');
  assert.ok(['127.0.0.1', '::1'].includes((server.address() as AddressInfo).address));
  assert.equal((await collect(await dial(t, server))).toString(), 'named');
});

test('an IPv6 address is given back as such', limit, async (t) => {
  if (!(await hasIPv6())) return t.skip('no ::1 here');
  const server = await serve(t, (socket) => socket.end('six'), { listen: { port: 0, host: '::1' } });
  assert.deepEqual(server.address(), { address: '::1', family: 'IPv6', port: portOf(server) });
  assert.equal((await collect(await dial(t, server))).toString(), 'six');
});

test('with ipv6Only, the same port is free for IPv4', limit, async (t) => {
  if (!(await hasIPv6())) return t.skip('no ::1 here');
  const six = await serve(t, (socket) => socket.end('six'), { listen: { port: 0, host: '::', ipv6Only: true } });
  const four = await serve(t, (socket) => socket.end('four'), { listen: { port: portOf(six), host: '0.0.0.0' } });
  assert.equal((await collect(await dial(t, { port: portOf(six), host: '::1' }))).toString(), 'six');
  assert.equal((await collect(await dial(t, { port: portOf(four), host: '127.0.0.1' }))).toString(), 'four');
});

test('without ipv6Only, :: and 0.0.0.0 share their ports', limit, async (t) => {
  if (!(await hasIPv6())) return t.skip('no ::1 here');
  const six = await serve(t, undefined, { listen: { port: 0, host: '::' } });
  const four = keep(t, net.createServer()).listen(portOf(six), '0.0.0.0');
  const [error] = await once(four, 'error');
  assert.equal(error.code, 'EADDRINUSE');
});

test('a unix socket is a file that goes away with its server', limit, async (t) => {
  const path = join(await folder(t), 's');
  const server = await serve(t, (socket) => socket.end('unix'), { listen: { path } });
  assert.equal(server.address(), path);
  assert.ok(statSync(path).isSocket());
  assert.equal((await collect(await dial(t, { path }))).toString(), 'unix');
  server.close();
  await once(server, 'close');
  assert.equal(existsSync(path), false);
});

test('listen(path) and listen(path, callback) take a path as text', limit, async (t) => {
  const base = await folder(t);
  await listening(keep(t, net.createServer()).listen(join(base, 'a')));
  await new Promise<void>((resolve) => void keep(t, net.createServer()).listen(join(base, 'b'), resolve));
  await new Promise<void>((resolve) => void keep(t, net.createServer()).listen(join(base, 'c'), 5, resolve));
  assert.deepEqual(
    ['a', 'b', 'c'].map((name) => statSync(join(base, name)).isSocket()),
    [true, true, true],
  );
});

test('an abstract unix socket has no file', limit, async (t) => {
  if (!isLinux) return t.skip('Linux only');
  const path = `\0millrace-${process.pid}-${process.hrtime.bigint()}`;
  const server = await serve(t, (socket) => socket.end('abstract'), { listen: { path } });
  assert.equal(server.address(), path);
  assert.equal((await collect(await dial(t, { path }))).toString(), 'abstract');
});

test('readableAll and writableAll open a unix socket to everybody', limit, async (t) => {
  const base = await folder(t);
  for (const [name, wanted, options] of [
    ['r', 0o444, { readableAll: true }],
    ['w', 0o222, { writableAll: true }],
    ['rw', 0o666, { readableAll: true, writableAll: true }],
  ] as const) {
    const path = join(base, name);
    await serve(t, undefined, { listen: { path, ...options } });
    assert.equal(statSync(path).mode & wanted, wanted, name);
  }
});

test('a port is taken before a path', limit, async (t) => {
  const path = join(await folder(t), 's');
  const server = await serve(t, undefined, { listen: { port: 0, host: '127.0.0.1', path } });
  assert.ok(portOf(server) > 0);
  assert.equal(existsSync(path), false);
});

test('a path where a file lies is in use', limit, async (t) => {
  const path = join(await folder(t), 'file');
  writeFileSync(path, 'mine');
  const [error] = await once(keep(t, net.createServer()).listen(path), 'error');
  assert.equal(error.code, 'EADDRINUSE');
  assert.ok(existsSync(path), 'the file is not removed');
});

test('the port of a closed server is free at once, also after connections', limit, async (t) => {
  const first = await serve(t, (socket) => socket.end('x'));
  const port = portOf(first);
  const client = await dial(t, first);
  await collect(client);
  first.close();
  await once(first, 'close');
  const second = await serve(t, (socket) => socket.end('y'), { listen: { port, host: '127.0.0.1' } });
  assert.equal((await collect(await dial(t, second))).toString(), 'y');
});

test('reusePort lets two servers share a port', limit, async (t) => {
  if (!isLinux || /^(20|22\.[0-9]\.|22\.1[01]\.)/.test(process.versions.node)) return t.skip('needs Node 22.12');
  const options = { host: '127.0.0.1', reusePort: true };
  const first = await serve(t, (socket) => socket.end('1'), { listen: { port: 0, ...options } });
  await serve(t, (socket) => socket.end('2'), { listen: { port: portOf(first), ...options } });
  assert.match((await collect(await dial(t, first))).toString(), /^[12]$/);
});

for (const port of [-1, 65536, 1.5, 'x', '-1', Number.NaN, Number.POSITIVE_INFINITY, '1.5', ' ']) {
  test(`the port ${JSON.stringify(port)} (${typeof port} ${port}) is refused`, limit, () => {
    assert.throws(
      () => net.createServer().listen({ port: port as never }),
      (error: NodeJS.ErrnoException) => {
        assert.equal(error.code, 'ERR_SOCKET_BAD_PORT');
        assert.ok(error instanceof RangeError);
        assert.match(error.message, /^options\.port should be >= 0 and < 65536\. Received /);
        return true;
      },
    );
  });
}

for (const value of [true, {}, [], { path: null }, { host: 'x' }, { backlog: 5 }, { port: true }, { port: {} }]) {
  test(`listen(${JSON.stringify(value)}) is refused`, limit, () => {
    assert.throws(() => net.createServer().listen(value as never), { name: 'TypeError' });
  });
}

/** A program that listens on what it inherited as descriptor 3, answers once, and closes. */
const inheritor = `
  const server = net.createServer((socket) => { socket.end('from the child'); server.close(); });
  server.on('close', () => say('closed'));
  server.on('error', (error) => say(error.message));
  server.listen({ fd: 3 }, () => say(JSON.stringify(server.address())));`;

for (const [name, isUnix] of [
  ['TCP', false],
  ['unix', true],
] as const) {
  test(`listen({ fd }) serves a listening ${name} socket that was inherited`, limit, async (t) => {
    if (!isLinux) return t.skip('passes a descriptor on as Linux does');
    // Node's own server: its descriptor can be passed on.
    const owner = nodeNet.createServer();
    const path = join(await folder(t), 's');
    await listening(isUnix ? owner.listen(`${path}0`) : owner.listen(0, '127.0.0.1'));
    if (isUnix) renameSync(`${path}0`, path); // the owner will remove the file that it made
    const target = isUnix ? { path } : { port: portOf(owner), host: '127.0.0.1' };
    const address = owner.address();
    const { fd } = (owner as unknown as { _handle: { fd: number } })._handle;
    const child = run(t, inheritor, { stdio: ['pipe', 'pipe', 'pipe', fd] });
    const told = JSON.parse(await child.line());
    owner.close();
    if (isUnix) assert.equal(told, null, 'as in Node: only listen(path) knows the path');
    else assert.deepEqual(told, address);
    const client = await dial(t, target);
    assert.equal((await collect(client)).toString(), 'from the child');
    assert.equal(await child.line(), 'closed');
    assert.equal((await child.exit).code, 0);
  });
}

test('a bad descriptor gives an error event', limit, async (t) => {
  const server = keep(t, net.createServer());
  const error = await new Promise<NodeJS.ErrnoException>((resolve, reject) => {
    server.on('error', resolve);
    server.on('listening', () => reject(new Error('it listens')));
    server.listen({ fd: 987_654 });
  });
  assert.ok(error instanceof Error);
  assert.match(error.code as string, /^E(INVAL|BADF)$/);
});
