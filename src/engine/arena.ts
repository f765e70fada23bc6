/**
 * The send arena: slots of memory at fixed addresses for what the kernel has to read until an operation completes.
 * Small writes are copied here; for large ones a slot holds the message header and the vector that points at the
 * caller's own buffers. The slot given back last is taken first, because it is still in the CPU cache.
 *
 * There is at most one operation per connection, and a connection that finds no slot sends from a buffer of its own.
 */
import type { Ring } from './ring.ts';

/** Of one slot: small writes, gathered, up to this size are copied; the largest vector has 248 pieces. */
export const SLOT_BYTES = 4096;
const SLOTS = 4096;

export class SendArena {
  readonly memory: Buffer;
  readonly words: Int32Array;
  readonly #address: number;
  readonly #free: Int32Array;
  #freeCount: number;

  constructor(ring: Ring, slots: number = SLOTS) {
    const memory = ring.native.allocate(ring.id, slots * SLOT_BYTES);
    if (typeof memory === 'number') throw new Error(`no memory for the send arena (errno ${-memory})`);
    this.memory = Buffer.from(memory);
    this.words = new Int32Array(memory);
    this.#address = ring.native.address(this.memory);
    this.#free = new Int32Array(slots);
    for (let i = 0; i < slots; i++) this.#free[i] = (slots - 1 - i) * SLOT_BYTES;
    this.#freeCount = slots;
  }

  /** A slot as an offset into `memory`, or -1 when all are taken. @hot */
  take(): number {
    return this.#freeCount === 0 ? -1 : (this.#free[--this.#freeCount] as number);
  }

  /** @hot */
  give(offset: number): void {
    this.#free[this.#freeCount++] = offset;
  }

  /** The address of a byte of `memory`. @hot */
  addressOf(offset: number): number {
    return this.#address + offset;
  }

  /** Slots that are taken now. */
  get inUse(): number {
    return this.#free.length - this.#freeCount;
  }
}
