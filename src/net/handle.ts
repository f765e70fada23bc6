/**
 * The engine's side of a socket: `socket._handle`. It turns what a connection reports into what a stream does (push,
 * callbacks, errors) and has the methods of Node's handles that programs call.
 *
 * In: `on…` from the engine. Out: the socket's `push`, `destroy`, the callbacks of `_write` and `_final`.
 */
import { AsyncResource, executionAsyncId } from 'node:async_hooks';
import { AF, ERRNO } from '../engine/abi.ts';
import { decodeIp, type IpAddress, SOCKADDR_BYTES } from '../engine/address.ts';
import type { ReceiveBuffers } from '../engine/buffers.ts';
import { Connection, LEAST_SENT_AT_ONCE, type Piece } from '../engine/connection.ts';
import type { LargeBuffers } from '../engine/large-buffers.ts';
import {
  familyOf,
  getTypeOfService,
  setKeepAlive,
  setNoDelay,
  setReset,
  setTypeOfService,
  setUserTimeout,
} from '../engine/socket-options.ts';
import { readTcpInfo, type TcpInfo } from '../engine/tcp-info.ts';
import type { Turn } from '../engine/turn.ts';
import { inContext } from './context.ts';
import { isTraced, trace } from './debug.ts';
import { errnoException } from './errors.ts';
import { copyOut } from './slab.ts';
import type { SocketClass } from './socket.ts';
import { kHasWriteCallbacks, kLastWriteBytes, kOnEnd, kOnRead, kTurnCork } from './symbols.ts';

/** Who waits for a connection: src/net/connect.ts. */
export type OnConnect = (errno: number, handle: Handle) => void;

export abstract class Handle extends Connection {
  /** Null between the attempts of a connect, and after one was given up. */
  socket: SocketClass | null = null;
  /** Whose stream these bytes are, if not the socket's: a TLS socket around it. */
  upper: SocketClass | null = null;
  isReset = false;
  onConnected: OnConnect | null = null;
  #writeCallback: ((error?: Error | null) => void) | null = null;
  #shutdownCallback: (() => void) | null = null;
  #closeCallback: (() => void) | null = null;
  #isClosed = false;
  /** Bytes handed over for sending so far, as in Node: taken or in flight. */
  bytesWritten = 0;
  bytesRead = 0;
  /** A pipe has one direction. */
  canRead = true;
  canWrite = true;
  /** Its connection was made by connect(2), and neither that nor shutdown(2) was called again. */
  mayConnectAgain = false;

  constructor(turn: Turn, fd: number, isUnix: boolean, isPipe = false, triggerAsyncId = executionAsyncId()) {
    super(turn, fd, isUnix, isPipe);
    const type = isUnix ? 'PIPEWRAP' : 'TCPWRAP';
    this.context = new AsyncResource(type, { requireManualDestroy: true, triggerAsyncId });
  }

  // ---- from the engine ----

  override onConnect(errno: number): void {
    if (isTraced) trace('fd %d: %s', this.fd, errno === 0 ? 'connected' : errnoException(errno, 'connect').message);
    this.mayConnectAgain = errno === 0;
    this.onConnected?.(errno, this);
  }

  /** @hot */
  override onData(buffers: ReceiveBuffers, start: number, length: number): void {
    const { socket } = this;
    this.bytesRead += length;
    if (socket === null || socket.destroyed) return;
    socket._unrefTimer();
    const onRead = socket[kOnRead];
    const wantsMore =
      onRead === null
        ? deliver(socket, copyOut(buffers, start, length))
        : onRead.take(socket, buffers.memory, start, length);
    if (!wantsMore && !this.isClosing) this.readStop();
  }

  /** @hot */
  override onLargeData(buffers: LargeBuffers, id: number, length: number): void {
    const { socket } = this;
    this.bytesRead += length;
    if (socket === null || socket.destroyed) return;
    socket._unrefTimer();
    const onRead = socket[kOnRead];
    const wantsMore =
      onRead === null ? deliver(socket, buffers.take(id, length)) : onRead.take(socket, buffers.at(id), 0, length);
    if (!wantsMore && !this.isClosing) this.readStop();
  }

  override onHead(bytes: Buffer): void {
    const { socket } = this;
    this.bytesRead += bytes.byteLength;
    if (socket === null || socket.destroyed) return;
    socket._unrefTimer();
    const onRead = socket[kOnRead];
    const wantsMore = onRead === null ? deliver(socket, bytes) : onRead.take(socket, bytes, 0, bytes.byteLength);
    if (!wantsMore && !this.isClosing) this.readStop();
  }

