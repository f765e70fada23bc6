import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import net from 'node:net';
import { join } from 'node:path';
import test from 'node:test';
import { engine } from 'millrace';
import { connect, type ListenOptions, listen } from 'millrace/direct';
import { run } from '../support/child.ts';
import { folder, hasIPv6, keep, leakGuard, limit, once, take, turns, until, within } from '../support/net.ts';
import { Book, dial, peer, serve, where } from './support/direct.ts';

await leakGuard();

test('a server tells where it listens', limit, async (t) => {
  const server = await serve(t);
  const { address } = server;
  assert.deepEqual(address, { address: '127.0.0.1', family: 'IPv4', port: server.port });
  assert.ok((server.port as number) > 0);
});

test('a name is looked up', limit, async (t) => {
  const server = await serve(t, { port: 0, hostname: 'localhost', data: (c, view) => void c.write(view) });
  const book = new Book();
  const c = await connect({ port: server.port, hostname: 'localhost', ...book.handlers() });
  c.write('hello');
  await until(() => book.text === 'hello', 'the answer');
  c.terminate();
  await book.closed();
});

test('without a name every address is listened on', limit, async (t) => {
  const server = await serve(t, { port: 0 });
  for (const host of ['127.0.0.1', ...((await hasIPv6()) ? ['::1'] : [])]) {
    const socket = keep(t, net.connect({ port: server.port as number, host }));
    await once(socket, 'connect');
  }
  await until(() => server.connectionCount > 0, 'a connection');
});

test('ipv6Only leaves IPv4 out', limit, async (t) => {
  if (!(await hasIPv6())) return t.skip('no IPv6 here');
  const server = await serve(t, { port: 0, hostname: '::', ipv6Only: true });
  await assert.rejects(connect({ port: server.port, hostname: '127.0.0.1' }), { code: 'ECONNREFUSED' });
  const c = await connect({ port: server.port, hostname: '::1' });
  assert.equal(c.remote?.family, 'IPv6');
  c.terminate();
  await until(() => c.isClosed, 'the end');
});

test("an address that is taken is an error of Node's", limit, async (t) => {
  const server = await serve(t);
  const { port } = server;
  await assert.rejects(listen({ port, hostname: '127.0.0.1' }), (error: NodeJS.ErrnoException & { port: number }) => {
    assert.deepEqual(
      [error.code, error.syscall, error.port, error.message],
      ['EADDRINUSE', 'listen', port, `listen EADDRINUSE: address already in use 127.0.0.1:${port}`],
    );
    return true;
  });
});

test("a name that nobody knows is an error of Node's", limit, async () => {
  await assert.rejects(listen({ port: 0, hostname: 'nobody.invalid' }), { syscall: 'getaddrinfo' });
});

test('options that make no sense are refused', limit, async () => {
  const bad: ListenOptions[] = [
    {},
    { port: 0, path: '/x' },
    { port: -1 },
    { port: 65_536 },
    { port: '80' as never },
    { port: 0, hostname: '' },
    { path: '' },
    { fd: -1 },
    { port: 0, data: 'x' as never },
    { port: 0, timeout: {} as never },
    { port: 0, acceptError: 5 as never },
    { port: 0, backlog: 0 },
    { port: 0, maxConnections: 0 },
    { port: 0, ipv6Only: 1 as never },
    { port: 0, reusePort: 'yes' as never },
    { port: 0, allowHalfOpen: null as never },
    { port: 0, keepAliveInitialDelayMs: 0.5 },
    { port: 0, idle: { readMs: -1 } },
    { port: 0, idle: 5 as never },
    { port: 0, limits: { highWaterMark: -1 } },
    { port: 0, limits: { highWaterMark: 10, lowWaterMark: 11 } },
    { port: 0, limits: { highWaterMark: 11, maxBufferedBytes: 10 } },
    { port: 0, limits: { maxBufferedBytes: 0 } },
    { port: 0, limits: { overflow: 'block' as never } },
    { port: 0, limits: null as never },
    { port: 0, signal: {} as never },
  ];
  for (const options of bad)
    await assert.rejects(
      listen(options),
      { name: 'DirectError', code: 'MILLRACE_ERR_BAD_OPTION' },
      JSON.stringify(options),
    );
  await assert.rejects(listen(undefined as never), { code: 'MILLRACE_ERR_BAD_OPTION' });
});

test('a path is listened on, and removed afterwards', limit, async (t) => {
  const path = join(await folder(t), 'socket');
  const server = await serve(t, { path, data: (c, view) => void c.write(view) });
  assert.ok(existsSync(path));
  await assert.rejects(listen({ path }), { code: 'EADDRINUSE' });
  const socket = await peer(t, server);
  socket.write('x');
  assert.equal((await take(socket, 1)).toString(), 'x');
  socket.destroy();
  await server.close();
  assert.ok(!existsSync(path));
});

const isOurs = engine !== 'node';

test('an abstract path is listened on', { ...limit, skip: isOurs ? false : 'not in every Node.js' }, async (t) => {
  const path = `\0millrace-direct-${process.pid}`;
  const server = await serve(t, { path, data: (c, view) => void c.write(view) });
  assert.equal(server.address, path);
  const book = new Book();
  const c = await dial(t, server, book.handlers());
  c.write('x');
  await until(() => book.text === 'x', 'the answer');
});

test("a path that is too long is an error of Node's", {
  ...limit,
  skip: isOurs ? false : 'some Node.js cut it',
}, async () => {
  await assert.rejects(listen({ path: `/tmp/${'x'.repeat(200)}` }), { syscall: 'listen', code: /EINVAL|ENAMETOOLONG/ });
});

