/**
 * A server of Node's (http, https, http2, tls, net) that listens on millrace: what it does with a connection stays
 * Node's, where connections come from becomes ours.
 *
 * The fields of a listening server have the same names in Node's `net.Server` and in ours. So it is enough to give the
 * server, as its own, those methods of ours that listen and accept; Node's close, getConnections, ref and the rest, and
 * what http adds to them, work on the fields as before. Other servers of the process are untouched.
 */
import https from 'node:https';
import nodeNet from 'node:net';
import nodeTls from 'node:tls';
import { choice } from '../engine/engine.ts';
import { invalidArgType, serverAlreadyListen } from '../net/errors.ts';
import { kSockets, ServerClass } from '../net/server.ts';
import { engine as tlsEngine } from '../tls/index.ts';
import { rememberNodesContexts, secureNodesServer } from '../tls/nodes-server.ts';
import { connectingByOurs } from './agent.ts';

/** What listens and accepts: these, and all that they call, whose names begin with an underscore. */
const LISTENING: readonly string[] = ['listen', 'address'];

const kMounted: unique symbol = Symbol('mounted');

/** ECMA-262, OrdinaryHasInstance: `instanceof net.Server` is true for millrace's servers too. */
const isOrdinaryInstance = Function.prototype[Symbol.hasInstance] as (this: unknown, value: unknown) => boolean;

rememberNodesContexts();

/**
 * Puts a server of `node:http`, `node:https`, `node:http2`, `node:tls` or `node:net` on millrace, before it listens.
 * Everything about it stays as it was: `listen`, `close`, `address()`, `listening`, `getConnections`, `ref`, `unref`,
 * `maxConnections`, `closeIdleConnections`, `closeAllConnections`, `addContext`, `setSecureContext`, events, timeouts.
 * Connections are millrace's sockets, and where the server speaks TLS, they are secured by millrace/tls. A server that
 * millrace/tls can't serve (docs/tls.md) has Node's TLS over millrace's sockets.
 *
 * An agent of `node:https` makes its connections by millrace/tls from then on.
 *
 * Where the engine is `node`, and for what is on millrace already, nothing is done.
 *
 * @returns the same server or agent
 * @throws {ERR_INVALID_ARG_TYPE} not a server of Node's, nor an https.Agent
 * @throws {ERR_SERVER_ALREADY_LISTEN} it listens already, on Node's net
 */
export function mount<T extends nodeNet.Server | https.Agent>(target: T): T {
  if (target instanceof https.Agent) mountAgent(target);
  else mountServer(target);
  return target;
}

type Mountable = { [kMounted]?: true };

function mountAgent(agent: https.Agent): void {
  if (tlsEngine === 'node' || (agent as Mountable)[kMounted]) return;
  const createConnection = connectingByOurs(agent.createConnection as never);
  Object.assign(agent, { createConnection });
  Object.defineProperty(agent, kMounted, { value: true });
}

function mountServer(server: nodeNet.Server): void {
  const isNodes = isOrdinaryInstance.call(nodeNet.Server, server);
  if (choice.turn !== null) {
    if (server instanceof ServerClass || (server as Mountable | undefined)?.[kMounted]) return;
  }
  if (!isNodes) throw invalidArgType('server', 'an instance of net.Server or https.Agent', server);
  if (choice.turn === null) return;
  if (server.listening) throw serverAlreadyListen();
  const own = server as unknown as ServerClass;
  for (const [name, property] of Object.entries(Object.getOwnPropertyDescriptors(ServerClass.prototype)))
    if (name.startsWith('_') || LISTENING.includes(name)) Object.defineProperty(own, name, property);
  Object.defineProperty(own, 'close', { value: close, writable: true, configurable: true });
  Object.defineProperty(own, kMounted, { value: true });
  Object.defineProperty(own, kSockets, { value: new Set() });
  if (isOrdinaryInstance.call(nodeTls.Server, server)) secureNodesServer(server as nodeTls.Server);
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
