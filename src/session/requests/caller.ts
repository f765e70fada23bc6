/**
 * The caller's side of a contract: a function for each method. So many calls are under way at a time, so many more wait
 * for their turn (or for a connection, with a client that reconnects), and beyond that a call is refused at once.
 */
import { LinkedQueue, type QueueNode } from '../linked-queue.ts';
import { accept } from './accept.ts';
import { type Api, type Contract, checkContract, isDeadline, type Method } from './contract.ts';
import { MAX_CREDIT, oneway } from './envelope.ts';
import { type RpcError, rpcError, rpcReasons } from './errors.ts';
import { type CallOptions, type CallStream, OwnCall, type OwnCallInit } from './own-call.ts';
import type { Peer } from './peer.ts';
import { follow, type RequestTarget } from './target.ts';

export interface CallerOptions {
  /** Calls with one answer under way at a time; more wait. 256 unless given. */
  maxRequests?: number | undefined;
  /** Calls with a stream of items as answer under way at a time; more wait. 256 unless given. */
  maxStreams?: number | undefined;
  /** Calls of each of the two sorts that wait; more are refused: `MILLRACE_ERR_OVERLOADED`. 10,000 unless given. */
  maxQueued?: number | undefined;
  /** Items of each stream that wait to be read, or are on their way. 32 unless given. */
  window?: number | undefined;
}

type Source = AsyncIterable<unknown> | Iterable<unknown>;

/**
 * The functions of a contract that the other side of `target` answers.
 *
 * Requests have the session for themselves: they read it. On a client that reconnects, each call goes to the session of
 * its moment, and waits for one if there is none; calls under way when a session dies are rejected, since nobody knows
 * whether they were carried out (`mayHaveRun`).
 *
 * @param target a session, or a client that reconnects
 * @throws {MILLRACE_ERR_BAD_CONTRACT}
 */
export function call<C extends Contract>(target: RequestTarget, contract: C, options: CallerOptions = {}): Api<C> {
  checkContract(contract);
  const caller = new Caller(options);
  follow(target, caller);
  const functions = Object.entries(contract).map(([name, method]) => [name, caller.functionOf(name, method)]);
  return Object.freeze(Object.fromEntries(functions)) as Api<C>;
}

/** A call or a one-way message, before it is sent. */
interface Waiting {
  start(peer: Peer): void;
  cancel(error: unknown): void;
}

/** Calls of one sort: those under way, and those that wait. */
class Lane {
  readonly waiting = new LinkedQueue<Place>();
  readonly limit: number;
  underWay = 0;

  constructor(limit: number) {
    this.limit = limit;
  }
}

/** A call's place: none yet, in the queue, or under way. */
interface Place {
  readonly lane: Lane;
  call: Waiting | undefined;
  node: QueueNode<Place> | undefined;
  isUnderWay: boolean;
}

class Caller {
  readonly #requests: Lane;
  readonly #streams: Lane;
  /** They wait for a connection only. */
  readonly #oneways = new Lane(Number.POSITIVE_INFINITY);
  readonly #maxQueued: number;
  readonly #window: number;
  #peer: Peer | undefined;
  /** There will be no other session: what calls are told. */
  #end: RpcError | undefined;
  #isReconnecting = false;

  constructor(options: CallerOptions) {
    this.#requests = new Lane(countOf(options, 'maxRequests', 256));
    this.#streams = new Lane(countOf(options, 'maxStreams', 256));
    this.#maxQueued = countOf(options, 'maxQueued', 10_000, 0);
    this.#window = countOf(options, 'window', 32);
  }

  // --------------------------------------------------------------------------------------------------- of the target

