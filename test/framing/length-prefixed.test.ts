import assert from 'node:assert/strict';
import test from 'node:test';
import fc from 'fast-check';
import { type LengthPrefixedOptions, lengthPrefixed } from 'millrace/framing';
import { verifyCodec } from 'millrace/framing/testing';
import { bytes, decode, hex, limit, reasonOf } from './support/decode.ts';

const hello = Buffer.from('HELLO, WORLD').toString('hex');

/** The worked examples of Netty's LengthFieldBasedFrameDecoder, and one of tokio-util (unused bytes behind the length). */
const examples: Record<string, [LengthPrefixedOptions, wire: string, frame: string]> = {
  'the header is handed out': [{ lengthFieldLength: 2, numSkip: 0 }, `000c${hello}`, `000c${hello}`],
  'the header is skipped': [{ lengthFieldLength: 2, numSkip: 2 }, `000c${hello}`, hello],
  'skipping the header is the default': [{ lengthFieldLength: 2 }, `000c${hello}`, hello],
  'the length counts everything': [
    { lengthFieldLength: 2, lengthAdjustment: -2, numSkip: 0 },
    `000e${hello}`,
    `000e${hello}`,
  ],
  'the same by its name': [{ lengthFieldLength: 2, lengthIncludesPrefix: true }, `000e${hello}`, hello],
  'a header field before the length': [
    { lengthFieldOffset: 2, lengthFieldLength: 3, numSkip: 0 },
    `cafe00000c${hello}`,
    `cafe00000c${hello}`,
  ],
  'a header field behind the length': [
    { lengthFieldLength: 3, lengthAdjustment: 2, numSkip: 0 },
    `00000ccafe${hello}`,
    `00000ccafe${hello}`,
  ],
  'a length in the middle of the header': [
    { lengthFieldOffset: 1, lengthFieldLength: 2, lengthAdjustment: 1, numSkip: 3 },
    `00000cfe${hello}`,
    `fe${hello}`,
  ],
  'a length in the middle of the header that counts everything': [
    { lengthFieldOffset: 1, lengthFieldLength: 2, lengthAdjustment: -3, numSkip: 3 },
    `000010fe${hello}`,
    `fe${hello}`,
  ],
  'unused bytes behind the length': [
    { lengthFieldLength: 3, lengthAdjustment: 1, numSkip: 4 },
    `00000c00${hello}`,
    hello,
  ],
  'little-endian': [{ lengthFieldLength: 3, endianness: 'little' }, `0c0000${hello}`, hello],
};
for (const [title, [options, wire, frame]] of Object.entries(examples)) {
  test(`length prefix: ${title}`, limit, () =>
    verifyCodec(lengthPrefixed(options), [
      { wire: hex(wire + wire), frames: [hex(frame), hex(frame)] },
      { messages: [hex(frame), hex(frame)] },
      { wire: hex(wire).subarray(0, -1), frames: [], error: 'MILLRACE_ERR_TRUNCATED' },
    ]),
  );
}

test('header bytes that are skipped may be anything on the way in', limit, () => {
  const codec = lengthPrefixed({ lengthFieldOffset: 1, lengthFieldLength: 2, lengthAdjustment: 1, numSkip: 3 });
  assert.deepEqual(decode(codec, hex(`ca000cfe${hello}`)).frames, [hex(`fe${hello}`)]);
});

for (let lengthFieldLength = 1; lengthFieldLength <= 8; lengthFieldLength++) {
  for (const endianness of ['big', 'little'] as const) {
    test(`a length of ${lengthFieldLength} bytes, ${endianness}-endian, comes back`, limit, () =>
      verifyCodec(lengthPrefixed({ lengthFieldLength, endianness, maxFrameBytes: 300 }), [
        { messages: [Buffer.alloc(0), Buffer.from('a'), Buffer.alloc(lengthFieldLength === 1 ? 255 : 300, 'x')] },
      ]),
    );
  }
}

test('a length over the limit is refused when it is declared', limit, async () => {
  const codec = lengthPrefixed({ maxFrameBytes: 5 });
  await verifyCodec(codec, [
    { wire: hex('00000005 3132333435 00000006'), frames: bytes('12345'), error: 'MILLRACE_ERR_FRAME_TOO_LARGE' },
    { wire: hex('ffffffff'), frames: [], error: 'MILLRACE_ERR_FRAME_TOO_LARGE' },
  ]);
  assert.throws(() => codec.decoder(() => {}).push(hex('00000006')), {
    message: 'a frame of 6 bytes is over the limit of 5',
    code: 'MILLRACE_ERR_FRAME_TOO_LARGE',
    limitBytes: 5,
    gotBytes: 6,
  });
});

test('a length above 2^53 - 1 is no length', limit, () => {
  for (const [endianness, wire] of [
    ['big', '0020000000000000'],
    ['little', '0000000000002000'],
    ['big', 'ffffffffffffffff'],
  ] as const) {
    const codec = lengthPrefixed({ lengthFieldLength: 8, endianness });
    assert.equal(decode(codec, hex(wire)).reason, 'BAD_LENGTH', wire);
    const adjusted = lengthPrefixed({ lengthFieldLength: 8, endianness, lengthAdjustment: -(2 ** 31) });
    assert.equal(decode(adjusted, hex(wire)).reason, 'BAD_LENGTH', wire);
  }
  assert.equal(decode(lengthPrefixed({ lengthFieldLength: 8 }), hex('001fffffffffffff')).reason, 'FRAME_TOO_LARGE');
});

