/**
 * `tls.connect`: a TLS socket for a client, and whether it is accepted what the server shows.
 *
 * @see https://nodejs.org/api/tls.html#tlsconnectoptions-callback
 */
import { isIP } from 'node:net';
import nodeTls from 'node:tls';
import { normalizeArgs } from '../net/args.ts';
import { invalidArgValue } from '../net/errors.ts';
import { connect as connectPlain, SocketClass } from '../net/socket.ts';
import { connectionReset, dhParamSize } from './errors.ts';
import { exported } from './exported.ts';
import { serverIdentity, sessionForReuse } from './identity.ts';
import type { ConnectionOptions, TlsSocketOptions } from './options.ts';
import { contextFor, isPlain, kConnectOptions, TLSSocketClass } from './socket.ts';

type OnSecure = () => void;

export function connect(...args: unknown[]): TLSSocketClass {
  const [given, callback] = normalizeConnectArgs(args);
  const options: ConnectionOptions = {
    rejectUnauthorized: !allowsUnauthorized(),
    ciphers: nodeTls.DEFAULT_CIPHERS,
    checkServerIdentity: nodeTls.checkServerIdentity,
    minDHSize: 1024,
    ...given,
  };
  const { checkServerIdentity, minDHSize } = options;
  if (typeof checkServerIdentity !== 'function' || typeof minDHSize !== 'number' || !(minDHSize >= 1))
    nodeTls.connect({ checkServerIdentity, minDHSize } as never); // throws, each line of Node.js its own error
  const secureContext =
    options.secureContext || exported.tls.createSecureContext(options as nodeTls.SecureContextOptions);
  if (refusesAddresses && options.servername && isIP(options.servername))
    throw invalidArgValue(
      'options.servername',
      options.servername,
      'Setting the TLS ServerName to an IP address is not permitted.',
    );
  const socketOptions = { ...options, secureContext } as TlsSocketOptions;
  const isOurs = options.socket === undefined || options.socket === null || isPlain(options.socket);
  if (!isOurs || contextFor(socketOptions, secureContext) === undefined)
    return connectWithNode({ ...options, secureContext }, callback);
  const session = sessionForReuse(options.session, options);
  const socket = new TLSSocketClass(options.socket as SocketClass | undefined, {
    ...pick(options),
    secureContext,
    isServer: false,
    requestCert: true,
    rejectUnauthorized: options.rejectUnauthorized !== false,
  });
  options.rejectUnauthorized = options.rejectUnauthorized !== false;
  socket[kConnectOptions] = options;
  if (callback !== undefined) socket.once('secureConnect', callback);
  socket._releaseControl();
  if (session !== undefined) socket.setSession(options.session as Buffer);
  if (options.servername) setServername(socket, options.servername);
  socket.on('secure', onConnectSecure);
  socket.prependListener('end', onConnectEnd);
  if (options.socket) {
    socket._start();
  } else {
    if (options.timeout) socket.setTimeout(options.timeout);
    socket.connect(options, socket._start);
  }
  return socket;
}

/** RFC 6066, 3. Node 20 to 24 warn (DEP0123). */
const refusesAddresses = Number(process.versions.node.split('.')[0]) >= 25;

let hasWarnedOfTrust = false;

/** Read with every connection, and warned of once, as Node does. */
function allowsUnauthorized(): boolean {
  if (process.env['NODE_TLS_REJECT_UNAUTHORIZED'] !== '0') return false;
  if (!hasWarnedOfTrust) {
    hasWarnedOfTrust = true;
    process.emitWarning(
      "Setting the NODE_TLS_REJECT_UNAUTHORIZED environment variable to '0' makes TLS connections and HTTPS requests " +
        'insecure by disabling certificate verification.',
    );
  }
  return true;
}

