import assert from 'node:assert/strict';
import test from 'node:test';
import fc from 'fast-check';
import { type Codec, type FramingError, fixed, lengthPrefixed, lines, type StandardSchemaV1 } from 'millrace/framing';
import { verifyCodec } from 'millrace/framing/testing';
import { decode, hex, limit, reasonOf } from './support/decode.ts';

const prefixed = lengthPrefixed({ lengthFieldLength: 1 });

/** A schema as a library would make it: `{ n: string of digits }` in, a number out. */
const count: StandardSchemaV1<{ n: string }, number> = {
  '~standard': {
    version: 1,
    vendor: 'test',
    validate(value) {
      const n = (value as { n?: unknown } | null)?.n;
      if (typeof n === 'string' && /^\d+$/.test(n)) return { value: Number(n) };
      return { issues: [{ message: 'no digits', path: ['n', { key: 0 }] }, { message: 'another' }] };
    },
  },
};

test('text is UTF-8, and what is not is refused, wherever it is cut', limit, async () => {
  const error = 'MILLRACE_ERR_BAD_UTF8';
  await verifyCodec(prefixed.utf8(), [
    { wire: hex('03 e282ac 04 f09d849e 03 efbbbf 03 efbfbd'), frames: ['€', '𝄞', '\ufeff', '\ufffd'] },
    ...['ff', 'c3', 'e282', '80', 'c080', 'eda080', 'f4908080', 'c328'].map((bad) => ({
      wire: Buffer.concat([hex('0161'), Buffer.of(bad.length / 2), hex(bad)]),
      frames: ['a'],
      error,
    })),
  ]);
  // Two frames with half of a character each are not one with a whole one.
  assert.equal(decode(prefixed.utf8(), hex('02 e282 01 ac')).reason, 'BAD_UTF8');
  // The same in a chunk so large that its frames are cut from one string, if they can be.
  const wire = Buffer.concat([Buffer.from('ascii\n'.repeat(100)), hex('ff0a')]);
  assert.deepEqual(decode(lines().utf8(), wire), { frames: Array(100).fill('ascii'), reason: 'BAD_UTF8', skipped: 0 });
});

test('a string that is no text is not sent', limit, () => {
  assert.equal(
    reasonOf(() => lines().utf8().encode('\ud800')),
    'BAD_PAYLOAD',
  );
  assert.equal(
    reasonOf(() =>
      lines()
        .utf8()
        .encode(Buffer.from('x') as never),
    ),
    'BAD_PAYLOAD',
  );
});

test('a frame is one JSON text', limit, async () => {
  await verifyCodec(lines().json(), [
    { messages: [{ a: [1, 'two', null, true] }, 'x', 0, null, [], { ü: '\u2028\n' }] },
    { wire: Buffer.from('{"a":1}\n\n'), frames: [{ a: 1 }], error: 'MILLRACE_ERR_BAD_JSON' },
    { wire: Buffer.from(' [1] \r\n{'), frames: [[1]], error: 'MILLRACE_ERR_BAD_JSON' },
    { wire: Buffer.from('\ufeff1\n'), frames: [], error: 'MILLRACE_ERR_BAD_JSON' },
    { wire: Buffer.from('1 2\n'), frames: [], error: 'MILLRACE_ERR_BAD_JSON' },
  ]);
  assert.equal(decode(lines().json(), hex('22ff220a')).reason, 'BAD_UTF8');
  assert.throws(
    () =>
      lines()
        .json()
        .decoder(() => {})
        .push(Buffer.from('{\n')),
    (error: FramingError) => error.cause instanceof SyntaxError,
  );
});

test('what has no JSON is not sent', limit, () => {
  const cycle: unknown[] = [];
  cycle.push(cycle);
  for (const message of [undefined, () => {}, Symbol('x'), 1n, cycle]) {
    assert.equal(
      reasonOf(() => lines().json().encode(message)),
      'BAD_JSON',
    );
  }
});

test('deeply nested JSON is refused before it is built', limit, () => {
  const nested = (depth: number, open = '[', close = ']') => `${open.repeat(depth)}1${close.repeat(depth)}\n`;
  for (const small of [true, false]) {
    const pad = small ? '' : `"${'x'.repeat(300)}"\n`;
    const reason = (text: string, maxDepth?: number) => decode(lines().json({ maxDepth }), pad + text).reason;
    assert.equal(reason(nested(64)), undefined);
    assert.equal(reason(nested(65)), 'BAD_JSON');
    assert.equal(reason(nested(65, '{"a":', '}')), 'BAD_JSON');
    assert.equal(reason(nested(3), 2), 'BAD_JSON');
    assert.equal(reason('1\n', 0), undefined);
    assert.equal(reason('[]\n', 0), 'BAD_JSON');
    assert.equal(reason(nested(500_000)), 'BAD_JSON');
    // Brackets in strings, and behind escaped quotes, are not nesting.
    assert.equal(reason(`"${'['.repeat(100)}"\n`), undefined);
    assert.equal(reason(`["\\"${'['.repeat(100)}","\\\\",{}]\n`), undefined);
    assert.equal(reason(`["\\\\",${'['.repeat(64)}\n`), 'BAD_JSON');
  }
  const wide = `[${'[],'.repeat(200)}1]\n`;
  assert.equal(decode(lines().json({ maxDepth: 2 }), wide).reason, undefined);
});

