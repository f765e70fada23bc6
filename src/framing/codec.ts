/**
 * A codec: a framing (where a frame ends) and a payload (what its bytes mean). It has no state, so one is made for a
 * protocol and used for all its connections; what a stream needs to remember is in the decoder, of which each stream
 * has its own.
 */
import { Decoder, type DecoderOptions } from './decoder.ts';
import { FramingError } from './errors.ts';
import { FrameReader } from './frame-reader.ts';
import type { Framing } from './framing.ts';
import { type JsonOptions, jsonPayload } from './json.ts';
import { bytesPayload, type Payload, utf8Payload } from './payload.ts';
import { type StandardSchemaV1, schemaPayload } from './standard-schema.ts';
import { DecodeStream, type DecodeStreamOptions, EncodeStream, type EncodeStreamOptions } from './streams.ts';

/**
 * From here on a payload is not copied to stand beside its prefix: net sends pieces below this size from a copy anyway.
 */
const LARGE_BYTES = 4096;

/** `In` is what is received, `Out` what may be sent: with a schema that transforms, they differ. */
export class Codec<In, Out = In> {
  readonly framing: Framing;
  readonly payload: Payload<In, Out>;

  constructor(framing: Framing, payload: Payload<In, Out>) {
    this.framing = framing;
    this.payload = payload;
  }

  // --------------------------------------------------------------------------------------------- what the bytes mean

  /** Frames are text. Bytes that aren't UTF-8 are refused: `BAD_UTF8`. */
  utf8(this: Codec<Buffer, Uint8Array>): Codec<string> {
    return this.withPayload(utf8Payload);
  }

  /**
   * Frames are JSON; with a schema, JSON that it accepts.
   *
   * @throws {MILLRACE_ERR_BAD_OPTION} the schema is no Standard Schema
   */
  json(this: Codec<Buffer, Uint8Array>, options?: JsonOptions): Codec<unknown>;
  json<Schema extends StandardSchemaV1>(
    this: Codec<Buffer, Uint8Array>,
    schema: Schema,
    options?: JsonOptions,
  ): Codec<StandardSchemaV1.Output<Schema>, StandardSchemaV1.Input<Schema>>;
  json(this: Codec<Buffer, Uint8Array>, first?: JsonOptions | StandardSchemaV1, second?: JsonOptions): Codec<unknown> {
    if (first === undefined || !('~standard' in first)) return this.withPayload(jsonPayload(first));
    return this.withPayload(jsonPayload(second)).standardSchema(first);
  }

  /**
   * Checks what is received with a schema of any library that implements Standard Schema, and hands out what the schema
   * makes of it. What is sent is not checked. A schema that validates asynchronously is refused with the first frame:
   * `SCHEMA`.
   *
   * @see https://standardschema.dev
   */
  standardSchema<Schema extends StandardSchemaV1<Out, unknown>>(
    schema: Schema,
  ): Codec<StandardSchemaV1.Output<Schema>, StandardSchemaV1.Input<Schema>> {
    return new Codec(
      this.framing,
      schemaPayload(this.payload as Payload<unknown, unknown>, schema) as Payload<
        StandardSchemaV1.Output<Schema>,
        StandardSchemaV1.Input<Schema>
      >,
    );
  }

  /** Frames are what a payload of your own makes of them. */
  withPayload<NextIn, NextOut>(
    this: Codec<Buffer, Uint8Array>,
    payload: Payload<NextIn, NextOut>,
  ): Codec<NextIn, NextOut> {
    if ((this.payload as unknown) !== bytesPayload) {
      throw new FramingError(
        'MISUSE',
        'this codec has a meaning already: utf8(), json() and withPayload() go on bytes',
      );
    }
    return new Codec(this.framing, payload);
  }

  // -------------------------------------------------------------------------------------------------------- decoding

  /** A decoder for one stream of bytes: the form on its own, and the one that sessions use. */
  decoder(onFrame: (frame: In) => void, options?: DecoderOptions): Decoder<In> {
    return new Decoder(this, onFrame, options);
  }