  override onEnd(): void {
    const { socket } = this;
    if (isTraced) trace('fd %d: end', this.fd);
    if (socket === null || socket.destroyed) return;
    socket._unrefTimer();
    socket[kOnEnd]();
  }

  override onReadError(errno: number): void {
    if (isTraced) trace('fd %d: %s', this.fd, errnoException(errno, 'read').message);
    this.socket?.destroy(errnoException(errno, 'read'));
  }

  override onSendProgress(): void {
    this.socket?._unrefTimer();
  }

  /** @hot */
  override onSent(errno: number): void {
    const { socket } = this;
    const callback = this.#writeCallback;
    this.#writeCallback = null;
    if (callback === null) return;
    if (socket !== null) {
      socket._unrefTimer();
      socket[kLastWriteBytes] = 0;
    }
    if (errno !== 0) errno = this.canWrite ? errno : ERRNO.EPIPE; // libuv's word for a pipe's other end
    if (isTraced && errno !== 0) trace('fd %d: %s', this.fd, errnoException(errno, 'write').message);
    callback(errno === 0 ? null : errnoException(errno, 'write'));
    if (socket !== null && socket.writableLength === 0) socket[kHasWriteCallbacks] = false;
  }

  override onShutdown(): void {
    const callback = this.#shutdownCallback;
    this.#shutdownCallback = null;
    callback?.();
  }

  override onClosed(): void {
    this.#isClosed = true;
    this.context?.emitDestroy();
    this.#closeCallback?.();
    this.#closeCallback = null;
  }

  /** Nobody is called but the stream, when nobody waits for a callback, a 'drain' or the end. @hot */
  override get isSentInSilence(): boolean {
    const socket = this.upper ?? this.socket;
    return socket !== null && !socket[kHasWriteCallbacks] && !socket.writableNeedDrain && !socket.writableEnded;
  }

  /** The end of a turn: all writes of a tick go out together. @hot */
  override flush(): void {
    const { socket } = this;
    if (socket?.[kTurnCork]) {
      socket[kTurnCork] = false;
      socket.uncork();
    }
  }

  // ---- from the socket ----

  override readStart(): void {
    if (this.canRead) super.readStart();
    else this.socket?.destroy(errnoException(ERRNO.ENOTCONN, 'read'));
  }

  /** @hot */
  write(chunk: Uint8Array | string, encoding: BufferEncoding, callback: (error?: Error | null) => void): void {
    if (this.isClosing) {
      callback(errnoException(ERRNO.EBADF, 'write')); // likewise
      return;
    }
    this.#writeCallback = callback;
    if (typeof chunk !== 'string' && chunk.byteLength >= LEAST_SENT_AT_ONCE) {
      const sent = this.sendAtOnce(chunk);
      this.bytesWritten += sent < 0 ? chunk.byteLength : sent;
      if (sent < 0 || sent === chunk.byteLength) {
        this.onSent(sent < 0 ? -sent : 0); // still within _write: the stream tells it in a tick
        return;
      }
      if (sent > 0) chunk = chunk.subarray(sent);
    }
    this.bytesWritten += this.sendOne(chunk, encoding);
    if (this.turn.isEnding) this.turn.flush();
  }

  /** @hot */
  writev(pieces: Piece[], callback: (error?: Error | null) => void): void {
    if (this.isClosing) {
      callback(errnoException(ERRNO.EBADF, 'write'));
      return;
    }
    this.#writeCallback = callback;
    this.bytesWritten += this.sendMany(pieces);
    if (this.turn.isEnding) this.turn.flush();
  }

  /** Likewise for bytes that lie in a slot of the arena already. @hot */
  writeSlotted(offset: number, length: number, callback: (error?: Error | null) => void): void {
    this.#writeCallback = callback;
    this.bytesWritten += this.sendSlotted(offset, length);
    if (this.turn.isEnding) this.turn.flush();
  }

  /**
   * What was written before the connection stood is sent within 'connect', as libuv does: its callback comes before
   * 'ready'. What does not fit follows as any other write.
   */
  writeAtOnce(pieces: Piece[], callback: (error?: Error | null) => void): void {
    const bytes = Buffer.concat(
      pieces.map(({ chunk, encoding }) => (typeof chunk === 'string' ? Buffer.from(chunk, encoding) : chunk)),
    );
    const sent = Math.max(0, this.turn.ring.native.send(this.fd, bytes)); // an error is the next send's, too
    this.bytesWritten += sent;
    if (sent === bytes.length) callback(null);
    else this.write(bytes.subarray(sent), 'buffer' as BufferEncoding, callback);
  }

