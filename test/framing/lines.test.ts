import assert from 'node:assert/strict';
import test from 'node:test';
import fc from 'fast-check';
import { lines } from 'millrace/framing';
import { verifyCodec } from 'millrace/framing/testing';
import { bytes, decode, limit, reasonOf } from './support/decode.ts';

const long = 'x'.repeat(130);

test('lines end with LF, and a CR in front of it is removed', limit, () =>
  verifyCodec(lines().utf8(), [
    { wire: Buffer.from('one\ntwo\r\n\n\r\nsix\r\r\n'), frames: ['one', 'two', '', '', 'six\r'] },
    { wire: Buffer.from(`${long}\n${long}\r\nend`), frames: [long, long, 'end'] },
    { wire: Buffer.from('\r'), frames: [''] },
    { wire: Buffer.from('a\rb\n\r\r\n'), frames: ['a\rb', '\r'] },
    { wire: Buffer.from('grün 𝄞 \ufffd\n\ufeffbom\n'), frames: ['grün 𝄞 \ufffd', '\ufeffbom'] },
    { messages: ['', 'one', 'grün 𝄞', 'a\rb', long] },
  ]),
);

test('lines may be told to end with LF only, or with CR LF only', limit, async () => {
  await verifyCodec(lines({ newline: 'lf' }).utf8(), [
    { wire: Buffer.from('one\r\n\rtwo\n\r'), frames: ['one\r', '\rtwo', '\r'] },
    { messages: ['one\r', '', '\r'] },
  ]);
  await verifyCodec(lines({ newline: 'crlf' }).utf8(), [
    { wire: Buffer.from('one\r\ntwo\nand\rmore\r\r\n\r\nend\r'), frames: ['one', 'two\nand\rmore\r', '', 'end\r'] },
    { messages: ['one\n', '', 'a\rb'] },
  ]);
  assert.equal(lines({ newline: 'crlf' }).utf8().encode('x').toString(), 'x\r\n');
});

test('a last line without a newline is a line, or an error', limit, async () => {
  const strict = lines({ unterminated: 'error' }).utf8();
  await verifyCodec(strict, [
    { wire: Buffer.from('one\ntwo'), frames: ['one'], error: 'MILLRACE_ERR_TRUNCATED' },
    { wire: Buffer.from('one\n'), frames: ['one'] },
    { wire: Buffer.from('one\n\r'), frames: ['one'], error: 'MILLRACE_ERR_TRUNCATED' },
  ]);
});

test('a line over the limit is an error as soon as it is too long', limit, async () => {
  const error = 'MILLRACE_ERR_FRAME_TOO_LARGE';
  await verifyCodec(lines({ maxFrameBytes: 5 }).utf8(), [
    { wire: Buffer.from('12345\n12345\r\n12345'), frames: ['12345', '12345', '12345'] },
    { wire: Buffer.from('one\n123456\ntwo\n'), frames: ['one'], error },
    { wire: Buffer.from('one\n12345\r6\n'), frames: ['one'], error },
    { wire: Buffer.from('12345\r'), frames: ['12345'] },
    { wire: Buffer.from('123456'), frames: [], error },
    { wire: Buffer.from(long), frames: [], error },
  ]);
  const decoder = lines({ maxFrameBytes: 5 }).decoder(() => assert.fail('no line'));
  decoder.push(Buffer.from('12345\r'));
  assert.throws(() => decoder.push(Buffer.from('x')), {
    name: 'FramingError',
    code: 'MILLRACE_ERR_FRAME_TOO_LARGE',
    reason: 'FRAME_TOO_LARGE',
    limitBytes: 5,
    message: 'a frame is longer than 5 bytes',
  });
});

test('a line over the limit may be skipped, and the next one is good again', limit, async () => {
  for (const newline of ['any', 'lf', 'crlf'] as const) {
    const end = newline === 'crlf' ? '\r\n' : '\n';
    const codec = lines({ maxFrameBytes: 5, onTooLarge: 'skip', newline }).utf8();
    await verifyCodec(codec, [
      { wire: Buffer.from(['one', '123456', 'two', long, long, 'x'].join(end)), frames: ['one', 'two', 'x'] },
      { wire: Buffer.from(`${long}${end}`), frames: [] },
      { wire: Buffer.from(`a${end}${long}`), frames: ['a'] },
      { wire: Buffer.from(`123456${end}${end}`), frames: [''] },
    ]);
    assert.deepEqual(decode(codec, ['one', long, '123456', 'x', long].join(end)), {
      frames: ['one', 'x'],
      reason: undefined,
      skipped: 3,
    });
  }
  const strict = lines({ maxFrameBytes: 5, onTooLarge: 'skip', unterminated: 'error' }).utf8();
  assert.equal(decode(strict, `one\n${long}`).reason, 'TRUNCATED');
  assert.equal(decode(strict, `one\n${long}\n`).reason, undefined);
});

