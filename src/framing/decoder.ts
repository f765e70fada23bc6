/**
 * Bytes in as TCP happens to cut them, frames out. Called by users, by the streams and the reader of this folder, and
 * by sessions.
 *
 * Frames are read where their bytes lie. Only a frame that comes in several chunks is put together elsewhere (`#kept`),
 * and then only as far as it goes: the rest of the chunk is read in place again. `#kept` grows with what has arrived,
 * not with what was declared.
 *
 *      chunk   |.....frame|.frame..|frame....|..
 *      kept    ^^^^^^ the end of the first       ^^ the beginning of the next
 */

import { isAscii } from 'node:buffer';
import { isUint8Array } from 'node:util/types';
import type { Codec } from './codec.ts';
import { FramingError, tooLong } from './errors.ts';
import type { FrameFinder, Framing, Input } from './framing.ts';
import { oneOf, said } from './options.ts';
import { bytesPayload, type Payload } from './payload.ts';

export interface DecoderOptions {
  /**
   * Only of interest where frames are bytes. `copy`, unless given: a frame belongs to whom it was given, whatever
   * happens to the chunk. Small frames are cut from copies of up to 8 KiB, and each keeps that much alive. `view`: a
   * frame is a view of the chunk, good as long as nobody writes there; a frame out of several chunks is memory of its
   * own.
   */
  frames?: 'copy' | 'view' | undefined;
  /**
   * Gets what is wrong with the content of a frame (`BAD_UTF8`, `BAD_JSON`, `SCHEMA`, and what your own payload
   * throws); the frame is left out and decoding goes on behind it. Without it, that is the end of the decoder. Errors
   * of the framing always are.
   */
  onBadPayload?: ((error: unknown) => void) | undefined;
}

const NOTHING = Buffer.alloc(0);
/** How much is taken over at once when nobody knows where a frame ends. Doubles while it doesn't. */
const FIRST_STEP_BYTES = 128;
/**
 * What is copied, or made a string, at once to be cut into frames. What a frame keeps alive is no more, or its own
 * size.
 */
const WINDOW_BYTES = 8192;
/** Below this it pays to make a string of each frame. */
const LEAST_TEXT_BYTES = 192;
/** Memory that is empty is let go if it is larger than this: an idle connection should cost little. */
const MOST_EMPTY_BYTES = 512;

