/**
 * Receive buffers for connections in whose bytes much comes at a time: a second buffer ring, of 64 KB each (what Node
 * reads at a time). What fills at least half of one is handed out without a copy, and the buffer is replaced by a new
 * one; less is copied, so that a piece that is kept for long never keeps more than twice its size alive.
 */
import { BufferRing } from './buffer-ring.ts';
import type { Native } from './native.ts';
import type { Ring } from './ring.ts';

export const LARGE_BUFFER_GROUP = 1;
/** Of one buffer: the most that one receive brings. */
export const LARGE_BUFFER_BYTES = 65536;
const LEAST_HANDED_OUT = LARGE_BUFFER_BYTES / 2;
const START_COUNT = 64;
/** 16 MB: whoever finds none left receives into the small ones. A power of two. */
const MOST_COUNT = 256;
/** 4 MB that wait to take the place of others. */
const MOST_SPARE = 64;

export class LargeBuffers {
  /** Buffers that a completion brought and that were not given back yet. */
  lent = 0;
  readonly #native: Native;
  readonly #ring: BufferRing;
  readonly #mostCount: number;
  readonly #buffers: Buffer[] = [];
  readonly #spare: Buffer[] = [];

  /** @throws {Error} when the kernel refuses: the small buffers do as well */
  constructor(ring: Ring, startCount: number = START_COUNT, mostCount: number = MOST_COUNT) {
    this.#native = ring.native;
    this.#ring = new BufferRing(ring, LARGE_BUFFER_GROUP, mostCount);
    this.#mostCount = mostCount;
    this.grow(startCount);
  }

  /** The memory of a buffer. */
  at(id: number): Buffer {
    return this.#buffers[id] as Buffer;
  }

  /** The first `length` bytes of a buffer, for good. @hot */
  take(id: number, length: number): Buffer {
    const buffer = this.at(id);
    if (length < LEAST_HANDED_OUT) {
      const copy = Buffer.allocUnsafeSlow(length);
      buffer.copy(copy, 0, 0, length);
      return copy;
    }
    this.replace(id);
    return length === LARGE_BUFFER_BYTES ? buffer : buffer.subarray(0, length);
  }

  /** Puts another buffer in the place of one that is kept. @returns the one that is kept @hot */
  replace(id: number): Buffer {
    const buffer = this.at(id);
    this.#buffers[id] = this.#spare.pop() ?? Buffer.allocUnsafeSlow(LARGE_BUFFER_BYTES);
    return buffer;
  }

  /** Takes back a buffer that was replaced, and that nobody looks at any more. @hot */
  recycle(buffer: Buffer): void {
    if (this.#spare.length < MOST_SPARE) this.#spare.push(buffer);
  }

  /** Gives a buffer (or the one in its place) to the kernel again. @hot */
  give(id: number): void {
    this.#ring.put(id, this.#native.address(this.at(id)), LARGE_BUFFER_BYTES);
    this.lent--;
  }

  /** Shows the other side what was given back. @hot */
  publish(): void {
    this.#ring.publish();
  }

  /** Adds up to `more` buffers; none when the ring is at its limit. */
  grow(more: number = this.#buffers.length): void {
    const end = Math.min(this.#buffers.length + more, this.#mostCount);
    while (this.#buffers.length < end) {
      this.#buffers.push(Buffer.allocUnsafeSlow(LARGE_BUFFER_BYTES));
      this.lent++;
      this.give(this.#buffers.length - 1);
    }
    this.publish();
  }
}
