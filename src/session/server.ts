/**
 * A server of sessions: who gets in, whose handler runs, what became of whom, and how it ends.
 *
 *      accepted ──gate──> [PROXY header] ──gate──> [TLS handshake] ──> session ──handler──> closed
 *            └─────────────────┴────────────└─────────────┴──> refused: reset, with a reason
 */
import { isIP } from 'node:net';
import { type Connection, drainsBy, type ServedCertificate, type Server, type TlsContext } from '../direct/index.ts';
import type { ProxyInfo, Session, SessionPeer } from './api.ts';
import * as channels from './channels.ts';
import { Drain, type DrainOptions, type DrainResult } from './drain.ts';
import { SessionError } from './errors.ts';
import type { Gate } from './gate.ts';
import { Counts, type ServerMetrics } from './metrics.ts';
import { isIn, plainAddress } from './networks.ts';
import { type ProxyRules, ProxyStage } from './proxy-stage.ts';
import { closings, type RefusalReason, refusals, type SessionCloseReason } from './reasons.ts';
import { type Endpoint, LiveSession, type SessionSetup } from './session.ts';
import { tell } from './tell.ts';
import { TlsStage } from './tls-stage.ts';

/** Runs for each session. When its promise is settled, the session ends: well, whichever way. */
export type SessionHandler<In, Out> = (session: Session<In, Out>) => Promise<void>;

/** A connection that was refused. */
export interface Refusal {
  readonly reason: RefusalReason;
  readonly message: string;
  /** Of the peer, as far as it was known: of the proxy, before its header. */
  readonly address: string | undefined;
  readonly port: number | undefined;
  /** Of `TLS_HANDSHAKE_FAILED`: Node's or OpenSSL's error. */
  readonly cause?: unknown;
}

/** What a server tells. What these throw is an 'uncaughtException'. */
export interface ServerEvents<In, Out> {
  onRefused?: ((refusal: Refusal) => void) | undefined;
  /** A session is over. */
  onClosed?: ((session: Session<In, Out>, reason: SessionCloseReason) => void) | undefined;
  /**
   * What a handler threw, unless it is that its session is over; its session is closed: `HANDLER_ERROR`. Also what
   * accepting itself fails with, without a session. Without it there is a warning of the process, once.
   */
  onError?: ((error: unknown, session: Session<In, Out> | undefined) => void) | undefined;
  /**
   * A message whose content is wrong (`BAD_JSON`, `SCHEMA`, …). It is left out, then; without it, that is the end. Also
   * told of a message that the codec leaves out anyway, as soon as it is too large (`onTooLarge: 'skip'`).
   */
  onBadMessage?: ((error: unknown, session: Session<In, Out>) => void) | undefined;
}

/** Of a connection that was refused, or is about to be. */
const NOBODY: Endpoint = { onData() {}, onDrain() {}, onEnd() {}, onClose() {} };

export class SessionServer<In, Out = In> implements AsyncDisposable {
  readonly #setup: SessionSetup<In, Out>;
  readonly #handler: SessionHandler<In, Out>;
  readonly #events: ServerEvents<In, Out>;
  readonly #gate: Gate;
  readonly #proxy: ProxyRules | undefined;
  readonly #isSecure: boolean;
  readonly #counts = new Counts();
  readonly #sessions = new Set<LiveSession<In, Out>>();
  readonly #stages = new Set<Connection<Endpoint>>();
  #listener!: Server<Endpoint>;
  #signal: AbortSignal | undefined;
  readonly #onAbort = (): void => void this.close();
  #isStopping = false;
  #hasWarned = false;

