/**
 * The responder's side of a contract: a handler for each method. So many run at a time; what comes beyond that is
 * refused, since a caller that is told can do something about it.
 */

import type { Session } from '../api.ts';
import { accept } from './accept.ts';
import { type Contract, checkContract, type Handlers, type Method } from './contract.ts';
import { MAX_CREDIT, requestsGoodbye } from './envelope.ts';
import { RpcError, rpcError, rpcReasons } from './errors.ts';
import type { Peer, RequestSession } from './peer.ts';
import { CallContext, ServedCall, type ServedMethod } from './served-call.ts';
import { follow, type RequestTarget } from './target.ts';

export interface ResponderOptions {
  /** Handlers of requests, uploads and one-way messages that run at a time. 1,024 unless given. */
  maxRequests?: number | undefined;
  /** Streams that are open at a time. 1,024 unless given. */
  maxStreams?: number | undefined;
  /** Items of each upload that wait to be read, or are on their way. 32 unless given. */
  window?: number | undefined;
  /**
   * What a handler threw that was not meant for its caller, and what one-way messages were dropped for. Without it a
   * process warning is emitted for the first of each method.
   */
  onError?: ((error: unknown, call: { method: string; session: Session<unknown> }) => void) | undefined;
  /**
   * Makes an error for the caller of one that was not meant for it; `undefined` for none. Unless given, callers see
   * `MILLRACE_ERR_INTERNAL` and no more: messages of exceptions tell what only we should know.
   */
  expose?: ((error: unknown, call: { method: string }) => RpcError | undefined) | undefined;
}

/** What `respond` gives. */
export interface Responder {
  /** Handlers that run. */
  readonly running: number;
  /** The peer has ended its side, or the session is over, and no handler runs any more. */
  readonly done: Promise<void>;
  /** Says goodbye, refuses new calls, and resolves when no handler runs any more. */
  drain(): Promise<void>;
}

/**
 * Answers the calls that the other side of `target` makes by the contract.
 *
 * To be called in the turn in which the session comes: calls that arrive before have no handler.
 *
 * @param handlers called as methods of this object, so an instance of a class will do
 * @throws {MILLRACE_ERR_BAD_CONTRACT} a method without a handler, or one that is handled on this session already
 */
export function respond<C extends Contract>(
  target: RequestTarget,
  contract: C,
  handlers: Handlers<C>,
  options: ResponderOptions = {},
): Responder {
  checkContract(contract);
  const responder = new ContractResponder(contract, handlers as never, options);
  follow(target, responder);
  return responder;
}

class ContractResponder implements Responder {
  readonly done: Promise<void>;
  readonly #methods: readonly ServedMethod[];
  readonly #limits: { requests: number; streams: number };
  readonly #running = { requests: 0, streams: 0 };
  readonly #options: ResponderOptions;
  readonly #warned = new Set<string>();
  readonly #idle: (() => void)[] = [];
  #peer: Peer | undefined;
  #isDraining = false;
  #isEnded = false;
  #resolveDone!: () => void;

