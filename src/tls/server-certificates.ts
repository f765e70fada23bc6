/** Servers of ours, or of Node, whose certificates look after themselves: the option `certificates`. */
import { createHash } from 'node:crypto';
import type { EventEmitter } from 'node:events';
import type nodeTls from 'node:tls';
import { type CertificateFilesOptions, certificateFiles } from './certificate-files.ts';
import { type CertificateMaterial, contextOptions } from './certificate-material.ts';
import type { Certificates, ServedCertificate } from './certificates.ts';
import { type ContextOptions, createSecureContext, type SecureContext } from './context.ts';
import { contextFor, engine } from './socket.ts';
import { TlsError } from './tls-error.ts';

export interface CertificatesOption {
  /**
   * Key and certificates that look after themselves, in place of `key` and `cert`: files, which are then watched until the
   * server is closed, or what `certificateFiles` and `certificatesFrom` give, which is yours to close.
   */
  certificates?: CertificateFilesOptions | Certificates | undefined;
}

/** What is served with at present, and the news of it: what `onReload`, `onError` and `onExpiring` are told. */
export interface CertificateEvents {
  readonly certificate: ServedCertificate;
  on(event: 'certificateReloaded', listener: (certificate: ServedCertificate) => void): ServerWithCertificates;
  on(event: 'certificateError', listener: (error: TlsError) => void): ServerWithCertificates;
  on(event: 'certificateExpiring', listener: (certificate: ServedCertificate) => void): ServerWithCertificates;
}

export type ServerWithCertificates = nodeTls.Server & CertificateEvents;

export type TlsOptionsWithCertificates = nodeTls.TlsOptions & CertificatesOption & { certificates: object };
type OnSecure = (socket: nodeTls.TLSSocket) => void;
type Tls = typeof nodeTls;

/** What Node's types say of servers, and the option. */
export interface Servers {
  createServer: Tls['createServer'] &
    ((options: TlsOptionsWithCertificates, listener?: OnSecure) => ServerWithCertificates);
  Server: Tls['Server'] & (new (options: TlsOptionsWithCertificates, listener?: OnSecure) => nodeTls.Server);
}

interface Server extends EventEmitter {
  _sharedCreds?: SecureContext;
  setSecureContext(options: ContextOptions): void;
  getTicketKeys(): Buffer;
}

const EVENTS = {
  onReload: 'certificateReloaded',
  onError: 'certificateError',
  onExpiring: 'certificateExpiring',
} as const;

/**
 * Has a server that was made without them serve with certificates that look after themselves: one of Node's `https` or
 * `http2`, for example. Servers of `millrace/tls` have the option.
 * @param options the certificates, and what else the server's context was made of (`ca`, `ciphers`, `minVersion`, …): contexts
 * are made anew of these
 * @returns the server
 * @throws {TlsError} as `certificateFiles`
 * @example
 * ```ts
 * import https from 'node:https';
 * import { useCertificates } from 'millrace/tls';
 *
 * const certificates = { keyFile: '/etc/tls/key.pem', certFile: '/etc/tls/cert.pem', watch: true };
 * const server = useCertificates(https.createServer((request, response) => response.end('hello')), { certificates });
 * console.log(server.certificate.daysLeft);
 * ```
 */
export function useCertificates<Server extends nodeTls.Server>(
  server: Server,
  options: TlsOptionsWithCertificates,
): Server & CertificateEvents {
  lookAfter(server as never, options);
  return server as Server & CertificateEvents;
}

/** Gives a server its context, and others as they come. @throws {TlsError} */
export function lookAfter(server: Server, options: ContextOptions & CertificatesOption): void {
  const { certificates: given, ...others } = options;
  if (others.key || others.cert || others.pfx)
    throw new TlsError('BAD_OPTION', 'certificates take the place of key, cert and pfx');
  if (typeof given !== 'object' || given === null)
    throw new TlsError('BAD_OPTION', 'certificates are { keyFile, certFile }, or what certificateFiles has made');
  const isOwn = !('attach' in given);
  const certificates = isOwn ? certificateFiles(given) : given;
  const attach = (): (() => void) =>
    certificates.attach(
      (material) => {
        const whole = contextWith(others, material, server);
        const context = createSecureContext(whole);
        if (engine.native !== null) contextFor({}, context);
        return () => server.setSecureContext(whole);
      },
      (name, what) => {
        const event = EVENTS[name];
        return server.listenerCount(event) > 0 ? () => void server.emit(event, what) : undefined;
      },
    );
  let detach: (() => void) | undefined;
  try {
    detach = attach();
  } catch (error) {
    if (isOwn) certificates.close();
    throw error;
  }
  server.on('close', () => {
    if (isOwn) certificates.close();
    detach?.();
    detach = undefined;
  });
  // A server that was closed can listen again.
  server.on('listening', () => {
    if (isOwn) certificates.open();
    detach ??= attach();
  });
  Object.defineProperty(server, 'certificate', { get: () => certificates.current, configurable: true });
}

/** What the server was made with, and this key and these certificates. */
function contextWith(others: ContextOptions, material: CertificateMaterial, server: Server): ContextOptions {
  const whole: ContextOptions = { ...others, ...contextOptions(material) };
  // Whom another authority has let in may not resume: OpenSSL takes sessions of the same context only.
  if (material.ca || material.crl) whole.sessionIdContext = trustOf(whole);
  if (server._sharedCreds?.context !== undefined) whole.ticketKeys = server.getTicketKeys();
  return whole;
}

function trustOf({ ca, crl, sessionIdContext = process.argv.join(' ') }: ContextOptions): string {
  const hash = createHash('sha256').update(sessionIdContext);
  for (const part of [ca, crl].flat()) if (part !== undefined) hash.update('\0').update(part);
  return hash.digest('hex').slice(0, 32); // SSL_MAX_SID_CTX_LENGTH
}
