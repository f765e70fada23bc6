import assert from 'node:assert/strict';
import test, { type TestContext } from 'node:test';
import {
  Codec,
  custom,
  type Decoder,
  delimited,
  type FrameFinder,
  type Framing,
  fixed,
  type Input,
  lengthPrefixed,
  lines,
  netstring,
  varintPrefixed,
} from 'millrace/framing';
import { verifyCodec } from 'millrace/framing/testing';
import { bytes, decode, hex, limit, reasonOf } from './support/decode.ts';

const prefixed = lengthPrefixed({ lengthFieldLength: 1 });

/** The memory a finder is given, counting the bytes it looks at. */
function watched(memory: Buffer, end: number, steps: { count: number }): Buffer {
  const methods: Record<string, unknown> = {
    length: memory.length,
    subarray(from: number, to: number) {
      steps.count += to - from; // somebody will look at all of it
      return memory.subarray(from, to);
    },
    indexOf(byte: number, from: number) {
      assert.equal(end, memory.length, 'only what is unread may be searched');
      const found = memory.indexOf(byte, from);
      steps.count += (found === -1 ? end : found) - from;
      return found;
    },
  };
  return new Proxy(memory, {
    get(target, key) {
      if (typeof key === 'string' && key in methods) return methods[key];
      steps.count++;
      return target[key as unknown as number];
    },
  });
}

/** The same codec, counting the bytes its finder looks at, and its calls. */
function counted<In, Out>(codec: Codec<In, Out>, steps: { count: number }): Codec<In, Out> {
  const { framing } = codec;
  const finder = (): FrameFinder => {
    const inner = framing.finder();
    return {
      find(input: Input) {
        const memory = input.bytes;
        steps.count++;
        input.bytes = watched(memory, input.end, steps);
        const isFound = inner.find(input);
        input.bytes = memory;
        return isFound;
      },
    };
  };
  return new Codec(Object.assign(Object.create(framing) as Framing, { finder }), codec.payload);
}

/** Counts the bytes that are copied and allocated during the test. (`t.mock` would remember a million calls.) */
function countMemory(t: TestContext): { copied: number; allocated: number; largest: number } {
  const count = { copied: 0, allocated: 0, largest: 0 };
  const { copy } = Buffer.prototype;
  const { allocUnsafe } = Buffer;
  t.after(() => {
    Buffer.prototype.copy = copy;
    Buffer.allocUnsafe = allocUnsafe;
  });
  Buffer.prototype.copy = function (this: Buffer, ...args: Parameters<typeof copy>) {
    const copied = copy.apply(this, args);
    count.copied += copied;
    return copied;
  };
  Buffer.allocUnsafe = (size) => {
    count.allocated += size;
    count.largest = Math.max(count.largest, size);
    return allocUnsafe(size);
  };
  return count;
}

const MIB = 1024 * 1024;
const million = Buffer.alloc(MIB, 'x');
for (const [name, codec] of Object.entries({
  lines: lines(),
  'lines with CR LF': lines({ newline: 'crlf' }),
  delimited: delimited(['END', '\n']),
  lengthPrefixed: lengthPrefixed(),
  varintPrefixed: varintPrefixed(),
  netstring: netstring(),
  fixed: fixed(MIB),
})) {
  test(`${name}: a frame of 1 MiB that comes byte by byte costs linear time`, { timeout: 60_000 }, (t) => {
    const wire = codec.encode(million);
    const memory = countMemory(t);
    const steps = { count: 0 };
    const got: Buffer[] = [];
    const decoder = counted(codec, steps).decoder((frame) => got.push(frame));
    for (let at = 0; at < wire.length; at++) decoder.push(wire.subarray(at, at + 1));
    decoder.end();
    assert.equal(got.length, 1);
    assert.ok(got[0]!.equals(million));
    assert.ok(steps.count < 5 * MIB, `${steps.count} bytes were looked at`);
    assert.ok(memory.copied < 4 * MIB, `${memory.copied} bytes were copied`);
    assert.ok(memory.allocated < 5 * MIB, `${memory.allocated} bytes were allocated`);
  });
}

