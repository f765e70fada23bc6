/** Questions of ours that wait for their answers. */
import type { AskOptions } from './api.ts';
import { MessageError, nameOf } from './errors.ts';
import { badOption } from './limits.ts';
import type { Peer } from './peer.ts';

const DEFAULT_TIMEOUT_MS = 30_000;
const MOST_TIMEOUT_MS = 2 ** 31 - 1;

interface Ask {
  readonly peer: Peer;
  readonly name: string;
  /** What the peer calls the frame. */
  readonly number: number;
  readonly resolve: (value: unknown) => void;
  readonly reject: (error: unknown) => void;
  readonly end: () => void;
}

export class Asks {
  readonly #asks: Map<number, Ask> = new Map();
  #lastId = 0;
  readonly #onGivenUp: (peer: Peer, id: number) => void;

  /** `onGivenUp`: nobody waits for the answer any more. */
  constructor(onGivenUp: (peer: Peer, id: number) => void) {
    this.#onGivenUp = onGivenUp;
  }

  /** `post` puts the question in the peer's queue and returns its number there. */
  open(peer: Peer, name: string, options: AskOptions, post: (id: number) => number): Promise<unknown> {
    const { timeoutMs = DEFAULT_TIMEOUT_MS, signal } = options;
    if (timeoutMs !== Number.POSITIVE_INFINITY && !(timeoutMs > 0 && timeoutMs <= MOST_TIMEOUT_MS))
      throw badOption('timeoutMs is above 0 and at most 2^31 - 1, or Infinity');
    signal?.throwIfAborted();
    const id = this.#nextId();
    const number = post(id);
    return new Promise((resolve, reject) => {
      const giveUp = (error: unknown): void => {
        this.#onGivenUp(peer, id);
        this.#take(id)?.reject(error);
      };
      const onAbort = (): void => giveUp(signal?.reason);
      const onTimeout = (): void => {
        const text = `${nameOf(peer.id)} has not answered '${name}' within ${timeoutMs} ms`;
        const mayHaveRun = peer.wasPosted(number);
        giveUp(new MessageError('ASK_TIMEOUT', text, { worker: peer.id, limit: timeoutMs, mayHaveRun }));
      };
      const timer = timeoutMs === Number.POSITIVE_INFINITY ? undefined : setTimeout(onTimeout, timeoutMs);
      signal?.addEventListener('abort', onAbort);
      const end = (): void => {
        clearTimeout(timer);
        signal?.removeEventListener('abort', onAbort);
      };
      this.#asks.set(id, { peer, name, number, resolve, reject, end });
      peer.unanswered++;
    });
  }

  answer(peer: Peer, id: number, value: unknown): void {
    this.#take(id, peer)?.resolve(value);
  }

  fail(peer: Peer, id: number, errorFor: (name: string) => unknown): void {
    const ask = this.#take(id, peer);
    ask?.reject(errorFor(ask.name));
  }

  /** The peer is gone: nobody answers. */
  rejectAll(peer: Peer): void {
    for (const [id, ask] of this.#asks) {
      if (ask.peer !== peer) continue;
      const mayHaveRun = peer.wasPosted(ask.number);
      const text = `${nameOf(peer.id)} ended before it answered '${ask.name}'`;
      this.#take(id)?.reject(new MessageError('WORKER_GONE', text, { worker: peer.id, mayHaveRun }));
    }
  }

  closeAll(error: (mayHaveRun: boolean) => MessageError): void {
    for (const [id, { peer, number }] of this.#asks) this.#take(id)?.reject(error(peer.wasPosted(number)));
  }

  /** Only from whom it was asked. */
  #take(id: number, from?: Peer): Ask | undefined {
    const ask = this.#asks.get(id);
    if (ask === undefined || (from !== undefined && ask.peer !== from)) return undefined;
    this.#asks.delete(id);
    ask.peer.unanswered--;
    ask.end();
    return ask;
  }

  /** Ids are those of 32 bits that no question has; limits keep them few. */
  #nextId(): number {
    do this.#lastId = (this.#lastId + 1) >>> 0;
    while (this.#asks.has(this.#lastId));
    return this.#lastId;
  }
}