  /** @internal */
  constructor(
    setup: Omit<SessionSetup<In, Out>, 'onClosed' | 'onError'>,
    handler: SessionHandler<In, Out>,
    events: ServerEvents<In, Out>,
    gate: Gate,
    proxy: ProxyRules | undefined,
    isSecure: boolean,
  ) {
    this.#setup = {
      ...setup,
      onClosed: (session, reason) => this.#onClosed(session, reason),
      onError: (error, session) => this.#report(error, session),
    };
    this.#handler = handler;
    this.#events = events;
    this.#gate = gate;
    this.#proxy = proxy;
    this.#isSecure = isSecure;
  }

  /** @internal */
  listensOn(listener: Server<Endpoint>, signal: AbortSignal | undefined): void {
    this.#listener = listener;
    drainsBy(listener as Server<never>, async (deadlineMs) => (await this.drain({ deadlineMs })).cut.length);
    this.#signal = signal;
    signal?.addEventListener('abort', this.#onAbort, { once: true });
    if (signal?.aborted === true) this.#onAbort();
  }

  /** What is served with at present; `undefined` without `tls.certificates`. */
  get certificate(): ServedCertificate | undefined {
    return this.#listener.certificate;
  }

  /**
   * Another key and certificate for handshakes from now on; sessions that are open keep theirs. With `tls.certificates`, until
   * those change.
   *
   * @throws {MILLRACE_ERR_BAD_OPTION}, {MILLRACE_ERR_MISUSE} without `tls`; ERR_OSSL_…: the old ones stay, then
   */
  setSecureContext(context: TlsContext): void {
    this.#listener.setSecureContext(context);
  }

  // ----------------------------------------------------------------------------------------------------------- figures

  /** `undefined` with unix sockets. */
  get port(): number | undefined {
    return this.#listener.port;
  }

  /** The address, or the path of a unix socket. */
  get address(): string {
    const { address } = this.#listener;
    return typeof address === 'string' ? address : address.address;
  }

  get sessionCount(): number {
    return this.#sessions.size;
  }

  /** The sessions that are open. */
  sessions(): Iterable<Session<In, Out>> {
    return this.#sessions.values();
  }

  metrics(): ServerMetrics {
    const { sessions, refused, closed, unsentBytes } = this.#counts;
    const { lateTicks, lateMs } = this.#setup.sweep;
    let bufferedBytes = 0;
    for (const session of this.#sessions) bufferedBytes += session.bufferedBytes;
    return {
      openSessions: this.#sessions.size,
      openConnections: this.#gate.open,
      sessions,
      refused: { ...refused },
      closed: { ...closed },
      ...this.#counts.traffic(this.#sessions),
      bufferedBytes,
      unsentBytes,
      loop: { lateTicks, lateMs },
    };
  }

  // -------------------------------------------------------------------------------------------------------- who gets in

  /** @internal */
  onConnection(connection: Connection<Endpoint>): void {
    connection.data = NOBODY;
    const refusal = this.#isStopping ? 'DRAINING' : this.#isGone(connection) ? 'PEER_GONE' : this.#gate.arrive();
    if (refusal !== undefined) {
      this.#refuse(connection, refusal);
      return;
    }
    const proxy = this.#proxy;
    if (proxy === undefined) {
      this.#admit(connection, undefined);
      return;
    }
    const address = connection.remote?.address;
    const isTrusted =
      address === undefined ? proxy.trustUnixSockets : isIn(proxy.trustedProxies, plainAddress(address));
    if (isTrusted) this.#awaitHeader(connection, proxy);
    else if (proxy.others === 'accept') this.#admit(connection, undefined);
    else {
      this.#gate.gone();
      this.#refuse(connection, 'PROXY_UNTRUSTED');
    }
  }

  /**
   * getpeername(2): ENOTCONN after a reset, although what came before it can still be read. Nobody knows whose it is, and
   * it must not be taken for a unix socket, which has no address either.
   */
  #isGone(connection: Connection<Endpoint>): boolean {
    return this.#listener.port !== undefined && connection.remote === undefined;
  }

  #awaitHeader(connection: Connection<Endpoint>, rules: ProxyRules): void {
    this.#stages.add(connection);
    connection.data = new ProxyStage(connection, rules, this.#setup.sweep, {
      admit: (proxy, rest) => {
        this.#stages.delete(connection);
        this.#admit(connection, proxy, rest);
      },
      refuse: (reason, message) => {
        this.#stages.delete(connection);
        this.#gate.gone();
        this.#refuse(connection, reason, message);
      },
      gone: () => {
        this.#stages.delete(connection);
        this.#gate.gone();
      },
    });
  }

  /** It is known whose it is. @param rest lent: bytes that were received already */
  #admit(connection: Connection<Endpoint>, proxy: ProxyInfo | undefined, rest?: Buffer): void {
    const peer = peerOf(connection, proxy);
    const refusal = this.#isStopping ? 'DRAINING' : this.#gate.enter(peer.address);
    if (refusal !== undefined) {
      this.#gate.gone();
      this.#refuse(connection, refusal, refusals[refusal], peer);
      return;
    }
    if (this.#isSecure) {
      this.#secure(connection, peer, rest);
      return;
    }
    const session = this.#open(connection, peer);
    if (rest !== undefined && rest.length > 0) session.onData(rest);
  }

  #secure(connection: Connection<Endpoint>, peer: SessionPeer, rest: Buffer | undefined): void {
    const gone = (): void => {
      this.#stages.delete(connection);
      this.#gate.leave(peer.address);
      this.#gate.gone();
    };
    this.#stages.add(connection);
    connection.data = new TlsStage({
      admit: () => {
        this.#stages.delete(connection);
        this.#open(connection, { ...peer, identity: connection.tls?.peer });
      },
      refuse: (reason, message, cause) => {
        gone();
        this.#refuse(connection, reason, message, peer, cause);
      },
      gone,
    });
    connection.startTls(rest);
  }

  #open(connection: Connection<Endpoint>, peer: SessionPeer): LiveSession<In, Out> {
    const session = new LiveSession<In, Out>(connection, peer, this.#setup);
    connection.data = session;
    this.#sessions.add(session);
    this.#counts.sessions++;
    if (channels.opened.hasSubscribers) channels.opened.publish({ session });
    this.#run(session);
    return session;
  }

  #refuse(
    connection: Connection<Endpoint>,
    reason: RefusalReason,
    message: string = refusals[reason],
    peer: SessionPeer = peerOf(connection, undefined),
    cause?: unknown,
  ): void {
    connection.data = NOBODY;
    connection.terminate();
    this.#counts.countRefused(reason);
    const { address, port } = peer;
    const refusal: Refusal = { reason, message, address, port, ...(cause === undefined ? {} : { cause }) };
    if (channels.refused.hasSubscribers) channels.refused.publish({ refusal });
    tell(() => this.#events.onRefused?.(refusal));
  }

  // ------------------------------------------------------------------------------------------------------- its handler

  #run(session: LiveSession<In, Out>): void {
    const run = async (): Promise<void> => this.#handler(session);
    run().then(
      () => void session.close(),
      (error: unknown) => this.#onThrown(session, error),
    );
  }

  #onThrown(session: LiveSession<In, Out>, error: unknown): void {
    if (session.isClosing && isItsEnd(error)) {
      void session.close();
      return;
    }
    session.finish('HANDLER_ERROR', closings.HANDLER_ERROR, error);
    this.#report(error, session);
  }

  #report(error: unknown, session: LiveSession<In, Out> | undefined): void {
    if (channels.failed.hasSubscribers) channels.failed.publish({ error, session });
    const { onError } = this.#events;
    if (onError !== undefined) {
      tell(() => onError(error, session));
    } else if (!this.#hasWarned) {
      this.#hasWarned = true;
      const said = error instanceof Error ? (error.stack ?? error.message) : String(error);
      process.emitWarning(`an error in a session, and serve() has no onError: ${said}`, {
        code: 'MILLRACE_WARN_SESSION',
      });
    }
  }

  /** @internal */
  onAcceptError(error: Error): void {
    this.#report(error, undefined);
  }

  #onClosed(session: LiveSession<In, Out>, reason: SessionCloseReason): void {
    this.#sessions.delete(session);
    this.#gate.leave(session.peer.address);
    this.#gate.gone();
    this.#counts.countClosed(session, reason.reason, reason.unsentBytes);
    if (channels.closed.hasSubscribers) channels.closed.publish({ session, reason });
    tell(() => this.#events.onClosed?.(session, reason));
  }

  // ---------------------------------------------------------------------------------------------------------- its end

  /**
   * Stops accepting and lets the sessions end: says goodbye, waits for what is in flight, closes, and cuts what isn't
   * done by the deadline. See `DrainOptions`.
   *
   * @returns how many came to an end of their own, and those that were cut
   * @throws {MILLRACE_ERR_BAD_OPTION}
   */
  async drain(options: DrainOptions<In, Out> = {}): Promise<DrainResult<In, Out>> {
    const drain = new Drain(
      this.#sessions,
      { ...options, goodbye: options.goodbye ?? this.#setup.goodbye },
      this.#setup.sweep,
      (error, session) => this.#report(error, session),
    );
    const stopped = this.#stop();
    const result = await drain.run(options.signal);
    await stopped;
    return result;
  }

  /**
   * Stops accepting and closes all sessions, each as its `close()` would: what waits is sent, and the peer has
   * `lingerMs` to end. Resolves when all are closed.
   */
  async close(): Promise<void> {
    const stopped = this.#stop();
    for (const session of this.#sessions) session.finish('SERVER_CLOSED', closings.SERVER_CLOSED);
    await stopped;
  }

  #stop(): Promise<void> {
    this.#isStopping = true;
    this.#signal?.removeEventListener('abort', this.#onAbort);
    const stopped = this.#listener.close();
    for (const connection of this.#stages) {
      connection.data.onClose({ kind: 'terminated' });
      this.#refuse(connection, 'DRAINING');
    }
    return stopped;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}

function peerOf(connection: Connection<Endpoint>, proxy: ProxyInfo | undefined): SessionPeer {
  const source = proxy?.source;
  if (source !== undefined && isIP(source.address) !== 0) {
    return { address: plainAddress(source.address), port: source.port, proxy, identity: undefined };
  }
  const { remote } = connection;
  return { address: remote && plainAddress(remote.address), port: remote?.port, proxy, identity: undefined };
}

/** Whether a handler threw because its session is over: what `send` and `receive` throw, and what signals do. */
function isItsEnd(error: unknown): boolean {
  if (error instanceof SessionError) return error.reason !== 'MISUSE' && error.reason !== 'BAD_OPTION';
  return error instanceof Error && error.name === 'AbortError' && error.cause instanceof SessionError;
}
