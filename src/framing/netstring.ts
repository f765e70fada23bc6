/**
 * Netstrings: the length in decimal digits, a colon, the bytes, a comma. `5:hello,`
 *
 * @see https://cr.yp.to/proto/netstrings.txt
 */
import { Codec } from './codec.ts';
import { FramingError, tooLarge } from './errors.ts';
import type { FrameFinder, Framing, Input } from './framing.ts';
import { type LimitOptions, maxFrameBytesOf } from './options.ts';
import { bytesPayload } from './payload.ts';

const ZERO = 0x30;
const COLON = 0x3a;
const COMMA = 0x2c;

/** Frames as netstrings. A leading zero, a missing colon or comma, or anything that isn't a digit is `BAD_LENGTH`. */
export function netstring(options: LimitOptions = {}): Codec<Buffer, Uint8Array> {
  return new Codec(new Netstring(options), bytesPayload);
}

class Netstring implements Framing, FrameFinder {
  readonly maxFrameBytes: number;
  readonly maxUnreadBytes: number;
  readonly tailBytes = 1;
  readonly touchesPayload = false;

  constructor(options: LimitOptions) {
    this.maxFrameBytes = maxFrameBytesOf(options);
    this.maxUnreadBytes = this.maxFrameBytes + digitsOf(this.maxFrameBytes) + 2;
  }

  finder(): FrameFinder {
    return this;
  }

  /** @hot bench/framing.ts, netstring */
  find(input: Input): boolean {
    const { bytes, at, end } = input;
    let length = 0;
    for (let next = at; next < end; next++) {
      const byte = bytes[next] as number;
      if (byte === COLON && next > at) return this.#findRest(input, next + 1, length);
      if (byte < ZERO || byte > ZERO + 9) throw new FramingError('BAD_LENGTH', 'a netstring begins with no length');
      // The digit before was a zero in front of others; "0:" is the only length with one.
      if (next > at && length === 0)
        throw new FramingError('BAD_LENGTH', 'the length of a netstring begins with a zero');
      length = length * 10 + byte - ZERO;
      if (length > this.maxFrameBytes) throw tooLarge(length, this.maxFrameBytes);
    }
    return false;
  }

  #findRest(input: Input, start: number, length: number): boolean {
    if (input.end - start < length + 1) {
      input.need = start - input.at + length + 1;
      return false;
    }
    if (input.bytes[start + length] !== COMMA) throw new FramingError('BAD_LENGTH', 'a netstring ends without a comma');
    input.frameStart = start;
    input.frameEnd = start + length;
    input.at = start + length + 1;
    return true;
  }

  headBytes(payloadBytes: number): number {
    if (payloadBytes > this.maxFrameBytes) throw tooLarge(payloadBytes, this.maxFrameBytes);
    return digitsOf(payloadBytes) + 1;
  }

  seal(target: Uint8Array, headAt: number, payloadBytes: number, tailAt: number): void {
    const colonAt = headAt + digitsOf(payloadBytes);
    let rest = payloadBytes;
    for (let at = colonAt - 1; at >= headAt; at--) {
      target[at] = ZERO + (rest % 10);
      rest = Math.floor(rest / 10);
    }
    target[colonAt] = COLON;
    target[tailAt] = COMMA;
  }
}

function digitsOf(value: number): number {
  return String(value).length;
}