test('small frames that come byte by byte, and a large one in chunks of any size, cost linear time', limit, (t) => {
  const small = Buffer.concat(Array.from({ length: 20_000 }, () => lines().encode(Buffer.from('0123456789'))));
  const steps = { count: 0 };
  const memory = countMemory(t);
  const decoder = counted(lines(), steps).decoder(() => {});
  for (let at = 0; at < small.length; at++) decoder.push(small.subarray(at, at + 1));
  assert.equal(decoder.frameCount, 20_000);
  assert.ok(steps.count < 6 * small.length, `${steps.count} of ${small.length}`);
  assert.ok(memory.copied < 4 * small.length);
  for (const size of [100, 1_000, 10_000, 100_000, MIB + 1]) {
    steps.count = memory.copied = 0;
    const large = counted(lines(), steps).decoder(() => {});
    const wire = lines().encode(million);
    for (let at = 0; at < wire.length; at += size) large.push(wire.subarray(at, at + size));
    assert.equal(large.frameCount, 1);
    assert.ok(steps.count < 4 * MIB, `${size}: ${steps.count} bytes were looked at`);
    assert.ok(memory.copied < 4 * MIB, `${size}: ${memory.copied} bytes were copied`);
  }
});

test('a frame that is declared costs memory only as its bytes arrive', limit, (t) => {
  const codec = lengthPrefixed({ maxFrameBytes: 16 * MIB });
  const memory = countMemory(t);
  const decoder = codec.decoder(() => assert.fail());
  decoder.push(hex('01000000'));
  assert.ok(memory.largest <= 64, `${memory.largest} bytes for a declaration`);
  let got = 4;
  for (let i = 0; i < 400; i++) {
    decoder.push(Buffer.alloc(100));
    got += 100;
    assert.ok(memory.largest <= 2 * got, `${memory.largest} bytes for ${got}`);
    assert.equal(decoder.bufferedBytes, got);
  }
});

test('never more is reserved than a frame may need', limit, (t) => {
  const codec = lengthPrefixed({ maxFrameBytes: 1000 });
  const memory = countMemory(t);
  const decoder = codec.decoder(() => {});
  decoder.push(hex('000003e8'));
  for (let i = 0; i < 999; i++) decoder.push(Buffer.of(i));
  assert.ok(memory.largest <= 1004, `${memory.largest}`);
  const open = lines({ maxFrameBytes: 1000 }).decoder(() => {});
  memory.largest = 0;
  for (let i = 0; i < 1000; i++) open.push(Buffer.of(0x61));
  assert.ok(memory.largest <= 1300, `${memory.largest}`);
});

test('nothing of a chunk is kept, so it may be written over', limit, () => {
  const lent = Buffer.alloc(100);
  const got: Buffer[] = [];
  const decoder = prefixed.decoder((frame) => got.push(frame));
  const wire = Buffer.concat(bytes('one', 'two', 'three', 'four').map((message) => prefixed.encode(message)));
  for (let at = 0; at < wire.length; at += 5) {
    const piece = wire.subarray(at, at + 5);
    piece.copy(lent);
    decoder.push(lent.subarray(0, piece.length));
    lent.fill(0);
  }
  decoder.end();
  assert.deepEqual(got.map(String), ['one', 'two', 'three', 'four']);
});

test('frames that were handed out are never written to again', limit, () => {
  for (const frames of ['copy', 'view'] as const) {
    const got: Buffer[] = [];
    const decoder = lines().decoder((frame) => got.push(frame), { frames });
    const expected: string[] = [];
    for (let i = 0; i < 200; i++) {
      const line = String(i).repeat(i);
      expected.push(line);
      const wire = Buffer.from(`${line}\n`);
      const middle = i % (wire.length + 1);
      decoder.push(wire.subarray(0, middle));
      decoder.push(wire.subarray(middle));
    }
    assert.deepEqual(got.map(String), expected);
    // And one may be changed without the others.
    for (const frame of got) frame.fill(0x2a);
    assert.deepEqual(
      got.map(String),
      expected.map((line) => '*'.repeat(line.length)),
    );
  }
});

