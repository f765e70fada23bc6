/** Servers of ours, or of Node, whose certificates look after themselves: the option `certificates`. */
import type { EventEmitter } from 'node:events';
import type nodeTls from 'node:tls';
import { type CertificatesOption, contextWith, holdCertificates } from './certificate-option.ts';
import type { ServedCertificate } from './certificates.ts';
import { type ContextOptions, createSecureContext, type SecureContext } from './context.ts';
import { contextFor, engine } from './socket.ts';
import { TlsError } from './tls-error.ts';

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
  const { certificates, isOwn } = holdCertificates(given);
  const attach = (): (() => void) =>
    certificates.attach(
      (material) => {
        const hasContext = server._sharedCreds?.context !== undefined;
        const whole = contextWith(others, material, hasContext ? server.getTicketKeys() : undefined);
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
