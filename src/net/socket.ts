/**
 * Node's `net.Socket` on the engine: a `stream.Duplex` whose bytes come from and go to a `Handle`. The life of a socket
 * (connecting, open, half-closed, destroyed) is told here in full, which is why this file is long.
 *
 * In: `push` by src/net/handle.ts. Out: `_write`, `_writev`, `_final`, which hand the bytes to the handle.
 *
 * Writes of one tick go out together: the first write of a turn corks the stream, and the turn's end uncorks it. What
 * the stream counts (`writableLength`, 'drain', callbacks) is Node's, because it is Node's own stream that counts.
 *
 * @see https://nodejs.org/api/net.html#class-netsocket
 */
import { channel } from 'node:diagnostics_channel';
import nodeNet, { type BlockList } from 'node:net';
import { Duplex, type DuplexOptions } from 'node:stream';
import type { IpAddress } from '../engine/address.ts';
import { LEAST_SENT_AT_ONCE } from '../engine/connection.ts';
import { choice } from '../engine/engine.ts';
import { removePath } from '../engine/open-listener.ts';
import type { TcpInfo } from '../engine/tcp-info.ts';
import type { Turn } from '../engine/turn.ts';
import { type Callback, normalizeArgs } from './args.ts';
import { validateBlockList } from './block-list.ts';
import { BoundSocket, kTake } from './bound-socket.ts';
import { callable, describeAsNode } from './callable.ts';
import { type ConnectOptions, connectSocket } from './connect.ts';
import { inContext } from './context.ts';
import { openDescriptor } from './descriptor.ts';
import {
  endedByPeer,
  errnoException,
  invalidArgType,
  invalidArgValue,
  invalidHandleType,
  missingArgs,
  notABuffer,
  socketClosed,
  socketClosedBeforeConnection,
} from './errors.ts';
import { isWrapped, lendHandle } from './foreign-wrap.ts';
import { Handle, newHandle } from './handle.ts';
import { OnRead } from './on-read.ts';
import type { Race } from './race.ts';
import type { ServerClass } from './server.ts';
import {
  kAdopt,
  kBound,
  kHasWriteCallbacks,
  kLastWriteBytes,
  kOnEnd,
  kOnRead,
  kOuter,
  kRace,
  kSockets,
  kTurnCork,
} from './symbols.ts';
import {
  timerDuration,
  validateAbortSignal,
  validateFunction,
  validateInt32,
  validateNumber,
  validateString,
} from './validate.ts';

const kHandle: unique symbol = Symbol('handle');
const kTimer: unique symbol = Symbol('idle timer');
const kBytesRead: unique symbol = Symbol('bytes read');
const kBytesWritten: unique symbol = Symbol('bytes written');
const kWishes: unique symbol = Symbol('wishes');
const kUnref: unique symbol = Symbol('unref');

export interface SocketOptions extends DuplexOptions {
  fd?: number;
  handle?: Handle | BoundSocket;
  allowHalfOpen?: boolean;
  noDelay?: boolean;
  keepAlive?: boolean;
  keepAliveInitialDelay?: number;
  typeOfService?: number;
  onread?: unknown;
  readable?: boolean;
  writable?: boolean;
  signal?: AbortSignal;
  blockList?: BlockList;
  pauseOnCreate?: boolean;
  manualStart?: boolean;
}

/** The object form of `setKeepAlive`. */
export interface KeepAliveOptions {
  enable?: boolean;
  /** Milliseconds without a byte before the first probe; 0 leaves all values the system's. */
  initialDelay?: number;
  /** Milliseconds between two probes; 1000 unless given. */
  interval?: number;
  /** Probes without an answer until the connection is lost; 10 unless given. */
  count?: number;
}

/** What the kernel is told when there is a connection. Never changed, since sockets share it: another takes its place. */
interface Wishes {
  readonly noDelay: boolean;
  readonly keepAlive: boolean;
  readonly keepAliveSeconds: number;
  readonly keepAliveInterval: number | undefined;
  readonly keepAliveCount: number | undefined;
  readonly userTimeoutMs: number;
  readonly typeOfService: number | undefined;
}

