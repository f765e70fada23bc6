/**
 * Messages on their way to the one consumer: kept here until it asks, or given to it directly if it waits. Whether the
 * peer is slowed down is decided by the session, at these watermarks.
 */
import { misuse } from './errors.ts';
import { Fifo } from './fifo.ts';
import type { Watermarks } from './limits.ts';

/** The consumer asks for a message, or for the step of an iterator. */
type Form = 'message' | 'step';

interface Waiting {
  readonly form: Form;
  settle(value: unknown): void;
  fail(error: unknown): void;
}

export class Incoming<In> {
  /** Of the frames that wait. */
  bytes = 0;
  /** Whether the consumer has taken a message and not asked for another. */
  isBusy = false;
  /** Whether nothing follows what is here. */
  isFinished = false;
  readonly #marks: Watermarks;
  readonly #frames = new Fifo<In>();
  readonly #sizes = new Fifo<number>();
  #waiting: Waiting | undefined;
  #error: Error | undefined;

  constructor(marks: Watermarks) {
    this.#marks = marks;
  }

  get frames(): number {
    return this.#frames.length;
  }

  get isFull(): boolean {
    return this.#frames.length >= this.#marks.highFrames || this.bytes >= this.#marks.highBytes;
  }

  get isLow(): boolean {
    return this.#frames.length <= this.#marks.lowFrames && this.bytes <= this.#marks.lowBytes;
  }

  get isWaitedFor(): boolean {
    return this.#waiting !== undefined;
  }

  /** Whether nothing follows any more. */
  get isOver(): boolean {
    return this.isFinished && this.#frames.length === 0;
  }

  /** @hot bench/session.ts, echo */
  put(frame: In, bytes: number): void {
    if (this.isFinished) return;
    const waiting = this.#waiting;
    if (waiting === undefined) {
      this.#frames.push(frame);
      this.#sizes.push(bytes);
      this.bytes += bytes;
      return;
    }
    this.#waiting = undefined;
    this.isBusy = true;
    waiting.settle(waiting.form === 'step' ? { done: false, value: frame } : frame);
  }

  /** @hot bench/session.ts, echo */
  ask(form: Form, signal?: AbortSignal): Promise<unknown> {
    if (this.#waiting !== undefined) {
      return Promise.reject(misuse('the next message was asked for before the last call was answered'));
    }
    if (signal?.aborted === true) return Promise.reject(signal.reason as Error);
    this.isBusy = false;
    if (this.#frames.length > 0) {
      this.isBusy = true;
      this.bytes -= this.#sizes.shift();
      const value = this.#frames.shift();
      return Promise.resolve(form === 'step' ? { done: false, value } : value);
    }
    if (this.isFinished) {
      return this.#error === undefined ? Promise.resolve(ending(form)) : Promise.reject(this.#error);
    }
    return new Promise((resolve, reject) => {
      this.#waiting = { form, settle: resolve, fail: reject };
      if (signal !== undefined) this.#heed(this.#waiting, signal);
    });
  }

  /** A wait that ends with the signal leaves the message for the next one. */
  #heed(waiting: Waiting, signal: AbortSignal): void {
    const { settle, fail } = waiting;
    const onAbort = (): void => {
      this.#waiting = undefined;
      fail(signal.reason);
    };
    waiting.settle = (value) => {
      signal.removeEventListener('abort', onAbort);
      settle(value);
    };
    waiting.fail = (error) => {
      signal.removeEventListener('abort', onAbort);
      fail(error);
    };
    signal.addEventListener('abort', onAbort, { once: true });
  }

  /** Nothing follows what is here. With an error, the consumer is told it in place of the end. */
  finish(error?: Error): void {
    if (this.isFinished) return;
    this.isFinished = true;
    this.#error = error;
    const waiting = this.#waiting;
    if (waiting === undefined) return;
    this.#waiting = undefined;
    if (error === undefined) waiting.settle(ending(waiting.form));
    else waiting.fail(error);
  }

  /** Throws away what is here. */
  clear(): void {
    this.#frames.clear();
    this.#sizes.clear();
    this.bytes = 0;
  }
}

function ending(form: Form): unknown {
  return form === 'step' ? { done: true, value: undefined } : undefined;
}
