/** The `tls` option of `listen` and `connect`, checked, with what holds where nothing is said. */
import { isIP } from 'node:net';
import nodeTls from 'node:tls';
import { type CertificatesOption, isMade } from '../../tls/certificate-option.ts';
import { encodeAlpn } from '../../tls/peer.ts';
import { DirectError } from '../errors.ts';
import { badOption, flag, integer } from '../options.ts';
import type { TlsClientOptions, TlsContext, TlsOptions, TlsServerOptions } from '../tls-api.ts';

/** As Netty's. */
const HANDSHAKE_TIMEOUT_MS = 10_000;

/** Of one server or one `connect`. */
export interface TlsSettings {
  readonly isServer: boolean;
  readonly context: TlsContext;
  /** In place of key and certificate of the context. */
  readonly certificates: CertificatesOption['certificates'];
  readonly alpn: Buffer | undefined;
  readonly asksForCertificate: boolean;
  readonly rejectsUnauthorized: boolean;
  readonly handshakeTimeoutMs: number;
  readonly allowsTruncation: boolean;
  readonly onDemand: boolean;
  /** Sessions of a server can't be resumed. */
  readonly forbidsTickets: boolean;
  readonly sniCallback: TlsServerOptions['SNICallback'];
  /** That a client asks for; empty for none. */
  readonly servername: string;
  /** That the server's certificate has to have. */
  readonly expectedName: string;
  readonly checkServerIdentity: NonNullable<TlsClientOptions['checkServerIdentity']>;
  readonly session: Buffer | undefined;
  readonly onSession: ((session: Buffer) => void) | undefined;
}

const CONTEXT_OPTIONS = [
  ...['secureContext', 'allowPartialTrustChain', 'ca', 'cert', 'ciphers', 'crl', 'dhparam', 'ecdhCurve'],
  ...['honorCipherOrder', 'key', 'maxVersion', 'minVersion', 'passphrase', 'pfx', 'secureOptions', 'secureProtocol'],
  ...['sessionIdContext', 'sessionTimeout', 'sigalgs', 'ticketKeys'],
];
const COMMON_OPTIONS = [
  ...['certificates', 'ALPNProtocols', 'rejectUnauthorized', 'handshakeTimeoutMs', 'allowTruncation', 'onDemand'],
];
const SERVER_OPTIONS = [...CONTEXT_OPTIONS, ...COMMON_OPTIONS, 'requestCert', 'SNICallback'];
const CLIENT_OPTIONS = [
  ...[...CONTEXT_OPTIONS, ...COMMON_OPTIONS],
  ...['servername', 'checkServerIdentity', 'session', 'onSession'],
];

/** @throws {DirectError} BAD_OPTION; what Node throws for `ALPNProtocols` */
export function serverSettings(options: TlsServerOptions): TlsSettings {
  checkNames(options, SERVER_OPTIONS);
  const { SNICallback } = options;
  checkFunction(SNICallback, 'tls.SNICallback');
  const asksForCertificate = flag(options.requestCert, 'tls.requestCert', false);
  const context = contextOf(options);
  const certificates = certificatesOf(options.certificates, context);
  if (!isWhole(context) && certificates === undefined && SNICallback === undefined)
    throw new DirectError(
      'BAD_OPTION',
      'a server needs tls.key and tls.cert, tls.certificates, tls.pfx, tls.secureContext or tls.SNICallback',
    );
  return {
    ...common(options),
    ...{ isServer: true, context, certificates, asksForCertificate, sniCallback: SNICallback },
    // A session knows nothing of the context that SNICallback chose, whose CA may be another: it would let in whom that CA
    // doesn't know.
    forbidsTickets: asksForCertificate && SNICallback !== undefined,
    ...{ servername: '', expectedName: '', checkServerIdentity: nodeTls.checkServerIdentity },
    ...{ session: undefined, onSession: undefined },
  };
}

