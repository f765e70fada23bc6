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

/**
 * What `write` did with the bytes.
 *
 * - `sent`: taken, and not more than `highWaterMark` bytes wait. Go on.
 * - `queued`: taken, but more than `highWaterMark` bytes wait now. Go on when `drain` is called.
 * - `dropped`: `maxBufferedBytes` would have been passed, or the connection can't be written to any more. The bytes (with
 *   `dropOldest`: older ones; then this write is told `queued`) are gone.
 */
export type WriteStatus = 'sent' | 'queued' | 'dropped';

/** What happens to a write that would pass `maxBufferedBytes`. */
export type OverflowPolicy =
  /** The connection is reset: a peer that doesn't read is of no use. */
  | 'close'
  /** The write is dropped, as a whole. */
  | 'dropNewest'
  /** Writes that wait, oldest first and as a whole, give way; never one of which the kernel has seen a byte. */
  | 'dropOldest';

/** Why a connection is closed: told once, to `close`. */
export type CloseReason =
  /** Both sides have ended, and everything was sent. */
  | { readonly kind: 'ended' }
  /** `terminate()`, or the server's `terminateAll()`. */
  | { readonly kind: 'terminated' }
  /** The peer has reset the connection (ECONNRESET, EPIPE). */
  | { readonly kind: 'reset'; readonly error: Error }
  /** Nothing was received (`read`), or nothing that waits could be sent (`write`), for so long. */
  | { readonly kind: 'timeout'; readonly side: 'read' | 'write'; readonly afterMs: number }
  /** More bytes waited to be sent than `maxBufferedBytes`, with the policy `close`. */
  | { readonly kind: 'overflow'; readonly bufferedBytes: number; readonly limitBytes: number }
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

/** Called with the connection first. Everything written in a handler leaves together when it has returned. */
export interface Handlers<Data = unknown> {
  /** It is connected. `c.data` is `undefined` until somebody sets it: here, as a rule. */
  open?(c: Connection<Data>): void;
  /**
   * Bytes were received. `view` is memory of the engine, good until this returns: `Buffer.from(view)` keeps them.
   * `MILLRACE_DEBUG_VIEWS=1` overwrites a view afterwards, to find who kept one.
   */
  data?(c: Connection<Data>, view: Buffer): void;
  /** After `queued`: not more than `lowWaterMark` bytes wait now. */
  drain?(c: Connection<Data>): void;
  /** The peer has ended its side. Unless `allowHalfOpen`, ours ends when this has returned. */
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
  /** `undefined` with unix sockets; asked once, and kept. */
  readonly remote: Readonly<IpAddress> | undefined;
  readonly local: Readonly<IpAddress> | undefined;

  /**
   * Takes bytes or text, all or nothing; `chunk` must not be changed until it was sent if it is larger than 4 KiB (the
   * rest is copied). After the end it says `dropped`, it never throws.
   */
  write(chunk: Uint8Array | string, encoding?: BufferEncoding): WriteStatus;
  /** Ends our side when everything was sent, after `chunk` if there is one. The connection closes when both have ended. */
  end(chunk?: Uint8Array | string, encoding?: BufferEncoding): void;
  /** Closes at once and throws away what waits; the peer sees a reset. `close` comes in a turn of its own. */
  terminate(): void;
  /** No `data` from now on (but what was received in this turn already may still come); the kernel's window closes. */
  pause(): void;
  resume(): void;
  /**
   * Idle times in ms, each 0 for none: `readMs` since bytes were received, `writeMs` since the kernel took some while
   * bytes wait. Kept by one coarse wheel: up to a quarter of a second late, never early.
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

/** Where and how; each connection starts with these. */
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

export interface ListenOptions<Data = unknown> extends Handlers<Data>, ConnectionOptions {
  /** 0: any that is free. */
  port?: number | undefined;
  /** A name or an address. All addresses, of IPv6 and IPv4, unless given. */
  hostname?: string | undefined;
  /** Of a unix socket, in place of a port; an abstract one begins with `\0`. */
  path?: string | undefined;
  /** A listening socket that is open already, in place of a port: systemd's, say. */
  fd?: number | undefined;
  /** 511 unless given, as in Node. */
  backlog?: number | undefined;
  ipv6Only?: boolean | undefined;
  /** SO_REUSEPORT: several processes listen on the same port, and the kernel spreads connections. */
  reusePort?: boolean | undefined;
  /** Connections at a time; one more is closed as soon as it is accepted. No limit unless given. */
  maxConnections?: number | undefined;
  /** Ends listening, as `close()`. */
  signal?: AbortSignal | undefined;
  /** Called where accepting itself fails; without it that is thrown on, as an 'uncaughtException'. */
  acceptError?(error: Error): void;
}

export interface Server<Data = unknown> {
  readonly port: number | undefined;
  readonly address: Readonly<IpAddress> | string;
  /** How many are open. */
  readonly connectionCount: number;
  connections(): Iterable<Connection<Data>>;
  /** Other handlers for all connections, those that are open, too. A handler that isn't given is none. */
  reload(handlers: Handlers<Data>): void;
  /** Stops listening. Connections live on; resolves when the last one is closed. */
  close(): Promise<void>;
  /** Stops listening and terminates all connections. */
  terminateAll(): void;
  ref(): void;
  unref(): void;
  [Symbol.asyncDispose](): Promise<void>;
}

export interface ConnectOptions<Data = unknown> extends Handlers<Data>, ConnectionOptions {
  port?: number | undefined;
  /** `localhost` unless given. */
  hostname?: string | undefined;
  path?: string | undefined;
  localAddress?: string | undefined;
  localPort?: number | undefined;
  family?: 0 | 4 | 6 | undefined;
  lookup?: LookupFunction | undefined;
  /** Gives up: the promise is rejected with its reason. */
  signal?: AbortSignal | undefined;
  /** Gives up after so many ms: ETIMEDOUT. No limit of our own unless given. */
  timeoutMs?: number | undefined;
}
