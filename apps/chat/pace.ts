// How fast one client may talk: a token bucket. Every line takes a token, tokens come back with time, and a bucket that was full
// lets four seconds' worth go at once, so that somebody who pastes a poem doesn't wait.

const BURST_SECONDS = 4;

export class Pace {
  readonly #perMs: number;
  readonly #most: number;
  readonly #now: () => number;
  #tokens: number;
  #countedAt: number;

  constructor(linesPerSecond: number, now: () => number = () => performance.now()) {
    this.#perMs = linesPerSecond / 1_000;
    this.#most = linesPerSecond * BURST_SECONDS;
    this.#now = now;
    this.#tokens = this.#most;
    this.#countedAt = now();
  }

  /** 0 when the next line may come now, or else how long it has to wait. */
  waitMs(): number {
    if (this.#tokens >= 1) return 0;
    const now = this.#now();
    this.#tokens = Math.min(this.#most, this.#tokens + (now - this.#countedAt) * this.#perMs);
    this.#countedAt = now;
    return this.#tokens >= 1 ? 0 : Math.ceil((1 - this.#tokens) / this.#perMs);
  }

  take(): void {
    this.#tokens--;
  }
}
