/**
 * The types of `millrace/direct`: one table of handlers for all connections of a server, in place of an emitter and two
 * streams for each. The same on every engine; what makes connections is in listen.ts and connect.ts.
 *
 * Nothing here is a promise or a stream: `data` is called with the bytes where they lie, `write` takes bytes until a cap
 * and says what became of them, and all that is written in one turn leaves together.
 */
import type { LookupFunction } from 'node:net';
import type { IpAddress } from '../engine/address.ts';
import type { TcpInfo } from '../engine/tcp-info.ts';
import type { ServedCertificate, TlsClientOptions, TlsContext, TlsInfo, TlsServerOptions } from './tls-api.ts';

/**
 * What `write` did with the bytes.
 *
 * - `sent`: taken, and not more than `highWaterMark` bytes wait. Go on.
 * - `queued`: taken, but more than `highWaterMark` bytes wait now. Go on when `drain` is called.
 * - `dropped`: `maxBufferedBytes` would have been passed, or the connection can't be written to any more. The bytes (with
 *   `dropOldest`: older ones; then this write is told `queued`) are gone. After a drop at the cap `drain` is called, too.
 */
export type WriteStatus = 'sent' | 'queued' | 'dropped';

/** What happens to a write that would pass `maxBufferedBytes`. */
export type OverflowPolicy =
  /** The connection is reset: a peer that doesn't read is of no use. */
  | 'close'
  /** The write is dropped, as a whole. */
  | 'dropNewest'
  /**
   * Writes that wait, oldest first and as a whole, give way; never one that the kernel was given (at most 64 KiB, or one
   * write, at a time). If that is not enough, the new one is dropped.
   * At most 65,536 writes wait: each takes memory besides its bytes.
   */
  | 'dropOldest';

/** Why a connection is closed: told once, to `close`. */
export type CloseReason =
  /** Both sides have ended, and everything was sent and received. */
  | { readonly kind: 'ended' }
  /** `terminate()`, or the server's `terminateAll()`. The peer sees a reset, on unix sockets an end. */
  | { readonly kind: 'terminated' }
  /** The peer has reset the connection (ECONNRESET, EPIPE). */
  | { readonly kind: 'reset'; readonly error: Error }
  /** Nothing was received (`read`), or nothing that waits could be sent (`write`), for so long. */
  | { readonly kind: 'timeout'; readonly side: 'read' | 'write'; readonly afterMs: number }
  /** More bytes waited to be sent than `maxBufferedBytes`, with the policy `close`. */
  | { readonly kind: 'overflow'; readonly bufferedBytes: number; readonly limitBytes: number }
  /**
   * TLS has failed: what came can't be decrypted, the peer has sent an alert, there was no close_notify before its end, or a
   * handshake that `startTls` had begun.
   */
  | { readonly kind: 'tls'; readonly error: Error }
  /** Any other error of the system: ETIMEDOUT, EHOSTUNREACH, … */
  | { readonly kind: 'error'; readonly error: Error }
  /** A handler threw this. */
  | { readonly kind: 'handler'; readonly error: unknown };

/** Of one connection; all in bytes. */
export interface WriteLimits {
  /** Above it `write` says `queued`. 64 KiB unless given. */
  highWaterMark?: number | undefined;
  /** Not above it any more: `drain`. A quarter of `highWaterMark` unless given. */
  lowWaterMark?: number | undefined;
  /** The hard cap. 16 MiB unless given. */
  maxBufferedBytes?: number | undefined;
  /** What happens at the cap. `close` unless given. */
  overflow?: OverflowPolicy | undefined;
}

/**
 * Called as methods of their table, with the connection first, in the asynchronous context (AsyncLocalStorage) in which
 * `listen` or `connect` was called. Everything that is written in one turn leaves together. What a handler returns is
 * ignored: the rejection of an async one is an 'unhandledRejection'.
 */