/** @param host a name, an address or, of a unix socket, `localhost` @throws as `serverSettings` */
export function clientSettings(given: true | TlsClientOptions, host: string): TlsSettings {
  const options = given === true ? {} : given;
  checkNames(options, CLIENT_OPTIONS);
  const { servername, session, onSession, checkServerIdentity = nodeTls.checkServerIdentity } = options;
  checkFunction(checkServerIdentity, 'tls.checkServerIdentity');
  checkFunction(onSession, 'tls.onSession');
  if (servername !== undefined && (typeof servername !== 'string' || servername.includes('\0') || isIP(servername)))
    throw badOption('tls.servername', 'a name, not an address', servername);
  if (session !== undefined && !Buffer.isBuffer(session)) throw badOption('tls.session', 'a Buffer', typeof session);
  const context = contextOf(options);
  const certificates = certificatesOf(options.certificates, context);
  if (certificates !== undefined && !isMade(certificates))
    throw badOption('tls.certificates', 'made by certificateFiles or certificatesFrom of millrace/tls', 'others');
  return {
    ...common(options),
    ...{ isServer: false, context, certificates, asksForCertificate: true, sniCallback: undefined },
    forbidsTickets: false,
    // RFC 6066, 3: no address, and without the last dot.
    servername: servername ?? (isIP(host) ? '' : host.replace(/\.$/, '')),
    expectedName: servername || host,
    ...{ checkServerIdentity, session, onSession },
  };
}

/** What a context is made of. @throws {DirectError} BAD_OPTION */
export function contextOf(options: TlsContext): TlsContext {
  const context: Record<string, unknown> = {};
  for (const name of CONTEXT_OPTIONS) {
    const value = (options as Record<string, unknown>)[name];
    if (value !== undefined) context[name] = value;
  }
  const { secureContext } = context;
  if (secureContext === undefined) return context;
  if (typeof (secureContext as { context?: unknown } | null)?.context !== 'object')
    throw badOption('tls.secureContext', 'made by createSecureContext of millrace/tls', typeof secureContext);
  const more = Object.keys(context).filter((name) => name !== 'secureContext');
  if (more.length > 0) throw new DirectError('BAD_OPTION', `tls.secureContext stands in place of ${more.join(', ')}`);
  return context;
}

/** @throws {DirectError} BAD_OPTION */
function certificatesOf<Given extends CertificatesOption['certificates']>(given: Given, context: TlsContext): Given {
  if (given === undefined) return given;
  if (typeof given !== 'object' || given === null)
    throw badOption('tls.certificates', '{ keyFile, certFile } or made by certificateFiles', typeof given);
  const more = ['key', 'cert', 'pfx', 'secureContext'].filter((name) => name in context);
  if (more.length > 0) throw new DirectError('BAD_OPTION', `tls.certificates stand in place of ${more.join(', ')}`);
  return given;
}

/** For new key and certificates of a server. @throws {DirectError} BAD_OPTION */
export function newContext(options: TlsContext): TlsContext {
  checkNames(options, CONTEXT_OPTIONS);
  const context = contextOf(options);
  if (!isWhole(context)) throw new DirectError('BAD_OPTION', 'a context needs key and cert, pfx, or secureContext');
  return context;
}

const isWhole = ({ cert, key, pfx, secureContext }: TlsContext): boolean =>
  (cert !== undefined && key !== undefined) || pfx !== undefined || secureContext !== undefined;

function common(options: TlsOptions) {
  const { ALPNProtocols } = options;
  return {
    alpn: ALPNProtocols === undefined ? undefined : encodeAlpn(ALPNProtocols),
    rejectsUnauthorized: flag(options.rejectUnauthorized, 'tls.rejectUnauthorized', true),
    handshakeTimeoutMs: integer(options.handshakeTimeoutMs, 'tls.handshakeTimeoutMs', HANDSHAKE_TIMEOUT_MS, 1),
    allowsTruncation: flag(options.allowTruncation, 'tls.allowTruncation', false),
    onDemand: flag(options.onDemand, 'tls.onDemand', false),
  };
}

/** No text here shows a value: it may be a key. */
function checkNames(options: object, names: readonly string[]): void {
  if (typeof options !== 'object' || options === null) throw badOption('tls', 'an object', typeof options);
  for (const name of Object.keys(options))
    if (!names.includes(name)) throw new DirectError('BAD_OPTION', `tls has no option '${name}' here`);
}

function checkFunction(value: unknown, name: string): void {
  if (value !== undefined && typeof value !== 'function') throw badOption(name, 'a function', value);
}
