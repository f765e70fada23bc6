/** A clock that the test moves. */
import type { Clock } from 'millrace/session';

export class ManualClock implements Clock {
  #nowMs = 1_000;
  readonly #timers = new Set<{ periodMs: number; atMs: number; tick: () => void }>();

  nowMs(): number {
    return this.#nowMs;
  }

  every(periodMs: number, tick: () => void): () => void {
    const timer = { periodMs, atMs: this.#nowMs + periodMs, tick };
    this.#timers.add(timer);
    return () => this.#timers.delete(timer);
  }

  /** Whether anybody waits. */
  get isIdle(): boolean {
    return this.#timers.size === 0;
  }

  /** Time passes, and every timer that is due fires when it is. */
  advance(byMs: number): void {
    const endMs = this.#nowMs + byMs;
    for (;;) {
      const due = [...this.#timers].filter((timer) => timer.atMs <= endMs).sort((a, b) => a.atMs - b.atMs)[0];
      if (due === undefined) break;
      this.#nowMs = due.atMs;
      due.atMs += due.periodMs;
      due.tick();
    }
    this.#nowMs = endMs;
  }

  /** The event loop is blocked for so long: afterwards each timer fires once, late. */
  block(byMs: number): void {
    this.#nowMs += byMs;
    for (const timer of this.#timers) {
      if (timer.atMs > this.#nowMs) continue;
      timer.atMs = this.#nowMs + timer.periodMs;
      timer.tick();
    }
  }
}
