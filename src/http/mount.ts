/**
 * A server of Node's (http, https, http2, tls, net) that listens on millrace: what it does with a connection stays
 * Node's, where connections come from becomes ours.
 *
 * The fields of a listening server have the same names in Node's `net.Server` and in ours. So it is enough to give the
 * server, as its own, those methods of ours that listen and accept; Node's close, getConnections, ref and the rest, and
 * what http adds to them, work on the fields as before. Other servers of the process are untouched.
 */
import nodeNet from 'node:net';
import { choice } from '../engine/engine.ts';
import { invalidArgType, serverAlreadyListen } from '../net/errors.ts';
import { kSockets, ServerClass } from '../net/server.ts';

/** What listens and accepts: these, and all that they call, whose names begin with an underscore. */
const LISTENING: readonly string[] = ['listen', 'address'];

const kMounted: unique symbol = Symbol('mounted');

/** ECMA-262, OrdinaryHasInstance: `instanceof net.Server` is true for millrace's servers too. */
const isOrdinaryInstance = Function.prototype[Symbol.hasInstance] as (this: unknown, value: unknown) => boolean;

/**
 * Puts a server of `node:http`, `node:https`, `node:http2`, `node:tls` or `node:net` on millrace, before it listens.
 * Everything about it stays as it was: `listen`, `close`, `address()`, `listening`, `getConnections`, `ref`, `unref`,
 * `maxConnections`, `closeIdleConnections`, `closeAllConnections`, events, timeouts. Connections are millrace's sockets.
 *
 * TLS is Node's, over a stream: correct, and slower than on Node's own sockets. Where the engine is `node`, and for a
 * server that is on millrace already, nothing is done.
 *
 * @returns the same server
 * @throws {ERR_INVALID_ARG_TYPE} not a server of Node's
 * @throws {ERR_SERVER_ALREADY_LISTEN} it listens already, on Node's net
 */
export function mount<S extends nodeNet.Server>(server: S): S {
  if (choice.turn === null) {
    if (!isOrdinaryInstance.call(nodeNet.Server, server))
      throw invalidArgType('server', 'an instance of net.Server', server);
    return server;
  }
  if (server instanceof ServerClass || (server as { [kMounted]?: true } | undefined)?.[kMounted]) return server;
  if (!isOrdinaryInstance.call(nodeNet.Server, server))
    throw invalidArgType('server', 'an instance of net.Server', server);
  if (server.listening) throw serverAlreadyListen();
  const own = server as unknown as ServerClass;
  for (const [name, property] of Object.entries(Object.getOwnPropertyDescriptors(ServerClass.prototype)))
    if (name.startsWith('_') || LISTENING.includes(name)) Object.defineProperty(own, name, property);
  Object.defineProperty(own, 'close', { value: close, writable: true, configurable: true });
  Object.defineProperty(own, kMounted, { value: true });
  Object.defineProperty(own, kSockets, { value: new Set() });
  return server;
}

/** Node's close of this kind of server; and, as the kernel does not, a unix socket's path goes. */
function close(this: ServerClass, callback?: (error?: Error) => void): ServerClass {
  const handle = this._handle;
  const path = this._pipeName;
  this._listeningId++; // an address that is being looked up is listened on no more
  (Object.getPrototypeOf(this) as ServerClass).close.call(this, callback);
  if (handle !== null && path !== undefined) this._unlink(path, handle);
  return this;
}
