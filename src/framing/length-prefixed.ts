/**
 * Frames that begin with a header of fixed size in which their length stands.
 *
 *      |<- lengthFieldOffset ->|<- lengthFieldLength ->|<- length + lengthAdjustment -->|
 *      +-----------------------+-----------------------+--------------------------------+
 *      |        ...            |        length         |  ...                           |
 *      +-----------------------+-----------------------+--------------------------------+
 *      |<------- numSkip: not handed out ------>|<----------- the frame --------------->|
 *
 * The words are those of Netty and tokio-util; where those two differ (what `lengthAdjustment` is added to when
 * `numSkip` isn't the header's size), it is as in Netty: see docs/decisions/0040.
 */
import { Codec } from './codec.ts';
import { FramingError, tooLarge } from './errors.ts';
import type { FrameFinder, Framing, Input } from './framing.ts';
import { integer, type LimitOptions, maxFrameBytesOf, oneOf } from './options.ts';
import { bytesPayload } from './payload.ts';

export interface LengthPrefixedOptions extends LimitOptions {
  /** Bytes before the length field; 0 unless given, at most 255. */
  lengthFieldOffset?: number | undefined;
  /** Bytes of the length field, 1 to 8; 4 unless given. Lengths above 2^53 - 1 are refused. */
  lengthFieldLength?: number | undefined;
  /**
   * What has to be added to the length to get the number of bytes behind the length field; 0 unless given. Negative
   * where the length counts parts of the header, positive where header fields that it doesn't count follow it.
   */
  lengthAdjustment?: number | undefined;
  /** Bytes of the beginning that aren't handed out; the header up to the end of the length field unless given. */
  numSkip?: number | undefined;
  /** `big` unless given. */
  endianness?: 'big' | 'little' | undefined;
  /**
   * Whether the length counts everything up to its own end, too: as a `lengthAdjustment` of minus that, to which it is
   * added.
   */
  lengthIncludesPrefix?: boolean | undefined;
}

/**
 * Frames with a length in front. Encoding is the mirror image: header bytes that `numSkip` takes away are written as
 * zeros, those that it leaves are taken from the message, and the length field is always set.
 *
 * @throws {MILLRACE_ERR_BAD_OPTION} an option that makes no sense
 * @example
 * ```ts
 * import { lengthPrefixed } from 'millrace/framing';
 *
 * const codec = lengthPrefixed({ lengthFieldLength: 2 }).utf8();
 * codec.encode('hello'); // 00 05 68 65 6c 6c 6f
 * ```
 */
export function lengthPrefixed(options: LengthPrefixedOptions = {}): Codec<Buffer, Uint8Array> {
  return new Codec(new LengthPrefix(options), bytesPayload);
}

class LengthPrefix implements Framing, FrameFinder {
  readonly maxFrameBytes: number;
  readonly maxUnreadBytes: number;
  readonly tailBytes = 0;
  readonly touchesPayload: boolean;
  readonly #offset: number;
  readonly #fieldBytes: number;
  /** What the length is added to: where the length field ends, adjusted. */
  readonly #base: number;
  readonly #headerBytes: number;
  readonly #skip: number;
  readonly #isLittle: boolean;

  constructor(options: LengthPrefixedOptions) {
    this.maxFrameBytes = maxFrameBytesOf(options);
    this.#offset = integer('lengthFieldOffset', options.lengthFieldOffset ?? 0, 0, 255);
    this.#fieldBytes = integer('lengthFieldLength', options.lengthFieldLength ?? 4, 1, 8);
    this.#headerBytes = this.#offset + this.#fieldBytes;
    const adjustment = integer('lengthAdjustment', options.lengthAdjustment ?? 0, -(2 ** 31), 2 ** 31);
    this.#base = (options.lengthIncludesPrefix ? 0 : this.#headerBytes) + adjustment;
    this.#skip = integer('numSkip', options.numSkip ?? this.#headerBytes, 0, 1024);
    this.#isLittle = oneOf('endianness', options.endianness ?? 'big', ['big', 'little']) === 'little';
    this.maxUnreadBytes = this.maxFrameBytes + Math.max(this.#skip, this.#headerBytes);
    this.touchesPayload = this.#skip < this.#headerBytes;
  }

  /** Nothing is remembered between two calls, so all streams share one. */
  finder(): FrameFinder {
    return this;
  }

  /** @hot bench/framing.ts, length-prefixed */
  find(input: Input): boolean {
    const { at } = input;
    const unread = input.end - at;
    if (unread < this.#headerBytes) {
      input.need = this.#headerBytes;
      return false;
    }
    const length = this.#read(input.bytes, at + this.#offset);
    const whole = this.#base + length;
    if (whole - this.#skip > this.maxFrameBytes) throw this.#refused(length);
    if (whole < this.#headerBytes || whole < this.#skip) throw this.#refused(length);
    if (unread < whole) {
      input.need = whole;
      return false;
    }
    input.frameStart = at + this.#skip;
    input.frameEnd = input.at = at + whole;
    return true;
  }

  #read(bytes: Uint8Array, at: number): number {
    const end = at + this.#fieldBytes;
    let value = 0;
    if (this.#isLittle) for (let i = end - 1; i >= at; i--) value = value * 256 + (bytes[i] as number);
    else for (let i = at; i < end; i++) value = value * 256 + (bytes[i] as number);
    return value;
  }

  #refused(length: number): FramingError {
    // Above 2^53 the number isn't exact, so nothing is calculated from it.
    if (length > Number.MAX_SAFE_INTEGER) return new FramingError('BAD_LENGTH', 'a length is above 2^53 - 1');
    const bytes = this.#base + length - this.#skip;
    if (bytes > this.maxFrameBytes) return tooLarge(bytes, this.maxFrameBytes);
    return new FramingError(
      'BAD_LENGTH',
      `a length of ${length} leaves ${this.#base + length} bytes for a whole frame`,
    );
  }

  headBytes(payloadBytes: number): number {
    if (payloadBytes > this.maxFrameBytes) throw tooLarge(payloadBytes, this.maxFrameBytes);
    return this.#skip;
  }

  seal(target: Uint8Array, headAt: number, payloadBytes: number): void {
    const whole = this.#skip + payloadBytes;
    const length = whole - this.#base;
    if (length < 0 || whole < this.#headerBytes) {
      throw new FramingError('BAD_PAYLOAD', `a message of ${payloadBytes} bytes is too short for this header`);
    }
    const limit = Math.min(256 ** this.#fieldBytes - 1, Number.MAX_SAFE_INTEGER);
    if (length > limit) throw tooLarge(length, limit);
    for (let at = headAt; at < headAt + this.#skip; at++) target[at] = 0;
    this.#write(target, headAt + this.#offset, length);
  }

  #write(target: Uint8Array, at: number, length: number): void {
    const last = at + this.#fieldBytes - 1;
    let rest = length;
    for (let i = 0; i < this.#fieldBytes; i++) {
      target[this.#isLittle ? at + i : last - i] = rest % 256;
      rest = Math.floor(rest / 256);
    }
  }
}
