/**
 * The send arena: slots of memory at fixed addresses for what the kernel has to read until an operation completes.
 * Small writes are copied here; for large ones a slot holds the message header and the vector that points at the
 * caller's own buffers. The slot given back last is taken first, because it is still in the CPU cache.
 *
 * There is at most one operation per connection, and a connection that finds no slot sends from a buffer of its own.
 */
import { Memory } from './memory.ts';
import type { Ring } from './ring.ts';

/** Of one slot: small writes, gathered, up to this size are copied; the largest vector has 248 pieces. */
export const SLOT_BYTES = 4096;
const START_SLOTS = 256;
export const MOST_SLOTS = 4096;

export class SendArena {
  memory: Buffer;
  words: Int32Array;
  readonly #memory: Memory;
  readonly #mostSlots: number;
  readonly #free: Int32Array;
  #freeCount = 0;
  #slots = 0;

  constructor(ring: Ring, startSlots: number = START_SLOTS, mostSlots: number = MOST_SLOTS) {
    this.#memory = new Memory(ring, 'the send arena', mostSlots * SLOT_BYTES, startSlots * SLOT_BYTES);
    this.memory = this.#memory.bytes;
    this.words = this.#memory.words;
    this.#mostSlots = mostSlots;
    this.#free = new Int32Array(mostSlots);
    this.#add(startSlots);
  }

  /** A slot as an offset into `memory`, or -1 when all are taken. @hot */
  take(): number {
    if (this.#freeCount === 0 && !this.#grow()) return -1;
    return this.#free[--this.#freeCount] as number;
  }

  #grow(): boolean {
    const slots = Math.min(this.#slots * 2, this.#mostSlots);
    if (slots === this.#slots || !this.#memory.grow(slots * SLOT_BYTES)) return false;
    this.memory = this.#memory.bytes;
    this.words = this.#memory.words;
    this.#add(slots);
    return true;
  }

  /** The first slot is taken first. */
  #add(slots: number): void {
    for (let slot = slots - 1; slot >= this.#slots; slot--) this.#free[this.#freeCount++] = slot * SLOT_BYTES;
    this.#slots = slots;
  }

  /** @hot */
  give(offset: number): void {
    this.#free[this.#freeCount++] = offset;
  }

  /** The address of a byte of `memory`. @hot */
  addressOf(offset: number): number {
    return this.#memory.address + offset;
  }

  /** Slots that are taken now. */
  get inUse(): number {
    return this.#slots - this.#freeCount;
  }
}
