/**
 * millrace/tls: the API of Node's `tls` on millrace's engine. Handshake and records are OpenSSL's, the one that Node.js itself
 * has; where its functions can't be had, and on engine `node`, it is Node's `tls` over millrace's sockets.
 *
 * @see https://nodejs.org/api/tls.html
 */
import nodeTls from 'node:tls';
import { choice } from '../engine/engine.ts';
import type { Turn } from '../engine/turn.ts';
import { callable, describeAsNode } from '../net/callable.ts';
import { shareInstances } from '../net/instance-of.ts';
import { certificateFiles } from './certificate-files.ts';
import { Certificates } from './certificates.ts';
import { certificatesFrom } from './certificates-from.ts';
import { connect as connectOwn } from './connect.ts';
import { createSecureContext as createOwnContext } from './context.ts';
import { exported } from './exported.ts';
import { loadTlsNative, type TlsNative } from './native.ts';
import { nodeServers } from './node-servers.ts';
import type { TlsSocketOptions } from './options.ts';
import { TlsServerClass, type TlsServerOptions } from './server.ts';
import { type Servers, useCertificates } from './server-certificates.ts';
import { contextFor, isPlain, engine as own, TLSSocketClass } from './socket.ts';
import { TlsError } from './tls-error.ts';
import { verifiedIdentity } from './verified-identity.ts';

export type * from 'node:tls';
export type { CertificateFilesOptions } from './certificate-files.ts';
export type { CertificateMaterial } from './certificate-material.ts';
export type { CertificatesOption } from './certificate-option.ts';
export type { CertificateListener, CertificatesOptions, CertificateUse, ServedCertificate } from './certificates.ts';
export type { LoadCertificates } from './certificates-from.ts';
export type {
  CertificateEvents,
  ServerWithCertificates,
  TlsOptionsWithCertificates,
} from './server-certificates.ts';
export { type TlsReason, tlsReasons } from './tls-error.ts';
export type {
  DistinguishedName,
  NameAttribute,
  SubjectAltNames,
  VerifiedIdentity,
} from './verified-identity.ts';
export { Certificates, certificateFiles, certificatesFrom, TlsError, useCertificates, verifiedIdentity };

type Tls = typeof nodeTls;

const loaded: TlsNative | string = choice.turn === null ? choice.reason : loadTlsNative();
const isOwn = typeof loaded !== 'string';

/** Whose TLS this is: `openssl` when millrace drives OpenSSL by itself, `node` when it is Node's `tls`. */
export const engine: 'openssl' | 'node' = isOwn ? 'openssl' : 'node';
/** Why, in a sentence. */
export const engineReason: string = isOwn
  ? `OpenSSL ${process.versions.openssl} of this Node.js, on ${choice.name}`
  : `Node's own tls: ${loaded}`;

/** Node's `tls`, with what is ours in its place. */
function ownTls(native: TlsNative): Tls & Servers {
  own.native = native;
  own.turn = choice.turn as Turn;
  const TLSSocket = callable<TLSSocketClass, [socket?: unknown, options?: TlsSocketOptions]>(
    TLSSocketClass as never,
    () => {
      throw new TypeError("Class constructor TLSSocket cannot be invoked without 'new'");
    },
    (construct) =>
      function TLSSocket(this: unknown, socket?: unknown, options?: TlsSocketOptions) {
        const whole = withContext(options);
        const isOurs =
          (socket === undefined || socket === null || isPlain(socket)) &&
          contextFor(whole, whole.secureContext as object);
        if (!isOurs) return new nodeTls.TLSSocket(socket as never, whole as never);
        return construct(this, new.target, [socket ?? undefined, whole]);
      },
  );
  const Server = callable<
    TlsServerClass,
    [options?: TlsServerOptions | undefined, listener?: ((socket: TLSSocketClass) => void) | undefined]
  >(
    TlsServerClass,
    () => {
      throw new TypeError("Class constructor Server cannot be invoked without 'new'");
    },
    (construct) =>
      function Server(this: unknown, options?: TlsServerOptions, listener?: (socket: TLSSocketClass) => void) {
        return construct(this, new.target, [options, listener]);
      },
  );
  describeAsNode(TLSSocketClass.prototype, nodeTls.TLSSocket.prototype);
  shareInstances(TLSSocket as never, nodeTls.TLSSocket, Symbol.for('millrace.TLSSocket'));
  shareInstances(Server as never, nodeTls.Server, Symbol.for('millrace.TlsServer'));
  return {
    TLSSocket,
    Server,
    connect: connectOwn,
    createServer: (options: TlsServerOptions, listener: (socket: TLSSocketClass) => void) =>
      new TlsServerClass(options, listener),
    createSecureContext: createOwnContext,
  } as unknown as Tls & Servers;
}

function withContext(options: TlsSocketOptions = {}): TlsSocketOptions {
  const secureContext = options.secureContext ?? options.credentials ?? createOwnContext(options as object);
  return { ...options, secureContext };
}

/** What Node's `tls` doesn't have. */
const additions = {
  engine,
  engineReason,
  Certificates,
  certificateFiles,
  certificatesFrom,
  TlsError,
  useCertificates,
  verifiedIdentity,
} as const;

const tls: Omit<Tls, keyof Servers> & Servers & typeof additions = Object.assign(
  Object.create(Object.prototype, Object.getOwnPropertyDescriptors(nodeTls)) as Omit<Tls, keyof Servers>,
  isOwn ? ownTls(loaded) : (nodeServers as Tls & Servers),
  additions,
);
// Programs set the defaults, and Node's own code reads them.
for (const name of ['DEFAULT_CIPHERS', 'DEFAULT_MIN_VERSION', 'DEFAULT_MAX_VERSION', 'DEFAULT_ECDH_CURVE'] as const)
  Object.defineProperty(tls, name, {
    get: () => nodeTls[name],
    set: (value: never) => {
      nodeTls[name] = value;
    },
    enumerable: true,
    configurable: true,
  });
if (isOwn) exported.tls = tls as never;

export const TLSSocket: Tls['TLSSocket'] = tls.TLSSocket;
export const Server: Servers['Server'] = tls.Server;
export const connect: Tls['connect'] = tls.connect;
export const createServer: Servers['createServer'] = tls.createServer;
export const createSecureContext: Tls['createSecureContext'] = tls.createSecureContext;
export const SecureContext: unknown = (nodeTls as { SecureContext?: unknown }).SecureContext;
export const checkServerIdentity: Tls['checkServerIdentity'] = nodeTls.checkServerIdentity;
export const getCiphers: Tls['getCiphers'] = nodeTls.getCiphers;
export const rootCertificates: Tls['rootCertificates'] = nodeTls.rootCertificates;
export const DEFAULT_ECDH_CURVE: string = nodeTls.DEFAULT_ECDH_CURVE;
export const DEFAULT_CIPHERS: string = nodeTls.DEFAULT_CIPHERS;
export const DEFAULT_MIN_VERSION: Tls['DEFAULT_MIN_VERSION'] = nodeTls.DEFAULT_MIN_VERSION;
export const DEFAULT_MAX_VERSION: Tls['DEFAULT_MAX_VERSION'] = nodeTls.DEFAULT_MAX_VERSION;
export const CLIENT_RENEG_LIMIT: number = nodeTls.CLIENT_RENEG_LIMIT;
export const CLIENT_RENEG_WINDOW: number = nodeTls.CLIENT_RENEG_WINDOW;

export default tls;
/** `require('millrace/tls')` gives the same object as `import tls from 'millrace/tls'`. */
export { tls as 'module.exports' };