/** `(options[, cb])`, `(port[, host][, options][, cb])`, `(path[, options][, cb])` */
function normalizeConnectArgs(args: unknown[]): [ConnectionOptions, OnSecure | undefined] {
  const [options, callback] = normalizeArgs(args);
  const more = args[1] !== null && typeof args[1] === 'object' ? args[1] : args[2];
  return [Object.assign(options, more) as ConnectionOptions, (callback as OnSecure | null) ?? undefined];
}

/** What the socket itself is made with; the rest is the context's and the plain connection's. */
const SOCKET_OPTIONS = [
  'allowHalfOpen',
  'ALPNProtocols',
  'requestOCSP',
  'highWaterMark',
  'onread',
  'signal',
  'noDelay',
  'keepAlive',
  'keepAliveInitialDelay',
] as const;

function pick(options: ConnectionOptions): TlsSocketOptions {
  return Object.fromEntries(SOCKET_OPTIONS.map((name) => [name, options[name]])) as TlsSocketOptions;
}

/** A connection that only Node's TLS can serve: on a plain socket of ours all the same. */
function connectWithNode(options: ConnectionOptions, callback: OnSecure | undefined): TLSSocketClass {
  const own = options as nodeTls.ConnectionOptions;
  if (options.socket) {
    const upper = nodeTls.connect(own, callback) as unknown as TLSSocketClass;
    const lower: unknown = options.socket;
    if (lower instanceof SocketClass && lower.connecting) {
      // Node only follows sockets of its own.
      upper.connecting = true;
      lower.once('connect', () => {
        upper.connecting = false;
        upper.emit('connect');
      });
    }
    return upper;
  }
  const socket = connectPlain(options) as unknown as NonNullable<nodeTls.ConnectionOptions['socket']>;
  return nodeTls.connect({ ...own, socket }, callback) as unknown as TLSSocketClass;
}

let hasWarned = false;

function setServername(socket: TLSSocketClass, servername: string): void {
  if (!hasWarned && isIP(servername)) {
    hasWarned = true;
    process.emitWarning(
      'Setting the TLS ServerName to an IP address is not permitted by ' +
        'RFC 6066. This will be ignored in a future version.',
      'DeprecationWarning',
      'DEP0123',
    );
  }
  socket.setServername(servername);
}

/** The handshake is done: is it the server that we want? */
function onConnectSecure(this: TLSSocketClass): void {
  const options = this[kConnectOptions] as ConnectionOptions;
  const key = this.getEphemeralKeyInfo() as { type?: string; size: number } | null;
  if (key?.type === 'DH' && key.size < (options.minDHSize as number)) {
    const error = dhParamSize(key.size);
    this.emit('error', error);
    this.destroy();
    return;
  }
  let problem: (Error & { code?: string }) | null | undefined = this._tls?.verifyError();
  // A resumed session is one of a server that was checked: it is kept by name (identity.ts).
  if (!problem && !this.isSessionReused()) {
    try {
      const certificate = this.getPeerCertificate(true) as nodeTls.PeerCertificate;
      problem = options.checkServerIdentity?.(serverIdentity(options), certificate);
    } catch (error) {
      this.destroy(); // nobody has said that it is the right one: nothing goes there
      throw error;
    }
  }
  if (problem) {
    this.authorized = false;
    this.authorizationError = problem.code || problem.message;
    if (options.rejectUnauthorized !== false) {
      this.destroy(problem);
      return;
    }
  } else {
    this.authorized = true;
  }
  this.secureConnecting = false;
  this.emit('secureConnect');
  this._markVerified();
  this.removeListener('end', onConnectEnd);
}

function onConnectEnd(this: TLSSocketClass): void {
  if (this._hadError) return;
  const options = this[kConnectOptions] as ConnectionOptions;
  this._hadError = true;
  const error = connectionReset('Client network socket disconnected before secure TLS connection was established');
  const { path, host, port, localAddress } = options;
  this.destroy(Object.assign(error, { path, host, port, localAddress }));
}
