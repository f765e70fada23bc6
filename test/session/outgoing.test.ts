import assert from 'node:assert/strict';
import test from 'node:test';
import { lengthPrefixed } from 'millrace/framing';
import { limit } from './support/serving.ts';

const path = '#src/session/outgoing.ts';
const { Outgoing } = (await import(path)) as typeof import('../../src/session/outgoing.ts');
type Rules = ConstructorParameters<typeof Outgoing>[2];

const codec = lengthPrefixed({ lengthFieldLength: 1 }).utf8();

/** A connection that takes bytes when the test says so. */
class Pipe {
  bufferedBytes = 0;
  bytesWritten = 0;
  isWritable = true;
  readonly written: string[] = [];

  write(chunk: Uint8Array | string): 'sent' | 'dropped' {
    if (!this.isWritable) return 'dropped';
    this.bufferedBytes += chunk.length;
    this.written.push(Buffer.from(chunk as Uint8Array).toString('latin1', 1));
    return 'sent';
  }

  take(bytes = this.bufferedBytes): void {
    this.bufferedBytes -= bytes;
    this.bytesWritten += bytes;
  }
}

const rules: Rules = {
  ...{ highBytes: 100, lowBytes: 20, highFrames: 4, lowFrames: 1 },
  ...{ maxBytes: 200, maxFrames: 1_000, onOverflow: 'close' },
};

function rig(options: Partial<Rules> = {}) {
  const pipe = new Pipe();
  const outgoing = new Outgoing<string>(codec as never, pipe, { ...rules, ...options });
  return { pipe, outgoing, offer: (text: string, key?: unknown) => outgoing.offer(text, key) };
}

test('it is full at so many frames, or at so many bytes', limit, () => {
  const frames = rig();
  assert.deepEqual(
    ['a', 'b', 'c', 'd', 'e'].map((each) => frames.offer(each)),
    ['sent', 'sent', 'sent', 'queued', 'queued'],
  );
  assert.deepEqual(frames.pipe.written, ['a', 'b', 'c', 'd']);
  assert.deepEqual([frames.outgoing.bufferedFrames, frames.outgoing.bufferedBytes], [5, 10]);
  const bytes = rig();
  assert.deepEqual(
    [bytes.offer('x'.repeat(60)), bytes.offer('y'.repeat(60)), bytes.offer('z')],
    ['sent', 'queued', 'queued'],
  );
  assert.deepEqual([bytes.pipe.written.length, bytes.outgoing.bufferedBytes], [2, 124]);
});

test('a frame that is encoded already goes the same way, and many sessions share it', limit, () => {
  const frame = codec.encode('abc');
  const rigs = [rig({ highFrames: 2 }), rig({ highFrames: 2 })];
  for (const { outgoing, pipe, offer } of rigs) {
    assert.equal(offer('first'), 'sent');
    assert.deepEqual(
      [outgoing.offerFrame(frame, undefined), outgoing.offerFrame(frame, 'key'), outgoing.offerFrame(frame, 'key')],
      ['queued', 'queued', 'queued'],
    );
    assert.deepEqual([pipe.written, outgoing.bufferedFrames, outgoing.bufferedBytes], [['first', 'abc'], 3, 14]);
    pipe.take();
    outgoing.drained();
    assert.deepEqual([pipe.written, outgoing.framesWritten], [['first', 'abc', 'abc'], 3]);
    pipe.isWritable = false;
    pipe.take();
    assert.equal(outgoing.offerFrame(frame, undefined), 'dropped');
  }
  const small = rig({ maxBytes: 6, highFrames: 1 });
  assert.deepEqual(
    [small.outgoing.offerFrame(frame, undefined), small.outgoing.offerFrame(frame, undefined)],
    ['queued', 'overflow'],
  );
});

