import assert from 'node:assert/strict';
import test from 'node:test';
import fc from 'fast-check';
import { fixed } from 'millrace/framing';
import { verifyCodec } from 'millrace/framing/testing';
import { bytes, limit, reasonOf } from './support/decode.ts';

test('frames of a fixed size are cut where the size says', limit, async () => {
  await verifyCodec(fixed(3), [
    { wire: Buffer.from('onetwosix'), frames: bytes('one', 'two', 'six') },
    { wire: Buffer.from('onetw'), frames: bytes('one'), error: 'MILLRACE_ERR_TRUNCATED' },
    { messages: bytes('one', 'two') },
  ]);
  await verifyCodec(fixed(1), [{ wire: Buffer.from('ab'), frames: bytes('a', 'b') }]);
});

test('a message of another size is not sent', limit, () => {
  assert.equal(
    reasonOf(() => fixed(3).encode(Buffer.alloc(2))),
    'BAD_PAYLOAD',
  );
  assert.equal(
    reasonOf(() => fixed(3).utf8().encode('four')),
    'BAD_PAYLOAD',
  );
  for (const size of [0, -1, 1.5, 2 ** 31, Number.NaN])
    assert.equal(
      reasonOf(() => fixed(size)),
      'BAD_OPTION',
    );
});

test('records come back however they are cut', limit, () =>
  verifyCodec(fixed(16), [], {
    generated: {
      fc,
      message: fc.uint8Array({ minLength: 16, maxLength: 16 }).map((record) => Buffer.from(record)),
      parameters: { numRuns: 200 },
    },
  }),
);
