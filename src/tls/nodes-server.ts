/**
 * A server that Node made (`https`, `http2.createSecureServer`, `tls`) and whose connections we secure: Node's listener for
 * 'connection' is replaced by ours, which makes our TLSSocket of the accepted connection. Everything else of the server, its
 * options among it, stays where Node has it.
 *
 * In: `mount` of millrace/http. Out: 'secureConnection' with our sockets. docs/decisions/0088-https-on-our-tls.md
 */
import { syncBuiltinESMExports } from 'node:module';
import nodeTls from 'node:tls';
import { type ContextOptions, isKnown, remember, type SecureContext } from './context.ts';
import { kHandshakeTimeout, kSniCallback, kSocketOptions, pickContext, secure, TlsServerClass } from './server.ts';
import { contextFor, engine } from './socket.ts';

/** Where Node keeps what a server was made with: symbols, which have these descriptions on all lines. */
const KEPT = ['handshake-timeout', 'snicallback', 'pskcallback', 'pskidentityhint', 'enableTrace'] as const;

/** Methods of ours that do more than Node's: the native context is changed, or made, at once. */
const OWN_METHODS = ['setSecureContext', 'setTicketKeys'] as const;

/** Node's listener for 'connection', which every server of its `tls` has first. */
let nodesListener: ((...args: unknown[]) => void) | undefined;

/**
 * Has the connections of a server of Node's secured by us. Nothing is changed where that can't be done, and Node's TLS serves:
 * pre-shared keys, traces, engines, names that were added with contexts we know nothing of.
 * @returns whether it was done
 */
export function secureNodesServer(server: nodeTls.Server): boolean {
  if (engine.native === null) return false;
  const own = server as unknown as TlsServerClass & ContextOptions;
  nodesListener ??= new nodeTls.Server({ ca: [] }).listeners('connection')[0] as typeof nodesListener;
  const kept = readKept(server);
  if (nodesListener === undefined || kept === undefined || !server.listeners('connection').includes(nodesListener))
    return false;
  remember(own._sharedCreds, pickContext(own));
  const [timeout, sniCallback, pskCallback, pskIdentityHint, enableTrace] = kept;
  const socketOptions = { pskCallback, pskIdentityHint, enableTrace } as TlsServerClass[typeof kSocketOptions];
  if (contextFor(socketOptions, own._sharedCreds) === undefined) return false;
  if (!own._contexts.every(([, context]) => isKnown(context))) return false;
  own[kHandshakeTimeout] = timeout as number;
  own[kSniCallback] = sniCallback as TlsServerClass[typeof kSniCallback];
  own[kSocketOptions] = socketOptions;
  for (const name of OWN_METHODS)
    Object.defineProperty(own, name, {
      value: TlsServerClass.prototype[name],
      writable: true,
      configurable: true,
    });
  server.removeListener('connection', nodesListener);
  server.prependListener('connection', secure as never);
  return true;
}

/** Undefined if this Node.js keeps them elsewhere. */
function readKept(server: object): unknown[] | undefined {
  const symbols = Object.getOwnPropertySymbols(server);
  const keys = KEPT.map((name) => symbols.find(({ description }) => description === name));
  if (keys.includes(undefined)) return undefined;
  return keys.map((key) => (server as Record<symbol, unknown>)[key as symbol]);
}

let isRecording = false;

/**
 * From now on it is known of what options `node:tls` makes its contexts: those that a program's SNICallback answers with, and
 * that Node's `addContext` makes, serve on our connections as well.
 */
export function rememberNodesContexts(): void {
  if (isRecording || engine.native === null) return;
  isRecording = true;
  const make = nodeTls.createSecureContext;
  nodeTls.createSecureContext = function createSecureContext(options) {
    const context = make(options) as SecureContext;
    remember(context, options ?? {});
    return context;
  };
  syncBuiltinESMExports(); // for those who import it by name
}