test('keys that poison a prototype are refused, also when they are written with escapes', limit, () => {
  const poisoned = [
    '{"__proto__":{"x":1}}',
    '[{"a":{"\\u005f_proto__":1}}]',
    '{"constructor":{"prototype":{"x":1}}}',
    '{"constructor":{"\\u0070rototype":1}}',
  ];
  for (const text of poisoned) {
    assert.equal(decode(lines().json(), `${text}\n`).reason, 'BAD_JSON', text);
    const { frames } = decode(lines().json({ poisonedKeys: 'keep' }), `${text}\n`);
    assert.equal(frames.length, 1);
  }
  for (const text of [
    '"__proto__"',
    '{"a":"__proto__"}',
    '{"constructor":"x"}',
    '{"prototype":{}}',
    '{"constructor":null}',
    '{"a":"\\u00e9"}',
  ]) {
    assert.equal(decode(lines().json(), `${text}\n`).reason, undefined, text);
  }
});

test('JSON values come back however they are cut', limit, () =>
  verifyCodec(lengthPrefixed({ lengthFieldLength: 2 }).json(), [], {
    generated: {
      fc,
      message: fc
        .jsonValue({ maxDepth: 4 })
        .map((value) => JSON.parse(JSON.stringify(value)))
        .filter((value) => !JSON.stringify(value).includes('proto')),
      parameters: { numRuns: 150 },
    },
  }),
);

test('a schema of any Standard Schema library accepts, transforms and refuses', limit, async () => {
  const codec: Codec<number, { n: string }> = lines().json(count);
  await verifyCodec(codec, [
    { messages: [{ n: '7' }, { n: '08' }], frames: [7, 8] },
    { wire: Buffer.from('{"n":"7"}\n{"n":7}\n'), frames: [7], error: 'MILLRACE_ERR_SCHEMA' },
    { wire: Buffer.from('null\n'), frames: [], error: 'MILLRACE_ERR_SCHEMA' },
  ]);
  assert.throws(
    () => codec.decoder(() => {}).push(Buffer.from('{}\n')),
    (error: FramingError) => {
      assert.equal(error.message, 'a message is not accepted: n.0: no digits (and 1 more)');
      assert.equal(error.issues?.length, 2);
      return true;
    },
  );
  const shouting: StandardSchemaV1<string, string> = {
    '~standard': { version: 1, vendor: 'test', validate: (value) => ({ value: String(value).toUpperCase() }) },
  };
  await verifyCodec(lines().utf8().standardSchema(shouting), [{ messages: ['a', 'b'], frames: ['A', 'B'] }]);
});

test('a schema may be a function, as those of ArkType are', limit, () => {
  const schema = Object.assign(() => {}, count);
  assert.deepEqual(decode(lines().json(schema), '{"n":"7"}\n').frames, [7]);
});

test('a schema that is none, or validates asynchronously, is refused', limit, async () => {
  assert.equal(
    reasonOf(() => lines().json({ '~standard': { version: 2 } } as never)),
    'BAD_OPTION',
  );
  assert.equal(
    reasonOf(() =>
      lines()
        .utf8()
        .standardSchema({} as never),
    ),
    'BAD_OPTION',
  );
  assert.equal(
    reasonOf(() =>
      lines()
        .utf8()
        .standardSchema(undefined as never),
    ),
    'BAD_OPTION',
  );
  const late: StandardSchemaV1<unknown, unknown> = {
    '~standard': { version: 1, vendor: 'test', validate: () => Promise.reject(new Error('nobody hears this')) },
  };
  assert.equal(decode(lines().json(late), '1\n').reason, 'SCHEMA');
  await new Promise(setImmediate);
});

test('a payload of your own reads where the bytes lie', limit, async () => {
  const numbers = fixed(4).withPayload<number, number>({
    read: (bytes, start) => bytes.readUInt32BE(start),
    write: (value) => {
      const bytes = Buffer.alloc(4);
      bytes.writeUInt32BE(value);
      return bytes;
    },
  });
  await verifyCodec(numbers, [
    { messages: [0, 1, 0xffffffff] },
    { wire: hex('00000007 000000'), frames: [7], error: 'MILLRACE_ERR_TRUNCATED' },
  ]);
  assert.equal(
    reasonOf(() => (lines().utf8() as never as ReturnType<typeof lines>).json()),
    'MISUSE',
  );
});

test('a frame with a bad payload may be left out', limit, () => {
  const problems: string[] = [];
  const got: unknown[] = [];
  const decoder = lines()
    .json(count)
    .decoder((n) => got.push(n), {
      onBadPayload: (error) => problems.push((error as FramingError).reason),
    });
  decoder.push(Buffer.from('{"n":"1"}\n{\n{"n":2}\n\xff\n{"n":"3"}\n', 'latin1'));
  decoder.push(Buffer.from('{"n":"4"}\n'.repeat(30)));
  decoder.end();
  assert.deepEqual(problems, ['BAD_JSON', 'SCHEMA', 'BAD_UTF8']);
  assert.deepEqual(got, [1, 3, ...Array(30).fill(4)]);
  assert.equal(decoder.frameCount, 32);
  // Errors of the framing have no next frame.
  const fatal = lines({ maxFrameBytes: 3 })
    .utf8()
    .decoder(() => {}, { onBadPayload: () => assert.fail() });
  assert.equal(
    reasonOf(() => fatal.push(Buffer.from('1234'))),
    'FRAME_TOO_LARGE',
  );
});