  constructor(contract: Contract, handlers: Record<string, unknown>, options: ResponderOptions) {
    this.#options = options;
    this.#limits = {
      requests: countOf(options, 'maxRequests', 1024),
      streams: countOf(options, 'maxStreams', 1024),
    };
    const window = countOf(options, 'window', 32);
    this.#methods = Object.entries(contract).map(([name, method]) => this.#served(name, method, handlers, window));
    this.done = new Promise((resolve) => {
      this.#resolveDone = resolve;
    });
  }

  get running(): number {
    return this.#running.requests + this.#running.streams;
  }

  drain(): Promise<void> {
    this.#isDraining = true;
    if (this.#peer?.isClosed === false) void this.#peer.post([...requestsGoodbye]);
    return this.#whenIdle();
  }

  // --------------------------------------------------------------------------------------------------- of the target

  onPeer(peer: Peer, isReconnecting: boolean): void {
    this.#peer = peer;
    for (const served of this.#methods) this.#register(peer, served);
    if (isReconnecting) return;
    const look = (): void => {
      if (peer.ended !== undefined) this.onEnd();
    };
    peer.watchers.add(look);
    look();
  }

  onLost(): void {
    this.#peer = undefined;
  }

  onEnd(): void {
    if (this.#isEnded) return;
    this.#isEnded = true;
    void this.#whenIdle().then(this.#resolveDone);
  }

  #register(peer: Peer, served: ServedMethod): void {
    const { name, method } = served;
    if (peer.services.has(name)) throw rpcError('BAD_CONTRACT', `method '${name}' has a handler on this session`);
    peer.services.set(name, {
      isOneway: method.kind === 'oneway',
      serve: (_, id, deadlineMs, credit, input) => this.#serve(peer, served, id, deadlineMs, credit, input),
      notify: (_, input) => void this.#notify(peer, served, input),
    });
  }

  // ---------------------------------------------------------------------------------------------------------- running

  #serve(peer: Peer, served: ServedMethod, id: number, deadlineMs: number, credit: number, input: unknown): void {
    const lane = laneOf(served.method);
    if (this.#isDraining) peer.refuse(id, 'DRAINING');
    else if (this.#running[lane] >= this.#limits[lane]) peer.refuse(id, 'OVERLOADED');
    else {
      const release = this.#enter(peer, lane);
      void new ServedCall(peer, id, served, deadlineMs, credit).run(input).finally(release);
    }
  }

  async #notify(peer: Peer, served: ServedMethod, raw: unknown): Promise<void> {
    const { name, method } = served;
    if (this.#running.requests >= this.#limits.requests) {
      peer.stats.droppedOneways += 1;
      this.#report(rpcError('OVERLOADED'), name, peer.session, false);
      return;
    }
    const release = this.#enter(peer, 'requests');
    try {
      const input = await accept(method.input, raw, 'BAD_INPUT', `the input of '${name}'`);
      await served.handle(input, new CallContext(name, peer.session, 0));
    } catch (error) {
      const isRefused = error instanceof RpcError && error.code === 'MILLRACE_ERR_BAD_INPUT';
      if (isRefused) peer.stats.droppedOneways += 1;
      this.#report(error, name, peer.session, !isRefused);
    } finally {
      release();
    }
  }

  /** @returns gives the place back */
  #enter(peer: Peer, lane: 'requests' | 'streams'): () => void {
    this.#running[lane] += 1;
    const hold = peer.session.hold();
    return () => {
      hold.release();
      this.#running[lane] -= 1;
      if (this.running === 0) for (const resolve of this.#idle.splice(0)) resolve();
    };
  }

  #whenIdle(): Promise<void> {
    return this.running === 0 ? Promise.resolve() : new Promise((resolve) => this.#idle.push(resolve));
  }

  // ----------------------------------------------------------------------------------------------------------- errors

  #served(name: string, method: Method, handlers: Record<string, unknown>, window: number): ServedMethod {
    const handler = handlers[name];
    if (typeof handler !== 'function') throw rpcError('BAD_CONTRACT', `method '${name}' has no handler`);
    return {
      name,
      method,
      window,
      handle: (...parameters) => handler.apply(handlers, parameters),
      answerTo: (error, session) => this.#answerTo(error, name, session),
    };
  }

  /**
   * An RpcError that a handler made crosses the wire. One that came over another wire doesn't, nor does one of ours: what
   * a service behind this one says isn't meant for our caller.
   */
  #answerTo(error: unknown, method: string, session: RequestSession): RpcError {
    if (error instanceof RpcError && !error.isRemote && !error.code.startsWith('MILLRACE_ERR_')) return error;
    this.#report(error, method, session, true);
    let exposed: RpcError | undefined;
    try {
      exposed = this.#options.expose?.(error, { method });
    } catch (problem) {
      throwLater(problem);
    }
    return exposed ?? rpcError('INTERNAL', rpcReasons.INTERNAL);
  }

  #report(error: unknown, method: string, session: RequestSession, warns: boolean): void {
    const { onError } = this.#options;
    if (onError !== undefined) {
      try {
        onError(error, { method, session: session as Session<unknown> });
      } catch (problem) {
        throwLater(problem);
      }
    } else if (warns && !this.#warned.has(method)) {
      this.#warned.add(method);
      const text = `the handler of '${method}' threw, and respond() has no onError: ${describe(error)}`;
      process.emitWarning(text, { code: 'MILLRACE_WARN_HANDLER' });
    }
  }
}

function laneOf({ kind }: Method): 'requests' | 'streams' {
  return kind === 'stream' || kind === 'duplex' ? 'streams' : 'requests';
}

function describe(error: unknown): string {
  return error instanceof Error ? (error.stack ?? error.message) : String(error);
}

/** An exception of a callback is the program's: an 'uncaughtException', and no affair of the call. */
function throwLater(error: unknown): void {
  process.nextTick(() => {
    throw error;
  });
}

function countOf(options: ResponderOptions, name: 'maxRequests' | 'maxStreams' | 'window', standard: number): number {
  const count = options[name] ?? standard;
  if (Number.isInteger(count) && count >= 1 && count <= MAX_CREDIT) return count;
  throw rpcError('BAD_CONTRACT', `${name}: ${count}`);
}