export interface Handlers<Data = unknown> {
  /**
   * It is connected; with `tls`, the handshake is done and the peer was accepted. `c.data` is `undefined` until somebody sets
   * it: here, as a rule.
   */
  open?(c: Connection<Data>): void;
  /**
   * Bytes were received. `view` is memory of the engine, good until this returns: `Buffer.from(view)` keeps them.
   * `MILLRACE_DEBUG_VIEWS=1` overwrites a view afterwards, to find who kept one. `view.buffer` is more than the view, and
   * nobody's business.
   */
  data?(c: Connection<Data>, view: Buffer): void;
  /** What `startTls` has begun is done: from now on the connection is secure, and `c.tls` is there. */
  secure?(c: Connection<Data>): void;
  /** After `queued`, or `dropped` at the cap: not more than `lowWaterMark` bytes wait now. */
  drain?(c: Connection<Data>): void;
  /** The peer has ended its side. Unless `allowHalfOpen`, ours ends when this has returned, after what was written. */
  end?(c: Connection<Data>): void;
  /**
   * An idle time has passed (see `setTimeout`). Without this handler the connection is closed with a reason of the kind
   * `timeout`; with it, it lives on and the time begins again.
   */
  timeout?(c: Connection<Data>, side: 'read' | 'write'): void;
  /** It is closed: exactly once for each `open`, and nothing follows. */
  close?(c: Connection<Data>, reason: CloseReason): void;
  /**
   * An error, before the `close` that it leads to. What a handler throws comes here, too; without this handler it is
   * thrown on, as an 'uncaughtException', once the connection is closed.
   */
  error?(c: Connection<Data>, error: unknown): void;
}

export interface Connection<Data = unknown> {
  /** Yours. */
  data: Data;
  /** Bytes that wait to be taken by the kernel. */
  readonly bufferedBytes: number;
  /** Bytes received, and taken by the kernel, so far. */
  readonly bytesRead: number;
  readonly bytesWritten: number;
  /** Whether `write` still takes bytes: not after `end()`, `terminate()` or an error. */
  readonly isWritable: boolean;
  readonly isPaused: boolean;
  readonly isClosed: boolean;
  /**
   * `undefined` with unix sockets. The kernel is asked once, and tells nothing of what is closed: to have it in `close`, ask
   * in `open`.
   */
  readonly remote: Readonly<IpAddress> | undefined;
  readonly local: Readonly<IpAddress> | undefined;
  /** Of a connection that is secure: what the handshake has found out. First asked for in `close` at the latest. */
  readonly tls: TlsInfo | undefined;

  /**
   * Takes bytes or text, all or nothing; `chunk` must not be changed until it was sent if it is larger than 4 KiB (the
   * rest is copied, and so is whatever is lent). After the end it says `dropped`.
   * @param encoding of text; `utf8` unless given
   * @throws {DirectError} BAD_CHUNK: neither text nor bytes, or an unknown encoding
   */
  write(chunk: Uint8Array | string, encoding?: BufferEncoding): WriteStatus;
  /**
   * Ends our side when everything was sent, after `chunk` if there is one. The connection closes when both have ended.
   * @returns what `write` said of the chunk; `sent` without one, `dropped` when our side had ended before
   */
  end(chunk?: Uint8Array | string, encoding?: BufferEncoding): WriteStatus;
  /**
   * From here on the connection is secured, in mid-stream (STARTTLS, the PROXY protocol): with `tls: { onDemand: true }`. What
   * was written before leaves as it is; what is written from now on waits for the handshake. The answer is `secure`, or a
   * `close` with a reason of the kind `tls`.
   * @param head bytes of `data` that are the peer's first of TLS already; they are copied. Whatever else came with the request
   * is not to be trusted: it came in plain, from anybody (CVE-2011-0411)
   * @throws {DirectError} MISUSE: without the option, a second time, or after an end
   */
  startTls(head?: Uint8Array): void;
  /** Closes at once and throws away what waits; the peer sees a reset. `close` comes in a turn of its own. */
  terminate(): void;
  /** No `data` from now on (but up to 64 KiB that are on their way already may still come); the kernel's window closes. */
  pause(): void;
  resume(): void;
  /**
   * Idle times in ms, each 0 for none: `readMs` since bytes were received, `writeMs` since the kernel took some while
   * bytes wait. What isn't given stays. Kept by one coarse wheel: up to a quarter of a second late, never early. Nothing is
   * counted while we are paused, after the peer's end, and while our own loop was blocked.
   */
  setTimeout(idle: { readMs?: number | undefined; writeMs?: number | undefined }): void;
  /** Another table of handlers for this connection alone. */
  reload(handlers: Handlers<Data>): void;
  setNoDelay(on?: boolean): void;
  setKeepAlive(on: boolean, delayMs?: number): void;
  /** TCP_USER_TIMEOUT, tcp(7): how long sent bytes may stay unacknowledged. */
  setUserTimeout(ms: number): void;
  tcpInfo(): TcpInfo | undefined;
  ref(): void;
  unref(): void;
}