test('views are views of the chunk, copies are not', limit, () => {
  const chunk = Buffer.from('\x03one\x03two');
  prefixed.decoder((frame) => assert.equal(frame.buffer, chunk.buffer), { frames: 'view' }).push(chunk);
  prefixed
    .decoder((frame) => {
      frame.fill(0);
      assert.equal(chunk.toString(), '\x03one\x03two');
    })
    .push(chunk);
});

test('a small frame keeps no more than 8 KiB alive', limit, () => {
  const wire = Buffer.concat(Array.from({ length: 10_000 }, () => prefixed.encode(Buffer.from('0123456789'))));
  prefixed.decoder((frame) => assert.ok(frame.buffer.byteLength <= 8192, `${frame.buffer.byteLength}`)).push(wire);
});

test('any Uint8Array is a chunk', limit, () => {
  assert.deepEqual(decode(lines().utf8(), new Uint8Array([0, 0x61, 0x0a]).subarray(1), new Uint8Array([0x62])).frames, [
    'a',
    'b',
  ]);
});

test('a chunk that is text says so', limit, () => {
  assert.throws(
    () =>
      lines()
        .decoder(() => {})
        .push('text' as never),
    {
      code: 'MILLRACE_ERR_MISUSE',
      message: 'a chunk is a Uint8Array, not "text": has the stream an encoding?',
    },
  );
});

test('stop leaves the rest to the caller', limit, () => {
  const got: string[] = [];
  const decoder: Decoder<string> = prefixed.utf8().decoder((frame) => {
    got.push(frame);
    if (frame === 'stop') decoder.stop();
  });
  const chunk = Buffer.from('\x01a\x04stop\x01b\x04st');
  assert.equal(decoder.push(chunk), 7);
  assert.deepEqual(got, ['a', 'stop']);
  assert.equal(decoder.bufferedBytes, 0);
  assert.equal(decoder.push(chunk.subarray(7)), chunk.length - 7);
  assert.equal(decoder.bufferedBytes, 3);
  assert.equal(decoder.push(Buffer.from('op\x01c')), 2);
  assert.deepEqual(got, ['a', 'stop', 'b', 'stop']);
  assert.equal(decoder.push(Buffer.from('\x01c')), 2);
  assert.equal(decoder.end(), true);
});

test('stop also stops what ends with the stream', limit, () => {
  const got: string[] = [];
  const decoder: Decoder<string> = delimited(['\r', '\r\n\n'], { unterminated: 'emit' })
    .utf8()
    .decoder((frame) => {
      got.push(frame);
      decoder.stop();
    });
  decoder.push(Buffer.from('a\r\n'));
  assert.deepEqual(got, []);
  assert.equal(decoder.end(), false);
  assert.deepEqual(got, ['a']);
  assert.equal(decoder.end(), false);
  assert.deepEqual(got, ['a', '\n']);
  assert.equal(decoder.end(), true);
});

test('after an error nothing further is decoded, and each call throws it again', limit, () => {
  const got: Buffer[] = [];
  const decoder = lengthPrefixed({ lengthFieldLength: 1, maxFrameBytes: 3 }).decoder((frame) => got.push(frame));
  const errors: unknown[] = [];
  for (const chunk of bytes('\x01a\x04', '\x01b', '\x01c')) {
    try {
      decoder.push(chunk);
    } catch (error) {
      errors.push(error);
    }
  }
  assert.deepEqual(got.map(String), ['a']);
  assert.equal(errors.length, 3);
  assert.ok(errors.every((error) => error === decoder.error));
  assert.throws(
    () => decoder.end(),
    (error) => error === decoder.error,
  );
  assert.equal(decoder.bufferedBytes, 0);
});