  /** The frames of anything that yields bytes, such as a socket: for `for await`. */
  frames(source: AsyncIterable<Uint8Array> | Iterable<Uint8Array>, options?: DecoderOptions): FrameReader<In> {
    return new FrameReader(this, source, options);
  }

  /**
   * A Node.js stream: bytes are written to it, frames are read from it. `pipeline(socket, codec.decodeStream(), ...)`
   */
  decodeStream(options?: DecodeStreamOptions): DecodeStream<In> {
    return new DecodeStream(this, options);
  }

  // -------------------------------------------------------------------------------------------------------- encoding

  /**
   * A Node.js stream: messages are written to it, bytes are read from it. `pipeline(..., codec.encodeStream(), socket)`
   */
  encodeStream(options?: EncodeStreamOptions): EncodeStream<Out> {
    return new EncodeStream(this, options);
  }

  /**
   * One frame, in memory of its own.
   *
   * @throws {MILLRACE_ERR_FRAME_TOO_LARGE}
   * @throws {MILLRACE_ERR_BAD_PAYLOAD} the message can't stand in this framing
   */
  encode(message: Out): Buffer {
    const payload = this.payload.write(message);
    const payloadBytes = bytesIn(payload);
    const headBytes = this.framing.headBytes(payloadBytes);
    const target = Buffer.allocUnsafe(headBytes + payloadBytes + this.framing.tailBytes);
    this.#lay(target, 0, headBytes, payload, payloadBytes);
    return target;
  }

  /**
   * Writes one frame into memory that is there already, such as a send buffer that many frames share, without another
   * copy.
   *
   * @returns where the frame ends; or, if it doesn't fit between `at` and the end of `target`, minus the number of
   *   bytes that it needs, and then nothing was written
   * @throws as `encode`; `target` may then have been written to behind `at`
   */
  encodeInto(message: Out, target: Buffer, at = 0): number {
    const payload = this.payload.write(message);
    const payloadBytes = bytesIn(payload);
    const headBytes = this.framing.headBytes(payloadBytes);
    const bytes = headBytes + payloadBytes + this.framing.tailBytes;
    if (at + bytes > target.length) return -bytes;
    this.#lay(target, at, headBytes, payload, payloadBytes);
    return at + bytes;
  }

  /**
   * One frame as pieces for a gathering write. A large message of bytes is a piece itself and not copied, so it must
   * not change until it is sent, as with `socket.write`; everything else is one piece of its own memory.
   */
  pieces(message: Out): Uint8Array[] {
    const payload = this.payload.write(message);
    const payloadBytes = bytesIn(payload);
    const { framing } = this;
    const headBytes = framing.headBytes(payloadBytes);
    if (typeof payload === 'string' || payloadBytes < LARGE_BYTES || framing.touchesPayload) {
      const target = Buffer.allocUnsafe(headBytes + payloadBytes + framing.tailBytes);
      this.#lay(target, 0, headBytes, payload, payloadBytes);
      return [target];
    }
    const around = Buffer.allocUnsafe(headBytes + framing.tailBytes);
    framing.seal(around, 0, payloadBytes, headBytes);
    const pieces = [around.subarray(0, headBytes), payload, around.subarray(headBytes)];
    return pieces.filter((piece) => piece.length > 0);
  }

  /** @hot bench/framing.ts, encode */
  #lay(target: Buffer, at: number, headBytes: number, payload: Uint8Array | string, payloadBytes: number): void {
    const start = at + headBytes;
    if (typeof payload === 'string') target.write(payload, start, payloadBytes, 'utf8');
    else target.set(payload, start);
    this.framing.seal(target, at, payloadBytes, start + payloadBytes);
  }
}

function bytesIn(payload: Uint8Array | string): number {
  return typeof payload === 'string' ? Buffer.byteLength(payload) : payload.length;
}

/** A codec of a framing of your own. What it has to keep to stands at `FrameFinder`. */
export function custom(framing: Framing): Codec<Buffer, Uint8Array> {
  return new Codec(framing, bytesPayload);
}
