/**
 * Node's `net.Server` on the engine: where it listens, whom it lets in, when it is over.
 *
 * In: `_accept` from server-handle.ts with each connection. Out: 'connection' with a `Socket`.
 *
 * @see https://nodejs.org/api/net.html#class-netserver
 */
import { channel } from 'node:diagnostics_channel';
import { EventEmitter } from 'node:events';
import type { BlockList } from 'node:net';
import { getDefaultHighWaterMark } from 'node:stream';
import type { IpAddress } from '../engine/address.ts';
import { builtins } from '../engine/builtins.ts';
import { choice } from '../engine/engine.ts';
import { openListener, removePath } from '../engine/open-listener.ts';
import type { Turn } from '../engine/turn.ts';
import { validateBlockList } from './block-list.ts';
import { callable } from './callable.ts';
import { connectionsOf } from './connections.ts';
import { isTraced, trace } from './debug.ts';
import { invalidArgType, listenException, serverNotRunning } from './errors.ts';
import type { Handle } from './handle.ts';
import { isIdle } from './idle.ts';
import { BACKLOG, listen, listenChannels, placeOf } from './listen.ts';
import type { NodeListener } from './node-handle.ts';
import { ServerHandle } from './server-handle.ts';
import { ServingServer } from './serving.ts';
import { SocketClass } from './socket.ts';
import { kSockets } from './symbols.ts';
import { validateNumber } from './validate.ts';

const turn = choice.turn as Turn;
const serverSocketChannel = channel('net.server.socket');

export { kSockets };

export interface ServerOptions {
  allowHalfOpen?: boolean;
  pauseOnConnect?: boolean;
  noDelay?: boolean;
  keepAlive?: boolean;
  keepAliveInitialDelay?: number;
  highWaterMark?: number;
  blockList?: BlockList;
}

/** What Node keeps for a process that sockets were sent to. */
interface SocketList extends EventEmitter {
  getConnections(callback: (error: Error | null, count: number) => void): void;
  close(callback: () => void): void;
}

export type ConnectionListener = (socket: SocketClass) => void;

export class ServerClass extends EventEmitter {
  declare _connections: number;
  declare _handle: ServerHandle | NodeListener | null;
  declare _usingWorkers: boolean;
  declare _workers: SocketList[];
  declare _unref: boolean;
  declare _listeningId: number;
  declare _pipeName: string | undefined;
  declare _connectionKey: string | undefined;
  declare allowHalfOpen: boolean;
  declare pauseOnConnect: boolean;
  declare noDelay: boolean;
  declare keepAlive: boolean;
  declare keepAliveInitialDelay: number;
  declare highWaterMark: number;
  declare maxConnections: number | undefined;
  declare dropMaxConnection: boolean | undefined;
  declare blockList: BlockList | undefined;
  /** The accepted sockets that are not destroyed. */
  declare [kSockets]: Set<SocketClass>;
  /** Its place in the list of those that listen. */
  declare _serving: ServingServer | null;

  constructor(options?: ServerOptions | ConnectionListener | undefined, listener?: ConnectionListener | undefined) {
    super();
    initialize(this, options, listener);
  }

  get listening(): boolean {
    return this._handle !== null;
  }

  // ---- listen ----

  // biome-ignore lint/suspicious/noExplicitAny: the overloads are Node's
  listen(...args: any[]): this {
    listen(this, args);
    return this;
  }

  /** Listens: on `_handle` if there is one, else on what is opened here. Programs wrap it, so its signature is Node's. */
  _listen2(
    address: string | null,
    port: number | undefined,
    addressType: number | undefined,
    backlog: number,
    fd?: number,
    flags = 0,
  ): void {
    if (this._handle === null) {
      const place = placeOf({ address, port, addressType: addressType as 4 | 6 | -1 | undefined, fd, flags });
      const requested = { ...place };
      const opened = openListener(turn, place, backlog || BACKLOG);
      if (typeof opened === 'number') {
        this._pipeName = undefined; // somebody else's, perhaps: close() must not remove it
        this._failToListen(-opened, place.address, port);
        return;
      }
      this._handle = ServerHandle.of(turn, opened, this, requested);
      this._connectionKey = `${opened.place.family}:${opened.place.address}:${port}`;
    } else {
      const result = this._handle.listen(backlog || BACKLOG);
      if (result !== 0) {
        this._handle.close();
        this._handle = null;
        this._failToListen(-result, address, port);
        return;
      }
      this._connectionKey = `${addressType}:${address}:${port}`;
    }
    this._begin(this._handle);
  }

