/**
 * The one timer of all sessions: four times a second everything that has a time limit is asked whether it has passed.
 *
 * Limits are about the peer, so they are measured in time in which our event loop was alive. When a tick comes much
 * too late, the loop was blocked, and what the peer has sent meanwhile lies unread in the kernel: that tick asks
 * nobody and counts as a single one, and the next one asks when everything was read. A blocked loop closes nothing.
 */
import { type Clock, systemClock } from './clock.ts';

/** A time limit is kept to this exactly: up to so much late, never early. */
export const TICK_MS = 250;

export interface Swept {
  /** Asked at each tick. `nowMs` is time of the sweep, comparable with its `stampMs`. */
  check(nowMs: number): void;
}

const sweeps = new WeakMap<Clock, Sweep>();

export class Sweep {
  readonly clock: Clock;
  /** The time in which the loop was alive, as of the last tick. */
  nowMs = 0;
  /** What to write down for something that happens now: the latest it can be. */
  stampMs = TICK_MS;
  /** How often the loop was late, and by how much in all. */
  lateTicks = 0;
  lateMs = 0;
  readonly #swept = new Set<Swept>();
  #lastMs = 0;
  #wasLate = false;
  #stop: (() => void) | undefined;

  /** The sweep of a clock: there is one. */
  static of(clock: Clock = systemClock): Sweep {
    let sweep = sweeps.get(clock);
    if (sweep === undefined) {
      sweep = new Sweep(clock);
      sweeps.set(clock, sweep);
    }
    return sweep;
  }

  constructor(clock: Clock) {
    this.clock = clock;
  }

  add(swept: Swept): void {
    this.#swept.add(swept);
    if (this.#stop !== undefined) return;
    this.#lastMs = this.clock.nowMs();
    this.#stop = this.clock.every(TICK_MS, () => this.#tick());
  }

  delete(swept: Swept): void {
    this.#swept.delete(swept);
    if (this.#swept.size > 0) return;
    this.#stop?.();
    this.#stop = undefined;
  }

  #tick(): void {
    const now = this.clock.nowMs();
    const elapsedMs = now - this.#lastMs;
    this.#lastMs = now;
    const isLate = elapsedMs > 2 * TICK_MS;
    this.nowMs += isLate ? TICK_MS : elapsedMs;
    this.stampMs = this.nowMs + TICK_MS;
    const isFirst = isLate && !this.#wasLate;
    this.#wasLate = isLate;
    if (isLate) {
      this.lateTicks++;
      this.lateMs += elapsedMs - TICK_MS;
    }
    // A loop that is late each time has had its turn to read between two ticks.
    if (isFirst) return;
    for (const swept of this.#swept) swept.check(this.nowMs);
  }
}