const NO_WISHES: Wishes = {
  noDelay: false,
  keepAlive: false,
  keepAliveSeconds: 0,
  keepAliveInterval: undefined,
  keepAliveCount: undefined,
  userTimeoutMs: 0,
  typeOfService: undefined,
};
const NO_DELAY: Wishes = { ...NO_WISHES, noDelay: true };

type WriteCallback = (error?: Error | null) => void;
type Piece = { chunk: Uint8Array | string; encoding: BufferEncoding };

/** Null where the engine is Node's: then nothing of this module is used. */
const turn = choice.turn as Turn;

const clientSocketChannel = channel('net.client.socket');

export class SocketClass extends Duplex {
  declare connecting: boolean;
  declare [kHandle]: Handle | null;
  declare _parent: SocketClass | null;
  declare _host: string | null;
  declare _hadError: boolean;
  declare _closeAfterHandlingError: boolean;
  declare _pendingData: Uint8Array | string | Piece[] | null;
  declare _pendingEncoding: string;
  declare _peername: Partial<IpAddress> | null | undefined;
  declare _sockname: Partial<IpAddress> | null;
  declare server: ServerClass | null;
  declare _server: ServerClass | null;
  declare timeout: number | undefined;
  declare resetAndClosing: boolean | undefined;
  declare autoSelectFamilyAttemptedAddresses: string[] | undefined;
  declare blockList: BlockList | undefined;
  declare [kTurnCork]: boolean;
  declare [kHasWriteCallbacks]: boolean;
  declare [kOnRead]: OnRead | null;
  declare [kOuter]: SocketClass | null;
  declare [kLastWriteBytes]: number;
  declare [kRace]: Race | null;
  declare [kTimer]: NodeJS.Timeout | null;
  declare [kBytesRead]: number;
  declare [kBytesWritten]: number;
  declare [kWishes]: Wishes;
  declare [kUnref]: boolean;
  /** Bound, and not given up: the address of the BoundSocket that was adopted; a unix socket has its path. */
  declare [kBound]: { path: string | undefined; isUsed: boolean } | null;

  constructor(options?: SocketOptions | number | undefined) {
    const own = checkedOptions(options);
    super(own);
    initialize(this, own);
  }

  /** Behind a symbol as in Node: JSON and `Object.keys` don't see it. */
  get _handle(): Handle | null {
    return this[kHandle];
  }
  set _handle(handle: Handle | null) {
    this[kHandle] = handle;
  }

  /**
   * The descriptor. Not in Node, whose own child_process looks for it in a `stdio` array: so a socket of ours can stand
   * there, as one of Node's can.
   * @returns undefined without one
   */
  get fd(): number | undefined {
    const fd = this._handle?.fd;
    return fd === -1 ? undefined : fd;
  }
  /** A subclass may have a property of this name. */
  set fd(value: unknown) {
    Object.defineProperty(this, 'fd', { value, writable: true, enumerable: true, configurable: true });
  }

  // ---- reading ----

  override _read(size: number): void {
    const handle = this._handle;
    if (this.connecting || handle === null) this.once('connect', () => this._read(size));
    else if (!handle.isReading) handle.readStart();
  }

  /** The peer's FIN. */
  [kOnEnd](): void {
    if (this[kOnRead]?.end()) return;
    if (isWrapped(this, onReadableEnd)) this.allowHalfOpen = true;
    this.push(null);
    this.read(0);
  }

  override pause(): this {
    if (this[kOnRead] !== null && !this.connecting && this._handle?.isReading) this._handle.readStop();
    return super.pause();
  }

  override resume(): this {
    lendHandle(this, onReadableEnd); // a wrapper resumes what it was put around
    if (this[kOnRead] !== null) readOnDemand(this, this[kOnRead]);
    return super.resume();
  }

  override read(size?: number): ReturnType<Duplex['read']> {
    if (this[kOnRead] !== null) readOnDemand(this, this[kOnRead]);
    return super.read(size);
  }

