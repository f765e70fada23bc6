/** Questions of others that are answered here. */
import { inspect } from 'node:util';
import type { Asked } from './api.ts';
import { MessageError, type MessageReason, nameOf } from './errors.ts';
import { encodeFrame, type Frame, KIND } from './frame.ts';
import type { MessageRules } from './limits.ts';
import type { Peer } from './peer.ts';

/** What crosses instead of an answer. */
interface Failure {
  readonly reason: MessageReason;
  readonly text: string;
  /** A handler was called. */
  readonly hasRun: boolean;
  /** What the handler threw, and its `code`, which an Error loses when it is cloned. */
  readonly thrown?: unknown;
  readonly code?: unknown;
}

/** Failures are small, whatever was thrown: they are taken above the limits, too. */
const MOST_TEXT = 4096;
const MOST_FAILURE_BYTES = 65_536;

type Handler = (question: unknown, asked: Asked) => unknown;

/** A question whose handler runs. The signal is made when somebody looks at it. */
class Running implements Asked {
  readonly from: number;
  #controller: AbortController | undefined;
  #reason: Error | undefined;

  constructor(from: number) {
    this.from = from;
  }

  get signal(): AbortSignal {
    this.#controller ??= new AbortController();
    if (this.#reason !== undefined) this.#controller.abort(this.#reason);
    return this.#controller.signal;
  }

  get isOver(): boolean {
    return this.#reason !== undefined;
  }

  abort(reason: MessageError): void {
    this.#reason ??= reason;
    this.#controller?.abort(this.#reason);
  }
}

export class Questions {
  readonly #owner: { readonly rules: MessageRules };
  readonly #handlers: Map<string, Handler> = new Map();
  /** By the id of the asking side. Who lost interest stays until the handler is done: it counts. */
  readonly #running: Map<Peer, Map<number, Running>> = new Map();

  constructor(owner: { readonly rules: MessageRules }) {
    this.#owner = owner;
  }

  get names(): Iterable<string> {
    return this.#handlers.keys();
  }

  has(name: string): boolean {
    return this.#handlers.has(name);
  }

  /** @returns what takes it away again, and says whether it was there */
  add(name: string, handler: Handler): () => boolean {
    this.#handlers.set(name, handler);
    return () => this.#handlers.get(name) === handler && this.#handlers.delete(name);
  }

  answer(peer: Peer, frame: Frame): void {
    const { id, name } = frame;
    const handler = this.#handlers.get(name);
    if (handler === undefined) {
      fail(peer, id, { reason: 'UNKNOWN_HANDLER', text: `it does not handle '${name}'`, hasRun: false });
      return;
    }
    const running = this.#runningOf(peer);
    const { maxAsks } = this.#owner.rules;
    if (running.size >= maxAsks) {
      fail(peer, id, { reason: 'QUEUE_FULL', text: `${maxAsks} of its handlers run`, hasRun: false });
      return;
    }
    const asked = new Running(peer.id);
    running.set(id, asked);
    const done = (send: () => void): void => {
      running.delete(id);
      if (!asked.isOver && !peer.isGone) send();
    };
    const onThrown = (thrown: unknown): void => done(() => fail(peer, id, this.#failureOf(thrown)));
    const onAnswer = (value: unknown): void => done(() => this.#send(peer, id, value));
    try {
      const result = handler(frame.payload(), asked);
      if (isThenable(result)) result.then(onAnswer, onThrown);
      else onAnswer(result);
    } catch (error) {
      onThrown(error);
    }
  }

  /** Nobody waits for the answer any more. */
  cancel(peer: Peer, id: number): void {
    const text = `${nameOf(peer.id)} does not wait for the answer any more`;
    this.#running
      .get(peer)
      ?.get(id)
      ?.abort(new MessageError('ASK_TIMEOUT', text, { worker: peer.id }));
  }

  /** Who asked is gone. */
  abandon(peer: Peer): void {
    const error = new MessageError('WORKER_GONE', `${nameOf(peer.id)}, which asked, ended`, { worker: peer.id });
    for (const running of this.#running.get(peer)?.values() ?? []) running.abort(error);
    this.#running.delete(peer);
  }

  /** The other side's error, here. */
  static errorOf(peer: Peer, name: string, frame: Frame): MessageError {
    const { reason, text, hasRun, thrown, code } = frame.payload() as Failure;
    if (thrown instanceof Error && code !== undefined) Object.assign(thrown, { code });
    const message = `${nameOf(peer.id)} was asked '${name}': ${text}`;
    return new MessageError(reason, message, {
      worker: peer.id,
      mayHaveRun: hasRun,
      ...(reason === 'ASK_FAILED' ? { cause: thrown } : {}),
    });
  }

  #runningOf(peer: Peer): Map<number, Running> {
    const known = this.#running.get(peer);
    if (known !== undefined) return known;
    const running = new Map<number, Running>();
    this.#running.set(peer, running);
    return running;
  }

  /** An answer that can't travel becomes a failure that can. */
  #send(peer: Peer, id: number, value: unknown): void {
    const refuse = (reason: MessageReason, text: string): void => fail(peer, id, { reason, text, hasRun: true });
    let frame: Buffer;
    try {
      frame = encodeFrame(KIND.ANSWER, id, '', value);
    } catch (error) {
      refuse('NOT_CLONEABLE', `its answer: ${(error as Error).message}`);
      return;
    }
    const { maxBytes } = this.#owner.rules;
    if (frame.length > maxBytes) refuse('MESSAGE_TOO_LARGE', `its answer of ${frame.length} bytes is over ${maxBytes}`);
    else if (peer.bufferedBytes + frame.length > maxBytes) refuse('QUEUE_FULL', 'too many bytes of answers wait');
    else peer.push(frame);
  }

  /** An error that can't be cloned, or is huge, is told by its text. */
  #failureOf(thrown: unknown): Failure {
    const isError = thrown instanceof Error;
    const text = (isError ? String(thrown.message) : inspect(thrown)).slice(0, MOST_TEXT);
    const failure = { reason: 'ASK_FAILED', text, hasRun: true } as const;
    const code = isError ? (thrown as { code?: unknown }).code : undefined;
    const whole: Failure = { ...failure, thrown, code: typeof code === 'string' ? code : undefined };
    try {
      if (encodeFrame(KIND.FAILURE, 0, '', whole).length <= MOST_FAILURE_BYTES) return whole;
    } catch {
      // it holds a function, or the like
    }
    return { ...failure, thrown: isError ? new Error(text) : text };
  }
}

function fail(peer: Peer, id: number, failure: Failure): void {
  if (!peer.isGone) peer.push(encodeFrame(KIND.FAILURE, id, '', failure));
}

export function isThenable(value: unknown): value is PromiseLike<unknown> {
  return typeof (value as PromiseLike<unknown> | null | undefined)?.then === 'function';
}
