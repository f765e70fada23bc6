/**
 * Frames that end with a delimiter: any sequence of bytes, or one of several. Also what lines.ts is made of.
 *
 * The first delimiter in the stream counts; of several that begin at the same byte, the longest. So where one is the
 * beginning of another ("\r" and "\r\n"), a frame is over only when the next byte, or the end, has shown which it was.
 */
import { isUint8Array } from 'node:util/types';
import { Codec } from './codec.ts';
import { FramingError, tooLarge, tooLong } from './errors.ts';
import type { FrameFinder, Framing, Input } from './framing.ts';
import { type LimitOptions, maxFrameBytesOf, oneOf, said } from './options.ts';
import { bytesPayload } from './payload.ts';

export interface DelimitedOptions extends LimitOptions {
  /**
   * What happens to a frame over `maxFrameBytes`: `error` unless given; `skip` leaves it out, counts it in
   * `skippedFrames` and goes on behind its delimiter, without ever holding more of it than the limit.
   */
  onTooLarge?: 'error' | 'skip' | undefined;
  /**
   * What happens to bytes without a delimiter at the end of the stream: `error` (`TRUNCATED`) unless given, or `emit`
   * as a frame.
   */
  unterminated?: 'error' | 'emit' | undefined;
}

/**
 * Frames with a delimiter behind each. Encoding writes the first delimiter that isn't the beginning of another one, and
 * refuses a message in which a delimiter would be found (`BAD_PAYLOAD`).
 *
 * @param delimiters - bytes or text (as UTF-8) of 1 to 255 bytes, or an array of them
 */
export function delimited(
  delimiters: Uint8Array | string | readonly (Uint8Array | string)[],
  options: DelimitedOptions = {},
): Codec<Buffer, Uint8Array> {
  const list = (Array.isArray(delimiters) ? delimiters : [delimiters]).map(bytesOf);
  if (list.length === 0) throw new FramingError('BAD_OPTION', 'there is no delimiter');
  const written = list.find((one) => !list.some((other) => other.length > one.length && startsWith(other, one)));
  const longestFirst = list.toSorted((a, b) => b.length - a.length);
  const [only, ...others] = longestFirst as [Buffer, ...Buffer[]];
  const isByte = others.length === 0 && only.length === 1;
  const search = (): Search => (isByte ? new ByteSearch(only[0] as number) : new SequenceSearch(longestFirst));
  return new Codec(
    new DelimitedFraming(options, { tail: written as Buffer, search, endsWithCr: false, unterminated: 'error' }),
    bytesPayload,
  );
}

function bytesOf(delimiter: unknown): Buffer {
  if (typeof delimiter !== 'string' && !isUint8Array(delimiter)) {
    throw new FramingError('BAD_OPTION', `a delimiter is a string or a Uint8Array, not ${said(delimiter)}`);
  }
  const bytes = Buffer.from(delimiter as string);
  if (bytes.length > 0 && bytes.length < 256) return bytes;
  throw new FramingError('BAD_OPTION', `a delimiter has 1 to 255 bytes, not ${bytes.length}`);
}

function startsWith(bytes: Buffer, beginning: Buffer): boolean {
  return bytes.subarray(0, beginning.length).equals(beginning);
}

/**
 * Looks for a delimiter. What was found beyond its place stands in the object, since it is asked once for each frame.
 */
export interface Search {
  /**
   * The place of the first delimiter from `from` on, or -1. With `isEnd` nothing follows that could complete one.
   * `text` is the same as `bytes`, if there is one.
   */
  next(bytes: Uint8Array, from: number, end: number, isEnd: boolean, text?: string): number;
  /** After a hit: how long that delimiter is. */
  foundBytes: number;
  /** After a miss: where the next search has to begin; before it there is no part of a delimiter. */
  resumeAt: number;
}

const NEAR_BYTES = 80;

/** One byte. */
export class ByteSearch implements Search {
  readonly foundBytes = 1;
  resumeAt = 0;
  readonly #byte: number;
  readonly #character: string;

  constructor(byte: number) {
    this.#byte = byte;
    this.#character = String.fromCharCode(byte);
  }

  /** @hot bench/framing.ts, lines */
  next(bytes: Uint8Array, from: number, end: number, _isEnd: boolean, text?: string): number {
    if (text !== undefined) {
      this.resumeAt = end;
      return text.indexOf(this.#character, from);
    }
    const byte = this.#byte;
    // A call of indexOf costs as much as looking at some eighty bytes.
    const near = end - from > NEAR_BYTES ? from + NEAR_BYTES : end;
    for (let at = from; at < near; at++) if (bytes[at] === byte) return at;
    this.resumeAt = end;
    if (near === end) return -1;
    if (end === bytes.length) return bytes.indexOf(byte, near);
    const found = bytes.subarray(near, end).indexOf(byte);
    return found === -1 ? -1 : near + found;
  }
}

/** Any sequences, the longest first. */
export class SequenceSearch implements Search {
  foundBytes = 0;
  resumeAt = 0;
  readonly #delimiters: readonly Buffer[];
  readonly #canBegin = new Uint8Array(256);

  constructor(longestFirst: readonly Buffer[]) {
    this.#delimiters = longestFirst;
    for (const delimiter of longestFirst) this.#canBegin[delimiter[0] as number] = 1;
  }

