/** TLS of the direct tier, as its users see it: options of `listen` and `connect`, and what `c.tls` says. Types only. */
import type { X509Certificate } from 'node:crypto';
import type { PeerCertificate, SecureContext, SecureContextOptions } from 'node:tls';
import type { CertificatesOption } from '../tls/certificate-option.ts';
import type { Certificates, ServedCertificate } from '../tls/certificates.ts';
import type { VerifiedIdentity } from '../tls/verified-identity.ts';

export type { ServedCertificate };

/** Who we are and whom we trust: Node's options, or a context that `createSecureContext` of `millrace/tls` has made. */
export interface TlsContext extends SecureContextOptions {
  /**
   * In place of the other options of a context. One of a server that asks for certificates needs a `sessionIdContext`, or
   * clients that resume a session are refused by OpenSSL.
   */
  secureContext?: SecureContext | undefined;
}

/** What servers and clients share. An option that is not known is refused: a misspelt one would verify nobody. */
export interface TlsOptions extends TlsContext {
  /** Names of protocols, ours first. RFC 7301: without a common one the handshake fails. */
  ALPNProtocols?: readonly string[] | Uint8Array | undefined;
  /** A peer whose certificate is not verified is refused. `true` unless given. */
  rejectUnauthorized?: boolean | undefined;
  /** For the whole handshake, in time in which our loop was alive. 10,000 unless given; at least 1. */
  handshakeTimeoutMs?: number | undefined;
  /**
   * The peer's FIN is an end even if no close_notify came before it. `false` unless given: without one nobody knows that
   * nothing was cut off (RFC 8446, 6.1), and the connection is closed with `MILLRACE_ERR_TLS_TRUNCATED`. Node's own TLS
   * (`tls.engine` is `node`) can't tell the two.
   */
  allowTruncation?: boolean | undefined;
  /** Connections open plain; TLS begins with `c.startTls()`. `false` unless given. */
  onDemand?: boolean | undefined;
}

export interface TlsServerOptions extends TlsOptions, CertificatesOption {
  /** Clients are asked for a certificate. One without, or with one that `ca` doesn't vouch for, is refused. */
  requestCert?: boolean | undefined;
  /** Another context for a name: `callback(null, context)`. Unless it answers in time, the handshake fails. */
  SNICallback?:
    | ((servername: string, callback: (error: Error | null, context?: SecureContext) => void) => void)
    | undefined;
}

export interface TlsClientOptions extends TlsOptions {
  /**
   * Key and certificates that look after themselves, in place of `key` and `cert`: what `certificateFiles` and
   * `certificatesFrom` of `millrace/tls` give. Each connection begins with those that are current then; its `ca` and `crl`, if
   * it has them, come before the options of these names.
   */
  certificates?: Certificates | undefined;
  /**
   * The name that the server is asked for, and that its certificate has to have. `hostname` unless given; of an address
   * only the certificate is checked. Empty: none is asked for, and the certificate has to be of `hostname`.
   */
  servername?: string | undefined;
  /** In place of `tls.checkServerIdentity`: an error is a refusal. */
  checkServerIdentity?: ((hostname: string, certificate: PeerCertificate) => Error | undefined) | undefined;
  /** One of `onSession`'s, of an earlier connection to the same name: saves the most expensive half of a handshake. */
  session?: Buffer | undefined;
  /** A session that may be resumed. TLS 1.3: one or more, after the handshake. What it throws is an 'uncaughtException'. */
  onSession?: ((session: Buffer) => void) | undefined;
}

/** What the handshake has found out. It stays as it was, also when the connection is closed. */
export interface TlsInfo {
  /** `TLSv1.3`, `TLSv1.2`, … */
  readonly protocol: string;
  readonly cipher: { readonly name: string; readonly standardName: string; readonly version: string };
  readonly alpnProtocol: string | undefined;
  /** That the client has asked for. */
  readonly servername: string | undefined;
  /** The peer's certificate was verified; of a server its name, too. `false` where none was asked for. */
  readonly authorized: boolean;
  /** Why not: a code, `CERT_HAS_EXPIRED` or `ERR_TLS_CERT_ALTNAME_INVALID`, say. Only with `rejectUnauthorized: false`. */
  readonly authorizationError: string | undefined;
  /** The session of an earlier connection was resumed. */
  readonly isSessionReused: boolean;
  /**
   * Who the peer is, if it is `authorized`; `undefined` otherwise. A peer whose names can't be told for sure is not:
   * `MILLRACE_ERR_BAD_CERTIFICATE`.
   */
  readonly peer: VerifiedIdentity | undefined;
  /** The peer's certificate, verified or not. */
  readonly peerCertificate: X509Certificate | undefined;
}