test('frames are counted until their last byte is taken', limit, () => {
  const { pipe, outgoing, offer } = rig();
  for (const each of ['abc', 'def', 'ghi']) offer(each);
  pipe.take(3);
  assert.equal(outgoing.bufferedFrames, 3);
  pipe.take(1);
  assert.equal(outgoing.bufferedFrames, 2);
  pipe.take();
  assert.equal(outgoing.bufferedFrames, 0);
  offer('jkl');
  assert.equal(outgoing.bufferedFrames, 1);
});

test('who waits goes on below both low marks', limit, () => {
  const { pipe, outgoing, offer } = rig();
  const log: string[] = [];
  const wait = (name: string) =>
    outgoing.wait({ resolve: () => log.push(name), reject: (error) => log.push(String(error)) });
  for (const each of ['a', 'b', 'c']) offer(each);
  for (const each of ['d', 'e', 'f', 'g', 'h']) {
    assert.equal(offer(each), 'queued');
    wait(each);
  }
  pipe.take();
  outgoing.drained();
  assert.deepEqual([log, outgoing.bufferedFrames, pipe.written.length], [[], 4, 8]);
  pipe.take(4);
  outgoing.drained();
  assert.deepEqual(log, [], 'two frames are more than one');
  pipe.take(2);
  outgoing.drained();
  assert.deepEqual(log, ['d', 'e', 'f', 'g', 'h']);
});

test('at the cap: close', limit, () => {
  const { offer, outgoing } = rig({ maxBytes: 110 });
  offer('x'.repeat(99));
  assert.equal(offer('12345678'), 'queued');
  assert.equal(offer('1'), 'overflow');
  assert.deepEqual([outgoing.bufferedBytes, outgoing.framesDropped], [109, 0]);
});

test('at the cap: the newest is dropped', limit, () => {
  const { offer, outgoing, pipe } = rig({ maxBytes: 110, onOverflow: 'dropNewest' });
  offer('x'.repeat(99));
  assert.deepEqual([offer('12345678'), offer('ab'), offer('')], ['queued', 'dropped', 'queued']);
  pipe.take();
  outgoing.drained();
  assert.deepEqual([pipe.written.slice(1), outgoing.framesDropped], [['12345678', ''], 1]);
});

test('at the cap: the oldest that the connection has not got gives way, and who waited is told', limit, () => {
  const { offer, outgoing, pipe } = rig({ maxBytes: 110, onOverflow: 'dropOldest' });
  const log: unknown[] = [];
  const wait = (name: string) =>
    outgoing.wait({
      resolve: () => log.push(name),
      reject: (error) => log.push(name, (error as { code: string }).code),
    });
  offer('x'.repeat(99));
  wait('x');
  for (const each of ['aaa', 'bbb', 'ccc']) {
    assert.equal(offer(each), 'queued');
    wait(each);
  }
  assert.deepEqual(log, ['aaa', 'MILLRACE_ERR_DROPPED']);
  assert.equal(offer('y'.repeat(50)), 'dropped', 'nobody gives way in vain');
  pipe.take();
  outgoing.drained();
  assert.deepEqual(pipe.written.slice(1), ['bbb', 'ccc']);
  pipe.take();
  outgoing.drained();
  assert.deepEqual([outgoing.framesDropped, log], [2, ['aaa', 'MILLRACE_ERR_DROPPED', 'x', 'bbb', 'ccc']]);
});

test('frames that wait have a cap, too, and take more memory than their bytes', limit, () => {
  for (const [onOverflow, status, left] of [
    ['close', 'overflow', ['a', 'b']],
    ['dropNewest', 'dropped', ['a', 'b']],
    ['dropOldest', 'queued', ['b', 'c']],
  ] as const) {
    const { offer, outgoing, pipe } = rig({ maxFrames: 2, onOverflow });
    for (const each of ['1', '2', '3', '4', 'a', 'b']) offer(each);
    assert.deepEqual([outgoing.queuedFrames, outgoing.bufferedBytes, outgoing.heldBytes], [2, 12, 12 + 2 * 128]);
    assert.equal(offer('c'), status);
    assert.equal(outgoing.framesDropped, onOverflow === 'close' ? 0 : 1);
    pipe.take();
    outgoing.drained();
    assert.deepEqual(pipe.written.slice(4), left);
    assert.equal(outgoing.heldBytes, outgoing.bufferedBytes);
  }
});

