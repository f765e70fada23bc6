/**
 * Node's `net.Server` on the engine: where it listens, whom it lets in, when it is over.
 *
 * In: `_accept` from server-handle.ts with each connection. Out: 'connection' with a `Socket`.
 *
 * @see https://nodejs.org/api/net.html#class-netserver
 */
import { channel, tracingChannel } from 'node:diagnostics_channel';
import { EventEmitter } from 'node:events';
import { BlockList } from 'node:net';
import { getDefaultHighWaterMark } from 'node:stream';
import { builtins } from '../engine/builtins.ts';
import { choice } from '../engine/engine.ts';
import type { Turn } from '../engine/turn.ts';
import type { IpAddress } from './address.ts';
import { type Callback, isPath, normalizeArgs, toNumber } from './args.ts';
import { validateBlockList } from './block-list.ts';
import { callable } from './callable.ts';
import { ClusterHandle } from './cluster-handle.ts';
import { isTraced, trace } from './debug.ts';
import { invalidArgType, invalidArgValue, listenException, serverAlreadyListen, serverNotRunning } from './errors.ts';
import type { Handle } from './handle.ts';
import { openListener, type Place, ServerHandle } from './server-handle.ts';
import { SocketClass } from './socket.ts';
import { validateAbortSignal, validateNumber, validatePort } from './validate.ts';

const turn = choice.turn as Turn;
const serverSocketChannel = channel('net.server.socket');
const listenChannels = tracingChannel('net.server.listen');

/** listen(2): Node's default, because the kernel rounds it up to 512. */
const BACKLOG = 511;

export interface ServerOptions {
  allowHalfOpen?: boolean;
  pauseOnConnect?: boolean;
  noDelay?: boolean;
  keepAlive?: boolean;
  keepAliveInitialDelay?: number;
  highWaterMark?: number;
  blockList?: BlockList;
}

export interface ListenOptions {
  port?: number | string | null;
  host?: string;
  path?: string;
  backlog?: number;
  exclusive?: boolean;
  ipv6Only?: boolean;
  reusePort?: boolean;
  readableAll?: boolean;
  writableAll?: boolean;
  signal?: AbortSignal;
  fd?: number;
}

export type ConnectionListener = (socket: SocketClass) => void;

