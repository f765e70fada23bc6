import assert from 'node:assert/strict';
import net from 'node:net';
import { join } from 'node:path';
import test from 'node:test';
import { engine } from 'millrace';
import { type ConnectOptions, connect } from 'millrace/direct';
import { run } from '../support/child.ts';
import { folder, freePort, hasIPv6, leakGuard, limit, REFUSED_PORT, until, within } from '../support/net.ts';
import { names, silence } from '../support/silent.ts';
import { Book, dial, serve } from './support/direct.ts';

await leakGuard();

const host = '127.0.0.1';

test("a connection that is refused is an error of Node's", limit, async () => {
  await assert.rejects(connect({ port: REFUSED_PORT, hostname: host }), {
    code: 'ECONNREFUSED',
    errno: -111,
    syscall: 'connect',
    address: host,
    port: REFUSED_PORT,
    message: `connect ECONNREFUSED ${host}:${REFUSED_PORT}`,
  });
});

test("a path that is not there is an error of Node's", limit, async (t) => {
  const path = join(await folder(t), 'nothing');
  await assert.rejects(connect({ path }), { code: 'ENOENT', syscall: 'connect', address: path });
});

test("a name that nobody knows is an error of Node's", limit, async () => {
  await assert.rejects(connect({ port: 1, hostname: 'nobody.invalid' }), { syscall: 'getaddrinfo' });
});

test('the promise is resolved with the connection, after `open`', limit, async (t) => {
  const server = await serve(t);
  const order: string[] = [];
  const c = await dial<number>(t, server, {
    open: (mine) => {
      mine.data = 7;
      order.push('open');
    },
  });
  order.push('connected');
  assert.equal(c.data, 7);
  assert.deepEqual(order, ['open', 'connected']);
  assert.equal(c.remote?.port, server.port);
});

test("a lookup of one's own is asked", limit, async (t) => {
  const server = await serve(t);
  const c = await connect({ port: server.port, hostname: 'somewhere.example', lookup: names(host) });
  assert.equal(c.remote?.address, host);
  c.terminate();
  await until(() => c.isClosed, 'the end');
  const failing = (_: string, __: object, callback: (error: Error) => void): void => callback(new Error('no idea'));
  await assert.rejects(connect({ port: 1, hostname: 'x', lookup: failing as never }), { message: 'no idea' });
  const empty = (_: string, __: object, callback: (error: null, all: unknown) => void): void => callback(null, [null]);
  await assert.rejects(connect({ port: 1, hostname: 'x', lookup: empty as never }), { code: 'EADDRNOTAVAIL' });
});

test('the next address is tried beside one that does not answer', { ...limit, timeout: 15_000 }, async (t) => {
  const port = await freePort('127.0.0.2');
  await silence(t, port, '127.0.0.2');
  const server = await serve(t, { port, hostname: host });
  const start = performance.now();
  const c = await within(connect({ port, hostname: 'both.example', lookup: names('127.0.0.2', host) }), 'the second');
  assert.ok(performance.now() - start >= 240, 'the first had its time');
  assert.equal(c.remote?.address, host);
  assert.equal(server.port, port);
  c.terminate();
  await until(() => c.isClosed, 'the end');
});

test('the next address is tried at once when one fails; all that failed are in the error', limit, async (t) => {
  const server = await serve(t);
  const start = performance.now();
  const c = await connect({ port: server.port, hostname: 'x', lookup: names('127.0.0.9', host) });
  assert.ok(performance.now() - start < 240);
  c.terminate();
  await until(() => c.isClosed, 'the end');
  await assert.rejects(
    connect({ port: REFUSED_PORT, hostname: 'x', lookup: names('127.0.0.9', host) }),
    (error: AggregateError & { code: string }) => {
      assert.ok(error instanceof AggregateError);
      assert.equal(error.code, 'ECONNREFUSED');
      assert.deepEqual(
        error.errors.map(({ address }) => address),
        ['127.0.0.9', host],
      );
      return true;
    },
  );
});

test('timeoutMs gives up with ETIMEDOUT', limit, async (t) => {
  const port = await freePort('127.0.0.3');
  await silence(t, port, '127.0.0.3');
  await assert.rejects(connect({ port, hostname: '127.0.0.3', timeoutMs: 50 }), {
    code: 'ETIMEDOUT',
    syscall: 'connect',
    address: '127.0.0.3',
    port,
  });
});