  /** The end of what is written. */
  finish(callback: () => void): void {
    this.mayConnectAgain = false;
    this.#shutdownCallback = inContext('SHUTDOWNWRAP', callback); // 'finish' is seen in the context of end()
    this.shutdown();
  }

  /** `callback` comes when the descriptor is closed. */
  override close(callback?: () => void): void {
    if (isTraced) trace('fd %d: close%s', this.fd, this.isReset ? ' with a reset' : '');
    if (callback !== undefined && this.#isClosed)
      setImmediate(callback); // a program was faster: socket._handle.close()
    else if (callback !== undefined) this.#closeCallback = callback;
    if (this.isReset) setReset(this.turn.ring.native, this.fd);
    super.close();
  }

  // ---- what programs use of Node's handles ----

  // Options of TCP have no effect elsewhere; before there is a descriptor the socket remembers them.

  setNoDelay(on: boolean): number {
    return this.#isTcp ? setNoDelay(this.turn.ring.native, this.fd, on) : 0;
  }

  setKeepAlive(on: boolean, delaySeconds: number, intervalSeconds?: number, count?: number): number {
    if (!this.#isTcp) return 0;
    return setKeepAlive(this.turn.ring.native, this.fd, on, delaySeconds, intervalSeconds, count);
  }

  setTypeOfService(tos: number): number {
    return this.#isTcp ? setTypeOfService(this.turn.ring.native, this.fd, this.#isIpv6(), tos) : 0;
  }

  getTypeOfService(): number {
    return this.#isTcp ? getTypeOfService(this.turn.ring.native, this.fd, this.#isIpv6()) : 0;
  }

  /** Ours, as `tcpInfo` is. */
  setUserTimeout(ms: number): number {
    return this.#isTcp ? setUserTimeout(this.turn.ring.native, this.fd, ms) : 0;
  }

  tcpInfo(): TcpInfo | undefined {
    return this.#isTcp ? readTcpInfo(this.turn.ring.native, this.fd) : undefined;
  }

  get #isTcp(): boolean {
    return !this.isUnix && this.fd >= 0;
  }

  #isIpv6(): boolean {
    return familyOf(this.turn.ring.native, this.fd) === AF.INET6;
  }

  get reading(): boolean {
    return this.isReading;
  }

  /** Node's http sets it before it calls readStart or readStop, which set it themselves here. */
  set reading(_: boolean) {}

  /** Bytes in flight. */
  get writeQueueSize(): number {
    return this.sendLeft;
  }

  /** Bytes that the kernel holds for the next receive. */
  get unread(): number {
    return this.turn.ring.native.unread(this.fd);
  }

  getAsyncId(): number {
    return this.context?.asyncId() ?? -1;
  }

  getsockname(out: Partial<IpAddress>): number {
    return this.#name(false, out);
  }

  getpeername(out: Partial<IpAddress>): number {
    return this.#name(true, out);
  }

  #name(peer: boolean, out: Partial<IpAddress>): number {
    const length = this.turn.ring.native.name(this.fd, peer, scratch);
    if (length < 0) return length;
    Object.assign(out, decodeIp(scratch.subarray(0, length)));
    return 0;
  }
}

/**
 * `push`, or what `push` comes to for a stream that flows and has nothing buffered: the chunk is emitted, and the stream
 * wants more. `push` would also schedule a tick for every chunk, to look whether there is more to read; the handle reads
 * anyhow. The first chunk is pushed, so that the stream knows that it was read from.
 * @hot
 */
export function deliver(socket: SocketClass, chunk: Buffer): boolean {
  const isFlowing = socket.readableFlowing === true && socket.readableLength === 0 && socket.readableEncoding === null;
  if (!isFlowing || !socket.readableDidRead || socket.listenerCount('data') === 0) return socket.push(chunk);
  socket.emit('data', chunk);
  return true;
}

/** The names of Node's handles, which monitors show and programs ask for. */
class TCP extends Handle {}
class Pipe extends Handle {}

/** @param triggerAsyncId of the server that accepted it; else what runs now has caused it */
export function newHandle(turn: Turn, fd: number, isUnix: boolean, isPipe = false, triggerAsyncId?: number): Handle {
  return new (isUnix ? Pipe : TCP)(turn, fd, isUnix, isPipe, triggerAsyncId);
}

const scratch = Buffer.alloc(SOCKADDR_BYTES);