test('what onFrame throws comes out of push, and ends the decoder', limit, () => {
  const problem = new Error('mine');
  const decoder = lines()
    .utf8()
    .decoder(() => {
      throw problem;
    });
  assert.throws(() => decoder.push(Buffer.from('a\nb\n')), problem);
  assert.throws(() => decoder.push(Buffer.from('c\n')), problem);
});

test('an end in the middle of a frame is an error that says how much of it there was', limit, () => {
  const decoder = prefixed.decoder(() => {});
  decoder.push(hex('03 6161'));
  assert.equal(decoder.isMidFrame, true);
  assert.throws(() => decoder.end(), { code: 'MILLRACE_ERR_TRUNCATED', gotBytes: 3 });
  assert.equal(prefixed.decoder(() => {}).end(), true);
});

test('calls at the wrong time are errors', limit, () => {
  const again: Decoder<string> = lines()
    .utf8()
    .decoder(() => void again.push(Buffer.from('x')));
  assert.equal(
    reasonOf(() => again.push(Buffer.from('a\n'))),
    'MISUSE',
  );
  const ended = lines().decoder(() => {});
  ended.end();
  assert.equal(
    reasonOf(() => ended.push(Buffer.from('a'))),
    'MISUSE',
  );
  assert.equal(
    reasonOf(() => ended.end()),
    'MISUSE',
  );
  assert.equal(
    reasonOf(() => lines().decoder(undefined as never)),
    'BAD_OPTION',
  );
  assert.equal(
    reasonOf(() => lines().decoder(() => {}, { frames: 'mine' as never })),
    'BAD_OPTION',
  );
});

test('the codec is changed in mid-stream and no byte is lost, wherever the stream is cut', limit, () => {
  const wire = Buffer.concat([
    Buffer.from('BINARY\r\n'),
    hex('0003 61620a 0000 0001 0a 0003 656e64'),
    Buffer.from('a line\nlast'),
  ]);
  const run = (cuts: number[], frames: 'copy' | 'view'): unknown[] => {
    const got: unknown[] = [];
    const options = { frames };
    const decoder = lines()
      .utf8()
      .decoder((line) => {
        got.push(line);
        decoder.switchTo(lengthPrefixed({ lengthFieldLength: 2 }), (frame) => {
          got.push(Buffer.from(frame));
          if (frame.toString() === 'end') decoder.switchTo(lines().utf8(), (line) => got.push(line));
        });
      }, options);
    const lent = Buffer.alloc(wire.length);
    const borders = [0, ...cuts, wire.length];
    for (let i = 1; i < borders.length; i++) {
      const piece = lent.subarray(0, wire.copy(lent, 0, borders[i - 1], borders[i]));
      assert.equal(decoder.push(piece), piece.length);
      lent.fill(0xaa);
    }
    decoder.end();
    return got;
  };
  const expected = [
    'BINARY',
    Buffer.from('ab\n'),
    Buffer.alloc(0),
    Buffer.from('\n'),
    Buffer.from('end'),
    'a line',
    'last',
  ];
  for (const frames of ['copy', 'view'] as const) {
    assert.deepEqual(run([], frames), expected);
    assert.deepEqual(run(Array.from(wire.keys()).slice(1), frames), expected);
    for (let first = 1; first < wire.length; first++)
      for (let second = first; second < wire.length; second++) assert.deepEqual(run([first, second], frames), expected);
  }
});

test('frames that are bytes after a switch from text are copies, too', limit, () => {
  const chunk = Buffer.from('bytes from here\n\x03one');
  const decoder = lines()
    .utf8()
    .decoder(() => {
      decoder.switchTo(prefixed, (frame) => frame.fill(0));
    });
  decoder.push(chunk);
  assert.equal(chunk.toString(), 'bytes from here\n\x03one');
});