/** How each connection starts. */
export interface ConnectionOptions {
  limits?: WriteLimits | undefined;
  /** Our side stays open when the peer has ended. `false` unless given. */
  allowHalfOpen?: boolean | undefined;
  /** `true` unless given: what a turn writes leaves at once anyway. */
  noDelay?: boolean | undefined;
  keepAlive?: boolean | undefined;
  keepAliveInitialDelayMs?: number | undefined;
  /** As `setTimeout`. None unless given. */
  idle?: { readMs?: number | undefined; writeMs?: number | undefined } | undefined;
}

/** Where, how, and the handlers: one of `port`, `path` and `fd`. */
export interface ListenOptions<Data = unknown> extends Handlers<Data>, ConnectionOptions {
  /** 0: any that is free. */
  port?: number | undefined;
  /** A name or an address. All addresses, of IPv6 and IPv4, unless given. */
  hostname?: string | undefined;
  /** Of a unix socket, in place of a port; an abstract one begins with `\0`. */
  path?: string | undefined;
  /** A socket that is open and bound already, in place of a port: systemd's, say. */
  fd?: number | undefined;
  /** 511 unless given, as in Node. */
  backlog?: number | undefined;
  ipv6Only?: boolean | undefined;
  /** SO_REUSEPORT: several processes listen on the same port, and the kernel spreads connections. */
  reusePort?: boolean | undefined;
  /** Connections at a time, with half-done handshakes; one more is closed as soon as it is accepted. No limit unless given. */
  maxConnections?: number | undefined;
  /** Ends listening, as `close()`. If it is aborted before we listen, `listen` is rejected with its reason. */
  signal?: AbortSignal | undefined;
  /** Called where accepting itself fails; without it that is thrown on, as an 'uncaughtException'. */
  acceptError?(error: Error): void;
  /** Key, certificate, and whom to trust: all connections are secure. */
  tls?: TlsServerOptions | undefined;
  /**
   * A handshake has failed, and its connection never opened; it is closed. The error has OpenSSL's or Node's code:
   * `ERR_SSL_WRONG_VERSION_NUMBER`, `ERR_TLS_HANDSHAKE_TIMEOUT`, `CERT_HAS_EXPIRED`, `ECONNRESET`, … What it throws is an
   * 'uncaughtException'.
   */
  handshakeError?(error: Error, remote: Readonly<IpAddress> | undefined): void;
}

export interface Server<Data = unknown> {
  /** `undefined` with unix sockets. */
  readonly port: number | undefined;
  /** Of a unix socket, its path. */
  readonly address: Readonly<IpAddress> | string;
  /** How many are open. */
  readonly connectionCount: number;
  /** How many are in a handshake, and not open yet. */
  readonly handshakeCount: number;
  connections(): Iterable<Connection<Data>>;
  /** Other handlers for all connections, those that are open, too. A handler that isn't given is none. */
  reload(handlers: Handlers<Data>): void;
  /** What is served with at present; `undefined` without `tls.certificates`. */
  readonly certificate: ServedCertificate | undefined;
  /**
   * Another key and certificate for handshakes from now on; connections that are open keep theirs. With `tls.certificates`,
   * until those change.
   * @throws {DirectError} BAD_OPTION, MISUSE: without `tls`; what `createSecureContext` throws. The old ones stay, then
   */
  setSecureContext(context: TlsContext): void;
  /** Stops listening, and removes the path of a unix socket. Connections live on; resolves when the last one is closed. */
  close(): Promise<void>;
  /** Stops listening and terminates all connections. */
  terminateAll(): void;
  ref(): void;
  unref(): void;
  /** As `close()`: waits for the connections, as Node's servers do. */
  [Symbol.asyncDispose](): Promise<void>;
}

/** Where to, how, and the handlers: one of `port` and `path`. */
export interface ConnectOptions<Data = unknown> extends Handlers<Data>, ConnectionOptions {
  port?: number | undefined;
  /** `localhost` unless given. */
  hostname?: string | undefined;
  path?: string | undefined;
  /** Where from: an address, whose family is then the only one; a port. */
  localAddress?: string | undefined;
  localPort?: number | undefined;
  /** The only family, or 0 for both. */
  family?: 0 | 4 | 6 | undefined;
  /** In place of `dns.lookup`; called with `all: true`. */
  lookup?: LookupFunction | undefined;
  /** A secure connection, to a server that is who it says: its certificate is verified, and its name. */
  tls?: true | TlsClientOptions | undefined;
  /** Gives up: the promise is rejected with its reason. Means nothing to a connection that stands. */
  signal?: AbortSignal | undefined;
  /** Gives up after so many ms, the handshake included: ETIMEDOUT. No limit of our own unless given. */
  timeoutMs?: number | undefined;
}
