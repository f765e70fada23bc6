/**
 * Node's `tls.TLSSocket` on the engine: a socket of ours whose handle encrypts. What is decided about a connection (is the
 * certificate good, which context, which protocol) is decided here; how bytes flow, in src/tls/handle.ts.
 *
 * @see https://nodejs.org/api/tls.html#class-tlstlssocket
 */
import { X509Certificate } from 'node:crypto';
import type { PeerCertificate } from 'node:tls';
import type { Turn } from '../engine/turn.ts';
import { normalizeArgs } from '../net/args.ts';
import { invalidArgType } from '../net/errors.ts';
import { Handle } from '../net/handle.ts';
import { SocketClass, type SocketOptions } from '../net/socket.ts';
import { kAdopt, kOuter } from '../net/symbols.ts';
import { validateFunction, validateInt32, validateObject, validateString } from '../net/validate.ts';
import { createSecureContext, nativeContext } from './context.ts';
import {
  alpnCallbackInvalidResult,
  handshakeTimeout,
  invalidContext,
  invalidState,
  multipleCallback,
  opensslError,
  renegotiationDisabled,
  sniFromServer,
  socketClosed,
  wrongSslVersion,
} from './errors.ts';
import { TlsHandle, type TlsOwner } from './handle.ts';
import { sessionForReuse, wrapSession } from './identity.ts';
import { CONFIGURE, CONTEXT, EVENT, INSPECT, type NativeContext, type TlsNative } from './native.ts';
import { type ConnectionOptions, needsNode, type TlsSocketOptions } from './options.ts';
import {
  certificateChain,
  certificateObject,
  decodeAlpn,
  decodeServername,
  encodeAlpn,
  ephemeralKey,
  signatureNames,
} from './peer.ts';

export const kConnectOptions: unique symbol = Symbol('connect options');
const kVerified: unique symbol = Symbol('verified');
const kPendingSessions: unique symbol = Symbol('pending sessions');

/** What the engine brings; set once by src/tls/own.ts. */
export const engine: { native: TlsNative | null; turn: Turn | null } = { native: null, turn: null };

/** The context that a connection would have; undefined if the connection must be Node's. */
export function contextFor(options: TlsSocketOptions, secureContext: object): NativeContext | undefined {
  if (engine.native === null || needsNode(options)) return undefined;
  return nativeContext(engine.native, secureContext);
}

/** Whether a stream is a socket of ours that a TLS handle can sit on. */
export function isPlain(socket: unknown): socket is SocketClass {
  if (!(socket instanceof SocketClass)) return false;
  const handle: unknown = socket._handle;
  return handle === null ? !socket.destroyed : handle instanceof Handle;
}

/** @param raw the plain socket; one of its own is made for a client that is yet to connect */
function makeHandle(raw: SocketClass | undefined, options: TlsSocketOptions): TlsHandle {
  const context = contextFor(options, options.secureContext as object) as NativeContext;
  const { native, turn } = engine as { native: TlsNative; turn: Turn };
  const { noDelay, keepAlive, keepAliveInitialDelay } = options;
  const plain = raw ?? new SocketClass({ noDelay, keepAlive, keepAliveInitialDelay } as SocketOptions);
  return new TlsHandle(native, context, plain, turn, Boolean(options.isServer));
}

function socketOptions(handle: TlsHandle, raw: SocketClass | undefined, options: TlsSocketOptions): SocketOptions {
  return {
    handle: handle as unknown as Handle,
    allowHalfOpen: raw === undefined ? options.allowHalfOpen : raw.allowHalfOpen,
    pauseOnCreate: options.pauseOnConnect,
    manualStart: true,
    highWaterMark: options.highWaterMark,
    onread: raw === undefined ? options.onread : undefined,
    signal: options.signal,
    noDelay: options.noDelay,
    keepAlive: options.keepAlive,
    keepAliveInitialDelay: options.keepAliveInitialDelay,
  } as SocketOptions;
}

