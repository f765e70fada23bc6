/**
 * A place in a group: the worker that is in it, and what happens when that dies. A worker that was healthy is replaced at
 * once; one that wasn't, after a time that doubles with each failure in a row; too many, and the place stays empty.
 */
import type { WorkerExit, WorkerInfo } from './api.ts';
import type { Member } from './member.ts';
import type { Rules } from './options.ts';

/** Starts workers for a slot, and is told when there will be no more. */
export interface SlotOwner {
  readonly rules: Rules;
  /** Starts a worker; what it becomes is told by `online` and `died`. */
  start(slot: Slot): void;
  gaveUp(slot: Slot, member: Member, error: Error): void;
}

export class Slot {
  readonly index: number;
  readonly #owner: SlotOwner;
  /** Who serves here, or is about to. */
  member: Member | undefined;
  restarts = 0;
  lastError: Error | undefined;
  hasGivenUp = false;
  #failures = 0;
  #timer: NodeJS.Timeout | undefined;

  constructor(index: number, owner: SlotOwner) {
    this.index = index;
    this.#owner = owner;
  }

  /** Somebody new serves here; how the last ones fared doesn't count any more. */
  replace(member: Member): void {
    this.stop();
    this.member = member;
    this.hasGivenUp = false;
    this.#failures = 0;
  }

  /** The worker in this place is gone, and nobody wanted that. */
  died(member: Member, exit: WorkerExit): void {
    const { minDelayMs, maxDelayMs, maxFailures, healthyAfterMs } = this.#owner.rules;
    this.member = undefined;
    this.lastError = exit.error;
    const { readyAtMs } = member;
    if (readyAtMs !== undefined && performance.now() - readyAtMs >= healthyAfterMs) {
      this.#failures = 0;
      this.#startIn(0);
      return;
    }
    if (++this.#failures >= maxFailures) {
      this.hasGivenUp = true;
      this.#owner.gaveUp(this, member, exit.error as Error);
      return;
    }
    // Jitter, or all that died of the same cause would come back together.
    const delayMs = Math.min(maxDelayMs, minDelayMs * 2 ** (this.#failures - 1));
    this.#startIn(delayMs * (0.75 + Math.random() / 2));
  }

  /** The worker in this place leaves by itself: another one takes over. */
  left(): void {
    this.member = undefined;
    this.#startIn(this.#owner.rules.minDelayMs);
  }

  #startIn(delayMs: number): void {
    this.#timer = setTimeout(() => {
      this.restarts++;
      this.#owner.start(this);
    }, delayMs);
  }

  /** Nobody is started here any more. */
  stop(): void {
    clearTimeout(this.#timer);
  }

  info(): WorkerInfo {
    if (this.member !== undefined) return infoOf(this.member, this);
    const nobody = { id: 0, generation: 0, pid: undefined, threadId: undefined, connections: 0 };
    const { index: slot, restarts, lastError } = this;
    return { ...nobody, slot, restarts, lastError, state: this.hasGivenUp ? 'gaveUp' : 'waiting' };
  }
}

export function infoOf(member: Member, slot: Slot): WorkerInfo {
  const { id, generation, pid, threadId, state, connections } = member;
  const { index, restarts, lastError } = slot;
  return { id, slot: index, generation, pid, threadId, state, connections, restarts, lastError };
}
