import assert from 'node:assert/strict';
import type { Socket } from 'node:net';
import test from 'node:test';
import net from 'millrace';
import {
  close,
  dial,
  dialling,
  keep,
  leakGuard,
  limit,
  once,
  pair,
  serve,
  trace,
  turns,
  until,
} from '../support/net.ts';

await leakGuard();

test("an idle socket gets 'timeout' and stays open", limit, async (t) => {
  const { client, peer } = await pair(t);
  const start = performance.now();
  assert.equal(client.setTimeout(60), client);
  assert.equal(client.timeout, 60);
  await once(client, 'timeout');
  assert.ok(performance.now() - start >= 55);
  assert.equal(client.destroyed, false);
  client.write('alive');
  assert.equal(String((await once(peer, 'data'))[0]), 'alive');
});

test("the callback of setTimeout is called once, a listener of 'timeout' each time", limit, async (t) => {
  const { client } = await pair(t);
  const log: string[] = [];
  client.on('timeout', () => log.push('event'));
  client.setTimeout(20, () => log.push('callback'));
  await once(client, 'timeout');
  // After 'timeout' the timer runs again with the next activity only.
  client.write('x');
  await once(client, 'timeout');
  assert.deepEqual(log, ['event', 'callback', 'event']);
});

test('setTimeout(0) takes the timeout and its callback back', limit, async (t) => {
  const { client } = await pair(t);
  const callback = (): void => assert.fail('timeout');
  client.setTimeout(20, callback);
  client.setTimeout(0, callback);
  assert.equal(client.timeout, 0);
  assert.equal(client.listenerCount('timeout'), 0);
  client.on('timeout', callback);
  const other = (await pair(t)).client;
  other.setTimeout(60);
  await once(other, 'timeout');
});

// On a machine that stalls, a timeout may come in between; what counts is how long nothing had happened before it.
test('data that arrives puts the timeout off', limit, async (t) => {
  const { client, peer } = await pair(t);
  let pieces = 0;
  let last = performance.now();
  const idle: number[] = [];
  client.on('data', () => {
    pieces++;
    last = performance.now();
  });
  client.on('timeout', () => idle.push(performance.now() - last));
  client.setTimeout(150);
  const tick = setInterval(() => peer.write('.'), 30);
  t.after(() => clearInterval(tick));
  await until(() => pieces >= 10, 'ten pieces');
  clearInterval(tick);
  await once(client, 'timeout');
  for (const ms of idle) assert.ok(ms >= 145, `a timeout after ${ms} ms`);
});

test('writing puts the timeout off', limit, async (t) => {
  const { client, peer } = await pair(t);
  peer.resume();
  let writes = 0;
  let last = performance.now();
  const idle: number[] = [];
  client.on('timeout', () => idle.push(performance.now() - last));
  client.setTimeout(150);
  const tick = setInterval(() => {
    last = performance.now();
    client.write('.', () => writes++);
  }, 30);
  t.after(() => clearInterval(tick));
  await until(() => writes >= 10, 'ten writes');
  clearInterval(tick);
  await once(client, 'timeout');
  for (const ms of idle) assert.ok(ms >= 145, `a timeout after ${ms} ms`);
});

test('writing puts off a timeout that is due in the same turn', limit, async (t) => {
  const { client } = await pair(t);
  let timeouts = 0;
  client.on('timeout', () => timeouts++);
  client.setTimeout(30);
  const written = new Promise<void>((resolve) => {
    setTimeout(() => {
      client.write('x');
      setImmediate(resolve);
    }, 10);
  });
  const end = performance.now() + 60;
  while (performance.now() < end); // both timers are late now, and run one after the other
  await written;
  assert.equal(timeouts, 0);
  await once(client, 'timeout');
});

test("'timeout' comes while writes are stuck at a peer that does not read", limit, async (t) => {
  const { client, peer } = await pair(t);
  peer.pause();
  client.write(Buffer.alloc(48 * 1024 * 1024));
  await turns(50);
  client.setTimeout(60);
  await once(client, 'timeout');
  assert.ok(client.writableLength > 0);
});

test("'timeout' comes while connecting", limit, async (t) => {
  // A lookup that does not answer: connecting, for as long as it is needed.
  const client = dialling(t, { port: 1, host: 'never.example', lookup: () => {} });
  client.write('queued');
  const log = trace(client, ['timeout', 'connect', 'error', 'close']);
  client.setTimeout(40);
  await once(client, 'timeout');
  assert.equal(client.connecting, true);
  client.destroy();
  await close(client);
  assert.deepEqual(log, ['timeout', 'close:false']);
});

test('the option timeout of connect is set before connecting', limit, async (t) => {
  const client = dialling(t, { port: 1, host: 'never.example', lookup: () => {}, timeout: 40 });
  assert.equal(client.timeout, 40);
  await once(client, 'timeout');
  assert.equal(client.connecting, true);
});

test('a destroyed socket gets no timeout', limit, async (t) => {
  const { client } = await pair(t);
  const log = trace(client, ['timeout', 'close']);
  client.setTimeout(20);
  client.destroy();
  await close(client);
  const other = (await pair(t)).client;
  other.setTimeout(60);
  await once(other, 'timeout');
  assert.deepEqual(log, ['close:false']);
});

test('a timeout set in the connection listener is of the accepted socket', limit, async (t) => {
  let peer: Socket | undefined;
  const server = await serve(t, (socket) => {
    peer = socket;
    socket.setTimeout(30, () => socket.end('idle'));
  });
  const client = await dial(t, server);
  assert.equal(String((await once(client, 'data'))[0]), 'idle');
  assert.equal((peer as Socket).timeout, 30);
});

test('a paused socket times out although bytes wait', limit, async (t) => {
  const { client, peer } = await pair(t);
  client.pause();
  peer.write('waiting');
  await turns(10);
  client.setTimeout(40);
  await once(client, 'timeout');
});

test('setTimeout checks its arguments', limit, (t) => {
  const socket = keep(t, new net.Socket());
  for (const value of ['x', {}, null, undefined, true])
    assert.throws(() => socket.setTimeout(value as never), { code: 'ERR_INVALID_ARG_TYPE' });
  for (const value of [-1, Number.NaN, Number.POSITIVE_INFINITY])
    assert.throws(() => socket.setTimeout(value), { code: 'ERR_OUT_OF_RANGE' });
  for (const value of ['x', {}, 5, true])
    assert.throws(() => socket.setTimeout(5, value as never), { code: 'ERR_INVALID_ARG_TYPE' });
  socket.setTimeout(0);
});

test('a timeout does not keep the process alive by itself', limit, async (t) => {
  const { run } = await import('../support/child.ts');
  const server = await serve(t);
  const address = server.address() as { port: number };
  const { code, stdout } = await run(
    t,
    `const socket = net.connect(${address.port}, '127.0.0.1', () => { socket.unref(); socket.setTimeout(60_000); say('unref'); });`,
    { stdio: ['ignore', 'pipe', 'pipe'] },
  ).exit;
  assert.deepEqual([code, stdout], [0, 'unref\n']);
});