  /** Accepts connections from now on. @internal */
  _begin(handle: ServerHandle | NodeListener): void {
    this._handle = handle;
    if (this._unref) this.unref();
    this._serving = new ServingServer(this, this[kSockets], (callback) => {
      if (this._handle instanceof ServerHandle) this._handle.stopped(callback);
      else callback();
    });
    handle.accept();
    if (isTraced) trace('listen at %j, fd %d', this.address(), handle.fd);
    if (listenChannels.asyncEnd.hasSubscribers) listenChannels.asyncEnd.publish({ server: this });
    process.nextTick(() => {
      if (this._handle !== null) this.emit('listening');
    });
  }

  /** @internal */
  _failToListen(errno: number, address: string | null, port: number | undefined): void {
    const error = listenException(errno, 'listen', address, port);
    if (isTraced) trace(error.message);
    if (listenChannels.error.hasSubscribers) listenChannels.error.publish({ server: this, error });
    process.nextTick(() => this.emit('error', error));
  }

  // ---- connections ----

  /** A connection was accepted. @internal */
  _accept(handle: Handle): void {
    if (this.maxConnections != null && this._connections >= this.maxConnections) {
      this._drop(handle);
      return;
    }
    if (this.blockList && this._isBlocked(handle)) {
      handle.close();
      return;
    }
    const socket = new SocketClass({
      handle,
      allowHalfOpen: this.allowHalfOpen,
      pauseOnCreate: this.pauseOnConnect,
      readableHighWaterMark: this.highWaterMark,
      writableHighWaterMark: this.highWaterMark,
    });
    if (this.noDelay) socket.setNoDelay(true);
    if (this.keepAlive) socket.setKeepAlive(true, this.keepAliveInitialDelay * 1000);
    if (isTraced) trace('fd %d: accepted from %j', handle.fd, socket._getpeername());
    this._adopt(socket);
  }

  /** A connected socket is one of ours from now on. */
  _adopt(socket: SocketClass): void {
    this._connections++;
    socket.server = this;
    socket._server = this;
    this[kSockets].add(socket);
    this.emit('connection', socket);
    if (serverSocketChannel.hasSubscribers) serverSocketChannel.publish({ socket });
  }

  _isBlocked(handle: Handle): boolean {
    const peer: Partial<IpAddress> = {};
    handle.getpeername(peer);
    return (
      peer.address !== undefined &&
      (this.blockList as BlockList).check(peer.address, peer.family === 'IPv6' ? 'ipv6' : 'ipv4')
    );
  }

  _drop(handle: Handle): void {
    if (isTraced) trace('fd %d: dropped, maxConnections is %d', handle.fd, this.maxConnections);
    if (handle.isUnix) {
      this.emit('drop');
    } else {
      const local: Partial<IpAddress> = {};
      const remote: Partial<IpAddress> = {};
      handle.getsockname(local);
      handle.getpeername(remote);
      this.emit('drop', {
        __proto__: null,
        localAddress: local.address,
        localPort: local.port,
        localFamily: local.family,
        remoteAddress: remote.address,
        remotePort: remote.port,
        remoteFamily: remote.family,
      });
    }
    handle.close();
  }

  getConnections(callback: (error: Error | null, count: number) => void): this {
    let left = this._usingWorkers ? this._workers.length : 0;
    let total = this._connections;
    if (left === 0) process.nextTick(callback, null, total);
    for (const worker of this._workers)
      worker.getConnections((error, count) => {
        if (left <= 0) return;
        total += count;
        left = error ? -1 : left - 1;
        if (left <= 0) process.nextTick(callback, error, error ? undefined : total);
      });
    return this;
  }

  /** Another process has sockets of this server, and is asked about them. */
  _setupWorker(sockets: SocketList): void {
    this._usingWorkers = true;
    this._workers.push(sockets);
    sockets.once('exit', () => this._workers.splice(this._workers.indexOf(sockets), 1));
  }

  /** @see https://nodejs.org/api/net.html#serversymbolasynciterator */
  [Symbol.asyncIterator](): AsyncIterableIterator<SocketClass, undefined, void> {
    return connectionsOf<SocketClass>(this);
  }

  // ---- the end ----