export class TLSSocketClass extends SocketClass implements TlsOwner {
  declare encrypted: true;
  declare authorized: boolean;
  declare authorizationError: string | null;
  declare servername: string | false | null;
  declare alpnProtocol: string | false | null;
  declare secureConnecting: boolean;
  declare ssl: TlsHandle | null;
  declare _tlsOptions: TlsSocketOptions;
  declare _secureEstablished: boolean;
  declare _securePending: boolean;
  declare _newSessionPending: boolean;
  declare _controlReleased: boolean;
  declare _SNICallback: TlsSocketOptions['SNICallback'] | null;
  declare _requestCert: boolean;
  declare _rejectUnauthorized: boolean;
  declare [kConnectOptions]: ConnectionOptions | undefined;
  declare [kVerified]: boolean;
  declare [kPendingSessions]: Buffer[];

  /** @param raw a socket of ours, or nothing for a client that connects by itself. `options.secureContext` is set. */
  constructor(raw: SocketClass | undefined, options: TlsSocketOptions) {
    const handle = makeHandle(raw, options);
    super(socketOptions(handle, raw, options));
    this._tlsOptions = options;
    this._secureEstablished = false;
    this._securePending = false;
    this._newSessionPending = false;
    this._controlReleased = false;
    this.secureConnecting = true;
    this._SNICallback = null;
    this.servername = null;
    this.alpnProtocol = null;
    this.authorized = false;
    this.authorizationError = null;
    this.encrypted = true;
    this.ssl = handle;
    this[kConnectOptions] = undefined;
    this[kVerified] = false;
    this[kPendingSessions] = [];
    this.on('error', this._tlsError);
    this.#initialize(handle, raw);
    this.#follow(handle, raw);
    process.nextTick(startReading, this, raw);
  }

  get _tls(): TlsHandle | null {
    return this._handle as unknown as TlsHandle | null;
  }