  get bytesRead(): number {
    return this._handle?.bytesRead ?? this[kBytesRead];
  }

  // ---- writing ----

  // biome-ignore lint/suspicious/noExplicitAny: the overloads are Duplex's own
  override write(chunk: any, encoding?: any, callback?: any): boolean {
    // At the turn's end it would be nobody's exception.
    if (encoding === 'buffer' && typeof chunk === 'string') throw notABuffer();
    const handle = this._handle;
    if (handle !== null && !this[kTurnCork] && !this.connecting && !turn.isEnding && !leavesAtOnce(handle, chunk)) {
      this[kTurnCork] = true;
      super.cork();
      handle.turn.flushLater(handle);
      // Node's write would be on its way now: a timeout that is due later in this turn is put off.
      if (!handle.isSending) this._unrefTimer();
    }
    // A callback runs in the context of the write, which is not the connection's.
    if (typeof encoding === 'function') {
      encoding = inContext('WRITEWRAP', encoding);
      this[kHasWriteCallbacks] = true;
    } else if (typeof callback === 'function') {
      callback = inContext('WRITEWRAP', callback);
      this[kHasWriteCallbacks] = true;
    }
    return super.write(chunk, encoding, callback);
  }

  override _write(chunk: Uint8Array | string, encoding: BufferEncoding, callback: WriteCallback): void {
    if (this.connecting) {
      writeLater(this, chunk, encoding, [{ chunk, encoding }], callback);
      return;
    }
    const handle = this._handle;
    if (handle === null) {
      if (isWrapped(this, onReadableEnd)) writeLater(this, chunk, encoding, [{ chunk, encoding }], callback);
      else callback(socketClosed());
      return;
    }
    this._pendingData = null;
    this._unrefTimer();
    handle.write(chunk, encoding, callback);
    this[kLastWriteBytes] = handle.writeQueueSize;
  }

  override _writev(pieces: Piece[], callback: WriteCallback): void {
    if (this.connecting) {
      writeLater(this, pieces, '', pieces, callback);
      return;
    }
    const handle = this._handle;
    if (handle === null) {
      if (isWrapped(this, onReadableEnd)) writeLater(this, pieces, '', pieces, callback);
      else callback(socketClosed());
      return;
    }
    this._pendingData = null;
    this._unrefTimer();
    handle.writev(pieces, callback);
    this[kLastWriteBytes] = handle.writeQueueSize;
  }

  _writeGeneric(isVector: boolean, data: never, encoding: BufferEncoding, callback: WriteCallback): void {
    if (isVector) this._writev(data, callback);
    else this._write(data, encoding, callback);
  }

  get bufferSize(): number | undefined {
    return this._handle === null ? undefined : this.writableLength;
  }

  get _bytesDispatched(): number {
    return this._handle?.bytesWritten ?? this[kBytesWritten];
  }

  get bytesWritten(): number | undefined {
    const queued = (this as unknown as { writableBuffer?: Piece[] }).writableBuffer;
    if (!queued) return undefined;
    let bytes = this._bytesDispatched;
    for (const piece of queued) bytes += byteLength(piece.chunk, piece.encoding);
    const pending = this._pendingData;
    if (Array.isArray(pending)) for (const piece of pending) bytes += byteLength(piece.chunk, piece.encoding);
    else if (pending) bytes += byteLength(pending, this._pendingEncoding as BufferEncoding);
    return bytes;
  }

  override _final(callback: WriteCallback): void {
    if (this.connecting) {
      this.once('connect', () => this._final(callback));
      return;
    }
    if (this._handle === null) callback();
    else this._handle.finish(callback);
  }

  // ---- the end ----

  // biome-ignore lint/suspicious/noExplicitAny: the overloads are Duplex's own
  override end(chunk?: any, encoding?: any, callback?: any): this {
    super.end(chunk, encoding, callback);
    return this;
  }

