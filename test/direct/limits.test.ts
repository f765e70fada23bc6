/** What happens to writes that a peer does not take: the three policies at the cap. */
import assert from 'node:assert/strict';
import type { Socket } from 'node:net';
import test from 'node:test';
import type { Connection, OverflowPolicy } from 'millrace/direct';
import { collect, leakGuard, limit, settled, turns, until } from '../support/net.ts';
import { Book, peer, serve } from './support/direct.ts';

await leakGuard();

const CAP = 1_000_000;

/** A connection whose peer reads nothing, and whose kernel buffers are full. */
async function stuck(
  t: test.TestContext,
  overflow: OverflowPolicy,
  book = new Book(),
): Promise<{ c: Connection; socket: Socket; book: Book; sent: number }> {
  const limits = { highWaterMark: 1000, lowWaterMark: 0, maxBufferedBytes: CAP, overflow };
  const server = await serve(t, Object.assign(book.handlers(), { limits }));
  const socket = await peer(t, server, { paused: true });
  const c = await book.connection();
  const chunk = Buffer.alloc(64 * 1024, '#');
  let sent = 0;
  do {
    for (; c.bufferedBytes < chunk.length; sent += chunk.length) {
      c.write(chunk);
      await turns(1);
    }
    await settled(() => c.bytesWritten, 50);
  } while (c.bufferedBytes < chunk.length);
  book.lines.length = 0;
  return { c, socket, book, sent };
}

test('`close`: the connection is reset, and told how much waited', limit, async (t) => {
  const { c, book } = await stuck(t, 'close');
  const waiting = c.bufferedBytes;
  assert.equal(c.write(Buffer.alloc(CAP - waiting)), 'queued');
  assert.equal(c.bufferedBytes, CAP);
  assert.equal(c.write('!'), 'dropped');
  assert.equal(c.isWritable, false);
  assert.deepEqual(await book.closed(), { kind: 'overflow', bufferedBytes: CAP + 1, limitBytes: CAP });
  assert.deepEqual(book.errors, []);
});

test('`dropNewest`: a write that does not fit is dropped as a whole, the others arrive', limit, async (t) => {
  const { c, socket, book, sent } = await stuck(t, 'dropNewest');
  const room = CAP - c.bufferedBytes;
  assert.equal(c.write(Buffer.alloc(room + 1, 'b')), 'dropped');
  assert.equal(c.write('small'), 'queued');
  assert.equal(c.write('x'.repeat(room - 5)), 'queued');
  assert.equal(c.write('y'), 'dropped');
  assert.equal(c.write('é', 'latin1'), 'dropped');
  assert.equal(c.bufferedBytes, CAP);
  const received = collect(socket.resume());
  await book.until('drain');
  assert.equal(c.write('again'), 'sent');
  c.end();
  const bytes = await received;
  assert.equal(bytes.length, sent + room + 5);
  assert.equal(bytes.subarray(sent).toString(), `small${'x'.repeat(room - 5)}again`);
  socket.end();
  await book.closed();
});

test('text that fits by its real size, though not by its largest, is taken', limit, async (t) => {
  const { c } = await stuck(t, 'dropNewest');
  const room = CAP - c.bufferedBytes;
  assert.equal(c.write('x'.repeat(room)), 'queued');
  assert.equal(c.bufferedBytes, CAP);
});

test('a drop at the cap is followed by `drain`, too', limit, async (t) => {
  const { c, socket, book } = await stuck(t, 'dropNewest');
  assert.equal(c.write(Buffer.alloc(CAP)), 'dropped');
  socket.resume();
  await book.until('drain');
  assert.equal(c.bufferedBytes, 0);
});

test('`dropOldest`: old writes give way as wholes; those that were given to the kernel stay', limit, async (t) => {
  const { c, socket, book, sent } = await stuck(t, 'dropOldest');
  // What waits now (one chunk at least) was given to the kernel, or is older than all of these.
  for (let i = 0; i < 100; i++) {
    const status = c.write(Buffer.alloc(50_000, i));
    assert.equal(status, 'queued');
    assert.ok(c.bufferedBytes <= CAP, `${c.bufferedBytes}`);
  }
  const received = collect(socket.resume());
  await until(() => c.bufferedBytes === 0, 'all of it');
  c.end();
  const bytes = await received;
  const rest = bytes.subarray(bytes.length - 15 * 50_000);
  for (let i = 0; i < 15; i++)
    assert.ok(
      rest.subarray(i * 50_000, (i + 1) * 50_000).every((byte) => byte === 85 + i),
      `write ${85 + i} is whole`,
    );
  assert.ok(bytes.length < sent + CAP);
  // Whatever else arrived arrived as a whole, in order.
  const middle = bytes.subarray(sent - 64 * 1024 * 16 > 0 ? bytes.lastIndexOf('#') + 1 : 0, bytes.length - 15 * 50_000);
  assert.equal(middle.length % 50_000, 0);
  socket.end();
  await book.closed();
});

test('`dropOldest`: a write larger than the cap is dropped itself', limit, async (t) => {
  const { c } = await stuck(t, 'dropOldest');
  const before = c.bufferedBytes;
  assert.equal(c.write(Buffer.alloc(CAP + 1)), 'dropped');
  assert.equal(c.bufferedBytes, before);
});

test('what is dropped or waits costs no more memory than the cap', limit, async (t) => {
  const { c } = await stuck(t, 'dropOldest');
  for (let i = 0; i < 200_000; i++) c.write('0123456789');
  assert.ok(c.bufferedBytes <= CAP);
  const { arrayBuffers } = process.memoryUsage();
  assert.ok(arrayBuffers < 64 * 1024 * 1024, `${arrayBuffers}`);
});

test('a cap of few bytes holds from the first write on', limit, async (t) => {
  const book = new Book();
  const limits = { maxBufferedBytes: 10 };
  const server = await serve(t, Object.assign(book.handlers(), { limits }));
  await peer(t, server);
  const c = await book.connection();
  assert.equal(c.write('0123456789'), 'sent');
  assert.equal(c.write('0'), 'dropped');
  assert.deepEqual(await book.closed(), { kind: 'overflow', bufferedBytes: 11, limitBytes: 10 });
});

test('`dropOldest`: no more writes wait than 65,536, however small they are', limit, async (t) => {
  const { c, socket } = await stuck(t, 'dropOldest');
  const before = c.bufferedBytes;
  for (let i = 0; i < 70_000; i++) assert.equal(c.write(`${i % 10}`), 'queued');
  assert.ok(c.bufferedBytes <= before + 65_536, `${c.bufferedBytes - before} writes wait`);
  const received = collect(socket.resume());
  c.end('!');
  const bytes = await received;
  const digits = bytes.subarray(bytes.lastIndexOf('#') + 1).toString();
  assert.ok(digits.length > 60_000 && digits.length <= 65_537 && digits.endsWith('56789!'), `${digits.length} writes`);
});