  #initialize(handle: TlsHandle, raw: SocketClass | undefined): void {
    const options = this._tlsOptions;
    const { isServer, server } = options;
    (this as { server: unknown }).server = server;
    this._requestCert = Boolean(options.requestCert) || !isServer;
    this._rejectUnauthorized = Boolean(options.rejectUnauthorized);
    if (this._requestCert || this._rejectUnauthorized)
      handle.configure(CONFIGURE.VERIFY, (this._requestCert ? 1 : 0) | (this._rejectUnauthorized ? 2 : 0));
    let wants = 0;
    if (isServer) {
      if (options.ALPNCallback) validateFunction(options.ALPNCallback, 'options.ALPNCallback');
      if (options.ALPNCallback || (server && server.listenerCount('resumeSession') > 0)) wants |= EVENT.HELLO;
      if (server && (server.listenerCount('newSession') > 0 || server.listenerCount('resumeSession') > 0))
        wants |= EVENT.SESSION;
      if (server && server.listenerCount('OCSPRequest') > 0) wants |= EVENT.CERTIFICATE;
      const { SNICallback } = options;
      if (SNICallback && (SNICallback !== chooseContext || (server && server._contexts.length > 0))) {
        validateFunction(SNICallback, 'options.SNICallback');
        this._SNICallback = SNICallback;
        wants |= EVENT.CERTIFICATE;
      }
    } else {
      wants |= EVENT.SESSION;
      if (options.session) this.setSession(options.session);
    }
    if (wants !== 0) handle.configure(CONFIGURE.WANTS, wants);
    this.on('newListener', onNewListener);
    if (options.ALPNProtocols) handle.configure(CONFIGURE.ALPN, 0, encodeAlpn(options.ALPNProtocols));
    if (options.handshakeTimeout !== undefined && options.handshakeTimeout > 0)
      this.setTimeout(options.handshakeTimeout, this._handleTimeout);
    if (raw === undefined) {
      this.connecting = true;
    } else {
      this._parent = raw;
      this.connecting = raw.connecting || raw._handle === null;
    }
  }

  /** What happens to the plain socket happens to this one. */
  #follow(handle: TlsHandle, given: SocketClass | undefined): void {
    const { raw } = handle;
    raw.on('close', () => this.destroy());
    if (given === undefined) {
      raw[kOuter] = this;
      raw.on('error', (error) => this.destroy(error));
      for (const event of FORWARDED) raw.on(event, (...args: unknown[]) => this.emit(event, ...args));
      raw.once('connect', () => this[kAdopt](handle as unknown as Handle));
    } else {
      raw.on('error', (error) => this._emitTLSError(error));
      if (this.connecting)
        raw.once('connect', () => {
          this.connecting = false;
          this.emit('connect');
        });
    }
  }

  // biome-ignore lint/suspicious/noExplicitAny: the overloads are Node's
  override connect(...args: any[]): this {
    const handle = this._tls;
    if (handle === null || this._parent !== null) return super.connect(...args);
    const [options, callback] = normalizeArgs(args);
    if (callback !== null) this.once('connect', callback as () => void);
    this.connecting = true;
    handle.raw.connect(options);
    return this;
  }

  // ---- the handshake ----

  _start(): void {
    if (this.connecting) {
      this.once('connect', this._start);
      return;
    }
    const handle = this._tls;
    if (handle === null) return;
    if (this._tlsOptions.requestOCSP) handle.configure(CONFIGURE.OCSP_REQUEST, 0);
    handle.begin();
  }

  _onHandshakeDone(): void {
    if (this._newSessionPending) this._securePending = true;
    else this._finishInit();
  }

  _finishInit(): void {
    const handle = this._tls;
    if (handle === null) return;
    this.alpnProtocol = (handle.inspect(INSPECT.ALPN) as Buffer | undefined)?.toString('latin1') ?? false;
    this.servername ??= (handle.inspect(INSPECT.SERVERNAME) as string | undefined) ?? false;
    if ((this._tlsOptions.handshakeTimeout ?? 0) > 0) this.setTimeout(0, this._handleTimeout);
    this._secureEstablished = true;
    try {
      this.emit('secure');
    } finally {
      if (!this.destroyed) handle.releaseWrites(); // a listener of the user's that throws is no refusal
    }
  }

  _onTlsFailure(error: Error): void {
    if (this._hadError) return;
    this._hadError = true;
    this.servername ??= (this._tls?.inspect(INSPECT.SERVERNAME) as string | undefined) ?? null;
    if (!this._secureEstablished) {
      this._closeAfterHandlingError = true; // a listener of 'tlsClientError' may look at the socket
      this.destroy(error);
    } else if (
      this._tlsOptions.isServer &&
      this._rejectUnauthorized &&
      /did not return a certificate/.test(error.message)
    ) {
      this.destroy();
    } else {
      this._emitTLSError(error);
      this.destroy();
    }
  }

  /** ALPNCallback and 'resumeSession'. */
  _onClientHello(): void {
    const handle = this._tls as TlsHandle;
    const [id, alpn, servername, hasTicket] = handle.inspect(INSPECT.HELLO) as [
      Buffer,
      Buffer | null,
      Buffer | null,
      number,
    ];
    const { ALPNCallback, server } = this._tlsOptions;
    if (ALPNCallback && alpn !== null) {
      try {
        const protocols = decodeAlpn(alpn);
        const chosen = ALPNCallback.call(this, { servername: decodeServername(servername), protocols });
        if (chosen !== undefined && !protocols.includes(chosen)) throw alpnCallbackInvalidResult(chosen, protocols);
        handle.configure(CONFIGURE.ALPN, 1, chosen === undefined ? Buffer.alloc(0) : encodeAlpn([chosen]));
      } catch (error) {
        this.destroy(error as Error);
        return;
      }
    }
    if (id.length === 0 || hasTicket || !server) {
      handle.goOn();
      return;
    }
    const answer = this.#once((session?: Buffer | null) => {
      if (session) handle.configure(CONFIGURE.LOADED_SESSION, 0, session);
      handle.goOn();
    });
    try {
      if (!server.emit('resumeSession', id, answer)) handle.goOn();
    } catch (error) {
      answer(error as Error);
    }
  }

  /** SNICallback, then 'OCSPRequest'. */
  _onCertificateWanted(): void {
    const servername = (this._tls as TlsHandle).inspect(INSPECT.SERVERNAME) as string | undefined;
    if (!servername || !this._SNICallback) {
      this.#requestOcsp(undefined);
      return;
    }
    this.servername = servername;
    const answer = this.#once((context?: object) => {
      const handle = this._tls as TlsHandle;
      if (context) {
        let own: NativeContext | undefined;
        try {
          own = nativeContext(handle.native, context);
        } catch (error) {
          this._onTlsFailure(error as Error); // not the exception of who answers
          return;
        }
        if (own === undefined || !handle.configure(CONFIGURE.CONTEXT, 0, own)) {
          this._onTlsFailure(new TypeError('Invalid SNI context'));
          return;
        }
        this.#requestOcsp(own);
        return;
      }
      this.#requestOcsp(undefined);
    });
    try {
      this._SNICallback(servername, answer);
    } catch (error) {
      this.destroy(error as Error);
    }
  }

  #requestOcsp(context: NativeContext | undefined): void {
    const handle = this._tls as TlsHandle;
    const { server } = this._tlsOptions;
    if (!server || !handle.inspect(INSPECT.IS_OCSP_REQUESTED) || server.listenerCount('OCSPRequest') === 0) {
      handle.goOn();
      return;
    }
    const { native } = handle;
    const own = context ?? (nativeContext(native, this._tlsOptions.secureContext as object) as NativeContext);
    const answer = this.#once((response?: Buffer | null) => {
      if (response) handle.configure(CONFIGURE.OCSP_RESPONSE, 0, response);
      handle.goOn();
    });
    try {
      server.emit('OCSPRequest', native.contextBytes(own, 0), native.contextBytes(own, 1), answer);
    } catch (error) {
      this.destroy(error as Error);
    }
  }

  /** A callback of the user's that the handshake waits for. */
  #once<T>(then: (value?: T) => void): (error?: Error | null, value?: T) => void {
    let isCalled = false;
    return (error, value) => {
      if (isCalled) this.destroy(multipleCallback());
      else if (error) this.destroy(error);
      else if (this._handle === null || this.destroyed) this.destroy(socketClosed());
      else then(value);
      isCalled = true;
    };
  }

  _onNewSessions(sessions: Buffer[]): void {
    for (let i = 0; i + 1 < sessions.length; i += 2) {
      const [id, session] = [sessions[i] as Buffer, sessions[i + 1] as Buffer];
      if (this._tlsOptions.isServer) this.#offerSession(id, session);
      else if (this[kVerified]) this.emit('session', this.#named(session));
      else this[kPendingSessions].push(session);
      if (this.destroyed) return;
    }
  }

  /** The handshake's last words wait until the store has the session. */
  #offerSession(id: Buffer, session: Buffer): void {
    const { server } = this._tlsOptions;
    const handle = this._tls;
    if (!server || handle === null) return;
    let isCalled = false;
    handle.hold();
    const done = (): void => {
      if (isCalled) return;
      isCalled = true;
      this._newSessionPending = false;
      handle.unhold();
      if (this._securePending) this._finishInit();
      this._securePending = false;
    };
    this._newSessionPending = true;
    let isTaken = false;
    try {
      isTaken = server.emit('newSession', id, session, done);
    } catch (error) {
      server.emit('error', error);
    }
    if (!isTaken) done();
  }

  _onKeylog(lines: Buffer): void {
    let start = 0;
    for (let end = lines.indexOf(10); end >= 0; end = lines.indexOf(10, start)) {
      this.emit('keylog', Buffer.from(lines.subarray(start, end + 1)));
      start = end + 1;
    }
  }

  _onOcspResponse(response: Buffer | null): void {
    this.emit('OCSPResponse', response);
  }

  // ---- errors: they are the server's until 'secureConnection' ----

  _handleTimeout(): void {
    this._emitTLSError(handshakeTimeout());
  }

  _emitTLSError(error: Error): void {
    const own = this._tlsError(error);
    if (own) this.emit('error', own);
  }

  _tlsError(error: Error): Error | null {
    this.emit('_tlsError', error);
    return this._controlReleased ? error : null;
  }

  _releaseControl(): boolean {
    if (this._controlReleased) return false;
    this._controlReleased = true;
    this.removeListener('error', this._tlsError);
    return true;
  }

  /** The certificate was accepted: what was made with this peer may be used again. @internal */
  _markVerified(): void {
    this[kVerified] = true;
    const sessions = this[kPendingSessions];
    this[kPendingSessions] = [];
    for (const session of sessions) this.emit('session', this.#named(session));
  }

  /** A session with a server that was not verified is nobody's: only another unverified connection may resume it. */
  #named(session: Buffer): Buffer {
    return this.authorized ? wrapSession(session, this.#identity) : session;
  }

  get #identity(): ConnectionOptions {
    return this[kConnectOptions] ?? (this._tlsOptions as ConnectionOptions);
  }

  // ---- settings ----

  setServername(name: string): void {
    validateString(name, 'name');
    if (this._tlsOptions.isServer) throw sniFromServer();
    const bytes = Buffer.from(`${name}\0`);
    this._tls?.configure(CONFIGURE.SERVERNAME, 0, bytes);
  }

  setSession(session: Buffer | string): void {
    const own = sessionForReuse(session, this.#identity);
    if (own !== undefined) this._tls?.configure(CONFIGURE.SESSION, 0, own);
  }

  setMaxSendFragment(size: number): boolean {
    validateInt32(size, 'size', -2147483648);
    return this._tls?.configure(CONFIGURE.MAX_FRAGMENT, size) ?? false;
  }

  setKeyCert(context: object): void {
    const handle = this._tls;
    if (handle === null) return;
    const own = nativeContext(handle.native, context) ?? nativeContext(handle.native, createSecureContext(context));
    if (own === undefined || !handle.configure(CONFIGURE.CONTEXT, 0, own)) throw invalidContext('context');
  }

  disableRenegotiation(): void {} // it is never enabled: docs/tls.md

  /** The SSL goes, the connection stays until it is destroyed. Node's name; programs call it to be rid of keys. */
  _destroySSL(): void {
    const handle = this.ssl;
    this.ssl = null;
    if (handle !== null) handle.native.free(handle.ssl);
  }

  renegotiate(options: object, callback?: (error: Error | null) => void): boolean | undefined {
    validateObject(options, 'options');
    if (callback !== undefined) validateFunction(callback, 'callback');
    if (this.destroyed) return undefined;
    if (callback !== undefined)
      process.nextTick(callback, this.getProtocol() === 'TLSv1.3' ? wrongSslVersion() : renegotiationDisabled());
    return false;
  }

  enableTrace(): void {} // Node's trace is Node's: docs/tls.md

  // ---- what is known of the connection ----

  getSession(): Buffer | null | undefined {
    const handle = this._tls;
    if (handle === null) return null;
    const session = handle.inspect(INSPECT.SESSION) as Buffer | undefined;
    return session === undefined || this._tlsOptions.isServer ? session : this.#named(session);
  }

  getPeerCertificate(detailed?: boolean): PeerCertificate | Record<string, never> | null {
    const handle = this._tls;
    if (handle === null) return null;
    const chain = handle.inspect(INSPECT.PEER_CERTIFICATES) as Buffer[] | undefined;
    return chain === undefined ? {} : certificateObject(detailed ? chain : chain.slice(0, 1), detailed === true);
  }

  getCertificate(): PeerCertificate | Record<string, never> | null {
    const handle = this._tls;
    if (handle === null) return null;
    const own = handle.inspect(INSPECT.CERTIFICATE) as Buffer | undefined;
    return own === undefined ? {} : certificateObject([own], false);
  }

  getPeerX509Certificate(): X509Certificate | undefined {
    return certificateChain((this._tls?.inspect(INSPECT.PEER_CERTIFICATES) as Buffer[] | undefined) ?? []);
  }

  getX509Certificate(): X509Certificate | undefined {
    const own = this._tls?.inspect(INSPECT.CERTIFICATE) as Buffer | undefined;
    return own === undefined ? undefined : new X509Certificate(own);
  }

  getCipher(): { name: string; standardName: string; version: string } | null | undefined {
    const handle = this._tls;
    if (handle === null) return null;
    const found = handle.inspect(INSPECT.CIPHER) as [string, string, string] | undefined;
    return found && { name: found[0], standardName: found[1], version: found[2] };
  }

  getProtocol(): string | null {
    return (this._tls?.inspect(INSPECT.VERSION) as string | undefined) ?? null;
  }

  getEphemeralKeyInfo(): object | null {
    const handle = this._tls;
    if (handle === null || handle.isServer) return null;
    return ephemeralKey(handle.inspect(INSPECT.EPHEMERAL_KEY) as [number, string, number] | undefined);
  }

  getSharedSigalgs(): string[] | null {
    const handle = this._tls;
    return handle && signatureNames(handle.inspect(INSPECT.SHARED_SIGALGS) as (string | number)[]);
  }

  getFinished(): Buffer | null | undefined {
    const handle = this._tls;
    return handle && (handle.inspect(INSPECT.FINISHED) as Buffer | undefined);
  }

  getPeerFinished(): Buffer | null | undefined {
    const handle = this._tls;
    return handle && (handle.inspect(INSPECT.PEER_FINISHED) as Buffer | undefined);
  }

  getTLSTicket(): Buffer | null | undefined {
    const handle = this._tls;
    return handle && (handle.inspect(INSPECT.TICKET) as Buffer | undefined);
  }

  isSessionReused(): boolean | null {
    const handle = this._tls;
    return handle && handle.inspect(INSPECT.IS_REUSED) === 1;
  }

  exportKeyingMaterial(length: number, label: string, context?: Uint8Array): Buffer {
    validateInt32(length, 'length', 1);
    validateString(label, 'label');
    if (context !== undefined && !(context instanceof Uint8Array))
      throw invalidArgType('context', 'an instance of Buffer, TypedArray, or DataView', context);
    const handle = this._tls;
    if (!this._secureEstablished || handle === null) throw invalidState();
    const out = Buffer.alloc(length);
    if (handle.native.exportKeyingMaterial(handle.ssl, out, Buffer.from(label), context) !== 0)
      throw opensslError(handle.native.failure());
    return out;
  }

  override _destroy(error: Error | null, callback: (error?: Error | null) => void): void {
    this.ssl = null;
    super._destroy(error, callback);
  }
}