test('a newer message takes the place of one with the same key that waits', limit, () => {
  const { offer, outgoing, pipe } = rig();
  offer('x'.repeat(99));
  for (const [text, key] of [
    ['a1', 'a'],
    ['b', undefined],
    ['a2', 'a'],
    ['c1', 'c'],
    ['a3 longer', 'a'],
  ] as const) {
    assert.equal(offer(text, key), 'queued');
  }
  assert.deepEqual([outgoing.bufferedFrames, outgoing.bufferedBytes, outgoing.framesDropped], [4, 100 + 10 + 2 + 3, 2]);
  pipe.take();
  outgoing.drained();
  assert.deepEqual(pipe.written.slice(1), ['a3 longer', 'b', 'c1']);
  offer('a4', 'a');
  assert.equal(pipe.written.at(-1), 'a4', 'what has left is not replaced');
});

test('what takes the place of another keeps to the cap, too', limit, () => {
  for (const [onOverflow, expected] of [
    ['close', ['overflow', ['small', 'other']]],
    ['dropNewest', ['dropped', ['small', 'other']]],
    ['dropOldest', ['queued', ['new', 'newest']]],
  ] as const) {
    const { offer, outgoing, pipe } = rig({ maxBytes: 165, onOverflow });
    offer('x'.repeat(99));
    offer('small', 'a');
    offer('other');
    const status = offer('x'.repeat(60), 'a');
    if (onOverflow === 'dropOldest') {
      assert.equal(offer('new', 'b'), 'queued');
      assert.equal(offer('newest', 'b'), 'queued');
    }
    pipe.take();
    outgoing.drained();
    assert.deepEqual([status, pipe.written.slice(1)], expected);
  }
});

test('a single message may be larger than the cap if nothing else waits', limit, () => {
  const { offer, pipe } = rig({ maxBytes: 110 });
  assert.equal(offer('x'.repeat(250)), 'queued');
  assert.equal(pipe.written[0]?.length, 250);
  assert.equal(offer('y'), 'overflow');
});

test('large messages are not copied, small ones behind them are', limit, () => {
  const pipe = new Pipe();
  const chunks: Uint8Array[] = [];
  pipe.write = (chunk) => {
    chunks.push(chunk as Uint8Array);
    return 'sent';
  };
  const outgoing = new Outgoing<Uint8Array>(lengthPrefixed({ lengthFieldLength: 2 }) as never, pipe, {
    ...rules,
    highBytes: 1e6,
  });
  const large = Buffer.alloc(5_000, 'x');
  outgoing.offer(large, undefined);
  outgoing.offer(large, undefined);
  assert.deepEqual(
    chunks.map(({ length }) => length),
    [2, 5_000, 2, 5_000],
  );
  assert.equal(chunks[1], large);
  outgoing.offer(Buffer.from('ab'), undefined);
  outgoing.offer(Buffer.from('cd'), undefined);
  assert.deepEqual(chunks.slice(4).map(String), ['\0\x02ab', '\0\x02cd']);
});

test('what cannot be sent is told to who waits, unless everything has left', limit, () => {
  for (const lost of [5, 0]) {
    const { outgoing, offer, pipe } = rig();
    const log: string[] = [];
    for (const each of ['a', 'b', 'c', 'd', 'e']) offer(each);
    outgoing.wait({ resolve: () => log.push('sent'), reject: (error) => log.push((error as Error).message) });
    outgoing.finish(new Error('gone'), lost);
    assert.deepEqual(log, [lost > 0 ? 'gone' : 'sent']);
    pipe.isWritable = false;
    pipe.take();
    assert.equal(offer('f'), 'dropped');
  }
});
