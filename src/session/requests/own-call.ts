/**
 * A call of ours: from the moment it is made, through the queue and over the wire, until it is settled, exactly once, by
 * the answer, the caller's signal, its deadline, or the end of the session.
 */
import { callOf, credit, done, fail, isCount, item, KIND, MAX_CREDIT } from './envelope.ts';
import { codeOf, RpcError, remoteError, rpcError, rpcReasons } from './errors.ts';
import { ItemsIn } from './items-in.ts';
import { ItemsOut } from './items-out.ts';
import type { Peer, WireCall } from './peer.ts';

/** Of a single call. */
export interface CallOptions {
  /** Cancels the call, on the wire, too: it is rejected with the signal's reason. */
  signal?: AbortSignal | undefined;
  /**
   * How long it may take, from now on, with the time in the queue. The responder is told what is left of it, and ends
   * its work then. As the contract says, unless given; `Infinity` for no limit.
   */
  deadlineMs?: number | undefined;
}

/** The items of a call. To leave it early is to cancel the call; `await using` will do. */
export interface CallStream<T> extends AsyncIterableIterator<T, undefined> {
  [Symbol.asyncDispose](): Promise<void>;
}

export interface OwnCallInit {
  readonly name: string;
  readonly input: unknown;
  readonly deadlineMs: number | undefined;
  readonly signal: AbortSignal | undefined;
  /** What is sent, if the method has items in this direction. */
  readonly uploads: AsyncIterable<unknown> | Iterable<unknown> | undefined;
  /** How what is received is checked, if the method has items in this direction; and the most that wait. */
  readonly items: { accept(raw: unknown): Promise<unknown>; readonly window: number } | undefined;
  /** Called once. */
  settle(failure: { error: unknown } | undefined, value: unknown): void;
  /** Called once, when nothing of it waits to be sent any more: the place is free. */
  release(): void;
}

export class OwnCall implements WireCall {
  readonly items: ItemsIn<unknown> | undefined;
  readonly #init: OwnCallInit;
  readonly #out: ItemsOut | undefined;
  readonly #deadlineAtMs: number;
  readonly #timer: NodeJS.Timeout | undefined;
  #peer: Peer | undefined;
  #id = 0;
  #isOver = false;
  #isReleased = false;
  /** Messages of it that the session has not taken. */
  #unsent = 0;