test('a signal gives up with its reason, and means nothing to a connection that stands', limit, async (t) => {
  const port = await freePort('127.0.0.4');
  await silence(t, port, '127.0.0.4');
  const control = new AbortController();
  const late = connect({ port, hostname: '127.0.0.4', signal: control.signal });
  control.abort(new Error('enough'));
  await assert.rejects(late, { message: 'enough' });
  await assert.rejects(connect({ port, hostname: host, signal: control.signal }), { message: 'enough' });
  const server = await serve(t);
  const second = new AbortController();
  const c = await dial(t, server, { signal: second.signal });
  second.abort();
  assert.equal(c.isWritable, true);
});

test('a connection is made from the address and port that were asked for', limit, async (t) => {
  const server = await serve(t, { port: 0, hostname: '0.0.0.0' });
  const localPort = await freePort('127.0.0.5');
  const c = await dial(t, server, { localAddress: '127.0.0.5', localPort });
  assert.deepEqual(c.local, { address: '127.0.0.5', port: localPort, family: 'IPv4' });
  await assert.rejects(connect({ port: server.port, hostname: host, localAddress: '192.0.2.1' }), {
    code: 'EADDRNOTAVAIL',
    syscall: 'bind',
    address: '192.0.2.1',
  });
});

test('the family narrows what is tried', limit, async (t) => {
  const server = await serve(t);
  const lookup = names('::1', host);
  const c = await connect({ port: server.port, hostname: 'x', lookup, family: 4 });
  assert.equal(c.remote?.address, host);
  c.terminate();
  await until(() => c.isClosed, 'the end');
  if (await hasIPv6())
    await assert.rejects(connect({ port: server.port, hostname: 'x', lookup, family: 6 }), { address: '::1' });
});

test('options that make no sense are refused', limit, async () => {
  const bad: ConnectOptions[] = [
    {},
    { port: 1, path: '/x' },
    { port: 65_536 },
    { port: 1, hostname: '' },
    { port: 1, hostname: 'a\0b' },
    { port: 1, hostname: 5 as never },
    { path: 5 as never },
    { port: 1, localAddress: 'here' },
    { port: 1, localPort: -1 },
    { port: 1, family: 5 as never },
    { port: 1, lookup: 'dns' as never },
    { port: 1, timeoutMs: -1 },
    { port: 1, close: 'x' as never },
    { port: 1, signal: 'now' as never },
  ];
  for (const options of bad)
    await assert.rejects(connect(options), { code: 'MILLRACE_ERR_BAD_OPTION' }, JSON.stringify(options));
});

test('a listener that is not ours is talked to, and `close` says why it ended', limit, async (t) => {
  const other = net.createServer((socket) => void socket.end('only this')).listen(0, host);
  t.after(() => void other.close());
  await until(() => other.address() !== null, 'the listener');
  const book = new Book();
  await connect({ port: (other.address() as net.AddressInfo).port, hostname: host, ...book.handlers() });
  assert.deepEqual(await book.closed(), { kind: 'ended' });
  assert.equal(book.text, 'only this');
  assert.deepEqual(book.lines, ['open', 'data', 'end', 'close:ended']);
});

test('an attempt keeps the process alive, and a program that only waits for it ends with it', limit, async (t) => {
  const { stdout } = await run(
    t,
    `const { connect } = await import('millrace/direct');
    connect({ port: ${REFUSED_PORT}, hostname: '127.0.0.1' }).catch((error) => say(error.code));`,
  ).exit;
  assert.equal(stdout.trim(), 'ECONNREFUSED');
});

test('without descriptors the error is EMFILE', { ...limit, skip: engine === 'node' }, async (t) => {
  const child = run(
    t,
    `const { connect, listen } = await import('millrace/direct');
    const server = await listen({ port: 0, hostname: '127.0.0.1' });
    const codes = new Set();
    const all = [];
    for (let i = 0; i < 100; i++) all.push(connect({ port: server.port, hostname: '127.0.0.1' }).catch((error) => codes.add(error.code + error.syscall)));
    await Promise.race([Promise.all(all), new Promise((resolve) => setTimeout(resolve, 500))]);
    say([...codes].join());
    process.exit();`,
    { maxDescriptors: 64 },
  );
  assert.equal((await child.exit).stdout.trim(), 'EMFILEconnect');
});
