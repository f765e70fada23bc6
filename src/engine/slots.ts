/**
 * Which endpoint (connection or listener) a completion belongs to. A slot is a place in this table; its generation
 * grows whenever it is given to somebody new, so that nothing that was meant for the old owner reaches the new one.
 *
 * The descriptor of each slot also stands in memory that the native part can see: when a Worker is terminated, no
 * TypeScript runs any more and the native part closes them.
 */
import { CONTROL, MAX_SLOTS } from './abi.ts';
import type { Ring } from './ring.ts';

/** What a slot belongs to. */
export interface Endpoint {
  readonly slot: number;
  /**
   * A completion of one of this endpoint's operations; `operation` is one of `USER_OP`.
   * @returns whether code of the user's may have run, and may have left ticks and promise jobs behind
   */
  complete(operation: number, res: number, flags: number): boolean;
}

export class Slots {
  readonly #ring: Ring;
  readonly owners: (Endpoint | undefined)[] = [];
  readonly generations: number[] = [];
  readonly #free: number[] = [];

  constructor(ring: Ring) {
    this.#ring = ring;
  }

  /** A slot for `fd` (-1: for none that teardown has to close), or -1 when the table is full. `adopt` must follow. */
  take(fd: number): number {
    let slot = this.#free.pop();
    if (slot === undefined) {
      slot = this.owners.length;
      if (slot === MAX_SLOTS) return -1;
      this.owners.push(undefined);
      this.generations.push(0);
      this.#ring.control[CONTROL.SLOTS_USED] = slot + 1;
    }
    this.generations[slot] = ((this.generations[slot] as number) + 1) | 0;
    this.#ring.control[CONTROL.SLOT_FD + slot] = fd + 1;
    return slot;
  }

  /** Whether an endpoint has this descriptor, which teardown would close. */
  has(fd: number): boolean {
    const { control } = this.#ring;
    return control.subarray(CONTROL.SLOT_FD, CONTROL.SLOT_FD + this.owners.length).includes(fd + 1);
  }

  adopt(slot: number, owner: Endpoint): void {
    this.owners[slot] = owner;
  }

  /** The descriptor is closed, but operations are still in flight. */
  forget(slot: number): void {
    this.#ring.control[CONTROL.SLOT_FD + slot] = 0;
  }

  /** The descriptor is closed and no operation is in flight: the slot can serve another. */
  free(slot: number): void {
    this.owners[slot] = undefined;
    this.#ring.control[CONTROL.SLOT_FD + slot] = 0;
    this.#free.push(slot);
  }

  get inUse(): number {
    return this.owners.length - this.#free.length;
  }
}