test('a length that leaves less than the header is no length', limit, async () => {
  await verifyCodec(lengthPrefixed({ lengthFieldLength: 2, lengthIncludesPrefix: true }), [
    {
      wire: hex('0002 0003 61 0001 62'),
      frames: [Buffer.alloc(0), Buffer.from('a')],
      error: 'MILLRACE_ERR_BAD_LENGTH',
    },
    { wire: hex('0000'), frames: [], error: 'MILLRACE_ERR_BAD_LENGTH' },
  ]);
  await verifyCodec(lengthPrefixed({ lengthFieldLength: 1, lengthAdjustment: -3 }), [
    { wire: hex('03 04 61 02'), frames: [Buffer.alloc(0), Buffer.from('a')], error: 'MILLRACE_ERR_BAD_LENGTH' },
  ]);
  // More is to be skipped than there is.
  await verifyCodec(lengthPrefixed({ lengthFieldLength: 1, numSkip: 3 }), [
    {
      wire: hex('02 6161 03 616162 01 61'),
      frames: [Buffer.alloc(0), Buffer.from('b')],
      error: 'MILLRACE_ERR_BAD_LENGTH',
    },
  ]);
});

test('a message that has no such frame is not sent', limit, () => {
  assert.equal(
    reasonOf(() => lengthPrefixed({ maxFrameBytes: 5 }).encode(Buffer.alloc(6))),
    'FRAME_TOO_LARGE',
  );
  assert.equal(
    reasonOf(() => lengthPrefixed({ lengthFieldLength: 1 }).encode(Buffer.alloc(256))),
    'FRAME_TOO_LARGE',
  );
  assert.equal(lengthPrefixed({ lengthFieldLength: 1 }).encode(Buffer.alloc(255)).length, 256);
  // It has to bring its own header: 2 bytes of length.
  const whole = lengthPrefixed({ lengthFieldLength: 2, numSkip: 0 });
  assert.equal(
    reasonOf(() => whole.encode(Buffer.alloc(1))),
    'BAD_PAYLOAD',
  );
  assert.deepEqual(whole.encode(hex('ffff61')), hex('000161'));
  assert.equal(
    reasonOf(() => lengthPrefixed({ lengthAdjustment: 4 }).encode(Buffer.alloc(3))),
    'BAD_PAYLOAD',
  );
  assert.equal(
    reasonOf(() => lengthPrefixed().encode('text' as never)),
    'BAD_PAYLOAD',
  );
});

test('zero-length frames are frames', limit, () =>
  verifyCodec(lengthPrefixed({ lengthFieldLength: 1 }), [
    { wire: Buffer.alloc(40), frames: Array(40).fill(Buffer.alloc(0)) },
  ]),
);

test('every vocabulary of a length prefix brings messages back', limit, async () => {
  const options = fc.record({
    lengthFieldOffset: fc.integer({ min: 0, max: 3 }),
    lengthFieldLength: fc.integer({ min: 1, max: 8 }),
    lengthAdjustment: fc.integer({ min: -12, max: 4 }),
    numSkip: fc.option(fc.integer({ min: 0, max: 14 }), { nil: undefined }),
    endianness: fc.constantFrom('big' as const, 'little' as const),
    lengthIncludesPrefix: fc.boolean(),
  });
  await fc.assert(
    fc.asyncProperty(options, fc.array(fc.uint8Array({ maxLength: 30 }), { maxLength: 4 }), async (options, all) => {
      const codec = lengthPrefixed(options);
      const messages = all.filter((message) => reasonOf(() => codec.encode(message)) === 'none');
      // The length field, where it is handed out, is the encoder's; so the frames are what decoding makes of it once.
      const wire = Buffer.concat(messages.map((message) => codec.encode(message)));
      const { frames, reason } = decode(codec, wire);
      assert.equal(reason, undefined);
      const headerEnd = options.lengthFieldOffset + options.lengthFieldLength;
      const skip = options.numSkip ?? headerEnd;
      for (const [i, frame] of frames.entries()) {
        const start = Math.max(0, options.lengthFieldOffset - skip);
        const end = Math.max(start, headerEnd - skip);
        const expected = Buffer.from(messages[i]!);
        frame.copy(expected, start, start, end);
        assert.deepEqual(frame, expected);
      }
      await verifyCodec(codec, [{ wire, frames }]);
    }),
    { numRuns: 100 },
  );
});

test('length-prefixed messages come back however they are cut', limit, () =>
  verifyCodec(lengthPrefixed({ lengthFieldLength: 2 }).utf8(), [], {
    generated: { fc, message: fc.string({ unit: 'grapheme', maxLength: 50 }), parameters: { numRuns: 200 } },
  }),
);

test('options that make no sense are refused', limit, () => {
  for (const options of [
    { lengthFieldLength: 0 },
    { lengthFieldLength: 9 },
    { lengthFieldOffset: -1 },
    { numSkip: -1 },
    { lengthAdjustment: 0.5 },
    { endianness: 'middle' as never },
    { maxFrameBytes: Number.NaN },
    { maxFrameBytes: '5' as never },
  ]) {
    assert.equal(
      reasonOf(() => lengthPrefixed(options)),
      'BAD_OPTION',
      JSON.stringify(options),
    );
  }
});
