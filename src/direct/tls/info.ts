/** What `c.tls` gives: read once, when it is first asked for, so that it is good when the connection is closed. */
import { X509Certificate } from 'node:crypto';
import { type VerifiedIdentity, verifiedIdentity } from '../../tls/verified-identity.ts';
import type { TlsInfo } from '../tls-api.ts';
import type { Verdict } from './judge.ts';

/** As either TLS tells it. */
export interface Facts {
  protocol: string;
  cipher: TlsInfo['cipher'];
  alpnProtocol: string | undefined;
  servername: string | undefined;
  isSessionReused: boolean;
  /** DER of the peer's certificate. */
  certificate: Buffer | undefined;
}

export class Info implements TlsInfo {
  readonly protocol: string;
  readonly cipher: TlsInfo['cipher'];
  readonly alpnProtocol: string | undefined;
  readonly servername: string | undefined;
  readonly authorized: boolean;
  readonly authorizationError: string | undefined;
  readonly isSessionReused: boolean;
  readonly #der: Buffer | undefined;
  #certificate: X509Certificate | undefined;
  #peer: VerifiedIdentity | undefined;

  constructor(facts: Facts, { isAuthorized, problem }: Verdict) {
    this.protocol = facts.protocol;
    this.cipher = facts.cipher;
    this.alpnProtocol = facts.alpnProtocol;
    this.servername = facts.servername;
    this.authorized = isAuthorized;
    this.authorizationError =
      problem === null ? undefined : ((problem as NodeJS.ErrnoException).code ?? problem.message);
    this.isSessionReused = facts.isSessionReused;
    this.#der = facts.certificate;
  }

  get peerCertificate(): X509Certificate | undefined {
    if (this.#der !== undefined) this.#certificate ??= new X509Certificate(this.#der);
    return this.#certificate;
  }

  /** Does not throw: one that can't be told for sure is not authorized (judge.ts). */
  get peer(): VerifiedIdentity | undefined {
    const peerCertificate = this.authorized ? this.peerCertificate : undefined;
    if (peerCertificate !== undefined) this.#peer ??= verifiedIdentity(peerCertificate);
    return this.#peer;
  }
}
