/**
 * What carries the bytes of a connection, and what it tells: the one seam between this tier and the engines. Behind it stand
 * engine-link.ts (our rings) and node-link.ts (sockets of node:net), or one of them with TLS over it (tls/); connection.ts
 * does not know which.
 */
import type { AsyncResource } from 'node:async_hooks';
import type { IpAddress } from '../engine/address.ts';
import type { Piece } from '../engine/connection.ts';
import type { TcpInfo } from '../engine/tcp-info.ts';
import type { TlsInfo } from './tls-api.ts';

export type { Piece };

/** The far end of a link, which is told. Errors are Node's. */
export interface LinkOwner {
  /** `view` is lent until this returns. @hot */
  onData(view: Buffer): void;
  onEnd(): void;
  onError(error: NodeJS.ErrnoException): void;
  /** Some, not all, of the bytes in flight were taken. */
  onSendProgress(): void;
  /** All were taken. @hot */
  onSent(): void;
  /** The turn ends: what was written has to be sent. @hot */
  flush(): void;
  /** Whether `onSent` will call nobody's code. @hot */
  readonly isSentInSilence: boolean;
  /** Nothing comes after this. */
  onClosed(): void;
  /** The handshake is done, and the peer was accepted. */
  onSecure(): void;
  /** TLS has failed: in the handshake, or later. */
  onTlsFailure(error: Error): void;
}

export interface Link {
  owner: LinkOwner;
  /** Current in all that the owner is told. */
  readonly context: AsyncResource | null;
  /** Bytes that were taken by the kernel. */
  readonly bytesSent: number;
  /** Nothing else may be sent until `onSent`. */
  readonly isSending: boolean;
  /** Bytes that `gather` took and that were not sent yet. */
  readonly gatheredBytes: number;
  /** Of a link that is secure. */
  readonly tls: TlsInfo | undefined;

  readStart(): void;
  readStop(): void;
  /**
   * Copies a small write to where this turn's writes leave from.
   * @returns how many bytes that were; -1: there is no room, or something is in flight @hot
   */
  gather(chunk: Uint8Array | string, encoding: BufferEncoding): number;
  /** Asks for `flush` when the turn ends. @hot */
  flushLater(): void;
  /** Sends what was gathered, and the pieces behind it; the answer is `onSent`. One of the two has to be there. @hot */
  send(pieces: Piece[] | null): void;
  /** Ends our side. */
  shutdown(): void;
  /** The answer is `onClosed`, in a turn of its own. */
  close(isReset: boolean): void;

  ref(): void;
  unref(): void;
  name(isPeer: boolean): IpAddress | undefined;
  setNoDelay(on: boolean): void;
  setKeepAlive(on: boolean, delayMs: number): void;
  setUserTimeout(ms: number): void;
  tcpInfo(): TcpInfo | undefined;
}

/** Who is told nothing: the owner of a link that is not a connection yet. */
export const NOBODY: LinkOwner = {
  onData() {},
  onEnd() {},
  onError() {},
  onSendProgress() {},
  onSent() {},
  flush() {},
  isSentInSilence: true,
  onClosed() {},
  onSecure() {},
  onTlsFailure() {},
};