  override destroy(error?: Error | null, callback?: (error: Error | null) => void): this {
    // What was written in this tick is attempted once, as Node's own write would have been before this call.
    if (this[kTurnCork] && !this.destroyed) {
      this[kTurnCork] = false;
      this.uncork();
    }
    return (super.destroy as (e?: Error | null, cb?: (error: Error | null) => void) => this).call(
      this,
      error,
      callback,
    );
  }

  destroySoon(): void {
    if (this.writable) this.end();
    if (this.writableFinished) this.destroy();
    else this.once('finish', this.destroy);
  }

  resetAndDestroy(): this {
    const handle = this._handle;
    if (handle === null && !this.connecting) {
      this.destroy(socketClosed());
    } else {
      if (handle?.isUnix) throw invalidHandleType();
      if (this.connecting) this.once('connect', () => this._reset());
      else this._reset();
    }
    return this;
  }

  _reset(): void {
    this.resetAndClosing = true;
    this.destroy(); // not destroySoon: after a FIN the peer would not see the reset
  }

  override _destroy(error: Error | null, callback: (error?: Error | null) => void): void {
    this.connecting = false;
    for (let socket: SocketClass | null = this; socket; socket = socket._parent)
      clearTimeout(socket[kTimer] ?? undefined);
    // A signal that was aborted before destroys within Duplex's constructor, when nothing of ours is set.
    const handle = this._handle;
    const hadError = error !== null && error !== undefined;
    // In Node 'close' has a phase of the loop for itself, behind that of setImmediate.
    const onClosed = () => void setImmediate(() => this.emit('close', hadError));
    if (handle) {
      this[kBytesRead] = handle.bytesRead;
      this[kBytesWritten] = handle.bytesWritten;
      if (this.resetAndClosing) {
        handle.isReset = true;
        this.resetAndClosing = false;
      }
      if (this[kBound] !== null) {
        if (this[kBound].path !== undefined) removePath(this[kBound].path);
        this[kBound] = null;
      }
      const race = this[kRace];
      const close = () => (race === null ? handle.close(onClosed) : race.close(() => handle.close(onClosed)));
      if (this._closeAfterHandlingError) {
        queueMicrotask(() => {
          close();
          this._handle = null;
          this._sockname = null;
        });
      } else {
        close();
        this._handle = null;
        this._sockname = null;
      }
      callback(error);
    } else {
      callback(error);
      process.nextTick(emitClose, this);
    }
    if (this._server) {
      this._server[kSockets].delete(this);
      this._server._connections--;
      this._server._emitCloseIfDrained();
    }
  }

  // ---- connecting ----

  // biome-ignore lint/suspicious/noExplicitAny: the overloads are Node's
  connect(...args: any[]): this {
    const [given, callback] = normalizeArgs(args);
    const options = given as ConnectOptions;
    if (options.port === undefined && options.path == null) throw missingArgs('options', 'port', 'path');
    // After the peer's FIN `write` was replaced: this socket begins anew.
    if (options.signal?.aborted) return this;
    if (Object.hasOwn(this, 'write')) delete (this as { write?: unknown }).write;
    if (this.destroyed) {
      this._handle = null;
      this._peername = null;
      this._sockname = null;
      this[kBytesRead] = 0;
      this[kBytesWritten] = 0;
      (this as unknown as { _undestroy(): void })._undestroy();
    }
    if (callback !== null) this.once('connect', callback as Callback as () => void);
    if (clientSocketChannel.hasSubscribers) clientSocketChannel.publish({ socket: this[kOuter] ?? this });
    if (this._parent?.connecting) return this;
    if (this._handle === null) {
      this._handle = newHandle(turn, -1, Boolean(options.path));
      this._handle.socket = this;
      if (this[kUnref]) this._handle.unref();
    }
    this._unrefTimer();
    this.connecting = true;
    if (options.path) validateString(options.path, 'options.path');
    connectSocket(this, options);
    return this;
  }

