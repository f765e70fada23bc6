import assert from 'node:assert/strict';
import { mock, test } from 'node:test';
import { TICK_MS } from 'millrace/direct';
import { leakGuard, limit, settled, turns, until } from '../support/net.ts';
import { Book, peer, serve } from './support/direct.ts';

await leakGuard();

/** Has `ms` of the wheel's time pass, and what happens in it happen. */
async function pass(ms: number): Promise<void> {
  for (let passed = 0; passed < ms; passed += TICK_MS) {
    mock.timers.tick(TICK_MS);
    await turns(2);
  }
}

/** Only when everything is connected: waits with a limit use timers, too. */
function stopTime(t: test.TestContext): void {
  mock.timers.enable({ apis: ['setTimeout'] });
  t.after(() => mock.timers.reset());
}

test('a connection on which nothing is received is closed, and the reason says so', limit, async (t) => {
  const book = new Book();
  const server = await serve(t, Object.assign(book.handlers(), { idle: {} }));
  const socket = await peer(t, server);
  const c = await book.connection();
  stopTime(t);
  c.setTimeout({ readMs: 1000 });
  await pass(900);
  socket.write('alive');
  while (book.bytes === 0) await turns(1);
  await pass(1000);
  assert.deepEqual(book.reasons, [], 'bytes put it off');
  await pass(300);
  assert.deepEqual(book.reasons, [{ kind: 'timeout', side: 'read', afterMs: 1000 }]);
  assert.deepEqual(book.lines, ['open', 'data', 'close:timeout']);
});

test('with `timeout` the connection lives on, and the time begins again', limit, async (t) => {
  const book = new Book();
  const sides: string[] = [];
  const timeout = (_: unknown, side: string): void => void sides.push(side);
  const server = await serve(t, { ...book.handlers(), timeout });
  await peer(t, server);
  const c = await book.connection();
  stopTime(t);
  c.setTimeout({ readMs: 500 });
  await pass(800);
  assert.deepEqual(sides, ['read']);
  await pass(800);
  assert.deepEqual(sides, ['read', 'read']);
  c.setTimeout({ readMs: 0 });
  await pass(5000);
  assert.equal(sides.length, 2);
  assert.equal(c.isWritable, true);
});

test('what waits and is not taken is timed out on the write side, with a reset', limit, async (t) => {
  const book = new Book();
  const server = await serve(t, book.handlers());
  const socket = await peer(t, server, { paused: true });
  const c = await book.connection();
  for (let i = 0; i < 100; i++) c.write(Buffer.alloc(100_000));
  await settled(() => c.bytesWritten);
  assert.ok(c.bufferedBytes > 0);
  stopTime(t);
  c.setTimeout({ writeMs: 1000 });
  await pass(1000);
  assert.deepEqual(book.reasons, []);
  await pass(300);
  assert.equal(c.isWritable, false);
  while (!c.isClosed) await turns(1);
  assert.deepEqual(book.reasons, [{ kind: 'timeout', side: 'write', afterMs: 1000 }]);
  socket.resume();
});

test('a connection that has nothing to send is never timed out on the write side', limit, async (t) => {
  const book = new Book();
  const server = await serve(t, book.handlers());
  const socket = await peer(t, server);
  const c = await book.connection();
  stopTime(t);
  c.setTimeout({ writeMs: 200 });
  for (let i = 0; i < 5; i++) {
    c.write('x');
    await pass(1000);
  }
  assert.deepEqual(book.reasons, []);
  socket.resume();
});

test('the read side is not timed out while we read nothing, or the peer has ended', limit, async (t) => {
  const book = new Book();
  const server = await serve(t, Object.assign(book.handlers(), { allowHalfOpen: true, idle: {} }));
  const socket = await peer(t, server);
  const c = await book.connection();
  stopTime(t);
  c.setTimeout({ readMs: 500 });
  c.pause();
  await pass(3000);
  c.resume();
  await pass(500);
  assert.deepEqual(book.reasons, []);
  socket.end();
  while (!book.lines.includes('end')) await turns(1);
  await pass(3000);
  assert.deepEqual(book.reasons, []);
});

test('idle times are those of the server unless the connection has its own', limit, async (t) => {
  const book = new Book();
  stopTime(t);
  const server = await serve(t, Object.assign(book.handlers(), { idle: { readMs: 500, writeMs: 60_000 } }));
  await peer(t, server);
  await peer(t, server);
  while (book.connections.length < 2) await turns(1);
  book.connections[0]?.setTimeout({ readMs: 5000 });
  await pass(800);
  assert.deepEqual(book.reasons, [{ kind: 'timeout', side: 'read', afterMs: 500 }]);
  await pass(5000);
  assert.deepEqual(book.reasons[1], { kind: 'timeout', side: 'read', afterMs: 5000 });
});

test('real time passes, too: not early, and not late', limit, async (t) => {
  const book = new Book();
  const opened = performance.now();
  const server = await serve(t, Object.assign(book.handlers(), { idle: { readMs: 300 } }));
  await peer(t, server);
  await book.closed();
  const afterMs = performance.now() - opened;
  assert.ok(afterMs >= 300 && afterMs < 1500, `${afterMs} ms`);
});

test('a loop that was blocked closes nobody for its own silence', limit, async (t) => {
  const book = new Book();
  const server = await serve(t, Object.assign(book.handlers(), { idle: { readMs: 400 } }));
  const socket = await peer(t, server);
  await book.connection();
  socket.write('sent while nobody listens');
  const end = performance.now() + 1000;
  while (performance.now() < end);
  await until(() => book.bytes > 0, 'the bytes');
  await turns(3);
  assert.deepEqual(book.reasons, []);
});
