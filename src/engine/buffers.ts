/**
 * Receive buffers: one ring of small buffers per thread, shared by all connections (IORING_REGISTER_PBUF_RING,
 * Linux 5.19). The kernel takes one when data is there, so an idle connection owns none.
 *
 * A buffer is lent to the owner of a connection for the length of one callback and then given back: a slow consumer can
 * never hold one. Buffers are taken in the order in which they were given back; a few small ones stay in the CPU cache.
 * When they run out the ring is made larger, up to its limit, because a receive that finds none has to be armed again.
 */
import { BUF, BUF_WORDS } from './abi.ts';
import type { Ring } from './ring.ts';

export const BUFFER_GROUP = 0;
const START_COUNT = 256;
const MOST_COUNT = 4096;
/** Of one buffer. A power of two. */
const BUFFER_BYTES = 8192;

export class ReceiveBuffers {
  /** Every buffer: buffer `id` begins at `id * bufferBytes`. */
  readonly memory: Buffer;
  /** The same memory as 32-bit words. */
  readonly words: Int32Array;
  readonly bufferBytes: number = BUFFER_BYTES;
  /** How many buffers the ring has been given so far. */
  count = 0;
  /** Buffers that a completion brought and that were not given back yet. */
  lent = 0;
  readonly #entries: Int32Array;
  readonly #tails: Uint16Array;
  readonly #mask: number;
  readonly #address: number;
  #tail = 0;

  /** @throws {Error} when the kernel refuses the memory or the registration; the message names the errno. */
  constructor(ring: Ring, startCount: number = START_COUNT, mostCount: number = MOST_COUNT) {
    const { native } = ring;
    const entries = native.allocate(ring.id, mostCount * BUF_WORDS * 4);
    const memory = native.allocate(ring.id, mostCount * BUFFER_BYTES); // pages that are never used cost nothing
    if (typeof entries === 'number') throw new Error(`no memory for the buffer ring (errno ${-entries})`);
    if (typeof memory === 'number') throw new Error(`no memory for receive buffers (errno ${-memory})`);
    const refused = native.registerBuffers(ring.id, new Uint8Array(entries), mostCount, BUFFER_GROUP);
    if (refused < 0) throw new Error(`no buffer ring (errno ${-refused})`);
    this.memory = Buffer.from(memory);
    this.words = new Int32Array(memory);
    this.#entries = new Int32Array(entries);
    this.#tails = new Uint16Array(entries);
    this.#mask = mostCount - 1;
    this.#address = native.address(this.memory);
    this.grow(startCount);
  }

  /** Gives a buffer back. Nobody may look at it afterwards. @hot */
  give(id: number): void {
    const at = (this.#tail & this.#mask) * BUF_WORDS;
    const address = this.#address + id * BUFFER_BYTES;
    const entries = this.#entries;
    entries[at + BUF.ADDR_LOW] = address | 0;
    entries[at + BUF.ADDR_HIGH] = (address / 0x1_0000_0000) | 0;
    entries[at + BUF.LEN] = BUFFER_BYTES;
    this.#tails[at * 2 + 6] = id; // not the whole word: in the first entry its other half is the tail
    this.#tail = (this.#tail + 1) & 0xffff;
    this.lent--;
  }

  /** Shows the other side what was given back: once a turn, before the kernel is entered. @hot */
  publish(): void {
    if (this.#tails[7] !== this.#tail) Atomics.store(this.#tails, 7, this.#tail);
  }

  /** Adds up to `more` buffers; none when the ring is at its limit. */
  grow(more: number = this.count): void {
    const end = Math.min(this.count + more, this.#mask + 1);
    for (; this.count < end; this.give(this.count++)) this.lent++;
    this.publish();
  }
}
