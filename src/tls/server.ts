/**
 * Node's `tls.Server` on the engine: a server of ours whose connections are made TLS sockets before anybody sees them.
 *
 * @see https://nodejs.org/api/tls.html#class-tlsserver
 */
import { EventEmitter } from 'node:events';
import nodeTls from 'node:tls';
import { invalidArgType } from '../net/errors.ts';
import { ServerClass, type ServerOptions } from '../net/server.ts';
import type { SocketClass } from '../net/socket.ts';
import { validateFunction, validateNumber, validateString } from '../net/validate.ts';
import type { CertificatesOption } from './certificate-option.ts';
import { type ContextOptions, createSecureContext, remember, type SecureContext, setTicketKeys } from './context.ts';
import { alpnCallbackWithProtocols, connectionReset, requiredServerName } from './errors.ts';
import type { TlsSocketOptions } from './options.ts';
import { encodeAlpn } from './peer.ts';
import { lookAfter } from './server-certificates.ts';
import { chooseContext, contextFor, engine, isPlain, TLSSocketClass } from './socket.ts';

export const kHandshakeTimeout: unique symbol = Symbol('handshake timeout');
export const kSniCallback: unique symbol = Symbol('SNI callback');
export const kSocketOptions: unique symbol = Symbol('socket options');
const kHasErred: unique symbol = Symbol('has erred');

export interface TlsServerOptions extends ServerOptions, ContextOptions, CertificatesOption {
  requestCert?: boolean;
  rejectUnauthorized?: boolean;
  ALPNProtocols?: unknown;
  ALPNCallback?: TlsSocketOptions['ALPNCallback'];
  SNICallback?: TlsSocketOptions['SNICallback'];
  handshakeTimeout?: number;
  pskCallback?: unknown;
  pskIdentityHint?: unknown;
  enableTrace?: boolean;
}

type Secured = TLSSocketClass & { [kHasErred]?: boolean };
type OnConnection = (socket: TLSSocketClass) => void;

/** Node's own methods that only read and write fields, which have the same names here. */
const nodes = nodeTls.Server.prototype as unknown as {
  setSecureContext(this: unknown, options: ContextOptions): void;
  /** Deprecated in Node 22, gone in 24: sets fields, and makes no context. */
  setOptions?(this: unknown, options: TlsServerOptions): void;
};

export class TlsServerClass extends ServerClass {
  declare _contexts: [RegExp, object][];
  declare _sharedCreds: SecureContext;
  declare requestCert: boolean;
  declare rejectUnauthorized: boolean;
  declare ALPNProtocols: Buffer | undefined;
  declare ALPNCallback: TlsSocketOptions['ALPNCallback'];
  declare [kHandshakeTimeout]: number;
  declare [kSniCallback]: TlsSocketOptions['SNICallback'];
  declare [kSocketOptions]: Pick<TlsSocketOptions, 'pskCallback' | 'pskIdentityHint' | 'enableTrace'>;

  constructor(first?: TlsServerOptions | OnConnection | null, second?: OnConnection | undefined) {
    const options = checkedOptions(first);
    super(options);
    initialize(this, options, typeof first === 'function' ? first : second);
  }

  /** Replaces key and certificates: connections from now on have the new ones. */
  setSecureContext(options: ContextOptions): void {
    nodes.setSecureContext.call(this, options);
    const own = this as unknown as ContextOptions;
    remember(this._sharedCreds, pickContext(own)); // what Node's server hands on, and no more
    if (engine.native !== null) contextFor({}, this._sharedCreds); // now, and not with the first connection
  }

  getTicketKeys(): Buffer {
    return this._sharedCreds.context.getTicketKeys();
  }

  setTicketKeys(keys: Buffer): void {
    (nodeTls.Server.prototype as { setTicketKeys(this: unknown, keys: Buffer): void }).setTicketKeys.call(this, keys);
    if (engine.native !== null) setTicketKeys(engine.native, this._sharedCreds, keys);
  }

  _getServerData(): { ticketKeys: string } {
    return { ticketKeys: this.getTicketKeys().toString('hex') };
  }

  _setServerData(data: { ticketKeys: string }): void {
    this.setTicketKeys(Buffer.from(data.ticketKeys, 'hex'));
  }

  override [EventEmitter.captureRejectionSymbol](error: Error, event: string | symbol, socket: SocketClass): void {
    if (event === 'secureConnection') socket.destroy(error);
    else super[EventEmitter.captureRejectionSymbol](error, event, socket);
  }

  /** A context for the names that a pattern matches: `*` is one label. */
  addContext(servername: string, context: ContextOptions | SecureContext): void {
    if (!servername) throw requiredServerName();
    const pattern = servername.replace(/([.^$+?\-\\[\]{}])/g, '\\$1').replaceAll('*', '[^.]*');
    const own = isContext(context) ? context : createSecureContext(context);
    this._contexts.push([new RegExp(`^${pattern}$`, 'i'), own.context]);
  }
}

if (nodes.setOptions !== undefined)
  Object.defineProperty(TlsServerClass.prototype, 'setOptions', {
    value: nodes.setOptions,
    writable: true,
    enumerable: true,
    configurable: true,
  });

function isContext(value: object): value is SecureContext {
  return typeof (value as { context?: { getTicketKeys?: unknown } }).context?.getTicketKeys === 'function';
}

