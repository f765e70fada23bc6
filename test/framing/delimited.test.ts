import assert from 'node:assert/strict';
import test from 'node:test';
import fc from 'fast-check';
import { delimited } from 'millrace/framing';
import { verifyCodec } from 'millrace/framing/testing';
import { bytes, decode, limit, reasonOf } from './support/decode.ts';

test('frames end with a delimiter of one byte or of several', limit, async () => {
  await verifyCodec(delimited('\0').utf8(), [
    { wire: Buffer.from('a\0\0bc\0'), frames: ['a', '', 'bc'] },
    { messages: ['a', '', 'x'.repeat(200)] },
  ]);
  await verifyCodec(delimited(Buffer.of(0xff)), [
    { wire: Buffer.of(1, 0xff, 0xff), frames: [Buffer.of(1), Buffer.alloc(0)] },
  ]);
  await verifyCodec(delimited('--end--').utf8(), [
    { wire: Buffer.from('a--end----end----end-'), frames: ['a', ''], error: 'MILLRACE_ERR_TRUNCATED' },
    { wire: Buffer.from('--en--end--'), frames: ['--en'] },
    { wire: Buffer.from('---end--'), frames: ['-'] },
    { messages: ['a', '', '-', '--en', 'end--'] },
  ]);
});

test('of several delimiters the first in the stream counts, and of those at one place the longest', limit, () =>
  verifyCodec(delimited(['\r', '\r\n', '\r\n\n', 'END']), [
    { wire: Buffer.from('a\r\nb\r\n\nc\rd\r\nxENDe\r'), frames: bytes('a', 'b', 'c', 'd', 'x', 'e') },
    { wire: Buffer.from('\r\r\r\n'), frames: bytes('', '', '') },
    { wire: Buffer.from('EENDENEND'), frames: bytes('E', 'EN') },
    { wire: Buffer.from('a\r\nEN'), frames: bytes('a'), error: 'MILLRACE_ERR_TRUNCATED' },
    // Only the end shows that this was the shorter one.
    { wire: Buffer.from('a\r\n'), frames: bytes('a') },
    { messages: bytes('one', '', '\n', 'EN') },
  ]),
);

test('a frame whose delimiter may go on waits for the next byte', limit, () => {
  const frames: string[] = [];
  const decoder = delimited(['\r', '\r\n'])
    .utf8()
    .decoder((frame) => frames.push(frame));
  decoder.push(Buffer.from('a\r'));
  assert.deepEqual(frames, []);
  decoder.push(Buffer.from('b'));
  assert.deepEqual(frames, ['a']);
  decoder.push(Buffer.from('\r\n'));
  assert.deepEqual(frames, ['a', 'b']);
});

test('a delimiter is written that is not the beginning of another one', limit, () => {
  assert.equal(delimited(['\r', '\r\n']).utf8().encode('a').toString(), 'a\r\n');
  assert.equal(delimited([';', '\n']).utf8().encode('a').toString(), 'a;');
  assert.equal(
    reasonOf(() => delimited([';', '\n']).utf8().encode('a\nb')),
    'BAD_PAYLOAD',
  );
  // The message and the delimiter together would be found too early.
  assert.equal(
    reasonOf(() => delimited('aa').utf8().encode('xa')),
    'BAD_PAYLOAD',
  );
  // "-a" and the next message "" with its "a" would be the other delimiter.
  assert.equal(
    reasonOf(() => delimited(['a', '-aa']).utf8().encode('-')),
    'BAD_PAYLOAD',
  );
});

test('bytes without a delimiter at the end are an error, or a frame', limit, () => {
  assert.deepEqual(decode(delimited(';').utf8(), 'a;b'), { frames: ['a'], reason: 'TRUNCATED', skipped: 0 });
  assert.deepEqual(decode(delimited(';', { unterminated: 'emit' }).utf8(), 'a;b').frames, ['a', 'b']);
  assert.deepEqual(decode(delimited('END', { unterminated: 'emit' }).utf8(), 'aENDbEN').frames, ['a', 'bEN']);
});

test('a frame over the limit is an error, or skipped', limit, async () => {
  const ends = ['--', '\n'];
  await verifyCodec(delimited(ends, { maxFrameBytes: 3 }).utf8(), [
    { wire: Buffer.from('123--123\n1234--'), frames: ['123', '123'], error: 'MILLRACE_ERR_FRAME_TOO_LARGE' },
    { wire: Buffer.from('123-'), frames: [], error: 'MILLRACE_ERR_TRUNCATED' },
    { wire: Buffer.from('123-4'), frames: [], error: 'MILLRACE_ERR_FRAME_TOO_LARGE' },
  ]);
  await verifyCodec(delimited(ends, { maxFrameBytes: 3, onTooLarge: 'skip' }).utf8(), [
    { wire: Buffer.from('1----2345-6--7\n'), frames: ['1', '', '7'] },
    { wire: Buffer.from('123-4--5--'), frames: ['5'] },
    { wire: Buffer.from('12345678--'), frames: [] },
    { wire: Buffer.from('12345678'), frames: [], error: 'MILLRACE_ERR_TRUNCATED' },
  ]);
});

test('frames come back as they were sent, whatever the delimiters', limit, async () => {
  const unit = fc.constantFrom('a', 'b', '-', '\n');
  const delimiter = fc.string({ unit, minLength: 1, maxLength: 3 });
  await fc.assert(
    fc.asyncProperty(
      fc.array(delimiter, { minLength: 1, maxLength: 3 }),
      fc.array(fc.string({ unit, maxLength: 8 }), { maxLength: 8 }),
      async (delimiters, texts) => {
        const codec = delimited(delimiters).utf8();
        const messages = texts.filter((text) => reasonOf(() => codec.encode(text)) !== 'BAD_PAYLOAD');
        await verifyCodec(codec, [{ messages }]);
      },
    ),
    { numRuns: 60 },
  );
});

test('what is sent is never two frames, nor one with the next, whatever the delimiters', limit, () => {
  const unit = fc.constantFrom('a', 'b', '-');
  fc.assert(
    fc.property(
      fc.array(fc.string({ unit, minLength: 1, maxLength: 3 }), { minLength: 1, maxLength: 3 }),
      fc.array(fc.string({ unit, maxLength: 4 }), { maxLength: 4 }),
      (delimiters, texts) => {
        const codec = delimited(delimiters).utf8();
        const messages = texts.filter((text) => reasonOf(() => codec.encode(text)) === 'none');
        const wire = Buffer.concat(messages.map((message) => codec.encode(message)));
        assert.deepEqual(decode(codec, wire).frames, messages);
      },
    ),
    { numRuns: 5_000 },
  );
});

test('delimiters that make no sense are refused', limit, () => {
  assert.equal(
    reasonOf(() => delimited([])),
    'BAD_OPTION',
  );
  assert.equal(
    reasonOf(() => delimited('')),
    'BAD_OPTION',
  );
  assert.equal(
    reasonOf(() => delimited(['a', ''])),
    'BAD_OPTION',
  );
  assert.equal(
    reasonOf(() => delimited('x'.repeat(256))),
    'BAD_OPTION',
  );
  assert.equal(
    reasonOf(() => delimited(/x/ as never)),
    'BAD_OPTION',
  );
  assert.equal(
    reasonOf(() => delimited(10 as never)),
    'BAD_OPTION',
  );
  assert.deepEqual(decode(delimited(['\n', '\n']).utf8(), 'a\nb\n').frames, ['a', 'b']);
});