test('the codec may be changed between two chunks, with bytes that wait', limit, () => {
  const got: unknown[] = [];
  const decoder = lengthPrefixed().decoder(() => assert.fail());
  decoder.push(Buffer.from('a\nb'));
  const next = decoder.switchTo(lines().utf8(), (line) => got.push(line));
  next.push(Buffer.from('c\n'));
  assert.deepEqual(got, ['a', 'bc']);
  assert.equal(next.end(), true);
});

/** Frames of `<`, bytes, `>`; whitespace between them is dropped. Keeps its place in the bytes it has left unread. */
class Brackets implements Framing, FrameFinder {
  readonly maxFrameBytes = 10;
  readonly maxUnreadBytes = 12;
  readonly tailBytes = 1;
  readonly touchesPayload = false;
  headBytes(): number {
    return 1;
  }
  seal(target: Uint8Array, headAt: number, _payloadBytes: number, tailAt: number): void {
    target[headAt] = 0x3c;
    target[tailAt] = 0x3e;
  }
  finder(): FrameFinder {
    return this;
  }
  find(input: Input): boolean {
    while (input.at < input.end && input.bytes[input.at] === 0x20) input.at++;
    const close = input.bytes.subarray(input.at, input.end).indexOf(0x3e);
    if (close === -1) return false;
    input.frameStart = input.at + 1;
    input.frameEnd = input.at + close;
    input.at += close + 1;
    return true;
  }
}

test('a framing of your own is a codec like any other', limit, async () => {
  await verifyCodec(custom(new Brackets()).utf8(), [
    { wire: Buffer.from('<a><>   <bc> '), frames: ['a', '', 'bc'] },
    { messages: ['a', '', 'bc'] },
    { wire: Buffer.from(' <a> <b'), frames: ['a'], error: 'MILLRACE_ERR_TRUNCATED' },
    { wire: Buffer.from(`<a><${'x'.repeat(12)}`), frames: ['a'], error: 'MILLRACE_ERR_FRAME_TOO_LARGE' },
  ]);
});

const take = (input: Input, count: number, isFound: boolean): boolean => {
  input.at += count;
  return isFound;
};
const need = (input: Input, count: number): boolean => {
  input.need = count;
  return false;
};

test('a framing that breaks its contract is an error, not a loop', limit, () => {
  const broken = (find: (input: Input) => boolean, end?: (input: Input) => boolean) => {
    const framing = new Brackets();
    framing.finder = () => (end ? { find, end } : { find });
    return decode(custom(framing), '<a>').reason;
  };
  assert.equal(
    broken(() => true),
    'BAD_CODEC',
  );
  assert.equal(
    broken((input) => take(input, -1, false)),
    'BAD_CODEC',
  );
  assert.equal(
    broken((input) => take(input, 4, true)),
    'BAD_CODEC',
  );
  assert.equal(
    broken(
      () => false,
      () => true,
    ),
    'BAD_CODEC',
  );
  assert.equal(
    broken((input) => need(input, 1_000)),
    'FRAME_TOO_LARGE',
  );
  assert.equal(
    broken((input) => take(input, 3, false)),
    undefined,
  );
});

test('a finder that remembers a header it has taken ends in the middle of a frame', limit, () => {
  class Remembering extends Brackets {
    override finder(): FrameFinder {
      let length = -1;
      return {
        get isMidFrame() {
          return length >= 0;
        },
        find(input) {
          if (length < 0) length = input.bytes[input.at++] as number;
          if (input.end - input.at < length) {
            input.need = length;
            return false;
          }
          input.frameStart = input.at;
          input.frameEnd = input.at += length;
          length = -1;
          return true;
        },
      };
    }
  }
  const codec = custom(new Remembering()).utf8();
  assert.deepEqual(decode(codec, '\x01a\x02', 'b', 'c').frames, ['a', 'bc']);
  assert.equal(decode(codec, '\x01a\x02').reason, 'TRUNCATED');
  assert.equal(decode(codec, '\x01a\x02b').reason, 'TRUNCATED');
});
