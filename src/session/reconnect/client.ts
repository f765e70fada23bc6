/**
 * A client that reconnects: one session after the other, never two at once.
 *
 *      connecting ──> connected ──the session ends──> waiting ──> connecting ──> …
 *          └──all addresses have failed────────────────^
 *      any of them ──close(), abort(), gave up──> closed
 *
 * One loop does all of it, and waits for the end of a session before it goes on: that there are never two is no matter
 * of care. Messages go through the outbox; requests (`call`, `respond`) go to the session of the moment.
 */
import { EventEmitter } from 'node:events';
import type { SendStatus, Session, WaitOptions } from '../api.ts';
import { errorOf, misuse, SessionError } from '../errors.ts';
import type { SessionFollower, SessionSource } from '../requests/target.ts';
import { Backoff } from './backoff.ts';
import { guard, unless } from './guard.ts';
import { checkReconnecting, type ReconnectingOptions, systemReconnectClock } from './options.ts';
import { type MessageId, Outbox, type OutboxEntry } from './outbox.ts';
import type { ClientCloseReason, ClientEvents, ClientState } from './states.ts';

/** Sessions that are over and have messages which nobody has read. Of more than these, the oldest are thrown away. */
const MAX_UNREAD_SESSIONS = 16;

/** What came of one address. */
interface Outcome {
  readonly error: unknown;
  readonly hasLasted: boolean;
}

/**
 * Connects, and connects again.
 *
 * @param options with `connect`, which makes one connection; `dial({ reconnect })` brings its own
 * @throws {MILLRACE_ERR_BAD_OPTION}
 */
export function reconnecting<In, Out, Address>(
  options: ReconnectingOptions<In, Out, Address>,
): ReconnectingClient<In, Out, Address> {
  return new ReconnectingClient(options);
}

