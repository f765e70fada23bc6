import assert from 'node:assert/strict';
import test from 'node:test';
import fc from 'fast-check';
import { varintPrefixed } from 'millrace/framing';
import { verifyCodec } from 'millrace/framing/testing';
import { decode, hex, limit, reasonOf } from './support/decode.ts';

test('a varint says the length, the lowest seven bits first', limit, async () => {
  await verifyCodec(varintPrefixed(), [
    { wire: hex('00 01 61 02 6262'), frames: [Buffer.alloc(0), Buffer.from('a'), Buffer.from('bb')] },
    { messages: [Buffer.alloc(127, 'x'), Buffer.alloc(128, 'y')] },
  ]);
  const codec = varintPrefixed();
  for (const [size, prefix] of [
    [0, '00'],
    [127, '7f'],
    [128, '8001'],
    [300, 'ac02'],
    [16_383, 'ff7f'],
    [16_384, '808001'],
  ] as const) {
    const encoded = codec.encode(Buffer.alloc(size, 'x'));
    assert.equal(encoded.toString('hex', 0, encoded.length - size), prefix);
    assert.deepEqual(decode(codec, encoded).frames, [Buffer.alloc(size, 'x')]);
  }
});

test('a varint that is longer than it has to be, or does not end, is no length', limit, () =>
  verifyCodec(varintPrefixed(), [
    { wire: hex('01 61 8100'), frames: [Buffer.from('a')], error: 'MILLRACE_ERR_BAD_LENGTH' },
    { wire: hex('8000'), frames: [], error: 'MILLRACE_ERR_BAD_LENGTH' },
    { wire: hex('8080808080808080'), frames: [], error: 'MILLRACE_ERR_BAD_LENGTH' },
    { wire: hex('ac8200'), frames: [], error: 'MILLRACE_ERR_BAD_LENGTH' },
    { wire: hex('80'), frames: [], error: 'MILLRACE_ERR_TRUNCATED' },
    { wire: hex('02 61'), frames: [], error: 'MILLRACE_ERR_TRUNCATED' },
  ]),
);

test('a varint over the limit is refused at the byte that makes it so', limit, async () => {
  await verifyCodec(varintPrefixed({ maxFrameBytes: 200 }), [
    { messages: [Buffer.alloc(200, 'x')] },
    { wire: hex('c901'), frames: [], error: 'MILLRACE_ERR_FRAME_TOO_LARGE' },
    { wire: hex('ffffffffffffffff7f'), frames: [], error: 'MILLRACE_ERR_FRAME_TOO_LARGE' },
    { wire: hex('80ff'), frames: [], error: 'MILLRACE_ERR_FRAME_TOO_LARGE' },
  ]);
  assert.equal(
    reasonOf(() => varintPrefixed({ maxFrameBytes: 200 }).encode(Buffer.alloc(201))),
    'FRAME_TOO_LARGE',
  );
  assert.deepEqual(decode(varintPrefixed({ maxFrameBytes: 0 }), hex('0000')).frames.length, 2);
  assert.equal(decode(varintPrefixed({ maxFrameBytes: 0 }), hex('8080808080808080')).reason, 'BAD_LENGTH');
});

test('varint-prefixed messages come back however they are cut', limit, () =>
  verifyCodec(varintPrefixed(), [], {
    generated: {
      fc,
      message: fc.uint8Array({ maxLength: 200 }).map((bytes) => Buffer.from(bytes)),
      parameters: { numRuns: 200 },
    },
  }),
);
