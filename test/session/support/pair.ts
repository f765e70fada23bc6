/**
 * Two sessions in memory, for what doesn't depend on a transport: what one sends, the other receives a turn later, as
 * JSON makes it. The test can hold messages up, cut the connection, and put messages on the wire itself.
 */
import { setImmediate as turn } from 'node:timers/promises';
import type { RequestSession } from 'millrace/session';

export const limit = { timeout: 10_000 } as const;

/** The reason of a session that was cut. */
export interface Ending {
  reason: string;
  cause?: unknown;
}

export class MemorySession implements RequestSession {
  peer!: MemorySession;
  isWritable = true;
  readonly closed: Promise<Ending>;
  /** Everything this side has sent, as text. */
  readonly sent: string[] = [];
  /** Messages that may be on their way until `send` waits. */
  highFrames = Number.POSITIVE_INFINITY;
  holds = 0;
  readonly #controller = new AbortController();
  readonly #inbox: string[] = [];
  readonly #waiters: { resolve(): void; reject(error: unknown): void }[] = [];
  #isHeldUp = false;
  #hasEnd = false;
  #ending: Ending | undefined;
  #wake: (() => void) | undefined;
  #resolveClosed!: (ending: Ending) => void;

  constructor() {
    this.closed = new Promise((resolve) => {
      this.#resolveClosed = resolve;
    });
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  /** Messages for this side that it hasn't read. */
  get unread(): number {
    return this.#inbox.length;
  }

  async send(message: unknown): Promise<void> {
    if (!this.isWritable) throw new Error('the session is over');
    const text = JSON.stringify(message); // a BigInt throws
    this.sent.push(text);
    this.peer.put(text);
    if (this.peer.unread < this.highFrames) return;
    await new Promise<void>((resolve, reject) => this.#waiters.push({ resolve, reject }));
  }

  get isFull(): boolean {
    return this.peer.unread >= this.highFrames;
  }

  /** Puts a message on the wire for this side to receive, whatever it is. */
  put(text: string): void {
    this.#inbox.push(text);
    // In a turn of its own, as from a network: two sides that answer each other must not keep everybody else waiting.
    setImmediate(() => this.#rouse());
  }

  async receive(): Promise<unknown> {
    for (;;) {
      if (!this.#isHeldUp && this.#inbox.length > 0) {
        const text = this.#inbox.shift() as string;
        if (this.#inbox.length === 0) for (const { resolve } of this.peer.#waiters.splice(0)) resolve();
        return JSON.parse(text);
      }
      if (this.#ending !== undefined && this.#inbox.length === 0) throw new Error(this.#ending.reason);
      if (this.#hasEnd && this.#inbox.length === 0) return undefined;
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }

  /** Nothing is received until `letGo`. */
  holdUp(): void {
    this.#isHeldUp = true;
  }

  letGo(): void {
    this.#isHeldUp = false;
    this.#rouse();
  }

  /** Our side is over: the peer reads the end behind everything else. */
  end(): void {
    this.isWritable = false;
    this.peer.#hasEnd = true;
    this.peer.#rouse();
  }

  abort(cause?: unknown): void {
    this.#finish({ reason: 'ABORTED', cause });
    this.peer.#finish({ reason: 'RESET' });
  }

  async close(cause?: unknown): Promise<Ending> {
    this.#finish({ reason: 'CLOSED', cause });
    this.peer.#finish({ reason: 'ENDED' });
    return this.closed;
  }

  get unreadFrames(): number {
    return this.unread;
  }

  hold(): { release(): void } {
    this.holds += 1;
    let isHeld = true;
    return {
      release: () => {
        if (isHeld) this.holds -= 1;
        isHeld = false;
      },
    };
  }

  #finish(ending: Ending): void {
    if (this.#ending !== undefined) return;
    this.#ending = ending;
    this.isWritable = false;
    // What was received before an end that the peer has made is still the consumer's.
    if (ending.reason === 'ABORTED' || ending.reason === 'CLOSED') this.#inbox.length = 0;
    for (const { reject } of this.#waiters.splice(0)) reject(new Error(ending.reason));
    this.#controller.abort(new Error(ending.reason));
    setImmediate(() => this.#resolveClosed(ending)); // as a connection: in a turn of its own
    this.#rouse();
  }

  #rouse(): void {
    this.#wake?.();
    this.#wake = undefined;
  }
}

export function pair(): { client: MemorySession; server: MemorySession } {
  const [client, server] = [new MemorySession(), new MemorySession()];
  client.peer = server;
  server.peer = client;
  return { client, server };
}

/** Lets everything happen that nothing holds up. */
export async function settle(): Promise<void> {
  for (let i = 0; i < 5; i++) await turn();
}

/** A promise with its handles: `Promise.withResolvers` came with Node 22. */
export function deferred<T = void>(): { promise: Promise<T>; resolve(value: T): void; reject(error: unknown): void } {
  let resolve!: (value: T) => void;
  let reject!: (error: unknown) => void;
  const promise = new Promise<T>((yes, no) => {
    resolve = yes;
    reject = no;
  });
  return { promise, resolve, reject };
}
