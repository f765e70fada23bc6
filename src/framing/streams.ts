/**
 * Codecs as Node.js streams. Backpressure goes through both: a frame that nobody takes stops the decoding, and that
 * stops the stream that writes the bytes. `highWaterMark` counts messages on the one side and bytes on the other.
 */
import { Duplex, Transform, type TransformCallback } from 'node:stream';
import type { Codec } from './codec.ts';
import { Decoder, type DecoderOptions } from './decoder.ts';
import { FramingError } from './errors.ts';

export interface DecodeStreamOptions extends DecoderOptions {
  /** Frames that wait to be read before decoding stops; 16 unless given, as Node has it for objects. */
  readableHighWaterMark?: number | undefined;
  /** Bytes that wait to be decoded before `write` says `false`; 64 KiB (16 KiB on Node 20) unless given. */
  writableHighWaterMark?: number | undefined;
}

type Done = (error?: Error | null) => void;

/**
 * Bytes in, frames out. An error of the codec destroys it. A message that is `null` can't go through a Node.js stream,
 * for which it is the end: that is the error `BAD_PAYLOAD`; `frames()` and `decoder()` have no such limit.
 */
export class DecodeStream<T> extends Duplex {
  readonly #decoder: Decoder<T>;
  readonly #copies: boolean;
  #chunk: Buffer | undefined;
  #at = 0;
  #whenTaken: Done | undefined;
  #isFull = false;
  #isRunning = false;
  #isScheduled = false;
  /** `destroyed`, without its two look-ups for each frame. */
  #isGone = false;

  constructor(codec: Codec<T, never>, options: DecodeStreamOptions = {}) {
    super({
      readableObjectMode: true,
      decodeStrings: true,
      readableHighWaterMark: options.readableHighWaterMark,
      writableHighWaterMark: options.writableHighWaterMark,
    });
    this.#copies = options.frames !== 'view';
    const onFrame = (frame: T): void => {
      if (frame === null || frame === undefined) {
        throw new FramingError('BAD_PAYLOAD', `a Node.js stream can't carry the message ${frame}`);
      }
      this.#isFull = !this.push(frame);
      if (this.#isFull || this.#isGone) this.#decoder.stop();
    };
    // What is to be copied is copied once for a chunk, however often the reader stops us in it.
    this.#decoder = new Decoder<T>(codec, onFrame, {
      frames: 'view',
      onBadPayload: options.onBadPayload,
    });
  }

  /** Frames over the limit that were left out, where the framing does that. */
  get skippedFrames(): number {
    return this.#decoder.skippedFrames;
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: Done): void {
    this.#chunk = this.#copies ? Buffer.from(chunk) : chunk;
    this.#at = 0;
    this.#whenTaken = done;
    this.#run();
  }

  override _final(done: Done): void {
    this.#whenTaken = done;
    this.#run();
  }

  override _read(): void {
    this.#isFull = false;
    // Not at once: within _read() Node takes frames in to its buffer even when somebody listens to 'data'.
    if (this.#whenTaken === undefined || this.#isRunning || this.#isScheduled) return;
    this.#isScheduled = true;
    process.nextTick(() => {
      this.#isScheduled = false;
      this.#run();
    });
  }

  override _destroy(error: Error | null, done: Done): void {
    this.#isGone = true;
    this.#chunk = undefined;
    this.#whenTaken = undefined;
    done(error);
  }

  /**
   * Decodes until everything is taken or the reader has enough. A reader that reads within 'data' comes back here: it
   * is let through.
   */
  #run(): void {
    if (this.#isRunning || this.#isFull || this.#whenTaken === undefined) return;
    this.#isRunning = true;
    try {
      while (!this.#isFull && !this.#isGone) {
        if (!this.#step() || this.#isGone) continue;
        const done = this.#whenTaken as Done;
        const isEnd = this.#chunk === undefined;
        this.#chunk = undefined;
        this.#whenTaken = undefined;
        if (isEnd) this.push(null);
        done();
        if (this.#whenTaken === undefined) break;
      }
    } catch (error) {
      const done = this.#whenTaken;
      this.#whenTaken = undefined;
      if (done === undefined) throw error;
      done(error as Error);
    } finally {
      this.#isRunning = false;
    }
  }

  /** One stretch of decoding. Returns whether everything was taken. */
  #step(): boolean {
    const chunk = this.#chunk;
    if (chunk === undefined) return this.#decoder.end();
    this.#at += this.#decoder.push(this.#at === 0 ? chunk : chunk.subarray(this.#at));
    return this.#at === chunk.length;
  }
}

export interface EncodeStreamOptions {
  /** Messages that wait to be encoded before `write` says `false`; 16 unless given, as Node has it for objects. */
  writableHighWaterMark?: number | undefined;
  /** Bytes that wait to be read before encoding stops; 64 KiB (16 KiB on Node 20) unless given. */
  readableHighWaterMark?: number | undefined;
}

/** Messages in, bytes out. A message that can't be sent destroys it. */
export class EncodeStream<Out> extends Transform {
  readonly #codec: Codec<unknown, Out>;

  constructor(codec: Codec<unknown, Out>, options: EncodeStreamOptions = {}) {
    super({
      writableObjectMode: true,
      readableHighWaterMark: options.readableHighWaterMark,
      writableHighWaterMark: options.writableHighWaterMark,
    });
    this.#codec = codec;
  }

  override _transform(message: Out, _encoding: BufferEncoding, done: TransformCallback): void {
    let pieces: Uint8Array[];
    try {
      pieces = this.#codec.pieces(message);
    } catch (error) {
      done(error as Error);
      return;
    }
    for (const piece of pieces) this.push(piece);
    done();
  }
}
