/**
 * A budget for what sessions hold: messages that wait to be read or sent, frames that have begun, and 4 KiB for each
 * hold, which calls under way are. When it is spent, the session that holds most is closed, then the next, until it is kept.
 *
 * Sessions only tell how many bytes went through them, which is one addition; what they hold is measured when so much
 * went through since the last time that the budget could be spent. What is over is never more than a 64th of it.
 */
import { badOption } from './errors.ts';

export interface Holder {
  /** What it holds now, in bytes. */
  footprint(): number;
  /** It is to be closed, and to hold nothing from now on. */
  evict(budgetBytes: number): void;
}

export class MemoryBudget {
  #maxBytes: number;
  readonly #holders = new Set<Holder>();
  /** Bytes that went through since the last measurement, and how many may until the next. */
  #passedBytes = 0;
  #mayPassBytes: number;

  /** @throws {MILLRACE_ERR_BAD_OPTION} */
  constructor(maxBytes: number) {
    this.#maxBytes = this.#mayPassBytes = checked(maxBytes);
  }

  get maxBytes(): number {
    return this.#maxBytes;
  }

  set maxBytes(bytes: number) {
    this.#maxBytes = checked(bytes);
    this.#measure();
  }

  /** What all sessions hold now. It asks each. */
  get heldBytes(): number {
    let bytes = 0;
    for (const holder of this.#holders) bytes += holder.footprint();
    return bytes;
  }

  /** @internal */
  add(holder: Holder): void {
    this.#holders.add(holder);
  }

  /** @internal */
  delete(holder: Holder): void {
    this.#holders.delete(holder);
  }

  /** @internal @hot bench/session.ts, echo */
  pass(bytes: number): void {
    this.#passedBytes += bytes;
    if (this.#passedBytes > this.#mayPassBytes) this.#measure();
  }

  #measure(): void {
    let heldBytes = this.heldBytes;
    if (heldBytes > this.#maxBytes) {
      const holders = [...this.#holders].map((holder) => ({ holder, bytes: holder.footprint() }));
      holders.sort((a, b) => b.bytes - a.bytes);
      for (const { holder, bytes } of holders) {
        if (heldBytes <= this.#maxBytes) break;
        heldBytes -= bytes;
        holder.evict(this.#maxBytes);
      }
    }
    this.#passedBytes = 0;
    this.#mayPassBytes = Math.max(this.#maxBytes - heldBytes, this.#maxBytes / 64);
  }
}

function checked(maxBytes: unknown): number {
  if (typeof maxBytes === 'number' && maxBytes >= 1) return maxBytes;
  throw badOption(`a memory budget is a number of bytes of at least 1, not ${String(maxBytes)}`);
}

/** The budget of all sessions of this thread that were given none: 512 MiB, to be changed by `maxBytes`. */
export const processMemory = new MemoryBudget(512 * 1024 * 1024);
