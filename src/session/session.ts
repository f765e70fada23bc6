/**
 * A session: the state machine between a connection, a decoder and the one consumer.
 *
 *      connection ──data──> decoder ──frames──> incoming ──receive()──> consumer
 *                           rest: bytes that wait until the consumer has room
 *      connection <──write── outgoing <──send()── anybody
 *
 *      open ──close()──> closing: deaf, flushed, our side ended ──both have ended──> closed
 *        └──cut(), or the connection fails────────────────────────────────────────────^
 *
 * It is longer than most files here because the states are in one place.
 */
import type { CloseReason, Connection, TlsInfo } from '../direct/index.ts';
import { type Codec, type Decoder, FramingError } from '../framing/index.ts';
import type { Hold, SendOptions, SendStatus, Session, SessionPeer, WaitOptions } from './api.ts';
import { errorOf, misuse, SessionError } from './errors.ts';
import type { Heartbeat } from './heartbeat.ts';
import { Incoming } from './incoming.ts';
import type { SessionRules } from './limits.ts';
import type { Holder } from './memory.ts';
import { Outgoing } from './outgoing.ts';
import { type ClosingReason, closings, isGoodEnd, type SessionCloseReason } from './reasons.ts';
import type { Sweep } from './sweep.ts';
import { tell } from './tell.ts';
import { Watch, type Watched } from './watch.ts';

/** What `c.data` of a connection is: the session, or what comes before it. */
export interface Endpoint {
  onData(view: Buffer): void;
  onDrain(): void;
  onEnd(): void;
  onClose(reason: CloseReason): void;
  /** The TLS handshake is done. */
  onSecure?(): void;
}

/** What all sessions of a server share. */
export interface SessionSetup<In, Out> {
  readonly codec: Codec<In, Out>;
  readonly rules: SessionRules;
  readonly sweep: Sweep;
  readonly decodeAhead: boolean;
  /** Our side ends when the consumer has seen the peer's end. */
  readonly endsWithPeer: boolean;
  readonly heartbeat: Heartbeat<In, Out> | undefined;
  /** A message whose content is wrong is left out and told here; without it, that is the end of the session. */
  readonly onBadMessage: ((error: unknown, session: Session<In, Out>) => void) | undefined;
  /** The goodbye of a session that is too old. */
  readonly goodbye: Out | undefined;
  /** It is over; told once. */
  onClosed(session: LiveSession<In, Out>, reason: SessionCloseReason): void;
  /** What user code threw where nobody waits: `heartbeat.ping`, a goodbye that can't be encoded. */
  onError(error: unknown, session: LiveSession<In, Out>): void;
}

/** About what the work takes that a hold stands for: a call under way, with its handler and signal, is up to about 4 KB. */
const HOLD_BYTES = 4096;

const NOTHING = Buffer.alloc(0);
const SENT = Promise.resolve();

export class LiveSession<In, Out> implements Session<In, Out>, Endpoint, Watched, Holder {
  data: unknown;
  readonly peer: SessionPeer;
  framesRead = 0;
  isReady = false;
  hasPeerEnded = false;
  readonly #setup: SessionSetup<In, Out>;
  readonly #connection: Connection<Endpoint>;
  readonly #incoming: Incoming<In>;
  readonly #outgoing: Outgoing<Out>;
  readonly #decoder: Decoder<In>;
  readonly #watch: Watch;
  #decodesAhead: boolean;
  #isDecoding = false;
  #isStopped = false;
  /** What the decoder hasn't taken, because the consumer had enough. It may be empty: the decoder has more, then. */
  #rest: Buffer | undefined;
  /** What comes behind `#rest`. */
  #tail: 'end' | Error | undefined;
  /** Those that `onBadMessage` has heard of. */
  #skippedFrames = 0;
  #hasIterator = false;
  #isLoopLeft = false;
  #hasEnded = false;
  #holds = 0;
  #leaving: 'DRAINED' | 'MAX_AGE' | undefined;
  /** Why it will be over, if we know. */
  #cause: Omit<SessionCloseReason, 'unsentBytes'> | undefined;
  #isCut = false;
  #unsentBytes = 0;
  #over: SessionCloseReason | undefined;
  #closed: Promise<SessionCloseReason> | undefined;
  #tellClosed: ((reason: SessionCloseReason) => void) | undefined;
  #abortController: AbortController | undefined;

