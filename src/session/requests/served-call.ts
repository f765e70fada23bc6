/**
 * A call of the peer: runs the handler, and answers exactly once; with the handler's value, with its error, or with ours
 * when the deadline has passed. A call that was cancelled is not answered.
 */
import type { Session } from '../api.ts';
import { accept } from './accept.ts';
import type { Method } from './contract.ts';
import { credit, done, fail, isCount, item, KIND, MAX_CREDIT, stop } from './envelope.ts';
import { codeOf, RpcError, remoteError, rpcError, rpcReasons } from './errors.ts';
import { ItemsIn } from './items-in.ts';
import { ItemsOut } from './items-out.ts';
import type { Peer, RequestSession, WireCall } from './peer.ts';

/** What a handler is told besides its input. */
export interface Context {
  readonly method: string;
  /** The session that the call came over: who the peer is, and `data`, where a login may have left something. */
  readonly session: Session<unknown>;
  /**
   * Aborted when nobody wants the answer any more: the caller has cancelled, the deadline has passed, the session is
   * over. Give it to whatever the handler waits for.
   */
  readonly signal: AbortSignal;
  /** What is left until the deadline, for calls of its own: `Infinity` without one. */
  readonly remainingMs: number;
}

/** A method, and who handles it. */
export interface ServedMethod {
  readonly name: string;
  readonly method: Method;
  handle(...parameters: unknown[]): unknown;
  /** For uploads: the most items that wait to be read, or are on their way. */
  readonly window: number;
  /** An RpcError for the caller, made of what the handler threw; what wasn't meant for it is reported. */
  answerTo(error: unknown, session: RequestSession): RpcError;
}

export class ServedCall implements WireCall {
  readonly #served: ServedMethod;
  readonly #peer: Peer;
  readonly #id: number;
  readonly #context: CallContext;
  readonly #in: ItemsIn<unknown> | undefined;
  readonly #out: ItemsOut | undefined;
  readonly #timer: NodeJS.Timeout | undefined;
  #isOver = false;
  /** Why uploads, or credit, have ended too early: a handler that throws it on has done nothing wrong. */
  #lost: RpcError | undefined;
  /** The answer, until the session has taken it. */
  #answer: Promise<void> | undefined;

  constructor(peer: Peer, id: number, served: ServedMethod, deadlineMs: number, firstCredit: number) {
    this.#peer = peer;
    this.#id = id;
    this.#served = served;
    this.#context = new CallContext(served.name, peer.session, deadlineMs);
    const { kind } = served.method;
    this.#in = kind === 'upload' || kind === 'duplex' ? this.#itemsIn(served) : undefined;
    this.#out = kind === 'stream' || kind === 'duplex' ? new ItemsOut(firstCredit) : undefined;
    this.#timer = deadlineMs === 0 ? undefined : setTimeout(this.#onDeadline, deadlineMs);
    peer.hold(id, this);
  }

