import assert from 'node:assert/strict';
import test from 'node:test';
import fc from 'fast-check';
import { FrameDecoder, frame } from '../../examples/frame-decoder.ts';
import { LineDecoder } from '../../examples/line-decoder.ts';

/** Cuts the bytes at the given places, and reuses one memory for all pieces: a decoder must not keep a chunk. */
function* pieces(bytes: Buffer, cuts: number[]): Generator<Buffer> {
  const memory = Buffer.alloc(bytes.length);
  const places = [...new Set(cuts.map((cut) => cut % (bytes.length + 1))), bytes.length].sort((a, b) => a - b);
  let start = 0;
  for (const place of places) {
    const piece = memory.subarray(0, bytes.copy(memory, 0, start, place));
    yield piece;
    piece.fill(0x2a);
    start = place;
  }
}

const cuts = fc.array(fc.nat(), { maxLength: 20 });

test('the line decoder gives the same lines for all cuts', () => {
  const line = fc.string({ unit: 'binary' }).filter((text) => !/[\r\n]/.test(text));
  fc.assert(
    fc.property(fc.array(line), fc.constantFrom('\n', '\r\n'), cuts, (lines, newline, cuts) => {
      const decoder = new LineDecoder();
      const got: string[] = [];
      for (const piece of pieces(Buffer.from(lines.map((line) => line + newline).join('')), cuts))
        got.push(...decoder.push(piece));
      assert.deepEqual(got, lines);
      assert.deepEqual([...decoder.end()], []);
    }),
  );
});

test('the frame decoder gives the same frames for all cuts', () => {
  fc.assert(
    fc.property(fc.array(fc.uint8Array({ maxLength: 300 })), cuts, (bodies, cuts) => {
      const decoder = new FrameDecoder(300);
      const got: Buffer[] = [];
      for (const piece of pieces(Buffer.concat(bodies.map((body) => frame(Buffer.from(body)))), cuts))
        got.push(...decoder.push(piece));
      assert.deepEqual(
        got,
        bodies.map((body) => Buffer.from(body)),
      );
      assert.ok(decoder.isBetweenFrames);
    }),
  );
});

test('a line and a frame that come byte by byte cost linear time', { timeout: 20_000 }, () => {
  // 4 MiB in 4 million pieces: with a concat for each, 8 TB would be copied.
  const bytes = 4 * 1024 * 1024;
  const piece = Buffer.from('x');
  const lines = new LineDecoder(bytes);
  const frames = new FrameDecoder(bytes);
  for (const _ of frames.push(frame(Buffer.alloc(bytes)).subarray(0, 4))) assert.fail();
  let framed = 0;
  for (let i = 0; i < bytes; i++) {
    for (const _ of lines.push(piece)) assert.fail();
    for (const body of frames.push(piece)) framed += body.length;
  }
  assert.equal([...lines.push(Buffer.from('\n'))][0]?.length, bytes);
  assert.equal(framed, bytes);
});

test('the decoders refuse what is over the limit by one, and take what just fits', () => {
  assert.deepEqual([...new LineDecoder(5).push(Buffer.from('12345\n'))], ['12345']);
  assert.throws(() => [...new LineDecoder(5).push(Buffer.from('123456\n'))], {
    name: 'RangeError',
    message: 'a line is longer than 5 bytes',
  });
  assert.throws(() => [...new LineDecoder(5).push(Buffer.from('123456'))], RangeError);
  assert.deepEqual([...new FrameDecoder(5).push(frame('12345'))], [Buffer.from('12345')]);
  assert.throws(() => [...new FrameDecoder(5).push(frame('123456').subarray(0, 4))], RangeError);
});
