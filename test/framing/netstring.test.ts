import assert from 'node:assert/strict';
import test from 'node:test';
import fc from 'fast-check';
import { netstring } from 'millrace/framing';
import { verifyCodec } from 'millrace/framing/testing';
import { decode, limit, reasonOf } from './support/decode.ts';

test('a netstring is a length, a colon, the bytes and a comma', limit, () =>
  verifyCodec(netstring().utf8(), [
    { wire: Buffer.from('12:hello world!,0:,3:1:a,'), frames: ['hello world!', '', '1:a'] },
    { messages: ['', 'grün', 'x'.repeat(1_000)] },
  ]),
);

test('what is no netstring is refused at its first wrong byte', limit, () => {
  const error = 'MILLRACE_ERR_BAD_LENGTH';
  return verifyCodec(netstring().utf8(), [
    ...[':a,', '-1:a,', '01:a,', '00:,', ' 1:a,', '1x', '1:ab', '0:x', '1;a,', ',', '0x1:a,'].map((wire) => ({
      wire: Buffer.from(`1:a,${wire}`),
      frames: ['a'],
      error,
    })),
    { wire: Buffer.from('5:abc'), frames: [], error: 'MILLRACE_ERR_TRUNCATED' },
    { wire: Buffer.from('5'), frames: [], error: 'MILLRACE_ERR_TRUNCATED' },
    { wire: Buffer.from('1:a'), frames: [], error: 'MILLRACE_ERR_TRUNCATED' },
  ]);
});

test('a netstring over the limit is refused at the digit that makes it so', limit, async () => {
  await verifyCodec(netstring({ maxFrameBytes: 12 }).utf8(), [
    { messages: ['x'.repeat(12)] },
    { wire: Buffer.from('13'), frames: [], error: 'MILLRACE_ERR_FRAME_TOO_LARGE' },
    { wire: Buffer.from('9'.repeat(400)), frames: [], error: 'MILLRACE_ERR_FRAME_TOO_LARGE' },
  ]);
  assert.equal(
    reasonOf(() => netstring({ maxFrameBytes: 12 }).utf8().encode('x'.repeat(13))),
    'FRAME_TOO_LARGE',
  );
  assert.deepEqual(decode(netstring({ maxFrameBytes: 0 }).utf8(), '0:,0:,').frames, ['', '']);
});

test('netstrings come back however they are cut', limit, () =>
  verifyCodec(netstring().utf8(), [], {
    generated: { fc, message: fc.string({ unit: 'grapheme', maxLength: 120 }), parameters: { numRuns: 200 } },
  }),
);
