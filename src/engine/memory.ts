/**
 * Memory that the kernel may be given: pages at a fixed address, reserved once and used from the front. TypeScript is shown
 * as much of them as is used, since V8 takes all that it is shown for memory in use and collects garbage on its account:
 * with 50 MB of untouched pages, from the first moment on.
 */
import type { Ring } from './ring.ts';

export class Memory {
  readonly address: number;
  /** What is in use now. */
  bytes!: Buffer;
  /** The same as 32-bit words. */
  words!: Int32Array;
  readonly #ring: Ring;

  /** @throws {Error} when there is no memory for `what`; the message names the errno */
  constructor(ring: Ring, what: string, mostBytes: number, bytes: number) {
    const memory = ring.native.allocate(ring.id, mostBytes, bytes);
    if (typeof memory === 'number') throw new Error(`no memory for ${what} (errno ${-memory})`);
    this.#ring = ring;
    this.#use(memory);
    this.address = ring.native.address(this.bytes);
  }

  /** Takes more into use; what is there stays where it is. @returns whether there is more */
  grow(bytes: number): boolean {
    const memory = this.#ring.native.show(this.#ring.id, this.bytes, bytes);
    if (typeof memory === 'number') return false;
    this.#use(memory);
    return true;
  }

  #use(memory: ArrayBuffer): void {
    this.bytes = Buffer.from(memory);
    this.words = new Int32Array(memory);
  }
}
