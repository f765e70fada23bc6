/** Whether a peer is let in: the one decision, for OpenSSL's handshakes and Node's. Pure, but for what it is asked. */
import type { PeerCertificate } from 'node:tls';
import { verifyError } from '../../tls/errors.ts';
import { certificateObject } from '../../tls/peer.ts';
import { checkIdentity } from '../../tls/verified-identity.ts';
import type { TlsSettings } from './options.ts';

export interface Verdict {
  /** The peer is refused. */
  readonly refusal: Error | null;
  readonly isAuthorized: boolean;
  /** Why not. */
  readonly problem: Error | null;
}

/** X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT: Node's word for a peer without a certificate. */
const NO_CERTIFICATE = 2;
const NOT_ASKED: Verdict = { refusal: null, isAuthorized: false, problem: null };

/**
 * A server judges a client.
 * @param problem what OpenSSL says of the certificate, and of none
 */
export function judgeClient(settings: TlsSettings, problem: Error | null, der: Buffer | undefined): Verdict {
  if (!settings.asksForCertificate) return NOT_ASKED;
  // A session that was resumed may be one of a server that asked nobody, with the same ticket keys.
  if (der === undefined)
    return verdict(settings, verifyError(NO_CERTIFICATE, 'the client has shown no certificate') as Error);
  if (problem !== null) return verdict(settings, problem);
  return judgeVerified(settings, der);
}

/**
 * A client judges a server: its certificate, then its name. Of a session that was resumed the name was checked before, and
 * the session is kept by it (src/tls/identity.ts).
 * @param chain DER, the certificate first
 */
export function judgeServer(
  settings: TlsSettings,
  problem: Error | null,
  chain: () => Buffer[],
  isSessionReused: boolean,
): Verdict {
  if (problem !== null) return verdict(settings, problem);
  const certificates = chain();
  if (!isSessionReused) {
    try {
      const certificate = certificateObject(certificates, true) as PeerCertificate;
      const mismatch = settings.checkServerIdentity(settings.expectedName, certificate);
      if (mismatch) return verdict(settings, mismatch);
    } catch (error) {
      return { refusal: error as Error, isAuthorized: false, problem: error as Error };
    }
  }
  return judgeVerified(settings, certificates[0]);
}

/**
 * A peer whose certificate was verified is let in if it can be told for sure who it is: different programs must not take it
 * for different peers.
 * @param der undefined where a cipher without certificates was asked for
 */
export function judgeVerified(settings: TlsSettings, der: Buffer | undefined): Verdict {
  try {
    if (der !== undefined) checkIdentity(der);
    return { refusal: null, isAuthorized: true, problem: null };
  } catch (error) {
    return verdict(settings, error as Error);
  }
}

/** There is a problem. */
export function verdict(settings: TlsSettings, problem: Error): Verdict {
  const refusal = settings.rejectsUnauthorized ? problem : null;
  return { refusal, isAuthorized: false, problem };
}