  /** A connection stands: `handle` is open. Called by src/net/connect.ts. */
  [kAdopt](handle: Handle): void {
    this.connecting = false;
    this._sockname = null;
    this._unrefTimer();
    const { noDelay, keepAlive, keepAliveSeconds, keepAliveInterval, keepAliveCount } = this[kWishes];
    if (noDelay) handle.setNoDelay(true);
    if (keepAlive) handle.setKeepAlive(true, keepAliveSeconds, keepAliveInterval, keepAliveCount);
    const { userTimeoutMs, typeOfService } = this[kWishes];
    if (userTimeoutMs > 0) handle.setUserTimeout(userTimeoutMs);
    if (typeOfService !== undefined) {
      const result = handle.setTypeOfService(typeOfService);
      if (result < 0) this.emit('error', errnoException(-result, 'setTypeOfService'));
    }
    this.emit('connect');
    this.emit('ready');
    if (this._handle === handle && !this.isPaused()) this.read(0);
  }

  get pending(): boolean {
    return this._handle === null || this.connecting;
  }

  get _connecting(): boolean {
    return this.connecting;
  }

  get readyState(): 'opening' | 'open' | 'readOnly' | 'writeOnly' | 'closed' {
    if (this.connecting) return 'opening';
    if (this.readable) return this.writable ? 'open' : 'readOnly';
    return this.writable ? 'writeOnly' : 'closed';
  }

  // ---- idle time ----

  setTimeout(ms: number, callback?: () => void): this {
    if (this.destroyed) return this;
    this.timeout = ms;
    ms = timerDuration(ms, 'msecs');
    clearTimeout(this[kTimer] ?? undefined);
    if (ms === 0) {
      this[kTimer] = null;
      if (callback !== undefined) {
        validateFunction(callback, 'callback');
        this.removeListener('timeout', callback);
      }
      return this;
    }
    this[kTimer] = setTimeout(() => this._onTimeout(), ms).unref();
    if (callback !== undefined) {
      validateFunction(callback, 'callback');
      this.once('timeout', callback);
    }
    return this;
  }

  /** A slow write that makes progress is not idle. */
  _onTimeout(): void {
    const handle = this._handle;
    const before = this[kLastWriteBytes];
    if (before > 0 && handle !== null && handle.writeQueueSize !== before) {
      this[kLastWriteBytes] = handle.writeQueueSize;
      this._unrefTimer();
      return;
    }
    this.emit('timeout');
  }

  /** Something happened: the idle time begins anew. @hot */
  _unrefTimer(): void {
    if (this[kTimer] !== null) this[kTimer].refresh();
    if (this._parent !== null) this._parent._unrefTimer();
  }

  // ---- options and addresses ----

  setNoDelay(enable?: boolean): this {
    const on = enable === undefined || Boolean(enable);
    if (on === this[kWishes].noDelay) return this;
    this[kWishes] = this[kWishes] === NO_WISHES ? NO_DELAY : { ...this[kWishes], noDelay: on };
    this._handle?.setNoDelay?.(on);
    return this;
  }

  /**
   * Probes while the connection is idle. Times are in milliseconds, of which whole seconds count; interval and count as
   * in Node 24.19 and 26.4, on every line.
   * @see https://nodejs.org/api/net.html#socketsetkeepaliveenable-initialdelay-interval-count
   */
  setKeepAlive(enable?: unknown, initialDelayMs?: number, intervalMs?: number, count?: number): this {
    if (typeof enable === 'object' && enable !== null)
      ({ enable, initialDelay: initialDelayMs, interval: intervalMs, count } = enable as KeepAliveOptions);
    const on = Boolean(enable);
    const delay = ~~((initialDelayMs as number) / 1000);
    const interval = intervalMs === undefined ? undefined : ~~(intervalMs / 1000);
    const handle = this._handle;
    if (handle !== null && !handle.setKeepAlive) return this;
    const before = this[kWishes];
    const isSame =
      on === before.keepAlive &&
      (!on ||
        (delay === before.keepAliveSeconds &&
          interval === before.keepAliveInterval &&
          count === before.keepAliveCount));
    if (handle !== null && isSame) return this;
    this[kWishes] = {
      ...before,
      keepAlive: on,
      keepAliveSeconds: delay,
      keepAliveInterval: interval,
      keepAliveCount: count,
    };
    handle?.setKeepAlive(on, delay, interval, count);
    return this;
  }

