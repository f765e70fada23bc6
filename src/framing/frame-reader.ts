/**
 * The frames of a source of bytes, one at a time: for `for await`. The source is asked for its next chunk when all
 * frames of the last one were read, so a slow reader is what slows the sender down.
 */
import type { Codec } from './codec.ts';
import { asBuffer, Decoder, type DecoderOptions } from './decoder.ts';
import { FramingError } from './errors.ts';

const NOTHING = Buffer.alloc(0);
type Chunks = AsyncIterator<Uint8Array, unknown> | Iterator<Uint8Array, unknown>;

export class FrameReader<T> implements AsyncIterableIterator<T> {
  readonly #chunks: Chunks;
  readonly #copies: boolean;
  readonly #decoder: Decoder<T>;
  readonly #onFrame: (frame: unknown) => void;
  #chunk: Buffer = NOTHING;
  #at = 0;
  #frame: unknown;
  #hasFrame = false;
  #isWaiting = false;
  #state: 'reading' | 'ending' | 'done' = 'reading';

  constructor(
    codec: Codec<T, never>,
    source: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
    options: DecoderOptions = {},
  ) {
    this.#chunks =
      Symbol.asyncIterator in source ? source[Symbol.asyncIterator]() : (source[Symbol.iterator]() as Chunks);
    this.#onFrame = (frame) => {
      this.#frame = frame;
      this.#hasFrame = true;
      this.#decoder.stop();
    };
    this.#copies = options.frames !== 'view';
    // What is to be copied is copied once for a chunk, not at each frame.
    this.#decoder = new Decoder<T>(codec, this.#onFrame, { ...options, frames: 'view' });
  }

  /** Frames over the limit that were left out, where the framing does that. */
  get skippedFrames(): number {
    return this.#decoder.skippedFrames;
  }

  /**
   * The next frame, read when it is asked for. One call at a time. Errors, of the source too, come out once; then it is
   * done.
   */
  async next(): Promise<IteratorResult<T, undefined>> {
    if (this.#isWaiting) throw new FramingError('MISUSE', 'next() was called before the last one was answered');
    this.#isWaiting = true;
    try {
      while (this.#state !== 'done') {
        if (this.#readOne()) return { done: false, value: this.#takeFrame() };
        if (this.#state === 'reading') await this.#load();
      }
      return { done: true, value: undefined };
    } catch (error) {
      // What is wrong with the codec's bytes is the news, not that the source doesn't end well.
      if (this.#state !== 'done') await this.#close().catch(() => {});
      throw error;
    } finally {
      this.#isWaiting = false;
    }
  }

  /** Ends it early, and the source with it: a socket is destroyed. What `break` in a `for await` calls. */
  async return(): Promise<IteratorResult<T, undefined>> {
    if (this.#state !== 'done') await this.#close();
    return { done: true, value: undefined };
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.return();
  }

  /**
   * The frames that have not been asked for are read with another codec: no byte is lost. To be called between two
   * `next()`; a `for await` that is left with `break` has ended the source.
   *
   * @returns this reader, by its new type
   */
  switchTo<Next>(codec: Codec<Next, never>): FrameReader<Next> {
    this.#decoder.switchTo(codec, this.#onFrame);
    return this as unknown as FrameReader<Next>;
  }

  #readOne(): boolean {
    if (this.#state === 'ending') {
      if (this.#decoder.end() && !this.#hasFrame) this.#state = 'done';
      return this.#hasFrame;
    }
    // Also without new bytes: what the decoder keeps may be a frame for the codec switched to.
    this.#at += this.#decoder.push(this.#chunk.subarray(this.#at));
    return this.#hasFrame;
  }

  #takeFrame(): T {
    const frame = this.#frame as T;
    this.#frame = undefined;
    this.#hasFrame = false;
    return frame;
  }

  async #load(): Promise<void> {
    this.#chunk = NOTHING;
    this.#at = 0;
    const { done, value } = await this.#chunks.next();
    if (this.#state === 'done') return;
    if (done === true) {
      this.#state = 'ending';
    } else {
      const chunk = asBuffer(value);
      this.#chunk = this.#copies ? Buffer.from(chunk) : chunk;
    }
  }

  async #close(): Promise<void> {
    this.#state = 'done';
    this.#chunk = NOTHING;
    await this.#chunks.return?.();
  }
}
