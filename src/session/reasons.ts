/**
 * Why a connection was refused, and why a session is over: the one table. A reason has the same name in the code of a
 * `SessionError` (`MILLRACE_ERR_` and the reason), in what `onRefused` and `onClosed` are told, on the diagnostics
 * channels and in metrics.
 */
import type { FramingReason } from '../framing/index.ts';

/** A connection that never became a session: it was reset as soon as that was known. */
export const refusals = {
  TOO_MANY_CONNECTIONS: 'as many connections as there may be are open',
  TOO_MANY_FROM_ADDRESS: 'as many connections of this address as there may be are open',
  TOO_MANY_FROM_NETWORK: 'as many connections of this /64 of IPv6 as there may be are open',
  ACCEPT_RATE: 'connections come faster than they may',
  DRAINING: 'the server is being drained or closed',
  PEER_GONE: 'the peer had reset the connection before it was accepted',
  PROXY_UNTRUSTED: 'the connection does not come from one of the trusted proxies',
  PROXY_HEADER_MISSING: 'a trusted proxy did not begin with a PROXY protocol header',
  PROXY_HEADER_BAD: 'the PROXY protocol header is not one',
  PROXY_HEADER_TOO_LARGE: 'the PROXY protocol header is larger than the limit',
  PROXY_HEADER_TIMEOUT: 'the PROXY protocol header did not come in time',
  TLS_HANDSHAKE_FAILED: 'the TLS handshake failed, or the certificate of the client was not accepted',
  TLS_HANDSHAKE_TIMEOUT: 'the TLS handshake was not over in time',
} as const;

/** How sessions end. Those above the line are good ends: all that was sent left, and both sides have ended. */
export const closings = {
  ENDED: 'the peer has ended, and so have we',
  CLOSED: 'the session was closed here',
  DRAINED: 'the server was drained',
  SERVER_CLOSED: 'the server was closed',
  MAX_AGE: 'the session has lived as long as it may',
  // ------------------------------------------------------------------------------------------------------------------
  ABORTED: 'the session was aborted here',
  HANDLER_ERROR: 'the handler of the session threw',
  RESET: 'the peer has reset the connection',
  CONNECTION_ERROR: 'the connection failed',
  TLS_ERROR: 'what the peer sent is no TLS, was changed on the way, or is an alert',
  TLS_TRUNCATED: 'the peer has ended a TLS connection without saying so: something may be cut off',
  FIRST_BYTE_TIMEOUT: 'the peer said nothing',
  HANDSHAKE_TIMEOUT: 'the handshake was not over in time',
  FRAME_TIMEOUT: 'a frame was begun and not completed in time',
  SLOW_PEER: 'the bytes of a frame came slower than they may',
  IDLE_TIMEOUT: 'nothing was received or sent',
  PEER_NOT_READING: 'what waits to be sent was not taken',
  PEER_SILENT: 'the peer did not answer a heartbeat',
  LINGER_TIMEOUT: 'we have ended, and the peer did not',
  WRITE_OVERFLOW: 'more waits to be sent than may',
  MEMORY_BUDGET: 'the memory of all sessions was spent, and this one held the most',
  DRAIN_DEADLINE: 'the server was drained, and the session was not done in time',
  BAD_MESSAGE: 'the codec refused a message for a reason of its own',
} as const;

/** What is wrong with a call; the session lives on. The last three are of clients that reconnect. */
export const misuses = {
  DROPPED: 'the message was dropped: more waits to be sent than may',
  BAD_OPTION: 'an option that makes no sense',
  MISUSE: 'a call at the wrong time',
  OUTBOX_FULL: 'more messages wait for a connection than may',
  CONNECT_TIMEOUT: 'connecting, with what has to be done first, took too long',
  CLIENT_CLOSED: 'the client is closed',
} as const;

export type RefusalReason = keyof typeof refusals;
/** Those of `closings`, and what a codec refuses. */
export type ClosingReason = keyof typeof closings | Exclude<FramingReason, 'BAD_OPTION' | 'MISUSE' | 'BAD_PAYLOAD'>;
export type SessionReason = RefusalReason | ClosingReason | keyof typeof misuses;

/** Why a session is over. Told to `onClosed`, and what `session.closed` resolves with. */
export interface SessionCloseReason {
  readonly reason: ClosingReason;
  /** The same as a sentence, with figures. */
  readonly message: string;
  /** What is behind it: the error of the codec, the system or the handler; what `close()` or `abort()` was given. */
  readonly cause?: unknown;
  /** The limit that was passed, in the unit of its option. */
  readonly limit?: number | undefined;
  /** Bytes that were accepted by `send` and not taken by the kernel: they are lost. */
  readonly unsentBytes: number;
}

/** The good ends. What was sent then has left, and a consumer sees an end rather than an error. */
const good: ReadonlySet<ClosingReason> = new Set(['ENDED', 'CLOSED', 'DRAINED', 'SERVER_CLOSED', 'MAX_AGE'] as const);

/** Whether a session came to a good end: both sides have ended, and everything was sent. */
export function isGoodEnd(reason: ClosingReason): boolean {
  return good.has(reason);
}