  /**
   * How long sent bytes may stay unacknowledged before the kernel gives the connection up with ETIMEDOUT: the option
   * TCP_USER_TIMEOUT of tcp(7), which also bounds how long keep-alive probes go unanswered. Not in Node. Before the
   * connection stands the value is remembered; unix sockets have no such thing, and nothing happens.
   * @param ms an integer of at least 0; 0 is the system's default
   * @throws {ERR_INVALID_ARG_TYPE} `ms` is no number
   * @throws {ERR_OUT_OF_RANGE} it is no integer from 0 to 2147483647
   */
  setUserTimeout(ms: number): this {
    validateInt32(ms, 'ms', 0);
    this[kWishes] = { ...this[kWishes], userTimeoutMs: ms };
    const result = this._handle?.setUserTimeout?.(ms) ?? 0;
    if (result < 0) throw errnoException(-result, 'setUserTimeout');
    return this;
  }

  /**
   * What the kernel knows of the connection: round trip times, retransmissions, windows. Not in Node.
   * @returns undefined without a connection, and for what is not TCP
   */
  tcpInfo(): TcpInfo | undefined {
    return this.connecting ? undefined : this._handle?.tcpInfo?.();
  }

  setTypeOfService(tos: number): this {
    if (Number.isNaN(tos)) throw invalidArgType('tos', 'of type number', tos);
    validateInt32(tos, 'tos', 0, 255);
    if (tos === this[kWishes].typeOfService) return this;
    this[kWishes] = { ...this[kWishes], typeOfService: tos };
    const result = this._handle?.setTypeOfService?.(tos) ?? 0;
    if (result < 0) throw errnoException(-result, 'setTypeOfService');
    return this;
  }

  getTypeOfService(): number {
    const handle = this._handle;
    if (handle === null || handle.isUnix || handle.fd === -1 || !handle.getTypeOfService)
      return this[kWishes].typeOfService ?? 0;
    const result = handle.getTypeOfService();
    if (result < 0) throw errnoException(-result, 'getTypeOfService');
    return result;
  }

  ref(): this {
    this[kUnref] = false;
    if (this._handle === null) this.once('connect', this.ref);
    else this._handle.ref();
    return this;
  }

  unref(): this {
    this[kUnref] = true;
    if (this._handle === null) this.once('connect', this.unref);
    else this._handle.unref();
    return this;
  }

  address(): IpAddress | Record<string, never> {
    return this._getsockname() as IpAddress;
  }

  _getpeername(): Partial<IpAddress> {
    if (this._handle === null || this.connecting) return this._peername ?? {};
    if (!this._peername) {
      const out: Partial<IpAddress> = {};
      if (this._handle.getpeername(out) < 0) return out;
      this._peername = out;
    }
    return this._peername;
  }

  _getsockname(): Partial<IpAddress> {
    if (this._handle === null) return {};
    if (this[kBound]?.path !== undefined) return { address: this[kBound].path };
    if (this._sockname === null) {
      this._sockname = {};
      this._handle.getsockname(this._sockname);
    }
    return this._sockname;
  }

  get remoteAddress(): string | undefined {
    return this._getpeername().address;
  }
  get remoteFamily(): string | undefined {
    return this._getpeername().family;
  }
  get remotePort(): number | undefined {
    return this._getpeername().port;
  }
  get localAddress(): string | undefined {
    return this._getsockname().address;
  }
  get localPort(): number | undefined {
    return this._getsockname().port;
  }
  get localFamily(): string | undefined {
    return this._getsockname().family;
  }
}

/**
 * A write before the connection stands waits for it. So does what Node's tls writes through a socket that nobody has told
 * to connect yet: it can't know that, since it asks only sockets of its own.
 */
