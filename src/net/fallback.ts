/**
 * What `millrace` exports where the engine is Node's own: Node's `net`, and our additions in subclasses of its Socket and
 * Server, so that Node's own classes stay as they are. All else is Node's, also every behaviour.
 *
 * A server of Node's makes its sockets by itself; they get our prototype before anybody sees them.
 */
import { channel } from 'node:diagnostics_channel';
import nodeNet from 'node:net';
import { nativePart } from '../engine/native.ts';
import { begin } from '../engine/serving.ts';
import { setUserTimeout } from '../engine/socket-options.ts';
import { readTcpInfo, type TcpInfo } from '../engine/tcp-info.ts';
import type { Server as ApiServer, Socket as ApiSocket, Net } from './api.ts';
import { BlockList } from './block-list.ts';
import { connectionsOf } from './connections.ts';
import { errnoException, featureUnavailable } from './errors.ts';
import type { SocketPairOptions } from './pair.ts';
import { promisesOf } from './promises.ts';
import { ServingServer } from './serving.ts';
import { SocketAddress } from './socket-address.ts';
import { validateBoolean, validateInt32, validateObject } from './validate.ts';

/** What Node's classes have and @types/node does not tell. */
interface NodeSocket extends nodeNet.Socket {
  _handle: { fd?: number; writeQueueSize?: number } | null;
  _server: nodeNet.Server | null;
  _destroy(error: Error | null, callback: (error?: Error | null) => void): void;
}

/** Functions of Node's, callable and constructible. */
// biome-ignore lint/suspicious/noExplicitAny: TypeScript has no other name for it
type NodeClass<T> = ((this: unknown, ...args: any[]) => T) & { new (...args: any[]): T; prototype: T };
const NodeSocketClass = nodeNet.Socket as unknown as NodeClass<NodeSocket>;
const NodeServerClass = nodeNet.Server as unknown as NodeClass<nodeNet.Server>;

/** ECMA-262, OrdinaryHasInstance. */
const isOrdinaryInstance = Function.prototype[Symbol.hasInstance] as (this: unknown, value: unknown) => boolean;

/** A function like `Base`, with and without `new`, for classes made in any way; its prototype inherits `Base`'s. */
function subclass<T>(
  Base: NodeClass<T>,
  define: (construct: (self: unknown, target: unknown, args: unknown[]) => unknown) => unknown,
): NodeClass<T> {
  const Class = define((self, target, args) => {
    if (target !== undefined) return Reflect.construct(Base, args, target as NodeClass<T>);
    if (!isOrdinaryInstance.call(Class, self)) return new Class(...args);
    Base.apply(self, args);
    return undefined;
  }) as NodeClass<T>;
  Object.setPrototypeOf(Class, Base);
  const prototype = Object.create(Base.prototype as object, {
    constructor: { value: Class, writable: true, configurable: true },
  });
  Object.defineProperty(Class, 'prototype', { value: prototype });
  // Whatever is one of Node's is one of ours, as on the other engines: docs/decisions/0019-instanceof.md
  Object.defineProperty(Class, Symbol.hasInstance, {
    configurable: true,
    value(this: unknown, instance: unknown): boolean {
      return isOrdinaryInstance.call(this === Class ? Base : this, instance);
    },
  });
  return Class;
}

const Socket = subclass(
  NodeSocketClass,
  (construct) =>
    function Socket(this: unknown, options?: unknown) {
      return construct(this, new.target, [options]);
    },
);
const Server = subclass(
  NodeServerClass,
  (construct) =>
    function Server(this: unknown, options?: unknown, connectionListener?: unknown) {
      return construct(this, new.target, [options, connectionListener]);
    },
);

/** Adds methods as a class has them: they are not enumerable. */
function extend<T extends object>(prototype: T, methods: object & ThisType<T>): void {
  for (const [key, descriptor] of Object.entries(Object.getOwnPropertyDescriptors(methods)))
    Object.defineProperty(prototype, key, { ...descriptor, enumerable: false });
}

// ---- sockets of a server ----

const socketsOf = new WeakMap<nodeNet.Server, Set<NodeSocket>>();
const servings = new WeakMap<nodeNet.Server, ServingServer>();
/** Servers that are about to listen. */
const beginnings = new WeakMap<nodeNet.Server, () => void>();

function settle(server: nodeNet.Server): void {
  beginnings.get(server)?.();
  beginnings.delete(server);
}

function socketsSetOf(server: nodeNet.Server): Set<NodeSocket> {
  let sockets = socketsOf.get(server);
  if (sockets === undefined) {
    sockets = new Set();
    socketsOf.set(server, sockets);
  }
  return sockets;
}