export class ReconnectingClient<In, Out = In, Address = unknown>
  extends EventEmitter<ClientEvents<Session<In, Out>, Address, Out>>
  implements AsyncIterable<In>, AsyncDisposable, SessionSource
{
  /** Resolves when it is over. It is never rejected. */
  readonly closed: Promise<ClientCloseReason>;
  readonly #options: ReconnectingOptions<In, Out, Address>;
  readonly #clock;
  readonly #random: () => number;
  readonly #backoff: Backoff;
  readonly #outbox: Outbox<Out>;
  readonly #followers = new Set<SessionFollower>();
  readonly #ending = new AbortController();
  #state: ClientState<Session<In, Out>, Address>;
  /** The one that is connected, and through `onConnect`. */
  #session: Session<In, Out> | undefined;
  /** Sessions whose messages are read, in order; the last may be the one that is connected. */
  readonly #unread: Session<In, Out>[] = [];
  #isReading = false;
  #hasIterator = false;
  #isHanding = false;
  /** Who waits for another state, for room, for the outbox to be empty. */
  readonly #watchers = new Set<() => void>();
  #end: Omit<ClientCloseReason, 'unsentMessages'> | undefined;

  constructor(options: ReconnectingOptions<In, Out, Address>) {
    super();
    checkReconnecting(options);
    const { clock = systemReconnectClock, random = Math.random, outbox = {}, signal } = options;
    this.#options = options;
    this.#clock = clock;
    this.#random = random;
    this.#backoff = new Backoff(options, random);
    this.#outbox = new Outbox(outbox, (message) => this.#tell('dropped', message, undefined));
    this.#state = { kind: 'connecting', address: options.addresses[0] as Address, attempt: 1 };
    const onAbort = (): void => void this.abort(signal?.reason);
    signal?.addEventListener('abort', onAbort, { once: true });
    if (signal?.aborted) onAbort();
    this.closed = this.#run().finally(() => signal?.removeEventListener('abort', onAbort));
  }

  get state(): ClientState<Session<In, Out>, Address> {
    return this.#state;
  }

  /** The session of the moment, if there is one. */
  get session(): Session<In, Out> | undefined {
    return this.#session;
  }

  // ------------------------------------------------------------------------------------------------------- receiving

  /**
   * The next message, of whatever session; `undefined` when the client is closed. One call at a time.
   *
   * @throws {MILLRACE_ERR_MISUSE} another call waits already
   */
  async receive({ signal }: WaitOptions = {}): Promise<In | undefined> {
    if (this.#isReading) throw misuse('the next message was asked for before the last call was answered');
    this.#isReading = true;
    try {
      for (;;) {
        const session = this.#unread[0];
        if (session === undefined) {
          if (this.#state.kind === 'closed') return undefined;
          await this.#change(signal);
          continue;
        }
        const message = await this.#receiveFrom(session, signal);
        if (message !== undefined) return message;
        // Its end; it is taken off the list by then, or will be.
        while (this.#unread[0] === session && session === this.#session) await this.#change(signal);
        if (this.#unread[0] === session) this.#unread.shift();
      }
    } finally {
      this.#isReading = false;
    }
  }

  /** The messages of all sessions. Leaving the loop early closes the client. */
  [Symbol.asyncIterator](): AsyncIterableIterator<In, undefined> {
    if (this.#hasIterator) throw misuse('a client has one consumer, and there was an iterator already');
    this.#hasIterator = true;
    const iterator: AsyncIterableIterator<In, undefined> = {
      next: async () => {
        const value = await this.receive();
        return value === undefined ? { done: true, value: undefined } : { done: false, value };
      },
      return: async () => {
        await this.close();
        return { done: true, value: undefined };
      },
      [Symbol.asyncIterator]: () => iterator,
    };
    return iterator;
  }

  /** That a session ended badly is told by the states; its messages come first. */
  async #receiveFrom(session: Session<In, Out>, signal: AbortSignal | undefined): Promise<In | undefined> {
    try {
      return await session.receive({ signal });
    } catch (error) {
      if (signal?.aborted || (error as SessionError).reason === 'MISUSE') throw error;
      return undefined;
    }
  }

  // --------------------------------------------------------------------------------------------------------- sending

  /**
   * Sends a message, now or when there is a connection. Resolves when the message is taken, and waits while there is no
   * room (`outbox.whenFull: 'keep'`) or the connection is full.
   *
   * Without an id a message arrives at most once: it is given to one connection, and if that dies it may be lost. With
   * an id (`outbox.idOf`) it arrives at least once.
   *
   * @throws {MILLRACE_ERR_OUTBOX_FULL} by the policy, or it is larger than the outbox
   * @throws {MILLRACE_ERR_CLIENT_CLOSED}
   * @throws {FramingError} the codec has no frame for this message
   */
  async send(message: Out, { signal }: WaitOptions = {}): Promise<void> {
    signal?.throwIfAborted();
    if (this.#end !== undefined) throw this.#closedError();
    const session = this.#session;
    if (session?.isWritable && this.#isIdle) {
      await this.#handDirectly(session, message, signal);
    } else {
      const taken = this.#outbox.take(message, signal);
      this.#flush();
      await taken;
    }
  }

  /**
   * Takes a message or doesn't; never waits.
   *
   * @returns `sent`: a connection has it; `queued`: it is in the outbox; `dropped`: the outbox is full, or the client is
   *   closed
   * @throws {FramingError} the codec has no frame for this message
   */
  trySend(message: Out): SendStatus {
    if (this.#end !== undefined) return 'dropped';
    const before = this.#outbox.waiting;
    try {
      if (!this.#outbox.offer(message)) return 'dropped';
    } catch (error) {
      if ((error as SessionError).reason === 'OUTBOX_FULL') return 'dropped';
      throw error;
    }
    this.#flush();
    return before === 0 && this.#outbox.waiting === 0 ? 'sent' : 'queued';
  }

  /** The peer has this message: it isn't sent again. @returns whether it was in the outbox */
  acked(id: MessageId): boolean {
    const wasThere = this.#outbox.acked(id);
    this.#flush();
    this.#notify();
    return wasThere;
  }

  /** The peer has this message and all with an id that were sent before. @returns how many were in the outbox */
  ackedThrough(id: MessageId): number {
    const count = this.#outbox.ackedThrough(id);
    this.#flush();
    this.#notify();
    return count;
  }

  /** Messages in the outbox, oldest first: no connection was given them, or they aren't acknowledged. */
  unsent(): Out[] {
    return this.#outbox.messages();
  }

  /** What `unsent()` has, in numbers. */
  get bufferedMessages(): number {
    return this.#outbox.length;
  }

  get bufferedBytes(): number {
    return this.#outbox.bytes;
  }

  /**
   * Resolves when the outbox is empty: everything was given to a connection, and what has an id was acknowledged.
   *
   * @throws {MILLRACE_ERR_CLIENT_CLOSED} that will not be
   */
  async flushed({ signal }: WaitOptions = {}): Promise<void> {
    while (this.#outbox.length > 0 || this.#outbox.isCrowded) {
      if (this.#state.kind === 'closed') throw this.#closedError();
      await this.#change(signal);
    }
  }

  /** Nothing waits, nothing is being handed over, and nothing has to be kept. */
  get #isIdle(): boolean {
    return !this.#isHanding && !this.#outbox.hasIds && this.#outbox.waiting === 0 && !this.#outbox.isCrowded;
  }

  async #handDirectly(session: Session<In, Out>, message: Out, signal: AbortSignal | undefined): Promise<void> {
    this.#isHanding = true;
    const sent = session.send(message).finally(() => {
      this.#isHanding = false;
      this.#flush();
    });
    try {
      await (signal === undefined ? sent : unless(signal, sent));
    } catch (error) {
      // The connection has it and died: at most once. What is left is a message without a frame, or the signal.
      if (session.isWritable || signal?.aborted) throw error;
    }
  }

  #flush(): void {
    if (!this.#isHanding) void this.#hand();
  }

  /** Hands messages to the session, one after the other: each waits until the session's buffer has room. */
  async #hand(): Promise<void> {
    this.#isHanding = true;
    for (let session = this.#session; session?.isWritable; session = this.#session) {
      const entry = this.#outbox.next();
      if (entry === undefined) break;
      await session.send(entry.message).catch((error) => this.#onNotSent(session, entry, error));
    }
    this.#isHanding = false;
    this.#notify();
  }

  #onNotSent(session: Session<In, Out>, entry: OutboxEntry<Out>, error: unknown): void {
    // With the connection: lost, or sent again if it has an id.
    if (!session.isWritable) return;
    this.#outbox.discard(entry);
    this.#tell('dropped', entry.message, error);
  }

  // ---------------------------------------------------------------------------------------------------------- ending

  /**
   * Ends well: makes no connection any more, gives what waits to the one there is, and closes that.
   *
   * @param cause is told as the `cause` of the reason
   */
  close(cause?: unknown): Promise<ClientCloseReason> {
    this.#finish('CLOSED', 'the client was closed', cause);
    return this.closed;
  }

  /** Ends at once. */
  abort(cause?: unknown): Promise<ClientCloseReason> {
    this.#finish('ABORTED', 'the client was aborted', cause);
    this.#session?.abort(cause);
    return this.closed;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  #finish(reason: ClientCloseReason['reason'], message: string, cause: unknown): void {
    if (this.#end !== undefined) return;
    this.#end = { reason, message, cause };
    this.#outbox.close(() => this.#closedError());
    this.#ending.abort(this.#closedError());
    this.#notify();
    if (reason === 'CLOSED') void this.#closeSession(cause);
  }

  async #closeSession(cause: unknown): Promise<void> {
    const session = this.#session;
    while (session !== undefined && session === this.#session && (this.#isHanding || this.#outbox.waiting > 0)) {
      await this.#change();
    }
    await session?.close(cause);
  }

  #closedError(): SessionError {
    const { message = 'the client is closed', cause } = this.#end ?? {};
    return new SessionError('CLIENT_CLOSED', message, { cause });
  }

  // -------------------------------------------------------------------------------------------------------- the loop

  async #run(): Promise<ClientCloseReason> {
    // Listeners can be added before the first event.
    await undefined;
    let failures = 0;
    while (this.#end === undefined) {
      const { error, hasLasted } = await this.#tryAll(failures + 1);
      failures = hasLasted ? 0 : failures + 1;
      if (this.#end !== undefined) break;
      if (failures >= (this.#options.maxAttempts ?? Number.POSITIVE_INFINITY)) {
        this.#finish('GAVE_UP', `no connection that lasted, in ${failures} attempts`, error);
      } else if (!this.#shouldRetry(error)) {
        this.#finish('GAVE_UP', 'shouldRetry() said no', error);
      } else {
        await this.#wait(failures, error);
      }
    }
    const reason = { ...(this.#end as ClientCloseReason), unsentMessages: this.#outbox.length };
    this.#toFollowers((follower) => follower.onEnd(reason));
    this.#enter({ kind: 'closed', reason });
    return reason;
  }

  #shouldRetry(error: unknown): boolean {
    let answer: boolean | undefined;
    guard(() => {
      answer = this.#options.shouldRetry?.(error);
    });
    return answer !== false;
  }

  /** Goes through the addresses until a connection has lasted. */
  async #tryAll(attempt: number): Promise<Outcome> {
    let outcome: Outcome = { error: undefined, hasLasted: false };
    for (const address of this.#inOrder()) {
      outcome = await this.#tryOne(address, attempt);
      if (outcome.hasLasted || this.#end !== undefined) break;
    }
    return outcome;
  }

  /** From connecting to the end of the session. */
  async #tryOne(address: Address, attempt: number): Promise<Outcome> {
    this.#enter({ kind: 'connecting', address, attempt });
    const controller = new AbortController();
    const onEnding = (): void => controller.abort(this.#ending.signal.reason);
    this.#ending.signal.addEventListener('abort', onEnding, { once: true });
    if (this.#ending.signal.aborted) onEnding();
    const { connectTimeoutMs = 10_000 } = this.#options;
    const cancelTimeout = this.#clock.after(connectTimeoutMs, () =>
      controller.abort(new SessionError('CONNECT_TIMEOUT', `not connected within ${connectTimeoutMs} ms`)),
    );
    let session: Session<In, Out> | undefined;
    try {
      session = await this.#options.connect(address, controller.signal);
      // It was too late, or nobody wants it any more: the same may be so behind `onConnect`.
      controller.signal.throwIfAborted();
      await this.#welcome(session, address, controller.signal);
      controller.signal.throwIfAborted();
    } catch (error) {
      session?.abort(error);
      await session?.closed;
      return { error, hasLasted: false };
    } finally {
      cancelTimeout();
      this.#ending.signal.removeEventListener('abort', onEnding);
    }
    return await this.#live(session, address);
  }

  async #welcome(session: Session<In, Out>, address: Address, signal: AbortSignal): Promise<void> {
    const { onConnect } = this.#options;
    if (onConnect === undefined) return;
    const died = session.closed.then((reason) => {
      throw errorOf(reason);
    });
    died.catch(() => {}); // when nobody waits for it any more
    await unless(signal, Promise.race([onConnect(session, { address, signal }), died]));
  }

  async #live(session: Session<In, Out>, address: Address): Promise<Outcome> {
    const sinceMs = this.#clock.nowMs();
    this.#session = session;
    this.#unread.push(session);
    if (this.#unread.length > MAX_UNREAD_SESSIONS) this.#unread.shift();
    this.#outbox.rewind();
    this.#enter({ kind: 'connected', address, session });
    this.#toFollowers((follower) => follower.onSession(session as never));
    this.#flush();
    const error = await session.closed;
    this.#session = undefined;
    this.#toFollowers((follower) => follower.onLost());
    this.#forgetRead();
    this.#notify();
    return { error, hasLasted: this.#clock.nowMs() - sinceMs >= (this.#options.stableMs ?? 10_000) };
  }

  /** Sessions that are over and have nothing to be read: not the one that is being read, which is taken off there. */
  #forgetRead(): void {
    const first = this.#isReading ? 1 : 0;
    const rest = this.#unread.splice(first);
    this.#unread.push(...rest.filter((session) => session.unreadFrames > 0));
  }

  async #wait(failures: number, error: unknown): Promise<void> {
    const delayMs = this.#backoff.delayMs(failures);
    this.#enter({ kind: 'waiting', delayMs, attempt: failures + 1, error });
    let cancel = (): void => {};
    const elapsed = new Promise<void>((resolve) => {
      cancel = this.#clock.after(delayMs, resolve);
    });
    await unless(this.#ending.signal, elapsed).catch(cancel);
  }

  #inOrder(): readonly Address[] {
    const { addresses, order } = this.#options;
    if (order !== 'shuffled') return addresses;
    const shuffled = [...addresses];
    for (let last = shuffled.length - 1; last > 0; last--) {
      const other = Math.floor(this.#random() * (last + 1));
      [shuffled[last], shuffled[other]] = [shuffled[other] as Address, shuffled[last] as Address];
    }
    return shuffled;
  }

  // ------------------------------------------------------------------------------------------------- being listened to

  /** Tells of the sessions, each when it is connected: for `call` and `respond`. */
  follow(follower: SessionFollower): void {
    this.#followers.add(follower);
    if (this.#state.kind === 'closed') follower.onEnd(this.#state.reason);
    else if (this.#session !== undefined) follower.onSession(this.#session as never);
  }

  #enter(state: ClientState<Session<In, Out>, Address>): void {
    this.#state = state;
    this.#tell(state.kind, state);
    this.#notify();
  }

  #tell(event: keyof ClientEvents<unknown, unknown, unknown>, ...parameters: unknown[]): void {
    guard(() => (this as EventEmitter).emit(event, ...parameters));
  }

  #toFollowers(tell: (follower: SessionFollower) => void): void {
    for (const follower of this.#followers) guard(() => tell(follower));
  }

  /** Resolves when something has changed. */
  #change(signal?: AbortSignal): Promise<void> {
    signal?.throwIfAborted();
    let watcher = (): void => {};
    const changed = new Promise<void>((resolve) => {
      watcher = resolve;
      this.#watchers.add(watcher);
    });
    return signal === undefined ? changed : unless(signal, changed).finally(() => this.#watchers.delete(watcher));
  }

  #notify(): void {
    const watchers = [...this.#watchers];
    this.#watchers.clear();
    for (const watcher of watchers) watcher();
  }
}
