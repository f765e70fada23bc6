/**
 * One session with requests on it: reads it, and knows which call each message belongs to. A session has one, however
 * often `call` and `respond` were given it, and with that one consumer.
 *
 * A peer that is late (an answer to a call that was cancelled) is counted. A peer that sends what the protocol doesn't
 * allow (an id that was never given, an item without credit) loses its session.
 */
import { LinkedQueue } from '../linked-queue.ts';
import { fail, isCount, KIND, MAX_CREDIT, MAX_DEADLINE_MS } from './envelope.ts';
import { codeOf, type RpcError, type RpcReason, rpcError, rpcReasons } from './errors.ts';

/** What requests need of a session. */
export interface RequestSession {
  /** Of a codec that carries arrays of values. */
  readonly send: (message: unknown[], options?: { signal?: AbortSignal | undefined }) => Promise<void>;
  receive(): Promise<unknown>;
  abort(cause?: unknown): void;
  /** Work in flight that `drain` waits for. */
  hold(): { release(): void };
  readonly closed: Promise<unknown>;
  readonly signal: AbortSignal;
  readonly isWritable: boolean;
  readonly isFull: boolean;
}

/** A call under way, of either side: hears the messages about it. */
export interface WireCall {
  /** @returns false: the protocol doesn't allow this message here */
  take(kind: number, message: readonly unknown[]): boolean;
  /** The peer has ended its side: it sends nothing any more. */
  onInputEnd(error: RpcError): void;
  /** The session is closed. */
  onClosed(error: RpcError): void;
}

/** Who answers calls of a method. */
export interface Service {
  serve(peer: Peer, id: number, deadlineMs: number, credit: number, input: unknown): void;
  notify(peer: Peer, input: unknown): void;
  readonly isOneway: boolean;
}

/** Figures of a session's requests. */
export interface RequestStats {
  /** Calls of ours that wait for their answer. */
  calling: number;
  /** Calls of the peer that are not answered. */
  serving: number;
  /** Messages about calls that were over: answers that came too late, items behind a `break`. */
  lateMessages: number;
  /** One-way messages that nobody took: unknown, not accepted by the schema, or too many at a time. */
  droppedOneways: number;
}

/** Refusals that the session hasn't sent. A peer that makes calls and doesn't read is not read beyond it. */
const MAX_REFUSALS = 1024;
const MAX_NAME_CHARACTERS = 100;

const peers = new WeakMap<RequestSession, Peer>();

export class Peer {
  readonly session: RequestSession;
  readonly stats: RequestStats = { calling: 0, serving: 0, lateMessages: 0, droppedOneways: 0 };
  /** By the name of the method. */
  readonly services = new Map<string, Service>();
  /** Called when the peer says goodbye, has ended its side, or the session is closed; and when it is no longer full. */
  readonly watchers = new Set<() => void>();
  readonly #own = new Map<number, WireCall>();
  readonly #served = new Map<number, WireCall>();
  #nextId = 1;
  #lastServed = 0;
  #refusals = 0;
  #wake: (() => void) | undefined;
  /** Why no call can be made on it any more. */
  #end: RpcError | undefined;
  #hasGoodbye = false;
  /** While calls of ours are under way: `drain` of our own server waits for them, too. */
  #hold: { release(): void } | undefined;
  #isClosed = false;
  #isFull = false;
  /** What waits for room in the session. */
  readonly #unsent = new LinkedQueue<() => void>();

  /** The one of this session. */
  static of(session: RequestSession): Peer {
    let peer = peers.get(session);
    if (peer === undefined) {
      peer = new Peer(session);
      peers.set(session, peer);
    }
    return peer;
  }

  private constructor(session: RequestSession) {
    this.session = session;
    session.closed.then(
      (reason) => this.#onClosed(reason),
      (error) => this.#onClosed(error),
    );
    void this.#read();
  }

  /** The peer answers no calls any more: what would be said to one that is made now. */
  get ended(): RpcError | undefined {
    return this.#end;
  }

  /** The peer has asked for no new calls. */
  get isLeaving(): boolean {
    return this.#hasGoodbye;
  }

  /** Nothing will reach the peer any more. */
  get isClosed(): boolean {
    return this.#isClosed || !this.session.isWritable;
  }

  /** More waits to be sent than should: calls wait for their turn, and what is sent now waits here. */
  get isFull(): boolean {
    return this.#isFull;
  }

  /** In order, and not beyond the high marks of the session: many calls together must not overflow its write buffer. */
  send(message: unknown[], options?: { signal?: AbortSignal | undefined }): Promise<void> {
    if (!this.#isFull) return this.#pass(message, options);
    return new Promise((resolve, reject) => {
      this.#unsent.push(() => void this.#pass(message, options).then(resolve, reject));
    });
  }

  /** To the session. The wait of a message that made it full is over when it has room again. */
  #pass(message: unknown[], options?: { signal?: AbortSignal | undefined }): Promise<void> {
    const sent = this.session.send(message, options);
    if (!this.#isFull && this.session.isFull) {
      this.#isFull = true;
      sent.then(this.#onRoom, this.#onRoom);
    }
    return sent;
  }

  readonly #onRoom = (): void => {
    this.#isFull = false;
    for (let next = this.#unsent.shift(); next !== undefined; next = this.#isFull ? undefined : this.#unsent.shift())
      next();
    if (!this.#isFull) for (const watcher of this.watchers) watcher();
  };

  /**
   * For messages nobody waits for, which are small. One that can't be sent (dropped by the overflow policy, say) would leave the two sides
   * with different ideas of the call, so it ends the session.
   */
  post(message: unknown[]): Promise<void> {
    return this.#pass(message).catch((error) => {
      if (!this.isClosed) this.session.abort(error);
    });
  }

