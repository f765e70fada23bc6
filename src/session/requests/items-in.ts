/**
 * The receiving end of a stream of items. It asks for items by credit, a window at most, so no more than that ever waits
 * here, and nobody else's items wait behind it.
 */
import { Fifo } from '../fifo.ts';
import { rpcError } from './errors.ts';

export interface ItemsInOptions<T> {
  /** The most items that wait to be read, or are on their way. */
  window: number;
  /** How much of the window the sender was granted already. */
  granted: number;
  /** Checks an item. */
  accept(raw: unknown): Promise<T>;
  /** Tells the sender that it may send so many more. */
  grant(count: number): void;
  /** The reader has left before the end, or `accept` did not like an item. */
  leave(failure: { error: unknown } | undefined): void;
}

export class ItemsIn<T> implements AsyncIterableIterator<T, undefined> {
  readonly #options: ItemsInOptions<T>;
  /** As they came: they are checked when they are read. */
  readonly #waiting = new Fifo<unknown>();
  /** How many more the sender may send. */
  #credit: number;
  #isOpen = true;
  #isReading = false;
  /** How it ended, until the reader was told. */
  #failure: { error: unknown } | undefined;
  #wake: (() => void) | undefined;

  constructor(options: ItemsInOptions<T>) {
    this.#options = options;
    this.#credit = options.granted;
  }

  // --------------------------------------------------------------------------------------------------- from the wire

  /** @returns false: the sender had no credit for it */
  push(raw: unknown): boolean {
    // What was on its way when the reader left.
    if (!this.#isOpen) return true;
    if (this.#credit === 0) return false;
    this.#credit -= 1;
    this.#waiting.push(raw);
    this.#rouse();
    return true;
  }

  /** Nothing more will come. What has come is read before a failure is thrown. */
  end(failure?: { error: unknown }): void {
    if (!this.#isOpen) return;
    this.#isOpen = false;
    this.#failure = failure;
    this.#rouse();
  }

  /** As `end`, and what has come is thrown away. */
  discard(failure?: { error: unknown }): void {
    this.#waiting.clear();
    this.end(failure);
  }

  // ------------------------------------------------------------------------------------------------------ the reader

  /** The next item. One call at a time. */
  async next(): Promise<IteratorResult<T, undefined>> {
    if (this.#isReading) throw rpcError('CALL_MISUSE', 'next() was called before the last one was answered');
    this.#isReading = true;
    try {
      while (this.#waiting.length === 0) {
        if (!this.#isOpen) return this.#finish();
        this.#ask();
        // To ask may have been in vain.
        if (!this.#isOpen) continue;
        await new Promise<void>((resolve) => {
          this.#wake = resolve;
        });
      }
      const raw = this.#waiting.shift();
      this.#ask();
      return { done: false, value: await this.#accept(raw) };
    } finally {
      this.#isReading = false;
    }
  }

  /** Leaves: the sender's generator is returned. What `break` in a `for await` calls. */
  async return(): Promise<IteratorResult<T, undefined>> {
    this.#leave(undefined);
    return { done: true, value: undefined };
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.return();
  }

  async #accept(raw: unknown): Promise<T> {
    try {
      return await this.#options.accept(raw);
    } catch (error) {
      this.#leave({ error });
      throw error;
    }
  }

  #leave(failure: { error: unknown } | undefined): void {
    const wasOpen = this.#isOpen;
    this.discard();
    this.#failure = undefined;
    // An item that isn't accepted fails the call, also behind the last one.
    if (wasOpen || failure !== undefined) this.#options.leave(failure);
  }

  #finish(): IteratorResult<T, undefined> {
    const failure = this.#failure;
    this.#failure = undefined;
    if (failure !== undefined) throw failure.error;
    return { done: true, value: undefined };
  }

  /** For half a window at once: not a message for each item. */
  #ask(): void {
    if (!this.#isOpen) return;
    const { window } = this.#options;
    const room = window - this.#credit - this.#waiting.length;
    if (room === 0 || room * 2 < window) return;
    this.#credit += room;
    this.#options.grant(room);
  }

  #rouse(): void {
    this.#wake?.();
    this.#wake = undefined;
  }
}
