/**
 * Frames with an unsigned LEB128 varint as length, as protobuf streams and multiformats have it: seven bits a byte, the
 * lowest first, and the highest bit says that another byte follows.
 *
 * @see https://protobuf.dev/programming-guides/encoding/#varints
 * @see https://github.com/multiformats/unsigned-varint
 */
import { Codec } from './codec.ts';
import { FramingError, tooLarge } from './errors.ts';
import type { FrameFinder, Framing, Input } from './framing.ts';
import { type LimitOptions, maxFrameBytesOf } from './options.ts';
import { bytesPayload } from './payload.ts';

/** 7 bits each: 8 bytes hold more than 2^53. */
const MOST_PREFIX_BYTES = 8;

/**
 * Frames with a varint length in front. An encoding that is longer than it has to be is refused (`BAD_LENGTH`): with
 * two ways to write a length, what one side has checked is not what the other reads.
 */
export function varintPrefixed(options: LimitOptions = {}): Codec<Buffer, Uint8Array> {
  return new Codec(new VarintPrefix(options), bytesPayload);
}

class VarintPrefix implements Framing, FrameFinder {
  readonly maxFrameBytes: number;
  readonly maxUnreadBytes: number;
  readonly tailBytes = 0;
  readonly touchesPayload = false;

  constructor(options: LimitOptions) {
    this.maxFrameBytes = maxFrameBytesOf(options);
    this.maxUnreadBytes = this.maxFrameBytes + MOST_PREFIX_BYTES;
  }

  finder(): FrameFinder {
    return this;
  }

  /** @hot bench/framing.ts, varint-prefixed */
  find(input: Input): boolean {
    const { bytes, at, end } = input;
    let length = 0;
    let scale = 1;
    for (let next = at; next < end; scale *= 128) {
      const byte = bytes[next++] as number;
      length += (byte & 0x7f) * scale;
      if (length > this.maxFrameBytes) throw tooLarge(length, this.maxFrameBytes);
      if (byte < 0x80) {
        if (byte === 0 && scale > 1) throw new FramingError('BAD_LENGTH', 'a varint is longer than it has to be');
        if (end - next < length) {
          input.need = next - at + length;
          return false;
        }
        input.frameStart = next;
        input.frameEnd = input.at = next + length;
        return true;
      }
      if (next - at === MOST_PREFIX_BYTES) throw new FramingError('BAD_LENGTH', 'a varint does not end');
    }
    return false;
  }

  headBytes(payloadBytes: number): number {
    if (payloadBytes > this.maxFrameBytes) throw tooLarge(payloadBytes, this.maxFrameBytes);
    let bytes = 1;
    for (let rest = payloadBytes; rest >= 128; rest = Math.floor(rest / 128)) bytes++;
    return bytes;
  }

  seal(target: Uint8Array, headAt: number, payloadBytes: number): void {
    let at = headAt;
    let rest = payloadBytes;
    for (; rest >= 128; rest = Math.floor(rest / 128)) target[at++] = (rest % 128) | 0x80;
    target[at] = rest;
  }
}