test('a listening descriptor that somebody else opened is used', limit, async (t) => {
  const other = keep(t, net.createServer()).listen(0, '127.0.0.1');
  await once(other, 'listening');
  const { fd } = (other as unknown as { _handle: { fd: number } })._handle;
  const { port } = other.address() as net.AddressInfo;
  const child = run(
    t,
    `const { listen } = await import('millrace/direct');
    const server = await listen({ fd: 3, data: (c, view) => c.end(view) });
    say(JSON.stringify(server.address));
    heard(() => process.exit());`,
    { stdio: ['pipe', 'pipe', 'pipe', fd] },
  );
  assert.equal(JSON.parse(await child.line()).port, port);
  other.close(); // the child's descriptor is another one
  const socket = keep(t, net.connect(port, '127.0.0.1'));
  socket.write('mine');
  assert.equal((await take(socket, 4)).toString(), 'mine');
  child.say('stop');
  await child.exit;
});

test('a descriptor that is no socket is an error', limit, async () => {
  await assert.rejects(listen({ fd: 2_000_000 }), { code: /EINVAL|EBADF/ });
});

test('one connection above the maximum is closed as soon as it is accepted', limit, async (t) => {
  const book = new Book();
  const server = await serve(t, Object.assign(book.handlers(), { maxConnections: 2 }));
  const one = await peer(t, server);
  await peer(t, server);
  await until(() => server.connectionCount === 2, 'two');
  const third = keep(
    t,
    net.connect(server.port as number, '127.0.0.1').on('error', () => {}),
  ).resume();
  await once(third, 'close');
  assert.equal(book.connections.length, 2);
  one.destroy();
  await until(() => server.connectionCount === 1, 'room');
  await peer(t, server);
  await until(() => server.connectionCount === 2, 'another');
  assert.equal([...server.connections()].length, 2);
});

test('close stops listening, and resolves when the last connection is closed', limit, async (t) => {
  const book = new Book();
  const server = await serve(t, book.handlers());
  const socket = await peer(t, server);
  await book.connection();
  let isOver = false;
  const closed = server.close().then(() => {
    isOver = true;
  });
  await assert.rejects(connect(where(server)), { code: 'ECONNREFUSED' });
  socket.write('still open');
  await until(() => book.text === 'still open', 'data');
  await turns(5);
  assert.equal(isOver, false);
  socket.end();
  await within(closed, 'close');
  assert.deepEqual(book.lines, ['open', 'data', 'end', 'close:ended']);
  await server.close();
});

test('close without connections resolves, and the port is free at once', limit, async () => {
  const server = await listen({ port: 0, hostname: '127.0.0.1' });
  const { port } = server;
  const closed = server.close();
  const again = await listen({ port, hostname: '127.0.0.1' });
  await Promise.all([closed, again[Symbol.asyncDispose]()]);
});

test('terminateAll ends every connection', limit, async (t) => {
  const book = new Book();
  const server = await serve(t, book.handlers());
  for (let i = 0; i < 5; i++) await peer(t, server);
  await until(() => book.connections.length === 5, 'all');
  server.terminateAll();
  await within(server.close(), 'close');
  assert.deepEqual(
    book.reasons,
    Array.from({ length: 5 }, () => ({ kind: 'terminated' })),
  );
  assert.equal(server.connectionCount, 0);
});

test('a signal ends listening', limit, async (t) => {
  const control = new AbortController();
  const server = await serve(t, { port: 0, hostname: '127.0.0.1', signal: control.signal });
  const socket = await peer(t, server);
  control.abort();
  await assert.rejects(connect(where(server)), { code: 'ECONNREFUSED' });
  await until(() => server.connectionCount === 1, 'the connection lives on');
  socket.end();
  await within(server.close(), 'close');
  await assert.rejects(listen({ port: 0, signal: AbortSignal.abort(new Error('too late')) }), { message: 'too late' });
});

test('several servers share a port with reusePort', {
  ...limit,
  skip: isOurs ? false : 'not in every Node.js',
}, async (t) => {
  const one = await serve(t, { port: 0, hostname: '127.0.0.1', reusePort: true });
  const two = await serve(t, { port: one.port, hostname: '127.0.0.1', reusePort: true });
  for (let i = 0; i < 50 && (one.connectionCount === 0 || two.connectionCount === 0); i++) {
    await peer(t, one);
    await until(() => one.connectionCount + two.connectionCount === i + 1, 'the connection');
  }
  assert.ok(one.connectionCount > 0 && two.connectionCount > 0);
});

test("a server keeps the process alive unless it is unref'd, as do its connections", limit, async (t) => {
  const program = (more: string): string => `const { connect, listen } = await import('millrace/direct');
    const server = await listen({ port: 0, hostname: '127.0.0.1' });
    ${more}
    setTimeout(() => { say('alive'); process.exit(); }, 300).unref();`;
  const said = async (more: string): Promise<string> => (await run(t, program(more)).exit).stdout.trim();
  assert.equal(await said(''), 'alive');
  assert.equal(await said('server.unref();'), '');
  assert.equal(await said('server.unref(); server.ref();'), 'alive');
  const both = 'server.unref(); const c = await connect({ port: server.port, hostname: "127.0.0.1" });';
  assert.equal(await said(`${both}`), 'alive');
  assert.equal(
    await said(`${both} await new Promise(setImmediate); for (const s of server.connections()) s.unref(); c.unref();`),
    '',
  );
});
