import assert from 'node:assert/strict';
import test from 'node:test';
import { Network, received } from '../support/network.ts';
import { limit, type MemorySession, settle } from '../support/pair.ts';

test('keep: a send waits for room, in order', limit, async () => {
  const network = new Network();
  const { client } = network.client({ outbox: { maxMessages: 2 } });
  await client.send(1);
  await client.send(2);
  const done: number[] = [];
  const waiting = [3, 4].map((n) => client.send(n).then(() => done.push(n)));
  assert.equal(client.trySend(5), 'dropped');
  const controller = new AbortController();
  const left = client.send(6, { signal: controller.signal });
  controller.abort(new Error('enough'));
  await assert.rejects(left, /^Error: enough$/);
  await settle();
  assert.deepEqual(done, []);
  const server = await network.last.accept();
  await Promise.all(waiting);
  assert.deepEqual(await received(server), [1, 2, 3, 4]);
  await client.close();
});

test('keep: a small message does not overtake a large one that waits', limit, async () => {
  const network = new Network();
  const { client } = network.client({ outbox: { maxBytes: 10 } });
  const sends = ['12345678', '1234', '1'].map((message) => client.send(message));
  assert.equal(client.trySend('2'), 'dropped');
  await settle();
  const server = await network.last.accept();
  await Promise.all(sends);
  assert.deepEqual(await received(server), ['12345678', '1234', '1']);
  await client.close();
});

test('keep: who waits is told when the client is closed', limit, async () => {
  const { client } = new Network().client({ outbox: { maxMessages: 1 } });
  await client.send(1);
  const waiting = client.send(2);
  void client.abort();
  await assert.rejects(waiting, { code: 'MILLRACE_ERR_CLIENT_CLOSED' });
});

test('refuse: a send that has no room is rejected', limit, async () => {
  const { client } = new Network().client({ outbox: { maxMessages: 1, whenFull: 'refuse' } });
  await client.send(1);
  await assert.rejects(client.send(2), { code: 'MILLRACE_ERR_OUTBOX_FULL' });
  assert.equal(client.trySend(3), 'dropped');
  assert.deepEqual(client.unsent(), [1]);
  void client.abort();
});

test('dropOldest: the oldest give way, and are told', limit, async () => {
  const { client } = new Network().client({ outbox: { maxMessages: 2, whenFull: 'dropOldest' } });
  const dropped: unknown[] = [];
  client.on('dropped', (message) => dropped.push(message));
  for (const n of [1, 2, 3, 4]) await client.send(n);
  assert.deepEqual(client.unsent(), [3, 4]);
  assert.deepEqual(dropped, [1, 2]);
  void client.abort();
});

test('bytes count as messages do', limit, async () => {
  const { client } = new Network().client({ outbox: { maxBytes: 10, whenFull: 'dropOldest' } });
  await client.send('four');
  await client.send(Buffer.alloc(4));
  assert.equal(client.bufferedBytes, 8);
  await client.send('xyz');
  assert.equal(client.bufferedBytes, 7);
  await assert.rejects(client.send('x'.repeat(11)), { code: 'MILLRACE_ERR_OUTBOX_FULL' });
  assert.equal(client.bufferedMessages, 2);
  void client.abort();
});

const withIds = { idOf: (message: { id?: number }) => message.id };

test('with an id, a message is sent until it is acknowledged', limit, async () => {
  const network = new Network();
  const { client } = network.client({ outbox: withIds });
  for (const id of [1, 2, 3]) await client.send({ id });
  await client.send({});
  const first = await network.last.accept();
  assert.deepEqual(await received(first), [{ id: 1 }, { id: 2 }, { id: 3 }, {}]);
  assert.equal(client.acked(2), true);
  assert.equal(client.acked(2), false);
  assert.equal(client.acked(9), false);
  assert.deepEqual(client.unsent(), [{ id: 1 }, { id: 3 }]);
  first.abort();
  await settle();
  await client.send({ id: 4 });
  await network.clock.advance(1000);
  const second = await network.last.accept();
  assert.deepEqual(await received(second), [{ id: 1 }, { id: 3 }, { id: 4 }]);
  const flushed = client.flushed();
  assert.equal(client.ackedThrough(3), 2);
  assert.deepEqual(client.unsent(), [{ id: 4 }]);
  client.acked(4);
  await flushed;
  await client.close();
});

test('messages that are not acknowledged count for the bound', limit, async () => {
  const network = new Network();
  const { client } = network.client({ outbox: { ...withIds, maxMessages: 2 } });
  await settle();
  const server = await network.last.accept();
  await client.send({ id: 1 });
  await client.send({ id: 2 });
  let isTaken = false;
  const third = client.send({ id: 3 }).then(() => {
    isTaken = true;
  });
  await settle();
  assert.equal(isTaken, false);
  client.acked(1);
  await third;
  await settle();
  assert.deepEqual(await received(server), [{ id: 1 }, { id: 2 }, { id: 3 }]);
  await assert.rejects(client.send({ id: 3 }), { code: 'MILLRACE_ERR_MISUSE' });
  await client.close();
});

test('without an id, what a dying connection had is not sent again', limit, async () => {
  const network = new Network();
  const { client } = network.client();
  await settle();
  await network.last.accept();
  const session = client.session as unknown as MemorySession;
  session.highFrames = 1;
  const sends = [1, 2, 3].map((n) => client.send(n));
  await settle();
  // The first was handed over, and waits for room; the others wait behind it.
  session.abort();
  await Promise.all(sends);
  await settle();
  assert.deepEqual(client.unsent(), [2, 3]);
  await network.clock.advance(1000);
  const second = await network.last.accept();
  assert.deepEqual(await received(second), [2, 3]);
  await client.close();
});

test("a message without a frame is the sender's, or told", limit, async () => {
  const network = new Network();
  const { client } = network.client({ outbox: { sizeOf: () => 1 } });
  const dropped: unknown[] = [];
  client.on('dropped', (message, error) => dropped.push(message, (error as Error).name));
  await client.send(1n); // nobody has tried to encode it
  await client.send(2);
  const server = await network.last.accept();
  assert.deepEqual(dropped, [1n, 'TypeError']);
  await assert.rejects(client.send(3n), TypeError);
  await client.send(4);
  assert.deepEqual(await received(server), [2, 4]);
  await client.close();
});

test('a full connection fills the outbox', limit, async () => {
  const network = new Network();
  const { client } = network.client({ outbox: { maxMessages: 3 } });
  await settle();
  const server = await network.last.accept();
  (client.session as unknown as MemorySession).highFrames = 1;
  let taken = 0;
  const sends = Array.from({ length: 10 }, (_, n) => client.send(n).then(() => taken++));
  await settle();
  assert.equal(taken, 3, 'one is on its way and waits, three are kept, six wait');
  assert.equal(server.unread, 1);
  const got: unknown[] = [];
  while (got.length < 10) got.push(await server.receive());
  assert.deepEqual(got, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
  await Promise.all(sends);
  await client.close();
});