  onPeer(peer: Peer, isReconnecting: boolean): void {
    this.#peer = peer;
    this.#isReconnecting = isReconnecting;
    peer.watchers.add(() => this.#advance());
    this.#advance();
  }

  onLost(): void {
    this.#peer = undefined;
  }

  onEnd(error: unknown): void {
    this.#peer = undefined;
    this.#end = rpcError('CALL_CLOSED', 'the client is closed', { cause: error, mayHaveRun: false });
    this.#advance();
  }

  // -------------------------------------------------------------------------------------------------------- functions

  functionOf(name: string, method: Method): (...parameters: never[]) => unknown {
    switch (method.kind) {
      case 'request':
        return (input: unknown, options?: CallOptions) => this.#request(name, method, input, undefined, options);
      case 'oneway':
        return (input: unknown, options?: CallOptions) => this.#notify(name, input, options);
      case 'stream':
        return (input: unknown, options?: CallOptions) => this.#stream(name, method, input, undefined, options);
      case 'upload':
        return (input: unknown, uploads: Source, options?: CallOptions) =>
          this.#request(name, method, input, uploads, options);
      case 'duplex':
        return (input: unknown, uploads: Source, options?: CallOptions) =>
          this.#stream(name, method, input, uploads, options);
    }
  }

  async #request(
    name: string,
    method: Extract<Method, { kind: 'request' | 'upload' }>,
    input: unknown,
    uploads: Source | undefined,
    options: CallOptions = {},
  ): Promise<unknown> {
    const value = await new Promise<unknown>((resolve, reject) => {
      this.#submit(this.#requests, options, (release) => ({
        ...this.#common(name, method, input, uploads, options),
        items: undefined,
        settle: (failure, answer) => (failure === undefined ? resolve(answer) : reject(failure.error)),
        release,
      }));
    });
    return accept(method.output, value, 'BAD_OUTPUT', `the answer of '${name}'`);
  }

  #stream(
    name: string,
    method: Extract<Method, { kind: 'stream' | 'duplex' }>,
    input: unknown,
    uploads: Source | undefined,
    options: CallOptions = {},
  ): CallStream<unknown> {
    const call = this.#submit(this.#streams, options, (release) => ({
      ...this.#common(name, method, input, uploads, options),
      items: {
        window: this.#window,
        accept: (raw) => accept(method.items, raw, 'BAD_OUTPUT', `an item of '${name}'`),
      },
      settle: () => {},
      release,
    }));
    return call.items as CallStream<unknown>;
  }

  #notify(name: string, input: unknown, { signal }: CallOptions = {}): Promise<void> {
    return new Promise((resolve, reject) => {
      const place = placeIn(this.#oneways);
      const release = (): void => {
        signal?.removeEventListener('abort', onAbort);
        this.#leave(place);
      };
      const cancel = (error: unknown): void => {
        release();
        reject(error);
      };
      const start = (peer: Peer): void => {
        peer.send(oneway(name, input), { signal }).then(resolve, reject).finally(release);
      };
      const onAbort = (): void => cancel(signal?.reason);
      signal?.addEventListener('abort', onAbort, { once: true });
      this.#enter(place, { start, cancel }, signal);
    });
  }

  #common(
    name: string,
    method: Exclude<Method, { kind: 'oneway' }>,
    input: unknown,
    uploads: Source | undefined,
    options: CallOptions,
  ) {
    const deadlineMs = options.deadlineMs ?? method.deadlineMs;
    if (deadlineMs !== undefined && !isDeadline(deadlineMs)) {
      throw rpcError('BAD_CONTRACT', `a deadline of ${deadlineMs} ms`, { mayHaveRun: false });
    }
    return { name, input, uploads, deadlineMs, signal: options.signal };
  }

  // ------------------------------------------------------------------------------------------------------- the queue

  #submit(lane: Lane, { signal }: CallOptions, init: (release: () => void) => OwnCallInit): OwnCall {
    const place = placeIn(lane);
    const call = new OwnCall(init(() => this.#leave(place)));
    this.#enter(place, call, signal);
    return call;
  }

  #enter(place: Place, call: Waiting, signal: AbortSignal | undefined): void {
    const refusal = this.#refusal();
    const { waiting, limit, underWay } = place.lane;
    const isFull = waiting.size >= this.#maxQueued && !(waiting.size === 0 && underWay < limit && this.#mayStart);
    if (signal?.aborted) call.cancel(signal.reason);
    else if (refusal !== undefined) call.cancel(refusal);
    else if (isFull) call.cancel(rpcError('OVERLOADED', `${waiting.size} calls wait already`, { mayHaveRun: false }));
    else {
      place.call = call;
      place.node = waiting.push(place);
      this.#advance();
    }
  }

  /** Wherever it is by now. A second time does nothing. */
  #leave(place: Place): void {
    const { lane, node } = place;
    if (node !== undefined) lane.waiting.delete(node);
    if (!place.isUnderWay) return;
    place.isUnderWay = false;
    lane.underWay -= 1;
    this.#advance();
  }

  /** Begins what can be begun, and refuses what never can. To begin one may end the session. */
  #advance(): void {
    // A one-way message that waited is not to come behind a call that was made after it.
    for (const lane of [this.#oneways, this.#requests, this.#streams]) {
      for (;;) {
        const refusal = this.#refusal();
        if (refusal === undefined && (!this.#mayStart || lane.underWay >= lane.limit)) break;
        const place = lane.waiting.shift();
        if (place === undefined) break;
        if (refusal !== undefined) {
          place.call?.cancel(refusal);
        } else {
          place.isUnderWay = true;
          lane.underWay += 1;
          place.call?.start(this.#peer as Peer);
        }
      }
    }
  }

  /** Whether one can begin now: not while more waits to be sent than should. */
  get #mayStart(): boolean {
    return this.#isUsable && this.#peer?.isFull === false;
  }

  /** Whether calls can be made. */
  get #isUsable(): boolean {
    const peer = this.#peer;
    return peer !== undefined && peer.ended === undefined && !peer.isLeaving && !peer.isClosed;
  }

  /** Why no call can be made any more, ever. */
  #refusal(): RpcError | undefined {
    if (this.#end !== undefined) return this.#end;
    const peer = this.#peer;
    if (peer === undefined || this.#isReconnecting || this.#isUsable) return undefined;
    if (peer.ended !== undefined) return peer.ended;
    const reason = peer.isLeaving ? 'DRAINING' : 'CALL_CLOSED';
    return rpcError(reason, rpcReasons[reason], { mayHaveRun: false });
  }
}

function placeIn(lane: Lane): Place {
  return { lane, call: undefined, node: undefined, isUnderWay: false };
}

function countOf(options: CallerOptions, name: keyof CallerOptions, standard: number, least = 1): number {
  const count = options[name] ?? standard;
  if (Number.isInteger(count) && count >= least && count <= MAX_CREDIT) return count;
  throw rpcError('BAD_CONTRACT', `${name}: ${count}`);
}
