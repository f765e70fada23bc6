/**
 * Receive buffers: one ring of small buffers per thread, shared by all connections. The kernel takes one when data is
 * there, so an idle connection owns none.
 *
 * A buffer is lent to the owner of a connection for the length of one callback and then given back: a slow consumer can
 * never hold one. Buffers are taken in the order in which they were given back; a few small ones stay in the CPU cache.
 * When they run out the ring is made larger, up to its limit, because a receive that finds none has to be armed again.
 */
import { BufferRing } from './buffer-ring.ts';
import { Memory } from './memory.ts';
import type { Ring } from './ring.ts';

export const BUFFER_GROUP = 0;
const START_COUNT = 256;
const MOST_COUNT = 4096;
/** Of one buffer. A power of two. */
const BUFFER_BYTES = 8192;

export class ReceiveBuffers {
  /** Every buffer: buffer `id` begins at `id * bufferBytes`. */
  memory: Buffer;
  /** The same memory as 32-bit words. */
  words: Int32Array;
  readonly bufferBytes: number = BUFFER_BYTES;
  /** How many buffers the ring has been given so far. */
  count = 0;
  /** Buffers that a completion brought and that were not given back yet. */
  lent = 0;
  readonly #ring: BufferRing;
  readonly #mostCount: number;
  readonly #memory: Memory;

  /** @throws {Error} when the kernel refuses the memory or the registration; the message names the errno. */
  constructor(ring: Ring, startCount: number = START_COUNT, mostCount: number = MOST_COUNT) {
    this.#ring = new BufferRing(ring, BUFFER_GROUP, mostCount);
    this.#memory = new Memory(ring, 'receive buffers', mostCount * BUFFER_BYTES, startCount * BUFFER_BYTES);
    this.#mostCount = mostCount;
    this.memory = this.#memory.bytes;
    this.words = this.#memory.words;
    this.grow(startCount);
  }

  /** Gives a buffer back. Nobody may look at it afterwards. @hot */
  give(id: number): void {
    this.#ring.put(id, this.#memory.address + id * BUFFER_BYTES, BUFFER_BYTES);
    this.lent--;
  }

  /** Shows the other side what was given back: once a turn, before the kernel is entered. @hot */
  publish(): void {
    this.#ring.publish();
  }

  /** Adds up to `more` buffers; none when the ring is at its limit. */
  grow(more: number = this.count): void {
    const end = Math.min(this.count + more, this.#mostCount);
    if (end * BUFFER_BYTES > this.memory.length) {
      if (!this.#memory.grow(end * BUFFER_BYTES)) return;
      this.memory = this.#memory.bytes;
      this.words = this.#memory.words;
    }
    for (; this.count < end; this.give(this.count++)) this.lent++;
    this.publish();
  }
}
