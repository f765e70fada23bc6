/**
 * `millrace/framing/testing`: does a codec of yours keep its contract? Every sample is decoded whole, cut at every
 * place, and byte by byte, in all forms that this package has; the answer must always be the same. Memory that was lent
 * is written over afterwards.
 */
import assert from 'node:assert/strict';
import { finished } from 'node:stream/promises';
import type { Codec } from './codec.ts';
import { FramingError } from './errors.ts';

/** Bytes and what they mean, or messages to be encoded first. */
export type Sample<In, Out> =
  | {
      /** The bytes of a stream, to its end. */
      readonly wire: Uint8Array;
      /** The frames in it. */
      readonly frames: readonly In[];
      /** The `code` of the error that comes behind them. */
      readonly error?: string;
    }
  | {
      /** Messages to be encoded, one behind the other. */
      readonly messages: readonly Out[];
      /** What comes out of the decoder, if it isn't the same. */
      readonly frames?: readonly In[];
    };

/** The part of fast-check (https://fast-check.dev) that is used: pass the module itself. */
export interface FastCheck {
  array: (...args: never[]) => unknown;
  nat: (...args: never[]) => unknown;
  asyncProperty: (...args: never[]) => unknown;
  assert: (...args: never[]) => unknown;
}

export interface VerifyOptions {
  /** Checks generated messages, too, with generated cuts. */
  readonly generated?: {
    readonly fc: FastCheck;
    /** A fast-check arbitrary of messages that come back as they were sent. */
    readonly message: unknown;
    /** For `fc.assert`: `numRuns`, `seed`, ... */
    readonly parameters?: unknown;
  };
}

/** What came out of a decoder: frames, and the code of an error if there was one. */
interface Outcome<In> {
  frames: In[];
  error: string | undefined;
}

/**
 * Above this size a sample is not cut at every pair of places, nor ended early in all forms, since that would take too
 * long.
 */
const MOST_PAIRED_BYTES = 48;

/**
 * Verifies a codec; for tests. What it finds it throws as an `AssertionError` that says which cut of which sample made
 * a difference.
 *
 * - the frames of a sample don't depend on how its bytes are cut, nor on the form (decoder with copies and with views,
 *   stopped after each frame;
 *   `frames()`; `decodeStream()`)
 * - nor does what happens when the stream ends at any earlier place
 * - `encode`, `encodeInto`, `pieces` and `encodeStream()` give the same bytes
 *
 * @throws {AssertionError}
 * @example
 * ```ts
 * import { test } from 'node:test';
 * import { lines } from 'millrace/framing';
 * import { verifyCodec } from 'millrace/framing/testing';
 *
 * test('my codec keeps the contract', () =>
 *   verifyCodec(lines().utf8(), [
 *     { messages: ['one', '', 'grün'] },
 *     { wire: Buffer.from('one\r\ntwo'), frames: ['one', 'two'] },
 *   ]));
 * ```
 */
export async function verifyCodec<In, Out>(
  codec: Codec<In, Out>,
  samples: readonly Sample<In, Out>[],
  options: VerifyOptions = {},
): Promise<void> {
  assert.ok(samples.length > 0 || options.generated, 'there is nothing to verify');
  for (const [index, sample] of samples.entries()) {
    const name = `sample ${index}`;
    if ('messages' in sample) {
      await verifyEncoding(codec, sample.messages, name);
      const frames = sample.frames ?? (sample.messages as readonly unknown[] as readonly In[]);
      await verifyDecoding(codec, wireOf(codec, sample.messages), { frames: [...frames], error: undefined }, name);
    } else {
      await verifyDecoding(codec, sample.wire, { frames: [...sample.frames], error: sample.error }, name);
    }
  }
  if (options.generated === undefined) return;
  const { message, parameters } = options.generated;
  const fc = options.generated.fc as unknown as Record<keyof FastCheck, (...args: unknown[]) => unknown>;
  const property = async (messages: Out[], places: number[]): Promise<void> => {
    const { wire, chunks } = traffic(codec)([messages, places]);
    const frames = messages as unknown[] as In[];
    await verifyEncoding(codec, messages, 'generated');
    await verifyForms(codec, chunks, { frames, error: undefined }, `generated ${hex(wire)}, cut at ${places}`);
  };
  await fc.assert(fc.asyncProperty(fc.array(message), fc.array(fc.nat()), property), parameters);
}

