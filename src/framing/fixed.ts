/** Frames that all have the same size: records of a device, blocks of a file. */
import { Codec } from './codec.ts';
import { FramingError } from './errors.ts';
import type { FrameFinder, Framing, Input } from './framing.ts';
import { integer } from './options.ts';
import { bytesPayload } from './payload.ts';

/** Frames of exactly `frameBytes` bytes each, 1 to 2^30. */
export function fixed(frameBytes: number): Codec<Buffer, Uint8Array> {
  return new Codec(new FixedSize(frameBytes), bytesPayload);
}

class FixedSize implements Framing, FrameFinder {
  readonly maxFrameBytes: number;
  readonly maxUnreadBytes: number;
  readonly tailBytes = 0;
  readonly touchesPayload = false;

  constructor(frameBytes: number) {
    this.maxFrameBytes = this.maxUnreadBytes = integer('frameBytes', frameBytes, 1, 2 ** 30);
  }

  finder(): FrameFinder {
    return this;
  }

  find(input: Input): boolean {
    if (input.end - input.at < this.maxFrameBytes) {
      input.need = this.maxFrameBytes;
      return false;
    }
    input.frameStart = input.at;
    input.frameEnd = input.at += this.maxFrameBytes;
    return true;
  }

  headBytes(payloadBytes: number): number {
    if (payloadBytes === this.maxFrameBytes) return 0;
    throw new FramingError('BAD_PAYLOAD', `a message has ${payloadBytes} bytes instead of ${this.maxFrameBytes}`, {
      gotBytes: payloadBytes,
      limitBytes: this.maxFrameBytes,
    });
  }

  seal(): void {}
}