const CONTEXT_OPTIONS = [
  'pfx',
  'key',
  'passphrase',
  'cert',
  'clientCertEngine',
  'ca',
  'ciphers',
  'sigalgs',
  'ecdhCurve',
  'dhparam',
  'minVersion',
  'maxVersion',
  'secureProtocol',
  'secureOptions',
  'honorCipherOrder',
  'crl',
  'sessionIdContext',
  'ticketKeys',
  'sessionTimeout',
  'privateKeyIdentifier',
  'privateKeyEngine',
  'certificateCompression',
] as const;

/** What Node's `setSecureContext` hands on of a server's options. */
export function pickContext(from: object): ContextOptions {
  const picked: Record<string, unknown> = {};
  for (const name of CONTEXT_OPTIONS) picked[name] = (from as Record<string, unknown>)[name];
  return picked as ContextOptions;
}

function checkedOptions(first: unknown): TlsServerOptions {
  if (typeof first === 'function' || first === undefined || first === null) return {};
  if (typeof first !== 'object') throw invalidArgType('options', 'of type object', first);
  return first as TlsServerOptions;
}

export function initialize(server: TlsServerClass, options: TlsServerOptions, listener?: OnConnection): void {
  server._contexts = [];
  server.requestCert = options.requestCert === true;
  server.rejectUnauthorized = options.rejectUnauthorized !== false;
  server.ALPNCallback = options.ALPNCallback;
  if (server.ALPNCallback && options.ALPNProtocols) throw alpnCallbackWithProtocols();
  const own = server as unknown as ContextOptions;
  if (options.sessionTimeout) own.sessionTimeout = options.sessionTimeout;
  if (options.ticketKeys) own.ticketKeys = options.ticketKeys;
  if (options.ALPNProtocols) server.ALPNProtocols = encodeAlpn(options.ALPNProtocols);
  if (options.certificates === undefined) server.setSecureContext(options);
  server[kHandshakeTimeout] = options.handshakeTimeout || 120_000;
  server[kSniCallback] = options.SNICallback;
  const { pskCallback, pskIdentityHint, enableTrace } = options;
  server[kSocketOptions] = { pskCallback, pskIdentityHint, enableTrace } as TlsServerClass[typeof kSocketOptions];
  validateNumber(server[kHandshakeTimeout], 'options.handshakeTimeout');
  if (options.SNICallback) validateFunction(options.SNICallback, 'options.SNICallback');
  if (pskCallback) validateFunction(pskCallback, 'options.pskCallback');
  if (pskIdentityHint) validateString(pskIdentityHint, 'options.pskIdentityHint');
  // Behind everything that may throw: nobody would close what it opens.
  if (options.certificates !== undefined) lookAfter(server, options);
  server.on('connection', secure as never);
  if (listener) server.on('secureConnection', listener);
}

/** A plain connection was accepted, or is given by somebody: `server.emit('connection', stream)`. */
export function secure(this: TlsServerClass, raw: SocketClass): void {
  const options = {
    ...this[kSocketOptions],
    secureContext: this._sharedCreds,
    isServer: true,
    server: this,
    requestCert: this.requestCert,
    rejectUnauthorized: this.rejectUnauthorized,
    handshakeTimeout: this[kHandshakeTimeout],
    ALPNProtocols: this.ALPNProtocols,
    ALPNCallback: this.ALPNCallback,
    SNICallback: this[kSniCallback] ?? chooseContext,
    pauseOnConnect: this.pauseOnConnect,
  } as unknown as TlsSocketOptions;
  const isOurs = isPlain(raw) && contextFor(options, this._sharedCreds) !== undefined;
  const socket = (
    isOurs ? new TLSSocketClass(raw, options) : new nodeTls.TLSSocket(raw as never, options as never)
  ) as Secured;
  socket.on('secure', onSecure);
  if (this.listenerCount('keylog') > 0) socket.on('keylog', onKeylog);
  socket[kHasErred] = false;
  socket.on('close', onClose);
  socket.on('_tlsError', onError);
  socket.on('error', onError);
}

const serverOf = (socket: Secured): EventEmitter => socket._tlsOptions.server as unknown as EventEmitter;

/** The handshake is done: is the client one that we let in? */
function onSecure(this: Secured): void {
  if (this._requestCert) {
    const problem = (this._handle as unknown as { verifyError(): NodeJS.ErrnoException | null }).verifyError();
    if (problem || !this.getPeerX509Certificate()) {
      this.authorizationError = problem?.code ?? 'UNABLE_TO_GET_ISSUER_CERT';
      if (this._rejectUnauthorized) this.destroy();
    } else {
      this.authorized = true;
    }
  }
  if (this.destroyed || !this._releaseControl()) return;
  this.secureConnecting = false;
  serverOf(this).emit('secureConnection', this);
}

function onError(this: Secured, error: Error): void {
  if (this._controlReleased || this[kHasErred]) return;
  this[kHasErred] = true;
  serverOf(this).emit('tlsClientError', error, this);
}

function onKeylog(this: Secured, line: Buffer): void {
  serverOf(this).emit('keylog', line, this);
}

/** It was lost in the handshake. */
function onClose(this: Secured, hadError: boolean): void {
  if (hadError || this._controlReleased || this[kHasErred]) return;
  this[kHasErred] = true;
  serverOf(this).emit('tlsClientError', connectionReset('socket hang up'), this);
}
