/** net.socketpair: two sockets that are connected with each other. */
import assert from 'node:assert/strict';
import test from 'node:test';
import net from 'millrace';
import { close, collect, keep, leakGuard, limit, once, take, turns } from '../support/net.ts';

await leakGuard();

// Without a native part the engine `node` has no way to make one.
let reason: string | false = false;
try {
  for (const socket of net.socketpair()) socket.destroy();
} catch (error) {
  assert.equal((error as NodeJS.ErrnoException).code, 'ERR_FEATURE_UNAVAILABLE_ON_PLATFORM');
  reason = 'no native part';
}
const options = { ...limit, skip: reason };

function pair(t: test.TestContext, given?: { allowHalfOpen: boolean }): [net.Socket, net.Socket] {
  const sockets = net.socketpair(given);
  for (const socket of sockets) keep(t, socket);
  return sockets;
}

test('a pair is open at once, and each end reads what the other writes', options, async (t) => {
  const [a, b] = pair(t);
  for (const socket of [a, b]) {
    assert.ok(socket instanceof net.Socket);
    assert.deepEqual([socket.readyState, socket.connecting, socket.pending], ['open', false, false]);
  }
  a.write('to b');
  b.write('to a');
  assert.deepEqual(await Promise.all([take(a, 4), take(b, 4)]), [Buffer.from('to a'), Buffer.from('to b')]);
});

test('nothing is lost and nothing is told before somebody listens', options, async (t) => {
  const [a, b] = pair(t);
  let told = 0;
  for (const event of ['end', 'close']) b.once(event, () => told++);
  a.write('early');
  a.end(' and over');
  await once(a, 'finish');
  await turns(20);
  assert.equal(told, 0);
  assert.equal((await collect(b)).toString(), 'early and over');
  await close(b);
});

test('large writes go through a pair whole', options, async (t) => {
  const [a, b] = pair(t);
  const bytes = Buffer.alloc(3_000_000, 'pair');
  a.end(bytes);
  assert.ok((await collect(b)).equals(bytes));
});

test('allowHalfOpen is for both ends', options, async (t) => {
  const [a, b] = pair(t, { allowHalfOpen: true });
  b.resume();
  b.end();
  a.resume();
  await once(a, 'end');
  assert.equal(a.writable, true);
  a.end('still');
  await Promise.all([close(a), close(b)]);
});

test('options of a pair are checked', limit, () => {
  for (const wrong of [null, 'stream', { allowHalfOpen: 'yes' }])
    assert.throws(() => net.socketpair(wrong as never), { code: 'ERR_INVALID_ARG_TYPE' });
});