function writeLater(
  socket: SocketClass,
  data: Uint8Array | string | Piece[],
  encoding: string,
  pieces: Piece[],
  callback: WriteCallback,
): void {
  socket._pendingData = data;
  socket._pendingEncoding = encoding;
  const onClose = () => callback(socketClosedBeforeConnection());
  socket.once('connect', () => {
    socket.off('close', onClose);
    socket._pendingData = null;
    const handle = socket._handle;
    if (handle === null) {
      callback(socketClosed());
      return;
    }
    socket._unrefTimer();
    handle.writeAtOnce(pieces, callback);
    socket[kLastWriteBytes] = handle.writeQueueSize;
  });
  socket.once('close', onClose);
}

/** With `onread` nothing is pushed, so nothing but this starts a handle that was stopped. */
function readOnDemand(socket: SocketClass, onRead: OnRead): void {
  const handle = socket._handle;
  if (handle !== null && !socket.connecting && !handle.isReading) onRead.resume(socket, handle);
}

/** A large piece leaves within `write()`, unless it has to wait for what is on its way. @hot */
const leavesAtOnce = (handle: Handle, chunk: { byteLength?: number } | null | undefined): boolean =>
  (chunk?.byteLength as number) >= LEAST_SENT_AT_ONCE && !handle.isSending;

/** The turn's own cork is nobody's business. */
const corked = Object.getOwnPropertyDescriptor(Duplex.prototype, 'writableCorked')?.get as (this: Duplex) => number;
Object.defineProperty(SocketClass.prototype, 'writableCorked', {
  configurable: true,
  get(this: SocketClass): number {
    const count = corked.call(this);
    return this[kTurnCork] && count > 0 ? count - 1 : count;
  },
});

function byteLength(chunk: Uint8Array | string, encoding: BufferEncoding): number {
  return typeof chunk === 'string' ? Buffer.byteLength(chunk, encoding) : chunk.byteLength;
}

function emitClose(socket: SocketClass): void {
  socket.emit('close');
}

/** Options as Duplex needs them: half-open off, no 'close' of its own, strings as they are. */
function checkedOptions(options?: SocketOptions | number): SocketOptions {
  const given: SocketOptions = typeof options === 'number' ? { fd: options } : { ...options };
  for (const name of ['objectMode', 'readableObjectMode', 'writableObjectMode'] as const)
    if (given[name]) throw invalidArgValue(`options.${name}`, given[name], 'is not supported');
  if (given.handle != null && isForeign(given.handle))
    throw invalidArgType('options.handle', 'an instance of BoundSocket', given.handle);
  if (given.keepAliveInitialDelay !== undefined) {
    validateNumber(given.keepAliveInitialDelay, 'options.keepAliveInitialDelay');
    if (given.keepAliveInitialDelay < 0) given.keepAliveInitialDelay = 0;
  }
  if (given.typeOfService !== undefined) validateInt32(given.typeOfService, 'options.typeOfService', 0, 255);
  if (given.signal !== undefined) validateAbortSignal(given.signal, 'options.signal'); // Duplex listens to it
  if (given.blockList) validateBlockList(given.blockList);
  given.allowHalfOpen = Boolean(given.allowHalfOpen);
  given.emitClose = false;
  given.autoDestroy = true;
  given.decodeStrings = false;
  return given;
}

/**
 * Nobody documents the option `handle` as anything but a BoundSocket. Programs that patch net make sockets of streams of their
 * own, which Node could write to and we can't; others give an object with the one method that they want to see called.
 */
function isForeign(handle: object): boolean {
  if (handle instanceof Handle || handle instanceof BoundSocket) return false;
  return typeof (handle as { writeBuffer?: unknown }).writeBuffer === 'function';
}

/** What few sockets have is on the prototype until they have it: less memory for all others. */
Object.assign(SocketClass.prototype, {
  [kOnRead]: null,
  [kOuter]: null,
  [kRace]: null,
  [kUnref]: false,
  [kBound]: null,
});