test('an endless line costs no more memory than the limit, skipped or not', limit, () => {
  for (const onTooLarge of ['skip', 'error'] as const) {
    const decoder = lines({ maxFrameBytes: 1000, onTooLarge }).decoder(() => assert.fail('no line'));
    let most = 0;
    const chunk = Buffer.alloc(777, 'x');
    const run = () => {
      for (let i = 0; i < 2_000; i++) {
        decoder.push(chunk);
        most = Math.max(most, decoder.bufferedBytes);
      }
    };
    if (onTooLarge === 'skip') run();
    else assert.equal(reasonOf(run), 'FRAME_TOO_LARGE');
    assert.ok(most <= 1000, `${most} bytes were kept`);
    assert.equal(decoder.bufferedBytes, 0);
  }
});

test('what would be two lines, or another one, is not sent', limit, () => {
  assert.equal(
    reasonOf(() => lines().utf8().encode('two\nlines')),
    'BAD_PAYLOAD',
  );
  assert.equal(
    reasonOf(() => lines().utf8().encode('a CR at the end\r')),
    'BAD_PAYLOAD',
  );
  assert.equal(
    reasonOf(() => lines({ newline: 'lf' }).utf8().encode('\n')),
    'BAD_PAYLOAD',
  );
  assert.equal(
    reasonOf(() => lines({ newline: 'crlf' }).utf8().encode('a\r\nb')),
    'BAD_PAYLOAD',
  );
  assert.equal(
    reasonOf(() => lines({ maxFrameBytes: 5 }).utf8().encode('123456')),
    'FRAME_TOO_LARGE',
  );
  assert.equal(
    reasonOf(() => lines().utf8().encodeInto('two\nlines', Buffer.alloc(99))),
    'BAD_PAYLOAD',
  );
});

test('lines of bytes need not be text', limit, () => {
  const wire = Buffer.from([0xff, 0x00, 0x0a, 0xc3, 0x0a, 0x80]);
  return verifyCodec(lines(), [{ wire, frames: [Buffer.of(0xff, 0), Buffer.of(0xc3), Buffer.of(0x80)] }]);
});

test('lines come back as they were sent, however they are cut', limit, () => {
  const message = fc
    .string({ unit: 'binary', maxLength: 40 })
    .map((text) => text.replaceAll(/[\n\r\ud800-\udfff]/g, '.'));
  const generated = { fc, message, parameters: { numRuns: 200 } };
  return verifyCodec(lines().utf8(), [], { generated });
});

test('lines in large chunks of every alphabet are the same as in small ones', limit, () => {
  const text = fc.array(fc.constantFrom('ascii only', 'a', '', 'ümläut', '€', long, 'x'.repeat(9_000), '\r'), {
    maxLength: 60,
  });
  fc.assert(
    fc.property(text, fc.integer({ min: 1, max: 3_000 }), (parts, size) => {
      const wire = Buffer.from(parts.join('\n'));
      const whole = decode(lines().utf8(), wire);
      const chunks = Array.from({ length: Math.ceil(wire.length / size) }, (_, i) =>
        wire.subarray(i * size, (i + 1) * size),
      );
      assert.deepEqual(decode(lines().utf8(), ...chunks), whole);
      const expected = parts
        .join('\n')
        .split('\n')
        .map((line) => line.replace(/\r$/, ''));
      if (parts.at(-1) === '' || parts.length === 0) expected.pop();
      assert.deepEqual(whole.frames, expected);
      assert.deepEqual(decode(lines(), wire).frames, bytes(...expected));
    }),
  );
});

test('options that make no sense are refused', limit, () => {
  assert.equal(
    reasonOf(() => lines({ newline: 'cr' as 'lf' })),
    'BAD_OPTION',
  );
  assert.equal(
    reasonOf(() => lines({ maxFrameBytes: -1 })),
    'BAD_OPTION',
  );
  assert.equal(
    reasonOf(() => lines({ maxFrameBytes: 1.5 })),
    'BAD_OPTION',
  );
  assert.equal(
    reasonOf(() => lines({ maxFrameBytes: Number.POSITIVE_INFINITY })),
    'BAD_OPTION',
  );
  assert.equal(
    reasonOf(() => lines({ onTooLarge: 'drop' as 'skip' })),
    'BAD_OPTION',
  );
  assert.equal(
    reasonOf(() => lines({ unterminated: true as never })),
    'BAD_OPTION',
  );
});