/** Events of connecting that come from the plain socket. */
const FORWARDED = ['lookup', 'connectionAttempt', 'connectionAttemptFailed', 'connectionAttemptTimeout'] as const;

/** The usual SNICallback: the contexts of `addContext`, the latest first. */
export function chooseContext(
  this: unknown,
  servername: string,
  callback: (error: Error | null, context?: object) => void,
): void {
  const contexts = (this as TLSSocketClass)._tlsOptions.server?._contexts ?? [];
  for (let i = contexts.length - 1; i >= 0; i--) {
    const [pattern, context] = contexts[i] as [RegExp, object];
    if (pattern.test(servername)) {
      callback(null, context);
      return;
    }
  }
  callback(null, undefined);
}

/** Keys are logged when somebody listens. */
function onNewListener(this: TLSSocketClass, event: string): void {
  const handle = this._tls;
  if (event !== 'keylog' || handle === null || engine.native === null) return;
  logKeys(handle, this._tlsOptions.secureContext as object);
}

function logKeys(handle: TlsHandle, of: object): void {
  const context = nativeContext(handle.native, of);
  if (context === undefined) return;
  handle.native.set(context, CONTEXT.KEYLOG, Buffer.alloc(1), undefined, 0);
  handle.configure(CONFIGURE.WANTS, EVENT.KEYLOG);
}

/** In the next tick: listeners are there by then. What the plain socket has read already comes first. */
function startReading(socket: TLSSocketClass, raw: SocketClass | undefined): void {
  const handle = socket._tls;
  if (handle === null) return;
  if (raw !== undefined && raw.readableLength > 0) {
    const chunks: Buffer[] = [];
    for (let bytes = raw.read(); bytes !== null; bytes = raw.read()) chunks.push(bytes as Buffer);
    handle.receiveFirst(Buffer.concat(chunks));
  }
  if (socket._tlsOptions.isServer && raw !== undefined) {
    if (raw.connecting) raw.once('connect', () => handle.begin());
    else handle.begin();
  }
  socket.read(0);
}