export class Decoder<T> {
  /** Frames handed out so far. */
  frameCount = 0;
  readonly #input: Input = {
    bytes: NOTHING,
    at: 0,
    end: 0,
    need: 0,
    frameStart: 0,
    frameEnd: 0,
    skippedFrames: 0,
    text: undefined,
  };
  readonly #copies: boolean;
  readonly #onBadPayload: ((error: unknown) => void) | undefined;
  #framing!: Framing;
  #finder!: FrameFinder;
  #payload!: Payload<unknown, never>;
  #isBytes = false;
  #onFrame!: (frame: never) => void;
  /** The unread bytes of earlier chunks: from `#keptStart` to `#keptEnd`. */
  #kept: Buffer = NOTHING;
  #keptStart = 0;
  #keptEnd = 0;
  /** Unread bytes with which the finder is to be asked again, and whether it was the finder that named the number. */
  #need = 0;
  #isNeedNamed = false;
  #isBusy = false;
  #isStopped = false;
  #isEnded = false;
  #error: unknown;
  #hasFailed = false;

  constructor(codec: Codec<T, never>, onFrame: (frame: T) => void, options: DecoderOptions = {}) {
    this.#copies = oneOf('frames', options.frames ?? 'copy', ['copy', 'view']) === 'copy';
    this.#onBadPayload = options.onBadPayload;
    this.#use(codec, onFrame);
  }

  /** Unread bytes that are kept: the beginning of a frame whose end hasn't come. */
  get bufferedBytes(): number {
    return this.#keptEnd - this.#keptStart;
  }

  /** Whether the stream would be cut in the middle of a frame if it ended here. */
  get isMidFrame(): boolean {
    return this.bufferedBytes > 0 || this.#finder.isMidFrame === true;
  }

  /** In `onFrame`: the bytes of this frame, without prefix or delimiter. */
  get frameBytes(): number {
    return this.#input.frameEnd - this.#input.frameStart;
  }

  /** Frames over the limit that were left out, where the framing does that. */
  get skippedFrames(): number {
    return this.#input.skippedFrames;
  }

  /** What ended this decoder, if something did. */
  get error(): unknown {
    return this.#error;
  }

  /**
   * Takes bytes, and calls `onFrame` for each frame that is complete with them, before it returns. It keeps nothing of
   * the chunk's memory: it may be lent only for this call, and be written over afterwards (see `frames: 'view'`,
   * though).
   *
   * What the codec or `onFrame` throws comes out here and ends the decoder: nothing further is decoded, and each later
   * call throws it again.
   *
   * @returns how many bytes were taken: all, unless `stop()` was called
   * @throws {FramingError} with the reason; see docs/errors.md
   */
  push(chunk: Uint8Array): number {
    this.#begin();
    try {
      const bytes = Buffer.isBuffer(chunk) ? chunk : asBuffer(chunk);
      let taken = this.#keptEnd > this.#keptStart ? this.#readKept(bytes) : 0;
      let windowBytes = WINDOW_BYTES;
      while (taken < bytes.length && !this.#isStopped) {
        const before = taken;
        taken = this.#readChunk(bytes, taken, windowBytes);
        if (taken === before) windowBytes = Math.max(2 * windowBytes, this.#need);
      }
      return taken;
    } catch (error) {
      throw this.#fail(error);
    } finally {
      this.#isBusy = false;
      this.#input.bytes = NOTHING;
      this.#input.text = undefined;
    }
  }

  /**
   * Says that the stream has ended. Frames that end with it are handed out.
   *
   * @returns whether that was all; `false` only after `stop()`: then call it again
   * @throws {MILLRACE_ERR_TRUNCATED} in the middle of a frame
   */
  end(): boolean {
    this.#begin();
    try {
      return this.#readEnd();
    } catch (error) {
      throw this.#fail(error);
    } finally {
      this.#isBusy = false;
      this.#input.bytes = NOTHING;
      this.#input.text = undefined;
    }
  }

  /**
   * Called in `onFrame`: `push` returns after this frame. The bytes it hasn't taken are still the caller's, to be
   * pushed again.
   */
  stop(): void {
    this.#isStopped = true;
  }

  /**
   * From the next frame on, another codec. Called in `onFrame`, it is good for the rest of the chunk already; no byte
   * is lost or read twice.
   *
   * @returns this decoder, by its new type
   */
  switchTo<Next>(codec: Codec<Next, never>, onFrame: (frame: Next) => void): Decoder<Next> {
    this.#use(codec, onFrame);
    return this as unknown as Decoder<Next>;
  }

  #use<Next>(codec: Codec<Next, never>, onFrame: (frame: Next) => void): void {
    if (typeof onFrame !== 'function') throw new FramingError('BAD_OPTION', 'onFrame is not a function');
    this.#framing = codec.framing;
    this.#finder = codec.framing.finder();
    this.#payload = codec.payload;
    this.#isBytes = (codec.payload as unknown) === bytesPayload;
    this.#onFrame = onFrame;
    this.#need = 0;
  }

  #begin(): void {
    if (this.#hasFailed) throw this.#error;
    if (this.#isBusy) throw new FramingError('MISUSE', 'push() or end() was called in onFrame');
    if (this.#isEnded) throw new FramingError('MISUSE', 'the end of this stream was told already');
    this.#isBusy = true;
    this.#isStopped = false;
  }

  #fail(error: unknown): unknown {
    this.#hasFailed = true;
    this.#error = error;
    this.#kept = NOTHING;
    this.#keptStart = this.#keptEnd = 0;
    return error;
  }

  // ------------------------------------------------------------------------------------------------ where frames lie

  /**
   * Reads in a window of the chunk, from `from` on. Returns where the first unread byte is; what is left of the last
   * window is kept.
   *
   * Frames that are handed out as bytes are cut from one copy, frames that are text from one string: that saves an
   * allocation or a call for each. It also keeps alive what they were cut from, so that is a window, not the chunk.
   *
   * @hot bench/framing.ts, length-prefixed, lines
   */
  #readChunk(chunk: Buffer, from: number, windowBytes: number): number {
    const input = this.#input;
    const isBytes = this.#isBytes;
    const isCopied = isBytes && this.#copies;
    const isText = this.#payload.readText !== undefined;
    const rest = chunk.length - from;
    const length = isCopied || isText ? Math.min(rest, windowBytes) : rest;
    const window = length === chunk.length ? chunk : chunk.subarray(from, from + length);
    const bytes = isCopied ? copyOf(window) : window;
    input.text =
      isText && length >= LEAST_TEXT_BYTES && isAscii(bytes) ? bytes.toString('latin1', 0, length) : undefined;
    input.bytes = bytes;
    input.end = length;
    input.at = 0;
    while (input.at < length) {
      if (!this.#find()) {
        if (length < rest) break;
        this.#keep(bytes, input.at, length);
        return chunk.length;
      }
      this.#deliver(isBytes ? bytes.subarray(input.frameStart, input.frameEnd) : undefined);
      if (this.#isStopped || this.#isBytes !== isBytes) break;
    }
    return from + input.at;
  }

  /**
   * Reads on in what was kept, with as much of the chunk as the frame needs. Returns how much of the chunk is taken.
   */
  #readKept(chunk: Buffer): number {
    const input = this.#input;
    let taken = 0;
    let step = FIRST_STEP_BYTES;
    for (;;) {
      const missing = this.#need - this.bufferedBytes;
      if (missing > 0) {
        const count = Math.min(chunk.length - taken, this.#isNeedNamed ? missing : Math.max(missing, step));
        this.#keep(chunk, taken, taken + count);
        taken += count;
        step *= 2;
        if (this.bufferedBytes < this.#need) return taken;
      }
      this.#lookAtKept();
      const isFound = this.#find();
      const surplus = this.#keptEnd - input.at;
      this.#keptStart = input.at;
      if (!isFound) {
        this.#tidy();
        if (surplus === 0 || taken === chunk.length) return taken;
        continue;
      }
      // What is left of `kept` is usually of this chunk: then it is read there.
      const isPutBack = surplus <= taken;
      const frame = this.#isBytes ? this.#frameOfKept(isPutBack) : undefined;
      if (isPutBack) {
        taken -= surplus;
        this.#keptStart = this.#keptEnd = 0;
      }
      this.#deliver(frame);
      this.#tidy();
      if (isPutBack || this.#isStopped) return taken;
    }
  }

  #readEnd(): boolean {
    const input = this.#input;
    for (;;) {
      this.#lookAtKept();
      const isFound = this.#find() || this.#finder.end?.(input) === true;
      if (isFound && input.at === this.#keptStart)
        throw new FramingError('BAD_CODEC', 'end() made a frame of no bytes');
      this.#keptStart = input.at;
      if (!isFound) break;
      this.#deliver(this.#isBytes ? this.#frameOfKept(false) : undefined);
      if (this.#isStopped) return false;
    }
    if (this.isMidFrame) {
      const gotBytes = this.bufferedBytes;
      throw new FramingError('TRUNCATED', `the input ended in the middle of a frame, after ${gotBytes} bytes of it`, {
        gotBytes,
      });
    }
    this.#isEnded = true;
    this.#kept = NOTHING;
    return true;
  }

  #lookAtKept(): void {
    const input = this.#input;
    input.bytes = this.#kept;
    input.text = undefined;
    input.at = this.#keptStart;
    input.end = this.#keptEnd;
  }

  /** Asks for the next frame in `#input`, and believes nothing. @hot bench/framing.ts, lines */
  #find(): boolean {
    const input = this.#input;
    const { at, end } = input;
    input.need = 0;
    const isFound = at < end && this.#finder.find(input);
    if (input.at < at || input.at > end || (isFound && input.at === at)) {
      throw new FramingError('BAD_CODEC', `find() took ${input.at - at} of ${end - at} bytes`);
    }
    if (isFound) {
      this.#need = 0;
      return true;
    }
    const unread = end - input.at;
    this.#isNeedNamed = input.need > unread;
    this.#need = this.#isNeedNamed ? input.need : unread + 1;
    if (this.#need > this.#framing.maxUnreadBytes + 1) throw tooLong(this.#framing.maxFrameBytes);
    return false;
  }

  // --------------------------------------------------------------------------------------------------- what they are

  /** @hot bench/framing.ts, length-prefixed */
  #deliver(view: Buffer | undefined): void {
    const frame = view ?? this.#read();
    if (frame === BAD) return;
    this.frameCount++;
    this.#onFrame(frame as never);
  }

  #read(): unknown {
    if (this.#onBadPayload === undefined) return this.#readPayload();
    let frame: unknown;
    try {
      frame = this.#readPayload();
    } catch (error) {
      this.#onBadPayload(error);
      return BAD;
    }
    return frame;
  }

  /** @hot bench/framing.ts, lines */
  #readPayload(): unknown {
    const { text, bytes, frameStart, frameEnd } = this.#input;
    const payload = this.#payload;
    if (text === undefined || payload.readText === undefined) return payload.read(bytes, frameStart, frameEnd);
    return payload.readText(text.substring(frameStart, frameEnd));
  }

  // ---------------------------------------------------------------------------------------------------- what is kept

  /** The frame just found in `kept`, as memory of its own: `kept` itself, if the frame is most of it. */
  #frameOfKept(isLast: boolean): Buffer {
    const { frameStart, frameEnd } = this.#input;
    const frame = this.#kept.subarray(frameStart, frameEnd);
    if (!isLast || 2 * frame.length < this.#kept.length) return Buffer.from(frame);
    this.#kept = NOTHING;
    return frame;
  }

  #keep(bytes: Buffer, start: number, end: number): void {
    const count = end - start;
    if (count === 0) return;
    if (this.#keptEnd + count > this.#kept.length) this.#grow(this.bufferedBytes + count);
    bytes.copy(this.#kept, this.#keptEnd, start, end);
    this.#keptEnd += count;
  }

  /** Twice of what is there keeps the copying linear; more than could be needed is never reserved. */
  #grow(bytes: number): void {
    const most = this.#isNeedNamed ? this.#need : this.#framing.maxUnreadBytes + 1;
    const larger = Buffer.allocUnsafe(Math.max(bytes, Math.min(2 * bytes, most)));
    const unread = this.#kept.copy(larger, 0, this.#keptStart, this.#keptEnd);
    this.#kept = larger;
    this.#keptStart = 0;
    this.#keptEnd = unread;
  }

  #tidy(): void {
    if (this.#keptStart < this.#keptEnd) return;
    this.#keptStart = this.#keptEnd = 0;
    if (this.#kept.length > MOST_EMPTY_BYTES) this.#kept = NOTHING;
  }
}

/** The same memory as a Buffer. */
export function asBuffer(chunk: Uint8Array): Buffer {
  if (isUint8Array(chunk)) return Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength);
  throw new FramingError('MISUSE', `a chunk is a Uint8Array, not ${said(chunk)}: has the stream an encoding?`);
}

/**
 * Small copies come from Node's pool, as all small Buffers do; a large one not, since some versions have a pool of 64
 * KiB.
 */
function copyOf(window: Buffer): Buffer {
  if (window.length < 2048) return Buffer.from(window);
  const copy = Buffer.allocUnsafeSlow(window.length);
  window.copy(copy);
  return copy;
}

const BAD = Symbol('a frame with a bad payload');