/** All that a constructor does after Duplex's; also for objects that were made by somebody else's constructor. */
function initialize(socket: SocketClass, options: SocketOptions): void {
  socket.connecting = false;
  socket[kHandle] = null;
  socket._parent = null;
  socket._host = null;
  socket._hadError = false;
  socket._closeAfterHandlingError = false;
  socket._pendingData = null;
  socket._pendingEncoding = '';
  socket._sockname = null;
  socket.server = null;
  socket._server = null;
  socket[kTurnCork] = false;
  socket[kHasWriteCallbacks] = false;
  socket[kLastWriteBytes] = 0;
  socket[kTimer] = null;
  socket[kBytesRead] = 0;
  socket[kBytesWritten] = 0;
  socket[kWishes] = wishesOf(options);
  if (options.blockList) socket.blockList = options.blockList;
  if (options.onread) socket[kOnRead] = OnRead.from(options.onread);
  socket.on('end', onReadableEnd);

  if (options.handle instanceof BoundSocket) {
    adoptBound(socket, options.handle);
    return;
  }
  const handle = options.handle ?? (options.fd === undefined ? null : openDescriptor(turn, options.fd));
  if (handle !== null) {
    handle.socket = socket;
    socket._handle = handle;
    if (options.pauseOnCreate) (socket as { readableFlowing: boolean }).readableFlowing = false;
    else if (!options.manualStart && options.readable !== false) socket.read(0);
  }
}

function wishesOf(options: SocketOptions): Wishes {
  const { noDelay, keepAlive, keepAliveInitialDelay, typeOfService } = options;
  if (!noDelay && !keepAlive && !keepAliveInitialDelay && typeOfService === undefined) return NO_WISHES;
  return {
    ...NO_WISHES,
    noDelay: Boolean(noDelay),
    keepAlive: Boolean(keepAlive),
    keepAliveSeconds: ~~((keepAliveInitialDelay ?? 0) / 1000),
    typeOfService,
  };
}

/** The handle is not connected: nothing is read before `connect`. */
function adoptBound(socket: SocketClass, bound: BoundSocket): void {
  const { fd, path } = bound[kTake]();
  const handle = newHandle(turn, fd, path !== undefined);
  handle.socket = socket;
  socket._handle = handle;
  socket[kBound] = { path, isUsed: false };
}

/** Half-open sockets are not allowed: a write after the peer's FIN and our own is the peer's doing. */
function onReadableEnd(this: SocketClass): void {
  if (!this.allowHalfOpen) this.write = writeAfterFin;
}

// biome-ignore lint/suspicious/noExplicitAny: the overloads are Duplex's own
function writeAfterFin(this: SocketClass, chunk: any, encoding?: any, callback?: any): boolean {
  if (!this.writableEnded) return SocketClass.prototype.write.call(this, chunk, encoding, callback);
  const done = typeof encoding === 'function' ? encoding : callback;
  const error = endedByPeer();
  if (typeof done === 'function') process.nextTick(done, error);
  this.destroy(error);
  return false;
}

describeAsNode(SocketClass.prototype, nodeNet.Socket.prototype);

export type Socket = SocketClass;
type SocketArgs = [options?: SocketOptions | number | undefined];
export const Socket = callable<SocketClass, SocketArgs>(
  SocketClass,
  (target, options) => {
    const own = checkedOptions(options);
    (Duplex as unknown as { call(target: unknown, options: DuplexOptions): void }).call(target, own);
    initialize(target, own);
  },
  (construct) =>
    function Socket(this: unknown, options?: SocketOptions | number) {
      return construct(this, new.target, [options]);
    },
);

/** A socket that connects: `createConnection(options | port[, host] | path[, listener])`. */
export function connect(...args: unknown[]): SocketClass {
  const normalized = normalizeArgs(args);
  const options = normalized[0] as SocketOptions & ConnectOptions & { timeout?: number };
  const socket = new SocketClass(options);
  if (options.timeout) socket.setTimeout(options.timeout);
  return socket.connect(normalized);
}