  constructor(init: OwnCallInit) {
    this.#init = init;
    // The peer grants what it has room for: nothing is sent without.
    this.#out = init.uploads === undefined ? undefined : new ItemsOut(0);
    this.items = init.items === undefined ? undefined : this.#itemsOf(init.items);
    const { deadlineMs, signal } = init;
    const isLimited = deadlineMs !== undefined && deadlineMs !== Number.POSITIVE_INFINITY;
    this.#deadlineAtMs = isLimited ? performance.now() + deadlineMs : Number.POSITIVE_INFINITY;
    this.#timer = isLimited ? setTimeout(this.#onDeadline, deadlineMs) : undefined;
    signal?.addEventListener('abort', this.#onAbort, { once: true });
  }

  get isOver(): boolean {
    return this.#isOver;
  }

  /** Begins: from now on the handler may run. */
  start(peer: Peer): void {
    if (this.#isOver) return;
    if (peer.isClosed) {
      this.#finish({ error: rpcError('CALL_CLOSED', 'the session is closed', { mayHaveRun: false }) });
      return;
    }
    this.#peer = peer;
    this.#id = peer.open(this);
    const { name, input, items, uploads } = this.#init;
    const leftMs = this.#deadlineAtMs - performance.now();
    const deadlineMs = leftMs === Number.POSITIVE_INFINITY ? 0 : Math.max(1, Math.ceil(leftMs));
    this.#send(callOf(this.#id, name, deadlineMs, items?.window ?? 0, input)).catch((error) => this.#onUnsent(error));
    if (uploads !== undefined) void this.#upload(uploads);
  }

  /** Ends it from this side. */
  cancel(error: unknown, code?: string, message?: string): void {
    if (this.#isOver) return;
    this.#tellCancelled(code, message);
    this.items?.discard({ error });
    this.#finish({ error });
  }

  // --------------------------------------------------------------------------------------------------- from the wire

  take(kind: number, message: readonly unknown[]): boolean {
    if (kind === KIND.ITEM) return this.items?.push(message[2]) ?? false;
    if (kind === KIND.CREDIT) return isCount(message[2], 1, MAX_CREDIT) && (this.#out?.addCredit(message[2]) ?? false);
    if (kind === KIND.STOP) {
      this.#out?.stop();
      return this.#out !== undefined;
    }
    if (kind === KIND.DONE) this.#finish(undefined, message[2]);
    else if (typeof message[2] !== 'string' || typeof message[3] !== 'string') return false;
    else this.#finish({ error: remoteError(message[2], message[3], message[4]) });
    return true;
  }

  onInputEnd(error: RpcError): void {
    // It can't answer, but it may be at work.
    if (!this.#isOver) this.#tellCancelled();
    this.#finish({ error });
  }

  onClosed(error: RpcError): void {
    this.#finish({ error });
  }

  // -------------------------------------------------------------------------------------------------------- from here

  readonly #onAbort = (): void => this.cancel(this.#init.signal?.reason);

  readonly #onDeadline = (): void => {
    const error = rpcError('DEADLINE', `'${this.#init.name}' was not answered within ${this.#init.deadlineMs} ms`, {
      mayHaveRun: this.#id > 0,
    });
    this.cancel(error, error.code, rpcReasons.DEADLINE);
  };

  /** The call itself can't be sent: the codec has no frame for its input, or the session dies. */
  #onUnsent(error: unknown): void {
    const isLost = this.#peer?.isClosed !== false;
    this.#finish({ error: isLost ? rpcError('CALL_CLOSED', rpcReasons.CALL_CLOSED, { cause: error }) : error });
  }

  #itemsOf({ accept, window }: NonNullable<OwnCallInit['items']>): ItemsIn<unknown> {
    return new ItemsIn({
      window,
      granted: window,
      accept,
      grant: (count) => this.#grant(count),
      leave: (failure) => this.cancel(failure?.error),
    });
  }

  #grant(count: number): void {
    if (this.#peer?.isClosed === false) this.#tell(credit(this.#id, count));
    else this.#finish({ error: rpcError('CALL_CLOSED', 'our side has ended: no more items can be asked for') });
  }

  async #upload(source: AsyncIterable<unknown> | Iterable<unknown>): Promise<void> {
    try {
      const hasEnded = await this.#out?.run(source, (value) => this.#send(item(this.#id, value)));
      if (hasEnded && !this.#isOver) this.#tell(done(this.#id));
    } catch (error) {
      if (this.#peer?.isClosed) return;
      // What a source throws for the responder to know is an RpcError, as with handlers.
      if (error instanceof RpcError && !error.isRemote) this.cancel(error, error.code, error.message);
      else this.cancel(error);
    }
  }

  #tellCancelled(code: string = codeOf('CANCELLED'), message: string = rpcReasons.CANCELLED): void {
    if (this.#id > 0 && this.#peer?.isClosed === false) this.#tell(fail(this.#id, code, message));
  }

  #tell(message: unknown[]): void {
    this.#unsent += 1;
    void this.#peer?.post(message).then(this.#onSent);
  }

  #send(message: unknown[]): Promise<void> {
    this.#unsent += 1;
    return (this.#peer as Peer).send(message).finally(this.#onSent);
  }

  readonly #onSent = (): void => {
    this.#unsent -= 1;
    this.#release();
  };

  /** Exactly once. */
  #finish(failure?: { error: unknown }, value?: unknown): void {
    if (this.#isOver) return;
    this.#isOver = true;
    clearTimeout(this.#timer);
    this.#init.signal?.removeEventListener('abort', this.#onAbort);
    this.#peer?.forget(this.#id);
    this.#out?.stop();
    this.items?.end(failure);
    this.#init.settle(failure, value);
    this.#release();
  }

  #release(): void {
    if (!this.#isOver || this.#unsent > 0 || this.#isReleased) return;
    this.#isReleased = true;
    this.#init.release();
  }
}