  close(callback?: (error?: Error) => void): this {
    this._listeningId++;
    if (typeof callback === 'function') {
      if (this._handle === null) this.once('close', () => callback(serverNotRunning()));
      else this.once('close', callback);
    }
    const handle = this._handle;
    if (handle !== null) {
      handle.close();
      this._handle = null;
      if (this._pipeName !== undefined) this._unlink(this._pipeName, handle);
    }
    if (this._usingWorkers) this._closeWorkers();
    else this._emitCloseIfDrained();
    return this;
  }

  _closeWorkers(): void {
    let left = this._workers.length;
    this._connections++; // not drained before the last worker has answered
    for (const worker of this._workers)
      worker.close(() => {
        if (--left !== 0) return;
        this._connections = 0;
        this._emitCloseIfDrained();
      });
  }

  /** unix(7): the path stays when the socket is closed. In a cluster it is the primary's. */
  _unlink(path: string, handle: ServerHandle | NodeListener): void {
    this._pipeName = undefined;
    const isKept = handle instanceof ServerHandle && handle.keepsPath;
    if (!isKept && !builtins.cluster.isWorker) removePath(path);
  }

  _emitCloseIfDrained(): void {
    if (this._handle !== null || this._connections > 0) return;
    this._serving?.leave();
    this._serving = null;
    process.nextTick(() => this.emit('close'));
  }

  closeAllConnections(): void {
    for (const socket of this[kSockets]) socket.destroy();
  }

  closeIdleConnections(): void {
    for (const socket of this[kSockets]) if (isIdle(socket)) socket.destroy();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this._handle !== null) await builtins.util.promisify(this.close).call(this);
  }

  override [EventEmitter.captureRejectionSymbol](error: Error, event: string | symbol, socket: SocketClass): void {
    if (event === 'connection') socket.destroy(error);
    else this.emit('error', error);
  }

  address(): IpAddress | string | null {
    if (this._handle !== null && this._pipeName === undefined) return this._handle.address();
    return this._pipeName ?? null;
  }

  ref(): this {
    this._unref = false;
    this._handle?.ref();
    return this;
  }

  unref(): this {
    this._unref = true;
    this._handle?.unref();
    return this;
  }
}

function initialize(
  server: ServerClass,
  first?: ServerOptions | ConnectionListener,
  second?: ConnectionListener,
): void {
  let options: ServerOptions = {};
  if (typeof first === 'function') {
    server.on('connection', first);
  } else if (first === undefined || first === null || typeof first === 'object') {
    options = { ...first };
    if (typeof second === 'function') server.on('connection', second);
  } else {
    throw invalidArgType('options', 'of type object', first);
  }
  if (options.keepAliveInitialDelay !== undefined) {
    validateNumber(options.keepAliveInitialDelay, 'options.keepAliveInitialDelay');
    if (options.keepAliveInitialDelay < 0) options.keepAliveInitialDelay = 0;
  }
  if (options.highWaterMark !== undefined) {
    validateNumber(options.highWaterMark, 'options.highWaterMark');
    if (options.highWaterMark < 0) options.highWaterMark = getDefaultHighWaterMark(false);
  }
  if (options.blockList) validateBlockList(options.blockList);
  server._connections = 0;
  server._handle = null;
  server._usingWorkers = false;
  server._workers = [];
  server._unref = false;
  server._listeningId = 1;
  server._pipeName = undefined;
  server._connectionKey = undefined;
  server.allowHalfOpen = options.allowHalfOpen || false;
  server.pauseOnConnect = Boolean(options.pauseOnConnect);
  server.noDelay = Boolean(options.noDelay);
  server.keepAlive = Boolean(options.keepAlive);
  server.keepAliveInitialDelay = ~~((options.keepAliveInitialDelay ?? 0) / 1000);
  server.highWaterMark = options.highWaterMark ?? getDefaultHighWaterMark(false);
  server.blockList = options.blockList || undefined;
  server[kSockets] = new Set();
  server._serving = null;
}

export type Server = ServerClass;
type ServerArgs = [options?: ServerOptions | ConnectionListener | undefined, listener?: ConnectionListener | undefined];
export const Server = callable<ServerClass, ServerArgs>(
  ServerClass,
  (target, options, listener) => {
    (EventEmitter as unknown as { call(target: unknown): void }).call(target);
    initialize(target, options, listener);
  },
  (construct) =>
    function Server(this: unknown, options?: ServerOptions | ConnectionListener, listener?: ConnectionListener) {
      return construct(this, new.target, [options, listener]);
    },
);

export function createServer(options?: ServerOptions | ConnectionListener, listener?: ConnectionListener): ServerClass {
  return new ServerClass(options, listener);
}