  /** Resolves when the handler is through, and the answer is sent. It is never rejected. */
  async run(raw: unknown): Promise<void> {
    const { method, name, handle } = this.#served;
    try {
      const input = await accept(method.input, raw, 'BAD_INPUT', `the input of '${name}'`).catch((error) => {
        this.#fail(ours(error) ?? this.#answerTo(error));
      });
      if (!this.#isOver) await this.#handle(handle, input, method);
    } catch (error) {
      // What a handler throws after its call was over is what it makes of the signal.
      if (!this.#isOver)
        this.#fail(this.#lost !== undefined && error === this.#lost ? this.#lost : this.#answerTo(error));
    }
    await this.#answer;
  }

  async #handle(handle: ServedMethod['handle'], input: unknown, method: Method): Promise<void> {
    const parameters = this.#in === undefined ? [input, this.#context] : [input, this.#in, this.#context];
    const result: unknown = await handle(...parameters);
    if (this.#out !== undefined) {
      const source = result as AsyncIterable<unknown>;
      const hasEnded = await this.#out.run(source, (value) => this.#sendItem(value));
      if (hasEnded) this.#end(done(-this.#id));
      else if (this.#lost !== undefined) this.#fail(this.#lost);
    } else {
      this.#end(done(-this.#id, 'output' in method ? result : undefined));
    }
  }

  async #sendItem(value: unknown): Promise<void> {
    try {
      await this.#peer.send(item(-this.#id, value));
    } catch (error) {
      // Otherwise the codec has no frame for it, and that is the handler's.
      if (!this.#peer.isClosed) throw error;
      this.#leave(rpcError('CALL_CLOSED', rpcReasons.CALL_CLOSED, { cause: error }));
    }
  }

  // --------------------------------------------------------------------------------------------------- from the wire

  take(kind: number, message: readonly unknown[]): boolean {
    if (kind === KIND.ITEM) return this.#in?.push(message[2]) ?? false;
    if (kind === KIND.CREDIT) return isCount(message[2], 1, MAX_CREDIT) && (this.#out?.addCredit(message[2]) ?? false);
    if (kind === KIND.DONE) {
      this.#in?.end();
      return this.#in !== undefined;
    }
    if (kind !== KIND.FAIL || typeof message[2] !== 'string' || typeof message[3] !== 'string') return false;
    this.#leave(remoteError(message[2], message[3], message[4]));
    return true;
  }

  onInputEnd(error: RpcError): void {
    // Whoever has sent its call and ended its side still wants the answer, or as much of it as it has asked for.
    this.#lost = error;
    this.#in?.end({ error });
    this.#out?.seal();
  }

  onClosed(error: RpcError): void {
    this.#leave(error);
  }

  // -------------------------------------------------------------------------------------------------------- from here

  #itemsIn({ method, name, window }: ServedMethod): ItemsIn<unknown> {
    const schema = 'uploads' in method ? method.uploads : undefined;
    return new ItemsIn({
      window,
      granted: 0,
      accept: (raw) => accept(schema, raw, 'BAD_INPUT', `an item for '${name}'`),
      grant: (count) => {
        if (!this.#peer.isClosed) void this.#peer.post(credit(-this.#id, count));
        else this.#leave(rpcError('CALL_CLOSED', 'our side has ended: no more items can be asked for'));
      },
      leave: (failure) => {
        if (failure === undefined) void this.#peer.post(stop(-this.#id));
        else this.#fail(ours(failure.error) ?? this.#answerTo(failure.error));
      },
    });
  }

  readonly #onDeadline = (): void => {
    const error = rpcError('DEADLINE', 'the deadline has passed');
    this.#fail(error);
    this.#context.abort(error);
  };

  #fail(error: RpcError): void {
    // Before its end: a handler must not take what has come for all of it.
    this.#in?.discard({ error });
    this.#end(fail(-this.#id, error.code, error.message, error.data));
  }

  #end(message: unknown[]): void {
    if (this.#isOver) return;
    this.#close();
    this.#answer = this.#send(message);
  }

  /** An answer that has no frame (a BigInt in JSON, larger than frames may be) is an error of the handler. */
  async #send(message: unknown[]): Promise<void> {
    try {
      await this.#peer.send(message);
    } catch (error) {
      if (this.#peer.isClosed) return;
      const { code, message: text } = this.#answerTo(error);
      await this.#peer.post(fail(-this.#id, code, text));
    }
  }

  #answerTo(error: unknown): RpcError {
    return this.#served.answerTo(error, this.#peer.session);
  }

  /** Nobody wants the answer. */
  #leave(error: RpcError): void {
    if (this.#isOver) return;
    this.#in?.discard({ error });
    this.#close();
    this.#context.abort(error);
  }

  #close(): void {
    this.#isOver = true;
    clearTimeout(this.#timer);
    this.#peer.release(this.#id);
    this.#out?.stop();
    this.#in?.end();
  }
}

/** An RpcError of ours that says what is wrong with what the peer sent; what a schema throws is none. */
function ours(error: unknown): RpcError | undefined {
  return error instanceof RpcError && error.code === codeOf('BAD_INPUT') ? error : undefined;
}

/** Makes its signal when it is asked for: most handlers don't. */
export class CallContext implements Context {
  readonly method: string;
  readonly session: Session<unknown>;
  readonly #deadlineAtMs: number;
  #controller: AbortController | undefined;
  #reason: unknown;

  constructor(method: string, session: RequestSession, deadlineMs: number) {
    this.method = method;
    this.session = session as Session<unknown>;
    this.#deadlineAtMs = deadlineMs === 0 ? Number.POSITIVE_INFINITY : performance.now() + deadlineMs;
  }

  get signal(): AbortSignal {
    if (this.#controller === undefined) {
      this.#controller = new AbortController();
      if (this.#reason !== undefined) this.#controller.abort(this.#reason);
    }
    return this.#controller.signal;
  }

  get remainingMs(): number {
    return Math.max(0, this.#deadlineAtMs - performance.now());
  }

  abort(reason: RpcError): void {
    this.#reason = reason;
    this.#controller?.abort(reason);
  }
}
