/** net.BoundSocket: an address that is taken now and used later. Where the engine is Node's own, Node's. */
import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import type { BoundSocket as NodeBoundSocket } from 'node:net';
import { join } from 'node:path';
import test from 'node:test';
import net from 'millrace';
import { close, collect, dial, folder, hasIPv6, keep, leakGuard, limit, once, portOf, serve } from '../support/net.ts';

await leakGuard();

const skip = net.BoundSocket === undefined ? 'this Node has none, and the engine is its own' : false;
const options = { ...limit, skip };

/** Options that @types/node does not know yet, or must not know. */
const bind = (given?: unknown): NodeBoundSocket & { readonly isPipe: boolean } =>
  new net.BoundSocket(given as never) as NodeBoundSocket & { readonly isPipe: boolean };

const adopted = { name: 'Error', code: 'ERR_SOCKET_HANDLE_ADOPTED' };

test('a BoundSocket has an address and a descriptor at once', options, () => {
  const bound = bind();
  const { address, family, port } = bound.address();
  assert.deepEqual([address, family], ['0.0.0.0', 'IPv4']);
  assert.ok(port > 0);
  assert.ok(bound.fd() > 2);
  assert.equal(bound.isPipe, false);
  bound.close();
  for (const use of [() => bound.address(), () => bound.fd(), () => bound.close()]) assert.throws(use, adopted);
  bound[Symbol.dispose]();
});

test('using closes a BoundSocket that nobody adopted', options, () => {
  const bound = bind({ host: '127.0.0.1' });
  const { port } = bound.address();
  bound[Symbol.dispose]();
  assert.throws(() => bound.fd(), adopted);
  const again = bind({ host: '127.0.0.1', port });
  assert.equal(again.address().port, port);
  again.close();
});

test('a BoundSocket says what is wrong with its options', options, () => {
  const wrong: [given: unknown, code: string, message: RegExp][] = [
    [null, 'ERR_INVALID_ARG_TYPE', /"options" argument must be of type object/],
    ['x', 'ERR_INVALID_ARG_TYPE', /"options" argument/],
    [{ host: 'localhost' }, 'ERR_INVALID_ARG_VALUE', /'options\.host' must be a numeric IP address/],
    [{ host: 5 }, 'ERR_INVALID_ARG_TYPE', /"options\.host" property must be of type string/],
    [{ port: 'x' }, 'ERR_SOCKET_BAD_PORT', /^options\.port should be >= 0 and < 65536/],
    [{ port: 65536 }, 'ERR_SOCKET_BAD_PORT', /^options\.port/],
    [{ ipv6Only: 1 }, 'ERR_INVALID_ARG_TYPE', /"options\.ipv6Only"/],
    [{ reusePort: 'yes' }, 'ERR_INVALID_ARG_TYPE', /"options\.reusePort"/],
    [{ path: 5 }, 'ERR_INVALID_ARG_TYPE', /"options\.path"/],
    [{ path: 'x', port: 0 }, 'ERR_INVALID_ARG_VALUE', /path is mutually exclusive/],
  ];
  for (const [given, code, message] of wrong) assert.throws(() => bind(given), { code, message });
});

test('bind(2) fails in the constructor', options, async (t) => {
  assert.throws(() => bind({ host: '203.0.113.1' }), {
    code: 'EADDRNOTAVAIL',
    syscall: 'bind',
    address: '203.0.113.1',
    message: 'bind EADDRNOTAVAIL 203.0.113.1',
  });
  const server = await serve(t);
  assert.throws(() => bind({ host: '127.0.0.1', port: portOf(server) }), { code: 'EADDRINUSE', syscall: 'bind' });
  assert.throws(() => bind({ path: '/no/such/folder/x' }), { code: 'EACCES', syscall: 'bind' });
  assert.throws(() => bind({ path: `/${'x'.repeat(150)}` }), { code: 'EINVAL' });
});

for (const [form, listen] of [
  ['listen(boundSocket)', (server: net.Server, bound: NodeBoundSocket) => server.listen(bound)],
  ['listen({ handle })', (server: net.Server, bound: NodeBoundSocket) => server.listen({ handle: bound, port: 1 })],
] as const)
  test(`a server adopts a BoundSocket: ${form}`, options, async (t) => {
    const bound = bind({ host: '127.0.0.1' });
    const { port } = bound.address();
    const server = keep(
      t,
      net.createServer((socket) => socket.end('bound')),
    ) as net.Server;
    listen(server, bound);
    assert.throws(() => bound.address(), adopted);
    await once(server, 'listening');
    assert.equal(portOf(server), port);
    assert.equal((await collect(await dial(t, server))).toString(), 'bound');
    assert.throws(() => net.createServer().listen(bound), adopted);
  });