/**
 * For properties of your own: turns messages and places to cut at into traffic.
 *
 * @example
 * ```ts
 * import fc from 'fast-check';
 * import { lines } from 'millrace/framing';
 * import { traffic } from 'millrace/framing/testing';
 *
 * const text = fc.stringMatching(/^\w*$/);
 * const arbitrary = fc.tuple(fc.array(text), fc.array(fc.nat())).map(traffic(lines().utf8()));
 * ```
 */
export function traffic<Out>(
  codec: Codec<unknown, Out>,
): (generated: [messages: Out[], places: number[]]) => { messages: Out[]; wire: Buffer; chunks: Buffer[] } {
  return ([messages, places]) => {
    const wire = wireOf(codec, messages);
    return {
      messages,
      wire,
      chunks: cut(
        wire,
        places.map((place) => place % (wire.length + 1)),
      ),
    };
  };
}

/** Cuts bytes at the given places, in any order; those outside of it cut nothing. Empty pieces are left out. */
export function cut(wire: Uint8Array, places: readonly number[]): Buffer[] {
  const inside = places.filter((place) => place > 0 && place < wire.length);
  const borders = [0, ...new Set(inside.toSorted((a, b) => a - b)), wire.length];
  const bytes = Buffer.from(wire.buffer, wire.byteOffset, wire.byteLength);
  return borders
    .slice(1)
    .map((end, i) => bytes.subarray(borders[i], end))
    .filter((piece) => piece.length > 0);
}

function wireOf<Out>(codec: Codec<unknown, Out>, messages: readonly Out[]): Buffer {
  return Buffer.concat(messages.map((message) => codec.encode(message)));
}

async function verifyEncoding<Out>(codec: Codec<unknown, Out>, messages: readonly Out[], name: string): Promise<void> {
  for (const [index, message] of messages.entries()) {
    const encoded = codec.encode(message);
    const where = `${name}, message ${index}`;
    assert.deepEqual(Buffer.concat(codec.pieces(message)), encoded, `${where}: pieces() differs from encode()`);
    const target = Buffer.alloc(encoded.length + 5, 0xaa);
    const end = codec.encodeInto(message, target.subarray(0, encoded.length + 3), 3);
    assert.equal(end, encoded.length + 3, `${where}: encodeInto() returns the end`);
    const expected = Buffer.concat([Buffer.alloc(3, 0xaa), encoded, Buffer.alloc(2, 0xaa)]);
    assert.deepEqual(target, expected, `${where}: encodeInto() writes the frame and nothing else`);
    if (encoded.length === 0) continue;
    const small = Buffer.alloc(encoded.length - 1, 0xaa);
    assert.equal(codec.encodeInto(message, small), -encoded.length, `${where}: encodeInto() says what it needs`);
    assert.deepEqual(small, Buffer.alloc(encoded.length - 1, 0xaa), `${where}: a frame without room is not begun`);
  }
  if (messages.some((message) => message === null || message === undefined)) return;
  const stream = codec.encodeStream();
  const chunks: Buffer[] = [];
  stream.on('data', (chunk: Buffer) => chunks.push(chunk));
  for (const message of messages) stream.write(message);
  stream.end();
  await finished(stream);
  assert.deepEqual(Buffer.concat(chunks), wireOf(codec, messages), `${name}: encodeStream() differs from encode()`);
}

async function verifyDecoding<In>(
  codec: Codec<In, never>,
  wire: Uint8Array,
  expected: Outcome<In>,
  name: string,
): Promise<void> {
  await verifyForms(codec, cut(wire, []), expected, `${name}, whole`);
  const everywhere = Array.from(wire, (_, place) => place);
  await verifyForms(codec, cut(wire, everywhere), expected, `${name}, byte by byte`);
  for (const place of everywhere.slice(1)) {
    await verifyForms(codec, cut(wire, [place]), expected, `${name}, cut at ${place}`);
    if (wire.length > MOST_PAIRED_BYTES) continue;
    for (let second = place + 1; second < wire.length; second++) {
      const chunks = cut(wire, [place, second]);
      same(decodePushed(codec, chunks, 'copy'), expected, `${name}, cut at ${place} and ${second}`);
    }
  }
  // A stream that ends too early: whatever that means, it is the same for all cuts.
  for (const place of everywhere) {
    const beginning = wire.subarray(0, place);
    const outcome = decodePushed(codec, cut(beginning, []), 'copy');
    const title = `${name}, ended after ${place} bytes`;
    if (wire.length <= MOST_PAIRED_BYTES) await verifyForms(codec, cut(beginning, everywhere), outcome, title);
    else same(decodePushed(codec, cut(beginning, everywhere), 'copy'), outcome, title);
  }
}