  constructor(connection: Connection<Endpoint>, peer: SessionPeer, setup: SessionSetup<In, Out>) {
    const { codec, rules, sweep, heartbeat } = setup;
    this.peer = peer;
    this.#setup = setup;
    this.#connection = connection;
    this.#decodesAhead = setup.decodeAhead;
    this.#incoming = new Incoming(rules.readBuffer);
    this.#outgoing = new Outgoing<Out>(codec, connection, rules.writeBuffer);
    this.#decoder = codec.decoder((frame) => this.#onFrame(frame), { onBadPayload: this.#badPayload() });
    this.#watch = new Watch(this, connection, rules, sweep, heartbeat);
    sweep.add(this.#watch);
    rules.memory.add(this);
  }

  // ------------------------------------------------------------------------------------------------------- receiving

  receive(options: WaitOptions = {}): Promise<In | undefined> {
    return this.ask('message', options.signal) as Promise<In | undefined>;
  }

  [Symbol.asyncIterator](): AsyncIterableIterator<In, undefined> {
    if (this.#hasIterator) throw misuse('a session has one consumer, and there was an iterator already');
    this.#hasIterator = true;
    return new Messages(this);
  }

  /** The loop was left early: it ends. Also when its body throws; who awaits the handler tells that, and then it is why. */
  leaveLoop(): void {
    if (this.#cause !== undefined || this.#over !== undefined) return;
    this.#isLoopLeft = true;
    this.finish('CLOSED', closings.CLOSED);
  }

  /** @hot bench/session.ts, echo */
  ask(form: 'message' | 'step', signal?: AbortSignal): Promise<unknown> {
    const answer = this.#incoming.ask(form, signal);
    if (this.#rest !== undefined || this.#tail !== undefined || this.#connection.isPaused) this.#refill();
    if (this.#leaving !== undefined) this.#leaveWhenIdle();
    if (this.#setup.endsWithPeer && this.#incoming.isOver) this.end();
    return answer;
  }

  switchCodec<NextIn, NextOut>(
    codec: Codec<NextIn, NextOut>,
    options: { decodeAhead?: boolean | undefined } = {},
  ): Session<NextIn, NextOut> {
    if (this.#decodesAhead) throw misuse('switchCodec() is for sessions with `decodeAhead: false`');
    if (this.#incoming.isWaitedFor || this.#isDecoding) {
      throw misuse('switchCodec() while a message is waited for: it would be decoded by either');
    }
    this.#decodesAhead = options.decodeAhead === true;
    const next = this as unknown as LiveSession<NextIn, NextOut>;
    next.#decoder.switchTo(codec, (frame) => next.#onFrame(frame));
    next.#outgoing.codec = codec;
    // What the decoder keeps may be a message for this codec, without another byte.
    if (!this.#incoming.isFinished) this.#rest ??= NOTHING;
    return next;
  }

  /** @hot bench/session.ts, echo */
  #onFrame(frame: In): void {
    this.framesRead++;
    const { heartbeat } = this.#setup;
    if (heartbeat !== undefined && this.#isHeartbeat(heartbeat, frame)) return;
    if (!this.isReady && this.#setup.rules.handshakeUntil === 'frame') this.isReady = true;
    this.#incoming.put(frame, this.#decoder.frameBytes);
    if (this.#decodesAhead && !this.#incoming.isFull) return;
    this.#isStopped = true;
    this.#decoder.stop();
  }

  #isHeartbeat(heartbeat: Heartbeat<In, Out>, frame: In): boolean {
    if (heartbeat.isPong?.(frame) === true) return true;
    const answer = heartbeat.answer?.(frame);
    if (answer === undefined) return false;
    // A peer that asks and doesn't read gets no answers: they would only pile up.
    if (!this.#outgoing.isFull) this.trySend(answer);
    return true;
  }

  #badPayload(): ((error: unknown) => void) | undefined {
    const { onBadMessage } = this.#setup;
    return onBadMessage === undefined ? undefined : (error) => tell(() => onBadMessage(error, this));
  }

  /** @hot bench/session.ts, echo */
  onData(view: Buffer): void {
    const watch = this.#watch;
    watch.heardMs = this.#setup.sweep.stampMs;
    watch.quietUntilMs = 0;
    this.#setup.rules.memory.pass(view.length);
    if (this.#cause !== undefined) return;
    if (this.#rest === undefined && this.#mayDecode) this.#decode(view, true);
    else this.#rest = this.#rest === undefined ? Buffer.from(view) : Buffer.concat([this.#rest, view]);
    this.#setReading();
  }

  get #mayDecode(): boolean {
    return this.#decodesAhead ? !this.#incoming.isFull : this.#incoming.isWaitedFor;
  }

  /**
   * Decodes as far as the consumer has room. The rest is kept; what was kept before isn't copied again for each message.
   *
   * @hot bench/session.ts, echo
   */
  #decode(bytes: Buffer, isLent: boolean): void {
    const { frameCount } = this.#decoder;
    this.#isDecoding = true;
    this.#isStopped = false;
    try {
      const taken = this.#decoder.push(bytes);
      if (this.#isStopped) {
        const rest = taken < bytes.length ? bytes.subarray(taken) : NOTHING;
        this.#rest = isLent && rest !== NOTHING ? Buffer.from(rest) : rest;
      }
      if (this.#decoder.skippedFrames > this.#skippedFrames) this.#onSkipped();
    } catch (error) {
      this.#refuse(error);
      return;
    } finally {
      this.#isDecoding = false;
    }
    const watch = this.#watch;
    if (this.#isStopped || !this.#decoder.isMidFrame) watch.frameSinceMs = 0;
    else if (watch.frameSinceMs === 0 || this.#decoder.frameCount > frameCount) {
      watch.frameSinceMs = this.#setup.sweep.stampMs;
      watch.frameFromBytes = this.#connection.bytesRead - this.#decoder.bufferedBytes;
    }
  }

  /** The codec has left out frames over its limit (`onTooLarge: 'skip'`). */
  #onSkipped(): void {
    while (this.#skippedFrames < this.#decoder.skippedFrames) {
      this.#skippedFrames++;
      const error = new FramingError('FRAME_TOO_LARGE', 'a frame was longer than it may be, and was left out');
      tell(() => this.#setup.onBadMessage?.(error, this));
    }
  }

  /** The consumer has taken something: decodes what waits, and lets more come. */
  #refill(): void {
    if (this.#isDecoding) return;
    if (this.#decodesAhead && !this.#incoming.isLow) return;
    while (this.#rest !== undefined && this.#mayDecode) {
      const rest = this.#rest;
      this.#rest = undefined;
      this.#decode(rest, false);
    }
    if (this.#rest === undefined && this.#tail !== undefined) this.#finishReading();
    this.#setReading();
  }

  #setReading(): void {
    if (this.#over !== undefined) return;
    const isEnough = this.#cause === undefined && this.isStalled;
    if (isEnough === this.#connection.isPaused) return;
    if (isEnough) this.#connection.pause();
    else this.#connection.resume();
  }

  /** We don't read, because the consumer doesn't. */
  get isStalled(): boolean {
    return (this.#rest?.length ?? 0) > 0 || (this.#decodesAhead && this.#incoming.isFull);
  }

  onEnd(): void {
    this.hasPeerEnded = true;
    if (this.#cause !== undefined) return;
    this.#tail = 'end';
    if (this.#rest === undefined && this.#mayDecode) this.#finishReading();
    if (this.#setup.endsWithPeer && this.#incoming.isOver) this.end();
  }

  /** All bytes are decoded: what follows them? */
  #finishReading(): void {
    if (this.#tail === 'end') {
      this.#isDecoding = true;
      try {
        // Not all: the consumer has enough, and comes back.
        if (!this.#decoder.end()) return;
      } catch (error) {
        this.#refuse(error);
        return;
      } finally {
        this.#isDecoding = false;
      }
      this.#incoming.finish();
    } else {
      this.#incoming.finish(this.#tail);
    }
    this.#tail = undefined;
    this.#watch.frameSinceMs = 0;
  }

  /** The codec can't go on. */
  #refuse(error: unknown): void {
    const isFraming = error instanceof FramingError;
    const cause = {
      reason: isFraming && isClosing(error.reason) ? error.reason : 'BAD_MESSAGE',
      message: error instanceof Error ? error.message : closings.BAD_MESSAGE,
      limit: isFraming ? error.limitBytes : undefined,
      cause: error,
    } as const;
    this.#incoming.finish(errorOf({ ...cause, unsentBytes: 0 }));
    this.#tail = undefined;
    if (this.#cause !== undefined) return;
    this.#cause = cause;
    this.#terminate();
  }

  // --------------------------------------------------------------------------------------------------------- sending

  /** @hot bench/session.ts, echo */
  send(message: Out, options?: SendOptions & WaitOptions): Promise<void> {
    const signal = options?.signal;
    if (signal?.aborted === true) return Promise.reject(signal.reason as Error);
    let status: SendStatus;
    try {
      status = this.trySend(message, options);
    } catch (error) {
      return Promise.reject(error as Error);
    }
    if (status === 'sent') return SENT;
    if (status === 'dropped') return this.#notSent();
    return new Promise((resolve, reject) => {
      if (signal === undefined) {
        this.#outgoing.wait({ resolve, reject });
        return;
      }
      const onAbort = (): void => {
        this.#outgoing.forget(waiter);
        reject(signal.reason as Error);
      };
      const waiter = {
        resolve: () => {
          signal.removeEventListener('abort', onAbort);
          resolve();
        },
        reject: (error: unknown) => {
          signal.removeEventListener('abort', onAbort);
          reject(error as Error);
        },
      };
      signal.addEventListener('abort', onAbort, { once: true });
      this.#outgoing.wait(waiter);
    });
  }

  /** @hot bench/session.ts, echo */
  trySend(message: Out, options?: SendOptions): SendStatus {
    if (this.#hasEnded || this.#cause !== undefined || this.#over !== undefined) return 'dropped';
    return this.#offered(this.#outgoing.offer(message, options?.conflate));
  }

  trySendFrame(frame: Uint8Array, options?: SendOptions): SendStatus {
    if (!(frame instanceof Uint8Array) || frame.length === 0)
      throw misuse('a frame is bytes, as codec.encode gives them');
    if (this.#hasEnded || this.#cause !== undefined || this.#over !== undefined) return 'dropped';
    return this.#offered(this.#outgoing.offerFrame(frame, options?.conflate));
  }

  /** @hot bench/session.ts, echo */
  #offered(status: SendStatus | 'overflow'): SendStatus {
    this.#watch.quietUntilMs = 0;
    this.#setup.rules.memory.pass(this.#outgoing.offeredBytes);
    if (status !== 'overflow') return status;
    const { maxBytes, maxFrames } = this.#setup.rules.writeBuffer;
    const isFrames = this.#outgoing.queuedFrames >= maxFrames;
    const [count, unit, max] = isFrames
      ? [this.bufferedFrames, 'frames', maxFrames]
      : [this.bufferedBytes, 'bytes', maxBytes];
    this.cut('WRITE_OVERFLOW', `${count} ${unit} wait to be sent, and may not be more than ${max}`, max);
    return 'dropped';
  }

  async #notSent(): Promise<never> {
    const why = this.#over ?? this.#cause;
    if (why !== undefined) throw errorOf({ unsentBytes: 0, ...why });
    if (this.#hasEnded) throw misuse('a message cannot be sent behind end()');
    // The connection has failed, and is about to say why.
    if (!this.#connection.isWritable) throw errorOf(await this.closed);
    throw new SessionError('DROPPED', 'the message was dropped: more waits to be sent than may');
  }

  onDrain(): void {
    this.#outgoing.drained();
  }

  end(): void {
    if (this.#hasEnded || this.#over !== undefined) return;
    this.#hasEnded = true;
    this.#outgoing.flush();
    this.#connection.end();
  }

  // ---------------------------------------------------------------------------------------------------------- ending

  close(cause?: unknown): Promise<SessionCloseReason> {
    const isEnded = cause === undefined && this.hasPeerEnded && this.#incoming.isOver && !this.#incoming.isBusy;
    const reason = this.#leaving ?? (isEnded ? 'ENDED' : 'CLOSED');
    this.finish(reason, closings[reason], cause);
    return this.closed;
  }

  /** Ends well, for this reason: sends what waits, ends our side, and no longer listens. */
  finish(reason: ClosingReason, message: string, cause?: unknown): void {
    if (this.#over !== undefined) return;
    if (this.#cause !== undefined) {
      if (reason === 'HANDLER_ERROR' && this.#isLoopLeft) this.#cause = { reason, message, cause };
      return;
    }
    this.#cause = { reason, message, cause };
    this.#throwAway();
    this.#incoming.finish();
    this.#watch.quietUntilMs = 0;
    this.end();
    this.#setReading();
  }

  abort(cause?: unknown): void {
    // What was received until its end is still the consumer's.
    if (this.#over !== undefined) return;
    this.#throwAway();
    this.cut('ABORTED', closings.ABORTED, undefined, cause);
  }

  /** Ends badly and at once. A reason that is known already stays, unless it is a good one. */
  cut(reason: ClosingReason, message: string, limit?: number, cause?: unknown): void {
    if (this.#over !== undefined || this.#isCut) return;
    if (this.#cause === undefined || isGoodEnd(this.#cause.reason)) this.#cause = { reason, message, limit, cause };
    this.#terminate();
  }

  evict(budgetBytes: number): void {
    const message = `all sessions together hold more than ${budgetBytes} bytes, and this one held ${this.footprint()}`;
    this.#throwAway();
    this.cut('MEMORY_BUDGET', message, budgetBytes);
  }

  /** What waits to be sent is gone with the connection: it is counted while it is there. */
  #terminate(): void {
    if (this.#isCut) return;
    this.#isCut = true;
    this.#unsentBytes = this.bufferedBytes;
    this.#connection.terminate();
  }

  #throwAway(): void {
    this.#incoming.clear();
    this.#rest = undefined;
    this.#tail = undefined;
  }

  onClose(reason: CloseReason): void {
    const unsentBytes = this.#isCut ? this.#unsentBytes : this.#outgoing.bufferedBytes;
    const over: SessionCloseReason = { ...this.#reasonOf(reason, unsentBytes), unsentBytes };
    const error = errorOf(over);
    this.#over = over;
    this.#cause ??= over;
    this.#outgoing.finish(error, unsentBytes);
    this.#finishWith(error);
    const { sweep, rules } = this.#setup;
    sweep.delete(this.#watch);
    rules.memory.delete(this);
    this.#tellClosed?.(over);
    this.#abortController?.abort(error);
    if (reason.kind === 'handler') this.#setup.onError(reason.error, this);
    this.#setup.onClosed(this, over);
  }

  /** What was received is still the consumer's; behind it comes the error, unless the peer had ended by then. */
  #finishWith(error: SessionError): void {
    if (this.#incoming.isFinished) return;
    this.#tail ??= error;
    if (this.#rest === undefined) this.#finishReading();
  }

  #reasonOf(reason: CloseReason, unsentBytes: number): Omit<SessionCloseReason, 'unsentBytes'> {
    const ours = this.#cause;
    // A peer that has got everything may well reset in place of ending.
    if (ours !== undefined && (unsentBytes === 0 || !isGoodEnd(ours.reason))) return ours;
    if (reason.kind === 'ended') return ours ?? { reason: 'ENDED', message: closings.ENDED };
    if (reason.kind === 'reset') return { reason: 'RESET', message: closings.RESET, cause: reason.error };
    if (reason.kind === 'terminated') return { reason: 'ABORTED', message: closings.ABORTED };
    const cause = 'error' in reason ? reason.error : undefined;
    if (reason.kind === 'tls') {
      const isCut = (cause as NodeJS.ErrnoException).code === 'MILLRACE_ERR_TLS_TRUNCATED';
      const name = isCut ? 'TLS_TRUNCATED' : 'TLS_ERROR';
      return { reason: name, message: closings[name], cause };
    }
    return { reason: 'CONNECTION_ERROR', message: closings.CONNECTION_ERROR, cause };
  }

  get closed(): Promise<SessionCloseReason> {
    this.#closed ??= new Promise((resolve) => {
      if (this.#over === undefined) this.#tellClosed = resolve;
      else resolve(this.#over);
    });
    return this.#closed;
  }

  get signal(): AbortSignal {
    if (this.#abortController === undefined) {
      this.#abortController = new AbortController();
      if (this.#over !== undefined) this.#abortController.abort(errorOf(this.#over));
    }
    return this.#abortController.signal;
  }

  get isWritable(): boolean {
    return !this.#hasEnded && this.#cause === undefined && this.#over === undefined;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  // -------------------------------------------------------------------------------------------------------- lifetime

  ready(): void {
    this.isReady = true;
  }

  hold(): Hold {
    this.#holds++;
    this.#setup.rules.memory.pass(HOLD_BYTES);
    let isHeld = true;
    const release = (): void => {
      if (!isHeld) return;
      isHeld = false;
      this.#holds--;
      if (this.#leaving !== undefined) this.#leaveWhenIdle();
    };
    return { release, [Symbol.dispose]: release };
  }

  /** Whether work is in flight: a message that was taken, messages that wait, or a hold. */
  get isBusy(): boolean {
    return this.#holds > 0 || this.#incoming.isBusy || this.#incoming.frames > 0 || (this.#rest?.length ?? 0) > 0;
  }

  get isLeaving(): boolean {
    return this.#leaving !== undefined;
  }

  get isClosing(): boolean {
    return this.#cause !== undefined;
  }

  get isFull(): boolean {
    return this.#outgoing.isFull;
  }

  /** Says goodbye, and closes as soon as it isn't busy. */
  leave(reason: 'DRAINED' | 'MAX_AGE', goodbye: Out | undefined): void {
    if (this.#leaving !== undefined || this.#cause !== undefined) return;
    this.#leaving = reason;
    if (goodbye !== undefined) {
      try {
        this.trySend(goodbye);
      } catch (error) {
        this.#setup.onError(error, this);
      }
    }
    this.#leaveWhenIdle();
  }

  retire(): void {
    this.leave('MAX_AGE', this.#setup.goodbye);
  }

  #leaveWhenIdle(): void {
    const reason = this.#leaving as 'DRAINED' | 'MAX_AGE';
    if (!this.isBusy) this.finish(reason, closings[reason]);
  }

  ping(): void {
    const ping = this.#setup.heartbeat?.ping;
    try {
      const message = typeof ping === 'function' ? (ping as () => Out | undefined)() : ping;
      if (message !== undefined) this.trySend(message);
    } catch (error) {
      this.#setup.onError(error, this);
    }
  }

  // --------------------------------------------------------------------------------------------------------- figures

  get bufferedBytes(): number {
    return this.#outgoing.bufferedBytes;
  }

  get bufferedFrames(): number {
    return this.#outgoing.bufferedFrames;
  }

  get unreadFrames(): number {
    return this.#incoming.frames;
  }

  get tls(): TlsInfo | undefined {
    return this.#connection.tls;
  }

  get bytesRead(): number {
    return this.#connection.bytesRead;
  }

  get bytesWritten(): number {
    return this.#connection.bytesWritten;
  }

  get framesWritten(): number {
    return this.#outgoing.framesWritten;
  }

  get framesDropped(): number {
    return this.#outgoing.framesDropped;
  }

  get framesSkipped(): number {
    return this.#decoder.skippedFrames;
  }

  footprint(): number {
    if (this.#isCut || this.#over !== undefined) return 0;
    const readBytes = this.#incoming.bytes + (this.#rest?.length ?? 0) + this.#decoder.bufferedBytes;
    return this.#outgoing.heldBytes + readBytes + HOLD_BYTES * this.#holds;
  }
}

/** What `for await` uses: a class rather than closures, of which an idle session would keep four. */
class Messages<In, Out> implements AsyncIterableIterator<In, undefined> {
  readonly #session: LiveSession<In, Out>;

  constructor(session: LiveSession<In, Out>) {
    this.#session = session;
  }

  /** @hot bench/session.ts, echo */
  next(): Promise<IteratorResult<In, undefined>> {
    return this.#session.ask('step') as Promise<IteratorResult<In, undefined>>;
  }

  return(): Promise<IteratorResult<In, undefined>> {
    this.#session.leaveLoop();
    return Promise.resolve({ done: true, value: undefined });
  }

  [Symbol.asyncIterator](): this {
    return this;
  }
}

const codecReasons: ReadonlySet<string> = new Set([
  ...['FRAME_TOO_LARGE', 'BAD_LENGTH', 'TRUNCATED', 'BAD_UTF8', 'BAD_JSON', 'SCHEMA', 'BAD_CODEC'],
]);

function isClosing(reason: string): reason is ClosingReason {
  return codecReasons.has(reason);
}