export class ServerClass extends EventEmitter {
  declare _connections: number;
  declare _handle: ServerHandle | ClusterHandle | null;
  declare _usingWorkers: boolean;
  declare _workers: unknown[];
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
    const [given, callback] = normalizeArgs(args);
    const options = { ...given } as ListenOptions;
    if (this._handle !== null) throw serverAlreadyListen();
    if (callback !== null) this.once('listening', callback as Callback as () => void);
    if (listenChannels.asyncStart.hasSubscribers) listenChannels.asyncStart.publish({ server: this, options });
    const backlogArgument = toNumber(args.length > 1 && args[1]) || toNumber(args.length > 2 && args[2]) || 0;
    closeOnAbort(this, options.signal);
    const place: Place = {
      address: null,
      port: 0,
      family: 4,
      fd: undefined,
      ipv6Only: options.ipv6Only === true,
      reusePort: options.reusePort === true,
    };
    if (typeof options.fd === 'number' && options.fd >= 0) {
      this._open({ ...place, fd: options.fd }, backlogArgument, false);
      return this;
    }
    const [first] = args;
    const isPortOmitted = args.length === 0 || typeof first === 'function' || options.port === null;
    if (isPortOmitted || (options.port === undefined && 'port' in options)) options.port = 0;
    const backlog = options.backlog || backlogArgument;
    const isExclusive = options.exclusive === true || place.reusePort;
    if (typeof options.port === 'number' || typeof options.port === 'string') {
      place.port = validatePort(options.port, 'options.port');
      if (options.host) this._lookUpAndListen({ ...place, address: options.host }, backlog, isExclusive);
      else this._open(place, backlog, isExclusive);
      return this;
    }
    if (options.path && isPath(options.path)) {
      if (options.path.startsWith('\0') && (options.readableAll || options.writableAll))
        throw invalidArgValue(
          'options',
          given,
          'can not set readableAll or writableAllt to true when path is abstract unix socket',
        );
      this._pipeName = options.path;
      this._open({ ...place, address: options.path, port: -1, family: -1 }, backlog, isExclusive);
      if (this.listening && !builtins.cluster.isWorker) this._allow(options);
      return this;
    }
    if (!('port' in options || 'path' in options))
      throw invalidArgValue('options', given, 'must have the property "port" or "path"');
    throw invalidArgValue('options', given);
  }

  _lookUpAndListen(place: Place, backlog: number, isExclusive: boolean): void {
    const id = ++this._listeningId;
    builtins.dns.lookup(place.address as string, { all: true }, (error, addresses) => {
      if (id !== this._listeningId) return; // closed, or told to listen elsewhere, meanwhile
      if (error) {
        this.emit('error', error);
        return;
      }
      // A link-local address can't be bound without its interface (RFC 4007).
      const usable = addresses.find(({ address, family }) => family === 4 || !isLinkLocal(address)) ?? addresses[0];
      this._open(
        { ...place, address: usable?.address ?? null, family: (usable?.family || 4) as 4 | 6 },
        backlog,
        isExclusive,
      );
    });
  }

  /** In a worker of node:cluster the primary is asked for the address, unless it is not to be shared. */
  _open(place: Place, backlog: number, isExclusive: boolean): void {
    if (this._handle !== null) {
      process.nextTick(() => this.emit('listening')); // another call was faster: as in Node, its address stays
      return;
    }
    if (builtins.cluster.isWorker && !isExclusive) {
      const id = ++this._listeningId;
      ClusterHandle.ask(this, place, backlog, (errno, handle) => {
        if (id !== this._listeningId)
          handle?.close(); // closed before the primary's answer came
        else if (errno !== 0) this.emit('error', listenException(errno, 'bind', place.address, place.port));
        else this._begin(handle as ClusterHandle, place);
      });
      return;
    }
    const opened = openListener(place, backlog || BACKLOG);
    if (typeof opened === 'number') {
      this._pipeName = undefined; // somebody else's, perhaps: close() must not remove it
      const error = listenException(-opened, 'listen', place.address, place.port);
      if (isTraced) trace(error.message);
      if (listenChannels.error.hasSubscribers) listenChannels.error.publish({ server: this, error });
      process.nextTick(() => this.emit('error', error));
      return;
    }
    this._begin(new ServerHandle(turn, opened.fd, opened.isUnix, this), opened.place);
  }

  _begin(handle: ServerHandle | ClusterHandle, place: Place): void {
    this._handle = handle;
    this._connectionKey = `${place.family}:${place.address}:${place.port}`;
    if (this._unref) this.unref();
    handle.start();
    if (isTraced)
      trace('listen at %j, %s', this.address(), handle instanceof ServerHandle ? `fd ${handle.fd}` : 'by the primary');
    process.nextTick(() => {
      if (this._handle === null) return;
      if (listenChannels.asyncEnd.hasSubscribers) listenChannels.asyncEnd.publish({ server: this });
      this.emit('listening');
    });
  }

  /** readableAll, writableAll: permissions of the unix socket for everybody. */
  _allow(options: ListenOptions): void {
    const { readableAll, writableAll } = options;
    const path = this._pipeName as string;
    if (readableAll !== true && writableAll !== true) return;
    builtins.fs.chmodSync(path, 0o700 | (readableAll === true ? 0o444 : 0) | (writableAll === true ? 0o222 : 0));
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
    this._connections++;
    if (isTraced) trace('fd %d: accepted from %j', handle.fd, socket._getpeername());
    socket.server = this;
    socket._server = this;
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
    process.nextTick(callback, null, this._connections);
    return this;
  }

  // ---- the end ----

  close(callback?: (error?: Error) => void): this {
    this._listeningId++;
    if (typeof callback === 'function') {
      if (this._handle === null) this.once('close', () => callback(serverNotRunning()));
      else this.once('close', callback);
    }
    if (this._handle !== null) {
      this._handle.close();
      this._handle = null;
      if (this._pipeName !== undefined) this._unlink(this._pipeName);
    }
    this._emitCloseIfDrained();
    return this;
  }

  /** unix(7): the path stays when the socket is closed. In a cluster it is the primary's. */
  _unlink(path: string): void {
    this._pipeName = undefined;
    if (path.startsWith('\0') || builtins.cluster.isWorker) return;
    try {
      builtins.fs.unlinkSync(path);
    } catch {
      // somebody else removed it
    }
  }

  _emitCloseIfDrained(): void {
    if (this._handle !== null || this._connections > 0) return;
    process.nextTick(() => this.emit('close'));
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

const linkLocal = new BlockList();
linkLocal.addSubnet('fe80::', 10, 'ipv6');
const isLinkLocal = (address: string): boolean => linkLocal.check(address, 'ipv6');

function closeOnAbort(server: ServerClass, signal: AbortSignal | undefined): void {
  if (signal === undefined) return;
  validateAbortSignal(signal, 'options.signal');
  const close = () => server.close();
  if (signal.aborted) {
    process.nextTick(close);
    return;
  }
  signal.addEventListener('abort', close);
  server.once('close', () => signal.removeEventListener('abort', close));
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
