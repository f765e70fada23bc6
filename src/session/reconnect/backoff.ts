/**
 * How long to wait before the next attempt: exponential, with full jitter. When a server comes back, its clients come
 * back spread over the whole time rather than all at once.
 *
 * @see https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/
 */
import { badOption } from '../errors.ts';

export interface BackoffOptions {
  /** The most there is to wait before the first attempt after a loss. 200 unless given. */
  baseMs?: number | undefined;
  /** How much more that is after each failure. 2 unless given. */
  factor?: number | undefined;
  /** The most there is to wait at all. 30,000 unless given. */
  maxMs?: number | undefined;
}

export class Backoff {
  readonly #baseMs: number;
  readonly #factor: number;
  readonly #maxMs: number;
  readonly #random: () => number;

  constructor({ baseMs = 200, factor = 2, maxMs = 30_000 }: BackoffOptions, random: () => number) {
    if (!(baseMs >= 0 && baseMs <= maxMs && maxMs < 2 ** 31)) throw badOption(`baseMs: ${baseMs}, maxMs: ${maxMs}`);
    if (!(factor >= 1 && factor < Number.POSITIVE_INFINITY)) throw badOption(`factor: ${factor}`);
    this.#baseMs = baseMs;
    this.#factor = factor;
    this.#maxMs = maxMs;
    this.#random = random;
  }

  /** @param failures in a row, so far; 0 when a connection that had lasted was lost */
  delayMs(failures: number): number {
    // A power that overflows is Infinity, and the least of both is `maxMs`. 0 times Infinity is NaN.
    const mostMs = this.#baseMs === 0 ? 0 : Math.min(this.#maxMs, this.#baseMs * this.#factor ** failures);
    return Math.floor(this.#random() * mostMs);
  }
}