extend(Socket.prototype, {
  _destroy(error: Error | null, callback: (error?: Error | null) => void): void {
    if (this._server) socketsOf.get(this._server)?.delete(this);
    NodeSocketClass.prototype._destroy.call(this, error, callback);
  },

  setUserTimeout(ms: number): NodeSocket {
    validateInt32(ms, 'ms', 0);
    const part = nativePart();
    if (part === null) throw featureUnavailable('socket.setUserTimeout');
    const set = (): void => {
      const result = setUserTimeout(part, this._handle?.fd ?? -1, ms);
      const isTcp = this.localPort !== undefined; // a unix socket has no such thing, as with setKeepAlive
      if (result < 0 && isTcp) throw errnoException(-result, 'setUserTimeout');
    };
    if (this.connecting || this._handle === null) this.once('connect', set);
    else set();
    return this;
  },

  tcpInfo(): TcpInfo | undefined {
    const part = nativePart();
    return part === null || this.connecting ? undefined : readTcpInfo(part, this._handle?.fd ?? -1);
  },
});

extend(Server.prototype, {
  emit(event: string | symbol, ...args: unknown[]): boolean {
    if (event === 'connection' && args[0] instanceof nodeNet.Socket) adopt(this, args[0] as NodeSocket);
    if (event === 'listening')
      servings.set(this, new ServingServer(this, socketsSetOf(this), (callback) => callback()));
    if (event === 'close') servings.get(this)?.leave();
    if (event === 'listening' || event === 'error' || event === 'close') settle(this);
    return NodeServerClass.prototype.emit.call(this, event, ...args);
  },

  listen(...args: unknown[]): nodeNet.Server {
    settle(this);
    beginnings.set(this, begin());
    try {
      return (NodeServerClass.prototype.listen as (...args: unknown[]) => nodeNet.Server).apply(this, args);
    } catch (error) {
      settle(this);
      throw error;
    }
  },

  closeAllConnections(): void {
    for (const socket of socketsOf.get(this) ?? []) socket.destroy();
  },

  closeIdleConnections(): void {
    for (const socket of socketsOf.get(this) ?? []) if (isIdle(socket)) socket.destroy();
  },
});

if (!(Symbol.asyncIterator in nodeNet.Server.prototype)) {
  Object.defineProperty(Server.prototype, Symbol.asyncIterator, {
    configurable: true,
    writable: true,
    value(this: nodeNet.Server) {
      return connectionsOf(this);
    },
  });
}

function adopt(server: nodeNet.Server, socket: NodeSocket): void {
  if (Object.getPrototypeOf(socket) === nodeNet.Socket.prototype) Object.setPrototypeOf(socket, Socket.prototype);
  socketsSetOf(server).add(socket);
}

/** As in idle.ts; without a native part, what waits in the kernel is not seen. */
function isIdle(socket: NodeSocket): boolean {
  const handle = socket._handle;
  if (handle === null) return false;
  const unread = nativePart()?.unread(handle.fd ?? -1) ?? 0;
  const hasToRead = socket.readableLength > 0 || unread > 0;
  return !hasToRead && socket.writableLength === 0 && socket.writableCorked === 0 && !handle.writeQueueSize;
}

// ---- functions ----

function createServer(options?: unknown, connectionListener?: unknown): nodeNet.Server {
  return new Server(options, connectionListener);
}

const clientSocketChannel = channel('net.client.socket');
/** In Node 20 `net.connect` tells the channel, later every socket that connects does. */
const isToldByConnect = Function.prototype.toString.call(nodeNet.connect).includes('netClientSocketChannel');

function connect(...args: unknown[]): nodeNet.Socket {
  if (normalizeArgs === undefined) return (nodeNet.connect as (...args: unknown[]) => nodeNet.Socket)(...args); // no Node
  const normalized = normalizeArgs(args);
  const options = normalized[0] as { timeout?: number };
  const socket = new Socket(options);
  if (isToldByConnect && clientSocketChannel.hasSubscribers) clientSocketChannel.publish({ socket });
  if (options.timeout) socket.setTimeout(options.timeout);
  return (socket as unknown as { connect(args: unknown): nodeNet.Socket }).connect(normalized);
}

/** Node's own marks what it normalised, so that nobody does it twice. */
const { _normalizeArgs: normalizeArgs } = nodeNet as unknown as {
  _normalizeArgs?: (args: unknown[]) => [options: object, callback: unknown];
};

function socketpair(options: SocketPairOptions = {}): nodeNet.Socket[] {
  validateObject(options, 'options');
  const { allowHalfOpen = false } = options;
  validateBoolean(allowHalfOpen, 'options.allowHalfOpen');
  const pair = nativePart()?.socketPair(1 /* SOCK_STREAM */);
  if (pair === undefined) throw featureUnavailable('net.socketpair');
  if (typeof pair === 'number') throw errnoException(-pair, 'socketpair');
  return pair.map((fd) => new Socket({ fd, allowHalfOpen, manualStart: true }));
}

const unavailable = (name: string) => (): never => {
  throw featureUnavailable(name);
};

export const fallbackNet = {
  ...nodeNet,
  Server,
  Socket,
  Stream: Socket,
  attach: unavailable('net.attach on engine node'),
  connect,
  createConnection: connect,
  createServer,
  detach: async () => unavailable('net.detach on engine node')(),
  discard: unavailable('net.discard on engine node'),
  promises: promisesOf<ApiSocket, ApiServer>({ ...nodeNet, BlockList, SocketAddress, connect, createServer } as never),
  socketpair,
} as unknown as Net;
