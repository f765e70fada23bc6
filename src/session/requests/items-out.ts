/**
 * The sending end of a stream of items: asks its source for the next item when the receiver has room for it, so a slow
 * receiver is what slows the source down.
 */
import { MAX_CREDIT } from './envelope.ts';

const STOPPED = Symbol('stopped');

export class ItemsOut {
  #credit: number;
  #isStopped = false;
  #isSealed = false;
  /** Ends whatever `run` waits for. */
  #interrupt: (() => void) | undefined;

  constructor(credit: number) {
    this.#credit = credit;
  }

  /** @returns false: more than there may be */
  addCredit(count: number): boolean {
    if (count > MAX_CREDIT - this.#credit) return false;
    this.#credit += count;
    if (this.#credit === count) this.#interrupt?.();
    return true;
  }

  /** There will be no more credit: what there is may be used up. */
  seal(): void {
    this.#isSealed = true;
    if (this.#credit === 0) this.#interrupt?.();
  }

  /** Nobody wants more items: the source is returned. */
  stop(): void {
    this.#isStopped = true;
    this.#interrupt?.();
  }

  /**
   * Sends until the source ends, `stop` is called, or there is no credit and will be none.
   *
   * @returns true: the source has ended; false: it has been returned before that
   * @throws what the source throws, and `send`, unless it was stopped
   */
  async run(
    source: AsyncIterable<unknown> | Iterable<unknown>,
    send: (item: unknown) => Promise<void>,
  ): Promise<boolean> {
    const iterator = iteratorOf(source);
    try {
      while (await this.#hasCredit()) {
        const step = await this.#unlessStopped(iterator.next());
        if (step === STOPPED) break;
        if (step.done === true) return true;
        this.#credit -= 1;
        try {
          await send(step.value);
        } catch (error) {
          await leave(iterator);
          throw error;
        }
      }
    } catch (error) {
      if (!this.#isStopped) throw error;
    }
    // A generator that waits for something is returned only when that has come: the signal is there to end its wait.
    await leave(iterator);
    return false;
  }

  async #hasCredit(): Promise<boolean> {
    while (this.#credit === 0 && !this.#isStopped && !this.#isSealed) {
      await new Promise<void>((resolve) => {
        this.#interrupt = resolve;
      });
    }
    this.#interrupt = undefined;
    return this.#credit > 0 && !this.#isStopped;
  }

  /** Not `Promise.race`: with a promise that lives as long as the stream, each item would leave something behind. */
  #unlessStopped<T>(promise: Promise<T>): Promise<T | typeof STOPPED> {
    return new Promise<T | typeof STOPPED>((resolve, reject) => {
      this.#interrupt = () => {
        if (this.#isStopped) resolve(STOPPED);
      };
      promise.then(resolve, reject);
    });
  }
}

function iteratorOf(source: AsyncIterable<unknown> | Iterable<unknown>): AsyncIterator<unknown, unknown> {
  if (Symbol.asyncIterator in source) return source[Symbol.asyncIterator]();
  // Waits for promises among the values, as `for await` does.
  return (async function* () {
    yield* source;
  })();
}

/** What a source says to being left is nobody's business any more. */
async function leave(iterator: AsyncIterator<unknown, unknown>): Promise<void> {
  try {
    await iterator.return?.();
  } catch {}
}