test('two may bind one port with reusePort, not without', options, async (t) => {
  const first = bind({ host: '127.0.0.1', reusePort: true });
  const { port } = first.address();
  const second = bind({ host: '127.0.0.1', port, reusePort: true });
  for (const bound of [first, second]) await once(keep(t, net.createServer()).listen(bound), 'listening');
  assert.throws(() => bind({ host: '127.0.0.1', port }), { code: 'EADDRINUSE' });
});

test('a server on a path is bound before it listens, and removes the path', options, async (t) => {
  const path = join(await folder(t), 's');
  const bound = bind({ path });
  assert.equal(bound.isPipe, true);
  assert.equal(bound.address() as unknown, path);
  assert.ok(existsSync(path));
  assert.throws(() => bind({ path }), { code: 'EADDRINUSE' });
  const server = keep(
    t,
    net.createServer((socket) => socket.end('path')),
  );
  server.listen(bound);
  await once(server, 'listening');
  assert.equal(server.address(), path);
  assert.equal((await collect(await dial(t, server))).toString(), 'path');
  server.close();
  await once(server, 'close');
  assert.ok(!existsSync(path));
});

test('closing a BoundSocket removes its path', options, async (t) => {
  const path = join(await folder(t), 's');
  bind({ path }).close();
  assert.ok(!existsSync(path));
  const abstract = bind({ path: `\0millrace-${process.pid}` });
  abstract.close();
});

test('a client connects from a BoundSocket', options, async (t) => {
  const server = await serve(t, (socket) => socket.end('hello'));
  const bound = bind({ host: '127.0.0.1' });
  const { port } = bound.address();
  const client = keep(t, new net.Socket({ handle: bound }));
  assert.deepEqual([client.readyState, client.connecting, client.localPort], ['open', false, port]);
  assert.throws(() => client.connect({ port: portOf(server), host: '127.0.0.1', localPort: 5 }), {
    code: 'ERR_INVALID_ARG_VALUE',
    message: /localAddress and localPort cannot be used with an adopted bound socket/,
  });
  const accepted = once(server, 'connection');
  client.connect({ port: portOf(server), host: '127.0.0.1' });
  const [peer] = await accepted;
  assert.equal(peer.remotePort, port);
  assert.equal((await collect(client)).toString(), 'hello');
  assert.throws(() => new net.Socket({ handle: bound }), adopted);
});

test('what a BoundSocket left open is known when connect returns', options, async (t) => {
  const server = await serve(t);
  const client = keep(t, net.connect({ handle: bind(), port: portOf(server), host: '127.0.0.1' } as never));
  assert.equal(client.localAddress, '127.0.0.1');
  await once(client, 'connect');
});

test('a client with a BoundSocket uses one address of a name', options, async (t) => {
  const server = await serve(t);
  const handle = bind({ host: '127.0.0.1' });
  const lookup = (_: string, { all }: { all?: boolean }, done: (...found: unknown[]) => void): void => {
    assert.notEqual(all, true);
    done(null, '127.0.0.1', 4);
  };
  const client = keep(t, net.connect({ handle, port: portOf(server), host: 'some.name', lookup } as never));
  await once(client, 'connect');
});

test('a connection that fails gives the BoundSocket up', options, async (t) => {
  const handle = bind({ host: '127.0.0.1' });
  const { port } = handle.address();
  const client = keep(t, net.connect({ handle, port: 1, host: '127.0.0.1' } as never));
  await assert.rejects(once(client, 'connect'), { message: 'connect ECONNREFUSED 127.0.0.1:1', code: 'ECONNREFUSED' });
  await close(client);
  const again = bind({ host: '127.0.0.1', port });
  again.close();
});

test('a BoundSocket of one family does not connect to the other', options, async (t) => {
  if (!(await hasIPv6())) return t.skip('no IPv6 here');
  const server = await serve(t);
  const client = keep(
    t,
    net.connect({ handle: bind({ host: '::1' }), port: portOf(server), host: '127.0.0.1' } as never),
  );
  await assert.rejects(once(client, 'connect'), { code: 'EINVAL', message: /- Local \(::1:\d+\)$/ });
});

test('a client of a unix socket has its path as its address', options, async (t) => {
  const where = await folder(t);
  const server = await serve(t, undefined, { listen: { path: join(where, 'server') } });
  const path = join(where, 'client');
  const client = keep(t, net.connect({ handle: bind({ path }), path: join(where, 'server') } as never));
  await once(client, 'connect');
  assert.equal(client.localAddress, path);
  client.destroy();
  await close(client);
  assert.ok(!existsSync(path));
  assert.equal(server.listening, true);
});
