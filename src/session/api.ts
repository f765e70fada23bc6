/** What a session is to its user: typed messages over one connection, in both directions. */
import type { TlsInfo, VerifiedIdentity } from '../direct/index.ts';
import type { Codec } from '../framing/index.ts';
import type { SessionCloseReason } from './reasons.ts';

/**
 * What became of a message.
 *
 * - `sent`: taken, and the write buffer is below its high marks. Go on.
 * - `queued`: taken, but the write buffer is full: slow down.
 * - `dropped`: not taken: `writeBuffer.maxBytes` would have been passed, or nothing can be sent any more.
 */
export type SendStatus = 'sent' | 'queued' | 'dropped';

export interface SendOptions {
  /**
   * A message that still waits in the session's queue and was sent with the same key is replaced by this one: a slow
   * peer gets the newest state in place of all of them.
   */
  conflate?: unknown;
}

export interface WaitOptions {
  /** Ends the wait: the promise is rejected with its reason. */
  signal?: AbortSignal | undefined;
}

/** Who is on the other side. */
export interface SessionPeer {
  /** As the PROXY protocol says, where that is used; `undefined` with unix sockets. IPv4 within IPv6 is IPv4. */
  readonly address: string | undefined;
  readonly port: number | undefined;
  /** What a trusted proxy said about the connection. */
  readonly proxy: ProxyInfo | undefined;
  /**
   * With `tls`, whose certificate the peer has shown: subject, alternative names, SPIFFE id. `undefined` unless it was
   * verified: with `serve`, only where `tls.requestCert` asks for one.
   */
  readonly identity: VerifiedIdentity | undefined;
}

/** What a PROXY protocol header says. */
export interface ProxyInfo {
  readonly version: 1 | 2;
  /** `local`: the proxy speaks for itself (a health check); the peer is the proxy then. */
  readonly command: 'proxy' | 'local';
  readonly transport: 'tcp4' | 'tcp6' | 'unix' | 'udp4' | 'udp6' | 'unknown';
  /** The client, as the proxy sees it; an address, or the path of a unix socket. */
  readonly source: { readonly address: string; readonly port: number | undefined } | undefined;
  /** What the client connected to. */
  readonly destination: { readonly address: string; readonly port: number | undefined } | undefined;
  /** The type-length-values of version 2, as they came. */
  readonly tlvs: readonly { readonly type: number; readonly value: Buffer }[];
  /** PP2_TYPE_AUTHORITY: the host name the client asked for (SNI). */
  readonly authority: string | undefined;
  /** PP2_TYPE_UNIQUE_ID */
  readonly uniqueId: Buffer | undefined;
  /** The proxy itself. */
  readonly via: { readonly address: string | undefined; readonly port: number | undefined };
}

/** Work in flight that `drain` waits for. Over when it is released, or disposed; a second time does nothing. */
export interface Hold extends Disposable {
  release(): void;
}

export interface Session<In, Out = In> extends AsyncIterable<In>, AsyncDisposable {
  /** Yours. */
  data: unknown;
  readonly peer: SessionPeer;
  /** What the TLS handshake has found out; `undefined` without `tls`. */
  readonly tls: TlsInfo | undefined;

  // ------------------------------------------------------------------------------------------------------- receiving

  /**
   * The next message, or `undefined` when the peer has ended or we have closed. One call at a time; the same consumer
   * as the iterator. Messages that nobody takes slow the peer down (`limits.readBuffer`).
   *
   * @throws {SessionError} the session ended badly, and all messages before that were taken
   * @throws {MILLRACE_ERR_MISUSE} another call waits already
   */
  receive(options?: WaitOptions): Promise<In | undefined>;

  /**
   * The messages until the peer ends. There is one iterator in a session's life. Leaving the loop early closes the
   * session.
   *
   * @throws {MILLRACE_ERR_MISUSE} there was an iterator already
   */
  [Symbol.asyncIterator](): AsyncIterableIterator<In, undefined>;