  /** @hot bench/framing.ts, delimited */
  next(bytes: Uint8Array, from: number, end: number, isEnd: boolean): number {
    for (let at = from; at < end; at++) {
      if (this.#canBegin[bytes[at] as number] === 0) continue;
      for (const delimiter of this.#delimiters) {
        const matched = matchedBytes(bytes, at, end, delimiter);
        if (matched === delimiter.length) {
          this.foundBytes = matched;
          return at;
        }
        if (at + matched === end && !isEnd) {
          this.resumeAt = at;
          return -1;
        }
      }
    }
    this.resumeAt = end;
    return -1;
  }
}

function matchedBytes(bytes: Uint8Array, at: number, end: number, delimiter: Buffer): number {
  const most = Math.min(delimiter.length, end - at);
  let matched = 0;
  while (matched < most && bytes[at + matched] === delimiter[matched]) matched++;
  return matched;
}

const CR = 0x0d;

export interface Delimiters {
  /** What is written behind a frame. */
  tail: Buffer;
  search: () => Search;
  /** Whether a CR in front of the delimiter belongs to it. */
  endsWithCr: boolean;
  /** Unless the user says it. */
  unterminated: 'error' | 'emit';
}

export class DelimitedFraming implements Framing {
  readonly maxFrameBytes: number;
  readonly maxUnreadBytes: number;
  readonly tailBytes: number;
  readonly touchesPayload = true;
  readonly delimiters: Delimiters;
  readonly skips: boolean;
  readonly emitsLast: boolean;
  readonly #search: Search;

  constructor(options: DelimitedOptions, delimiters: Delimiters) {
    this.maxFrameBytes = maxFrameBytesOf(options);
    this.maxUnreadBytes = this.maxFrameBytes + 256;
    this.delimiters = delimiters;
    this.tailBytes = delimiters.tail.length;
    this.skips = oneOf('onTooLarge', options.onTooLarge ?? 'error', ['error', 'skip']) === 'skip';
    this.emitsLast =
      oneOf('unterminated', options.unterminated ?? delimiters.unterminated, ['error', 'emit']) === 'emit';
    this.#search = delimiters.search();
  }

  finder(): FrameFinder {
    return new DelimitedFinder(this);
  }

  headBytes(payloadBytes: number): number {
    if (payloadBytes > this.maxFrameBytes) throw tooLarge(payloadBytes, this.maxFrameBytes);
    return 0;
  }

  seal(target: Uint8Array, headAt: number, payloadBytes: number, tailAt: number): void {
    target.set(this.delimiters.tail, tailAt);
    // Looking at both together finds also a delimiter that begins in the message and ends in the delimiter; or, since
    // more follows, one that might end in the next message.
    const found = this.#search.next(target, headAt, tailAt + this.tailBytes, false);
    if (found !== tailAt) {
      const at = (found === -1 ? this.#search.resumeAt : found) - headAt;
      throw new FramingError('BAD_PAYLOAD', `a delimiter is in the message, or begins in it, at ${at}`);
    }
    if (this.delimiters.endsWithCr && payloadBytes > 0 && target[tailAt - 1] === CR) {
      throw new FramingError('BAD_PAYLOAD', 'a CR at the end of a line would be taken for a part of the newline');
    }
  }
}

class DelimitedFinder implements FrameFinder {
  readonly #framing: DelimitedFraming;
  readonly #search: Search;
  readonly #maxFrameBytes: number;
  readonly #endsWithCr: boolean;
  /** Unread bytes in which no delimiter begins. */
  #scanned = 0;
  /** Whether the frame that is coming was too large, and is thrown away. */
  #isSkipping = false;

  constructor(framing: DelimitedFraming) {
    this.#framing = framing;
    this.#search = framing.delimiters.search();
    this.#maxFrameBytes = framing.maxFrameBytes;
    this.#endsWithCr = framing.delimiters.endsWithCr;
  }

  get isMidFrame(): boolean {
    return this.#isSkipping;
  }

  /** @hot bench/framing.ts, lines */
  find(input: Input): boolean {
    return this.#next(input, false);
  }

  end(input: Input): boolean {
    return this.#next(input, true);
  }

  #next(input: Input, isEnd: boolean): boolean {
    const { bytes, end, text } = input;
    for (;;) {
      const { at } = input;
      const found = this.#search.next(bytes, at + this.#scanned, end, isEnd, text);
      if (found === -1) return isEnd ? this.#last(input) : this.#miss(input);
      input.at = found + this.#search.foundBytes;
      this.#scanned = 0;
      if (this.#isSkipping) this.#isSkipping = false;
      else if (this.#take(input, at, found)) return true;
    }
  }

  /** Whether the bytes are a frame; a frame that is too large is left out, or the end. */
  #take(input: Input, start: number, delimiterAt: number): boolean {
    const end = this.#withoutCr(input.bytes, start, delimiterAt);
    if (end - start > this.#maxFrameBytes) {
      this.#refuse(input);
      return false;
    }
    input.frameStart = start;
    input.frameEnd = end;
    return true;
  }

  #miss(input: Input): boolean {
    const resumeAt = this.#withoutCr(input.bytes, input.at, this.#search.resumeAt);
    if (!this.#isSkipping && resumeAt - input.at > this.#maxFrameBytes) {
      this.#refuse(input);
      this.#isSkipping = true;
    }
    if (this.#isSkipping) input.at = resumeAt;
    this.#scanned = resumeAt - input.at;
    return false;
  }

  /** At the end of the stream, with no delimiter in what is left. */
  #last(input: Input): boolean {
    const { at, end } = input;
    this.#scanned = 0;
    if (this.#isSkipping) {
      input.at = end;
      this.#isSkipping = !this.#framing.emitsLast;
      return false;
    }
    if (at === end || !this.#framing.emitsLast) return false;
    input.at = end;
    return this.#take(input, at, end);
  }

  #refuse(input: Input): void {
    if (!this.#framing.skips) throw tooLong(this.#maxFrameBytes);
    input.skippedFrames++;
  }

  #withoutCr(bytes: Uint8Array, start: number, end: number): number {
    return this.#endsWithCr && end > start && bytes[end - 1] === CR ? end - 1 : end;
  }
}