  /** Gives a call of ours its id. */
  open(call: WireCall): number {
    const id = this.#nextId++;
    this.#own.set(id, call);
    this.stats.calling = this.#own.size;
    this.#hold ??= this.session.hold();
    return id;
  }

  /** Whatever comes about this call from now on is late. */
  forget(id: number): void {
    this.#own.delete(id);
    this.stats.calling = this.#own.size;
    if (this.#own.size > 0) return;
    this.#hold?.release();
    this.#hold = undefined;
  }

  /** Hears what comes about a call of the peer. */
  hold(id: number, call: WireCall): void {
    this.#served.set(id, call);
    this.stats.serving = this.#served.size;
  }

  release(id: number): void {
    this.#served.delete(id);
    this.stats.serving = this.#served.size;
  }

  /** Answers a call that isn't begun. */
  refuse(id: number, reason: RpcReason, message: string = rpcReasons[reason]): void {
    this.#refusals += 1;
    void this.post(fail(-id, codeOf(reason), message)).then(() => {
      this.#refusals -= 1;
      if (this.#refusals < MAX_REFUSALS) this.#wake?.();
    });
  }

  // ---------------------------------------------------------------------------------------------------------- reading

  async #read(): Promise<void> {
    try {
      for (let message = await this.session.receive(); message !== undefined; message = await this.session.receive()) {
        this.#dispatch(message);
        while (this.#refusals >= MAX_REFUSALS && !this.isClosed) {
          await new Promise<void>((resolve) => {
            this.#wake = resolve;
          });
        }
      }
    } catch (error) {
      // What `receive` throws, the session knows; then this does nothing.
      this.session.abort(error);
      return;
    }
    this.#onInputEnd();
  }

  #dispatch(message: unknown): void {
    if (!Array.isArray(message)) throw violation('a message that is no array');
    const kind: unknown = message[0];
    if (!isCount(kind, KIND.ONEWAY, KIND.GOODBYE)) throw violation('a message of a kind that does not exist');
    if (kind === KIND.ONEWAY) this.#onOneway(message);
    else if (kind === KIND.CALL) this.#onCall(message);
    else if (kind === KIND.GOODBYE) this.#onGoodbye();
    else this.#onAbout(kind, message);
  }

  #onAbout(kind: number, message: readonly unknown[]): void {
    const call = this.#find(message[1]);
    if (call === undefined) this.stats.lateMessages += 1;
    else if (!call.take(kind, message)) throw violation(`a message of kind ${kind} that its call does not expect`);
  }

  #find(id: unknown): WireCall | undefined {
    if (isCount(id, 1, this.#lastServed)) return this.#served.get(id);
    if (isCount(id, -this.#nextId + 1, -1)) return this.#own.get(-id);
    throw violation('a message about a call that was never made');
  }

  #onOneway([, name, input]: unknown[]): void {
    if (typeof name !== 'string') throw violation('a method that is no string');
    const service = this.services.get(name);
    if (service?.isOneway) service.notify(this, input);
    else this.stats.droppedOneways += 1;
  }

  #onCall([, id, name, deadlineMs, credit, input]: unknown[]): void {
    if (!isCount(id, this.#lastServed + 1)) throw violation('a call whose id does not follow the last one');
    if (typeof name !== 'string') throw violation('a method that is no string');
    if (!isCount(deadlineMs, 0, MAX_DEADLINE_MS)) throw violation('a deadline that is none');
    if (!isCount(credit, 0, MAX_CREDIT)) throw violation('a credit that is none');
    this.#lastServed = id;
    // It came before the end of the session, but nobody would hear its answer, or end its handler.
    if (this.#isClosed) return;
    const service = this.services.get(name);
    if (service === undefined || service.isOneway) {
      this.refuse(id, 'UNKNOWN_METHOD', `there is no method '${name.slice(0, MAX_NAME_CHARACTERS)}'`);
    } else {
      service.serve(this, id, deadlineMs, credit, input);
    }
  }

  #onGoodbye(): void {
    this.#hasGoodbye = true;
    for (const watcher of this.watchers) watcher();
  }

  // ----------------------------------------------------------------------------------------------------------- the end

  #onInputEnd(): void {
    this.#finish(rpcError('CALL_CLOSED', 'the peer has ended its side', { mayHaveRun: false }));
    const error = rpcError('CALL_CLOSED', 'the peer has ended its side before it answered');
    for (const call of [...this.#own.values(), ...this.#served.values()]) call.onInputEnd(error);
  }

  #onClosed(reason: unknown): void {
    this.#isClosed = true;
    this.#wake?.();
    this.#finish(rpcError('CALL_CLOSED', 'the session is closed', { cause: reason, mayHaveRun: false }));
    const error = rpcError('CALL_CLOSED', rpcReasons.CALL_CLOSED, { cause: reason });
    for (const call of [...this.#own.values(), ...this.#served.values()]) call.onClosed(error);
    for (const watcher of this.watchers) watcher();
  }

  #finish(error: RpcError): void {
    this.#end = error;
    for (const watcher of this.watchers) watcher();
  }
}

/** Figures of the requests of a session; of one without requests, all are zero. */
export function requestStats(session: RequestSession): Readonly<RequestStats> {
  return { ...(peers.get(session)?.stats ?? { calling: 0, serving: 0, lateMessages: 0, droppedOneways: 0 }) };
}

function violation(message: string): RpcError {
  return rpcError('PROTOCOL', message);
}