  /**
   * From the next message on another codec, in both directions; no byte is lost. Only with `decodeAhead: false`:
   * otherwise messages behind this one may be decoded already.
   *
   * @param options `decodeAhead: true` when this was the last change
   * @returns this session, by its new type
   * @throws {MILLRACE_ERR_MISUSE}
   */
  switchCodec<NextIn, NextOut>(
    codec: Codec<NextIn, NextOut>,
    options?: { decodeAhead?: boolean | undefined },
  ): Session<NextIn, NextOut>;

  // --------------------------------------------------------------------------------------------------------- sending

  /**
   * Sends a message. Resolves at once as long as the write buffer is below its high marks, otherwise when it is below
   * the low ones: who awaits it can't send faster than the peer reads. That it resolves doesn't say that the peer has
   * the message; only an answer does. A signal ends the wait, not the message.
   *
   * @throws {SessionError} the session is over, or is over before the wait is; the reason is that of the session
   * @throws {MILLRACE_ERR_DROPPED} by the overflow policy
   * @throws {FramingError} the codec has no frame for this message
   */
  send(message: Out, options?: SendOptions & WaitOptions): Promise<void>;

  /**
   * Sends a message and says what became of it; never waits.
   *
   * @throws {FramingError} the codec has no frame for this message
   */
  trySend(message: Out, options?: SendOptions): SendStatus;

  /**
   * As `trySend`, for a message that is a whole frame already: encode once (`codec.encode(message)`), send to a thousand
   * sessions. The frame is not looked at, and must not be changed afterwards: sessions whose peers are slow share it.
   *
   * @param frame one whole frame of this session's codec
   * @throws {MILLRACE_ERR_MISUSE} no bytes
   */
  trySendFrame(frame: Uint8Array, options?: SendOptions): SendStatus;

  /** Ends our side, behind everything that waits; the peer's messages still come. */
  end(): void;

  // ---------------------------------------------------------------------------------------------------------- ending

  /**
   * Ends well: sends what waits, ends our side, waits for the peer to end (at most `limits.lingerMs`; its messages are
   * thrown away), closes. The consumer sees the end at once.
   *
   * @param cause is told as the `cause` of the reason
   */
  close(cause?: unknown): Promise<SessionCloseReason>;

  /** Closes at once, and throws away what waits; the peer sees a reset. */
  abort(cause?: unknown): void;

  /** Resolves when it is over. It is never rejected. */
  readonly closed: Promise<SessionCloseReason>;

  /** Aborted when it is over, with the `SessionError`: ends the work for a peer that is gone. */
  readonly signal: AbortSignal;

  /** Whether messages can be sent. */
  readonly isWritable: boolean;
  /** Whether the write buffer is full: `trySend` would say `queued` or `dropped`. */
  readonly isFull: boolean;

  // -------------------------------------------------------------------------------------------------------- lifetime

  /** The handshake is over: for `handshakeUntil: 'ready'`. */
  ready(): void;

  /**
   * Work that `drain` and `maxAgeMs` wait for, besides a message that was taken while the next wasn't asked for. Each hold
   * counts as 4 KiB in the `memory` of the limits. A call under way is one.
   */
  hold(): Hold;

  /** Whether it is to be closed as soon as it isn't busy: by `drain`, or by its age. */
  readonly isLeaving: boolean;

  // --------------------------------------------------------------------------------------------------------- figures

  /** What waits to be sent. */
  readonly bufferedBytes: number;
  readonly bufferedFrames: number;
  /** Messages that wait for the consumer. */
  readonly unreadFrames: number;
  readonly bytesRead: number;
  /** Taken by the kernel. */
  readonly bytesWritten: number;
  readonly framesRead: number;
  readonly framesWritten: number;
  /** Messages that the overflow policy has dropped, or that a newer one has replaced. */
  readonly framesDropped: number;
  /** Messages over the limit that the codec left out (`onTooLarge: 'skip'`). */
  readonly framesSkipped: number;
}
