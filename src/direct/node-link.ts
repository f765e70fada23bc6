/**
 * A link on a socket of node:net, for the engine `node`: the same handlers, limits and reasons on machines where our rings
 * don't run. Writes of a turn are handed to the socket together, one batch at a time.
 */
import type { AsyncResource } from 'node:async_hooks';
import type { Socket } from 'node:net';
import type { IpAddress } from '../engine/address.ts';
import { nativePart } from '../engine/native.ts';
import { setUserTimeout, takeError } from '../engine/socket-options.ts';
import { errnoException } from '../engine/system-errors.ts';
import { readTcpInfo, type TcpInfo } from '../engine/tcp-info.ts';
import { lend } from './lent.ts';
import { type Link, type LinkOwner, NOBODY, type Piece } from './link.ts';

export class NodeLink implements Link {
  owner: LinkOwner = NOBODY;
  readonly context: AsyncResource;
  bytesSent = 0;
  isSending = false;
  readonly gatheredBytes = 0;
  readonly socket: Socket;
  readonly isUnix: boolean;
  #isFlushDue = false;
  #isClosed = false;

  /** @param socket connected, half-open allowed, and nobody else's */
  constructor(socket: Socket, isUnix: boolean, context: AsyncResource) {
    this.socket = socket;
    this.isUnix = isUnix;
    this.context = context;
    // Paused first, or the listener would set it flowing.
    socket.pause();
    socket.on('data', (chunk: Buffer) => this.#within(() => lend(chunk, this.owner)));
    socket.on('end', () => this.#within(() => this.#onEnd()));
    socket.on('error', (error) => this.#within(() => this.owner.onError(error)));
    socket.on('close', () => this.#within(() => this.owner.onClosed()));
  }

  /** libuv tells a reset as an end when bytes came with it: see `UV_HANDLE_READ_PARTIAL` in its uv__stream_io(). */
  #onEnd(): void {
    const native = nativePart();
    const errno = native === null ? 0 : takeError(native, this.#fd);
    if (errno > 0) this.owner.onError(errnoException(errno, 'read'));
    else this.owner.onEnd();
  }

  /** Events of Node's sockets have a context of their own. */
  #within(tell: () => void): void {
    this.context.runInAsyncScope(tell);
  }

  get tls(): undefined {
    return undefined;
  }

  readStart(): void {
    this.socket.resume();
  }

  readStop(): void {
    this.socket.pause();
  }

  gather(): number {
    return -1;
  }

  flushLater(): void {
    if (this.#isFlushDue) return;
    this.#isFlushDue = true;
    process.nextTick(() => {
      this.#isFlushDue = false;
      this.owner.flush();
    });
  }

  send(pieces: Piece[]): void {
    const socket = this.socket;
    let bytes = 0;
    this.isSending = true;
    socket.cork();
    for (const [i, { chunk }] of pieces.entries()) {
      bytes += (chunk as Uint8Array).byteLength;
      socket.write(chunk, i === pieces.length - 1 ? (error) => this.#sent(error, bytes) : undefined);
    }
    socket.uncork();
  }

  #sent(error: Error | null | undefined, bytes: number): void {
    this.isSending = false;
    // Node calls back without an error when the socket was destroyed meanwhile (onWriteComplete): by a reset, say.
    if (error || this.socket.destroyed) return; // 'error' follows, or has come
    this.bytesSent += bytes;
    this.#within(() => this.owner.onSent());
  }

  shutdown(): void {
    this.socket.end();
  }

  close(isReset: boolean): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    // What `resetAndDestroy` sets; but that waits until everything was sent first. libuv resets nothing that is shut down.
    const socket = this.socket as Socket & { resetAndClosing?: boolean };
    socket.resetAndClosing = isReset && !this.isUnix && !socket.writableEnded;
    socket.destroy();
  }

  ref(): void {
    this.socket.ref();
  }

  unref(): void {
    this.socket.unref();
  }

  name(isPeer: boolean): IpAddress | undefined {
    const { remoteAddress, remoteFamily, remotePort, localAddress, localFamily, localPort } = this.socket;
    const [address, family, port] = isPeer
      ? [remoteAddress, remoteFamily, remotePort]
      : [localAddress, localFamily, localPort];
    if (address === undefined || port === undefined) return undefined;
    return { address, family: family === 'IPv6' ? 'IPv6' : 'IPv4', port };
  }

  setNoDelay(on: boolean): void {
    this.socket.setNoDelay(on);
  }

  setKeepAlive(on: boolean, delayMs: number): void {
    this.socket.setKeepAlive(on, Math.ceil(delayMs / 1000) * 1000);
  }

  setUserTimeout(ms: number): void {
    const native = nativePart();
    if (native !== null && !this.isUnix) setUserTimeout(native, this.#fd, ms);
  }

  tcpInfo(): TcpInfo | undefined {
    const native = nativePart();
    return native === null || this.isUnix ? undefined : readTcpInfo(native, this.#fd);
  }

  get #fd(): number {
    return (this.socket as { _handle?: { fd?: number } | null })._handle?.fd ?? -1;
  }
}
