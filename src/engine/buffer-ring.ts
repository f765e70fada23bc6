/**
 * A ring of provided buffers (IORING_REGISTER_PBUF_RING, Linux 5.19): a list in shared memory from which the kernel takes
 * a buffer when bytes are there. What the buffers are and who owns them is said by buffers.ts and large-buffers.ts.
 */
import { BUF, BUF_WORDS } from './abi.ts';
import type { Ring } from './ring.ts';

export class BufferRing {
  readonly #entries: Int32Array;
  readonly #tails: Uint16Array;
  readonly #mask: number;
  #tail = 0;

  /**
   * @param count a power of two: how many buffers can be in it at a time
   * @throws {Error} when the kernel refuses the memory or the registration; the message names the errno.
   */
  constructor(ring: Ring, group: number, count: number) {
    const { native } = ring;
    const entries = native.allocate(ring.id, count * BUF_WORDS * 4, count * BUF_WORDS * 4);
    if (typeof entries === 'number') throw new Error(`no memory for the buffer ring (errno ${-entries})`);
    const refused = native.registerBuffers(ring.id, new Uint8Array(entries), count, group);
    if (refused < 0) throw new Error(`no buffer ring (errno ${-refused})`);
    this.#entries = new Int32Array(entries);
    this.#tails = new Uint16Array(entries);
    this.#mask = count - 1;
  }

  /** Gives a buffer to the kernel, which sees it when it is published. @hot */
  put(id: number, address: number, bytes: number): void {
    const at = (this.#tail & this.#mask) * BUF_WORDS;
    const entries = this.#entries;
    entries[at + BUF.ADDR_LOW] = address | 0;
    entries[at + BUF.ADDR_HIGH] = (address / 0x1_0000_0000) | 0;
    entries[at + BUF.LEN] = bytes;
    this.#tails[at * 2 + 6] = id; // not the whole word: in the first entry its other half is the tail
    this.#tail = (this.#tail + 1) & 0xffff;
  }

  /** Shows the kernel what was put: once a turn, before it is entered. @hot */
  publish(): void {
    if (this.#tails[7] !== this.#tail) Atomics.store(this.#tails, 7, this.#tail);
  }
}
