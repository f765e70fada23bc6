import assert from 'node:assert/strict';
import test from 'node:test';
import fc from 'fast-check';
import { type Codec, custom, type FrameFinder, type Framing, type Input, lines } from 'millrace/framing';
import { cut, traffic, verifyCodec } from 'millrace/framing/testing';
import { limit } from './support/decode.ts';

/** Frames of one byte of length, with what is asked for broken. */
function planted(
  find: (input: Input, good: (input: Input) => boolean) => boolean,
  seal?: () => void,
): Codec<Buffer, Uint8Array> {
  const good = (input: Input): boolean => {
    const whole = 1 + (input.bytes[input.at] as number);
    if (input.end - input.at < whole) return false;
    input.frameStart = input.at + 1;
    input.frameEnd = input.at += whole;
    return true;
  };
  const framing: Framing & FrameFinder = {
    maxFrameBytes: 255,
    maxUnreadBytes: 256,
    tailBytes: 0,
    touchesPayload: false,
    headBytes: () => 1,
    seal: (target, headAt, payloadBytes) => {
      target[headAt] = payloadBytes;
      seal?.();
    },
    finder: () => framing,
    find: (input) => find(input, good),
  };
  return custom(framing);
}
const samples = [{ messages: ['one', '', 'two', 'three'].map((text) => Buffer.from(text)) }];

test('a good codec passes', limit, () =>
  verifyCodec(
    planted((input, good) => good(input)),
    samples,
  ),
);

const faults: Record<string, Parameters<typeof planted>[0]> = {
  'takes a frame that is not whole': (input, good) => {
    if (good(input)) return true;
    if (input.end - input.at < 2) return false;
    input.frameStart = input.at + 1;
    input.frameEnd = input.at = input.end;
    return true;
  },
  'loses a byte when it needs more': (input, good) => {
    if (good(input)) return true;
    if (input.end - input.at > 3) input.at++;
    return false;
  },
  'waits for a byte too many': (input, good) => {
    const { at, end } = input;
    if (good(input) && input.at < end) return true;
    input.at = at;
    return false;
  },
  'hands out a byte too few': (input, good) => {
    const isFound = good(input);
    if (input.frameEnd > input.frameStart + 3) input.frameEnd--;
    return isFound;
  },
};
for (const [fault, find] of Object.entries(faults)) {
  test(`a codec that ${fault} is found out`, limit, () =>
    assert.rejects(verifyCodec(planted(find), samples), { name: 'AssertionError' }),
  );
}

test('what a sample expects has to come', limit, async () => {
  const codec = lines().utf8();
  const refused = (sample: Parameters<typeof verifyCodec<string, string>>[1][number]) =>
    assert.rejects(verifyCodec(codec, [sample]), { name: 'AssertionError' });
  await refused({ wire: Buffer.from('one\n'), frames: ['two'] });
  await refused({ wire: Buffer.from('one\n'), frames: ['one'], error: 'MILLRACE_ERR_BAD_UTF8' });
  await refused({ wire: Buffer.from('\xff\n', 'latin1'), frames: [] });
  await refused({ messages: ['one\r'.slice(0, 3)], frames: ['other'] });
  await assert.rejects(verifyCodec(codec, []), { name: 'AssertionError' });
});

test('generated messages find what samples have missed', limit, async () => {
  // Breaks at length 7 only.
  const codec = planted((input, good) => {
    const isFound = good(input);
    if (isFound && input.frameEnd - input.frameStart === 7) input.frameEnd--;
    return isFound;
  });
  await verifyCodec(codec, samples);
  const message = fc.uint8Array({ maxLength: 9 }).map((bytes) => Buffer.from(bytes));
  await assert.rejects(verifyCodec(codec, [], { generated: { fc, message } }), /Property failed/);
});

test('traffic is an arbitrary by map, and cut cuts', limit, () => {
  const codec = lines().utf8();
  const arbitrary = fc.tuple(fc.array(fc.stringMatching(/^\w*$/)), fc.array(fc.nat())).map(traffic(codec));
  fc.assert(
    fc.property(arbitrary, ({ messages, wire, chunks }) => {
      assert.deepEqual(Buffer.concat(chunks), wire);
      const got: string[] = [];
      const decoder = codec.decoder((line) => got.push(line));
      for (const chunk of chunks) decoder.push(chunk);
      assert.deepEqual(got, messages);
    }),
  );
  assert.deepEqual(cut(Buffer.from('abcd'), [3, 1, 1, 0, 4, 9]).map(String), ['a', 'bc', 'd']);
  assert.deepEqual(cut(Buffer.alloc(0), [1]), []);
});
