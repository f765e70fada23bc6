/** A worker, seen from itself. */
import { type Drained, drainAll } from '../engine/serving.ts';
import { Bus, type Messages } from './messages/index.ts';
import type { WorkerConfig } from './protocol.ts';

/** Called when the worker begins to drain; what it returns is waited for, within the deadline. */
export type OnDrain = (deadlineMs: number) => void | Promise<void>;

export interface Worker {
  /** 1, 2, 3, …: never the same again. */
  readonly id: number;
  /** Its place in the group, from 0; who replaces it has the same. */
  readonly slot: number;
  /** How often the group was reloaded when it was started. */
  readonly generation: number;
  /** What the primary gave as `data`. */
  readonly data: unknown;
  /** Messages to and from the other workers and the primary. */
  readonly messages: Messages;
  /** Aborted when the worker begins to drain. */
  readonly signal: AbortSignal;
  /**
   * Adds what is to be done when the worker is drained: say goodbye, flush, leave. It runs beside the draining of the
   * servers. What it throws is a warning of the process, `MILLRACE_WARN_CLUSTER`.
   */
  onDrain(fn: OnDrain): void;
}

/** @internal */
export class ThisWorker implements Worker {
  readonly id: number;
  readonly slot: number;
  readonly generation: number;
  readonly data: unknown;
  readonly messages: Bus;
  readonly #abort = new AbortController();
  readonly #hooks: OnDrain[] = [];
  #drained: Promise<Drained> | undefined;

  constructor({ id, slot, generation, data, messages }: WorkerConfig) {
    this.id = id;
    this.slot = slot;
    this.generation = generation;
    this.data = data;
    this.messages = new Bus(id, messages);
  }

  get signal(): AbortSignal {
    return this.#abort.signal;
  }

  onDrain(fn: OnDrain): void {
    this.#hooks.push(fn);
  }

  /** Never rejects, and takes hardly longer than it may. */
  drain(deadlineMs: number): Promise<Drained> {
    this.#drained ??= this.#drain(deadlineMs);
    return this.#drained;
  }

  async #drain(deadlineMs: number): Promise<Drained> {
    this.#abort.abort(new Error('the worker is drained'));
    let timer: NodeJS.Timeout | undefined;
    const deadline = new Promise<void>((resolve) => {
      timer = setTimeout(resolve, deadlineMs);
    });
    const hooks = Promise.allSettled(
      this.#hooks.map(async (hook) => {
        try {
          await hook(deadlineMs);
        } catch (error) {
          // No crash: connections that are about to end well would be lost.
          process.emitWarning(`an onDrain failed: ${error instanceof Error ? error.stack : String(error)}`, {
            ...{ type: 'MillraceWarning', code: 'MILLRACE_WARN_CLUSTER' },
          });
        }
      }),
    );
    const [drained] = await Promise.all([drainAll(deadlineMs), Promise.race([hooks, deadline])]);
    // What was sent last, by a goodbye in a hook say.
    await Promise.race([this.messages.flushed(), deadline]);
    clearTimeout(timer);
    return drained;
  }
}

/** The worker that this thread is; `undefined` in a primary. It is there before a worker's own modules are loaded. */
export let worker: Worker | undefined;

/** @internal */
export function setWorker(next: ThisWorker): void {
  worker = next;
}
