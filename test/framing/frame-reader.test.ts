import assert from 'node:assert/strict';
import test from 'node:test';
import { lengthPrefixed, lines } from 'millrace/framing';
import { limit } from './support/decode.ts';

/** A source that says what happened to it. */
function source(...chunks: (string | Error)[]) {
  const log: string[] = [];
  const iterator: AsyncIterableIterator<Uint8Array> = {
    [Symbol.asyncIterator]: () => iterator,
    async next() {
      log.push('next');
      const chunk = chunks.shift();
      if (chunk instanceof Error) throw chunk;
      return chunk === undefined ? { done: true, value: undefined } : { done: false, value: Buffer.from(chunk) };
    },
    async return() {
      log.push('return');
      return { done: true, value: undefined };
    },
  };
  return { iterator, log };
}

test('the next chunk is asked for when all frames of the last were read', limit, async () => {
  const { iterator, log } = source('1\n2\n3', '\n4\n');
  const reader = lines().utf8().frames(iterator);
  assert.deepEqual(log, []);
  assert.deepEqual(await reader.next(), { done: false, value: '1' });
  assert.deepEqual(await reader.next(), { done: false, value: '2' });
  assert.deepEqual(log, ['next']);
  assert.deepEqual(await reader.next(), { done: false, value: '3' });
  assert.deepEqual(await reader.next(), { done: false, value: '4' });
  assert.deepEqual(await reader.next(), { done: true, value: undefined });
  assert.deepEqual(await reader.next(), { done: true, value: undefined });
  assert.deepEqual(log, ['next', 'next', 'next']);
});

test('the codec is changed between two frames, and no byte is lost', limit, async () => {
  for (const chunks of [['BINARY\n\x03one', '\x03two'], ['BINARY\n\x03one\x03two'], [...'BINARY\n\x03one\x03two']]) {
    const header = lines()
      .utf8()
      .frames(source(...chunks).iterator);
    assert.deepEqual(await header.next(), { done: false, value: 'BINARY' });
    const got: string[] = [];
    for await (const frame of header.switchTo(lengthPrefixed({ lengthFieldLength: 1 }))) got.push(frame.toString());
    assert.deepEqual(got, ['one', 'two']);
  }
});

test('null is a message like any other', limit, async () => {
  const got: unknown[] = [];
  for await (const value of lines()
    .json()
    .frames([Buffer.from('1\nnull\n'), Buffer.from('2')]))
    got.push(value);
  assert.deepEqual(got, [1, null, 2]);
});

test('leaving the loop ends the source', limit, async () => {
  const { iterator, log } = source('1\n2\n');
  for await (const _ of lines().frames(iterator)) break;
  assert.deepEqual(log, ['next', 'return']);
  const other = source('1\n2\n');
  {
    await using reader = lines().frames(other.iterator);
    await reader.next();
  }
  assert.deepEqual(other.log, ['next', 'return']);
});

test('an error of the codec ends the source; frames before it were read', limit, async () => {
  const { iterator, log } = source('1\n22\n', '3\n');
  const got: string[] = [];
  const read = async () => {
    for await (const line of lines({ maxFrameBytes: 1 }).utf8().frames(iterator)) got.push(line);
  };
  await assert.rejects(read(), { code: 'MILLRACE_ERR_FRAME_TOO_LARGE' });
  assert.deepEqual(got, ['1']);
  assert.deepEqual(log, ['next', 'return']);
});

test('an error of the source comes out once', limit, async () => {
  const problem = new Error('reset');
  const reader = lines().utf8().frames(source('1\n', problem).iterator);
  assert.equal((await reader.next()).value, '1');
  await assert.rejects(reader.next(), problem);
  assert.deepEqual(await reader.next(), { done: true, value: undefined });
});

test('one next() at a time, and chunks have to be bytes', limit, async () => {
  const reader = lines().utf8().frames(source('1\n').iterator);
  const first = reader.next();
  await assert.rejects(reader.next(), { code: 'MILLRACE_ERR_MISUSE' });
  assert.equal((await first).value, '1');
  await assert.rejects(
    lines()
      .frames(['text' as never])
      .next(),
    { code: 'MILLRACE_ERR_MISUSE' },
  );
});

test('frames are views where that is asked for', limit, async () => {
  const chunk = Buffer.from('one\ntwo\n');
  const views = lines().frames([chunk], { frames: 'view' });
  assert.equal((await views.next()).value?.buffer, chunk.buffer);
  const copies = lines().frames([chunk]);
  (await copies.next()).value?.fill(0);
  assert.equal(chunk.toString(), 'one\ntwo\n');
});