/** The same chunks in all forms. */
async function verifyForms<In>(
  codec: Codec<In, never>,
  chunks: Buffer[],
  expected: Outcome<In>,
  name: string,
): Promise<void> {
  same(decodePushed(codec, chunks, 'copy'), expected, `${name}: decoder`);
  same(decodePushed(codec, chunks, 'view'), expected, `${name}: decoder with views`);
  same(decodeStopped(codec, chunks), expected, `${name}: decoder stopped after each frame`);
  same(await decodeRead(codec, chunks), expected, `${name}: frames()`);
  // Node.js streams carry no null.
  if (expected.frames.some((frame) => frame === null || frame === undefined)) return;
  same(await decodePiped(codec, chunks), expected, `${name}: decodeStream()`);
}

function same<In>(actual: Outcome<In>, expected: Outcome<In>, message: string): void {
  assert.deepEqual(actual, expected, message);
}

/** Each chunk lies in memory that is lent for the call. Views are looked at in time, copies at the end. */
function decodePushed<In>(codec: Codec<In, never>, chunks: Buffer[], frames: 'copy' | 'view'): Outcome<In> {
  const outcome: Outcome<In> = { frames: [], error: undefined };
  const decoder = codec.decoder(
    (frame) => {
      const isView = frames === 'view' && frame instanceof Uint8Array;
      outcome.frames.push(isView ? (Buffer.from(frame) as never) : frame);
    },
    { frames },
  );
  const lent = Buffer.alloc(Math.max(0, ...chunks.map((chunk) => chunk.length)));
  return attempt(outcome, () => {
    for (const chunk of chunks) {
      chunk.copy(lent);
      try {
        const taken = decoder.push(lent.subarray(0, chunk.length));
        assert.equal(taken, chunk.length, 'push() takes all unless it is stopped');
      } finally {
        lent.fill(0xaa);
      }
    }
    assert.equal(decoder.end(), true);
    assert.equal(decoder.frameCount, outcome.frames.length);
  });
}

function decodeStopped<In>(codec: Codec<In, never>, chunks: Buffer[]): Outcome<In> {
  const outcome: Outcome<In> = { frames: [], error: undefined };
  const decoder = codec.decoder((frame) => {
    outcome.frames.push(frame);
    decoder.stop();
  });
  return attempt(outcome, () => {
    for (const chunk of chunks) {
      let at = 0;
      while (at < chunk.length) at += decoder.push(chunk.subarray(at));
    }
    while (!decoder.end());
  });
}

function attempt<In>(outcome: Outcome<In>, run: () => void): Outcome<In> {
  try {
    run();
  } catch (error) {
    outcome.error = codeOf(error);
  }
  return outcome;
}

async function decodeRead<In>(codec: Codec<In, never>, chunks: Buffer[]): Promise<Outcome<In>> {
  const outcome: Outcome<In> = { frames: [], error: undefined };
  try {
    for await (const frame of codec.frames(chunks)) outcome.frames.push(frame);
  } catch (error) {
    outcome.error = codeOf(error);
  }
  return outcome;
}

async function decodePiped<In>(codec: Codec<In, never>, chunks: Buffer[]): Promise<Outcome<In>> {
  const outcome: Outcome<In> = { frames: [], error: undefined };
  // One frame at a time, so that each is held back once. Frames that wait when an error comes are thrown away by Node:
  // listen.
  const stream = codec.decodeStream({ readableHighWaterMark: 1 });
  stream.on('data', (frame: In) => outcome.frames.push(frame));
  for (const chunk of chunks) stream.write(chunk);
  stream.end();
  await finished(stream).catch((error: unknown) => {
    outcome.error = codeOf(error);
  });
  return outcome;
}

function codeOf(error: unknown): string {
  if (error instanceof assert.AssertionError) throw error;
  return error instanceof FramingError ? error.code : String((error as { code?: unknown }).code ?? error);
}

function hex(bytes: Buffer): string {
  return bytes.length > 64 ? `${bytes.toString('hex', 0, 64)}… (${bytes.length} bytes)` : bytes.toString('hex');
}
