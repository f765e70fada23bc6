/**
 * Node's own `tls` and `http2` take a socket of ours as any stream, and put a `JSStreamSocket` around it. With its own
 * sockets they take the handle over, so that the socket never sees the peer's FIN; ours does, and would end its writable
 * side by itself (`allowHalfOpen: false`) while the wrapper still has records to send. The wrapper ends the stream when
 * it is done.
 *
 * A wrapper is known by its 'end' listener, which tells the handle that the stream is over. Nothing public says so.
 * `allowHalfOpen` itself stays as it is until the FIN comes: the wrapper takes its own over from the socket.
 *
 * The wrapper's own handle, a `JSStream`, has no addresses and no ref(): a TLS socket around a socket of ours would have no
 * `remoteAddress`, and its unref() would do nothing. It is lent those of the socket inside. And where that is one of
 * millrace/tls, under a session of http2, the wrapper is asked for what a TLS socket knows: `request.socket.encrypted`.
 */
import type { EventEmitter } from 'node:events';
import { Duplex } from 'node:stream';
import type { TLSSocket } from 'node:tls';
import type { Handle } from './handle.ts';
import { kOnRead } from './symbols.ts';

/** Listeners that were looked at: a socket of http resumes with every request. */
const othersListeners = new WeakSet<object>();

/** @param own the listener that every socket has, which needs no look */
export function isWrapped(socket: EventEmitter, own: (...args: never[]) => void): boolean {
  for (const listener of socket.listeners('end')) {
    if (listener === own || othersListeners.has(listener)) continue;
    if (Function.prototype.toString.call(listener).includes('emitEOF')) return true;
    othersListeners.add(listener);
  }
  return false;
}

/** A stream in a wrapper; its handle may be one of ours. */
interface Inside {
  readonly _handle?: unknown;
  ref(): unknown;
  unref(): unknown;
}

/** What Node's tls and net call of a handle, if it has it. */
const lent = {
  getsockname: (handle: Handle, _: Inside, out: object) => handle.getsockname(out),
  getpeername: (handle: Handle, _: Inside, out: object) => handle.getpeername(out),
  setNoDelay: (handle: Handle, _: Inside, on: boolean) => handle.setNoDelay(on),
  setKeepAlive: (handle: Handle, _: Inside, on: boolean, seconds: number) => handle.setKeepAlive(on, seconds),
  ref: (_: Handle, inside: Inside) => void inside.ref(),
  unref: (_: Handle, inside: Inside) => void inside.unref(),
};

/** What Node's http2 and programs ask of a TLS socket; undefined, as before, where there is none inside. */
const lentByTls = [
  ...['encrypted', 'authorized', 'authorizationError', 'alpnProtocol', 'servername', 'getCertificate', 'getCipher'],
  ...['getEphemeralKeyInfo', 'getFinished', 'getPeerCertificate', 'getPeerFinished', 'getPeerX509Certificate'],
  ...['getProtocol', 'getSession', 'getSharedSigalgs', 'getTLSTicket', 'getX509Certificate', 'isSessionReused'],
  ...['exportKeyingMaterial', 'disableRenegotiation', 'renegotiate'],
] as const;

/** Of this copy of millrace. */
function isOurs(inside: object | undefined): boolean {
  return inside !== undefined && kOnRead in inside;
}

let isLent = false;

/**
 * Gives the class of the wrappers' handles these methods, once in a thread, as soon as there is a wrapper around a socket. Its
 * instances can't be reached from the socket inside, and it has no name: a TLS socket around nothing shows it. For other
 * streams, and when the socket inside is closed, the methods do nothing, which is what their callers do without them.
 */
export function lendHandle(socket: EventEmitter, own: (...args: never[]) => void): void {
  if (isLent || socket.listenerCount('end') < 2 || !isWrapped(socket, own)) return;
  isLent = true;
  const tls = process.getBuiltinModule('node:tls');
  const nothing = new Duplex({ read() {}, write: (_chunk, _encoding, callback) => callback() });
  const secureContext = tls.createSecureContext({ ca: [] }); // the usual ones would all be parsed
  const probe = new tls.TLSSocket(nothing, { secureContext }) as TLSSocket & { _handle: { _parent?: object } | null };
  const handle = probe._handle?._parent;
  probe.destroy();
  if (handle === undefined) return;
  const owner = Object.getOwnPropertySymbols(handle).find(({ description }) => description === 'owner_symbol');
  if (owner === undefined) return;
  for (const [name, method] of Object.entries(lent)) {
    const value = function (this: { [owner]?: { stream?: Inside } }, ...args: never[]): unknown {
      const inside = this[owner]?.stream;
      if (inside === undefined || !isOurs(inside) || !inside._handle) return undefined;
      return (method as (handle: Handle, inside: Inside, ...args: never[]) => unknown)(
        inside._handle as Handle, // or one of millrace/tls, which answers the same
        inside,
        ...args,
      );
    };
    Object.defineProperty(Object.getPrototypeOf(handle), name, { value, writable: true, configurable: true });
  }
  const wrapper = Object.getPrototypeOf((handle as Record<symbol, object>)[owner] as object) as object;
  for (const name of lentByTls) {
    const get = function (this: { stream?: Record<string, unknown> }): unknown {
      if (!isOurs(this.stream)) return undefined;
      const value = this.stream?.[name];
      return typeof value === 'function' ? value.bind(this.stream) : value;
    };
    Object.defineProperty(wrapper, name, { get, configurable: true });
  }
}
