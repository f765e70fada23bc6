/** Whether a peer is let in: the one decision, for OpenSSL's handshakes and Node's. Pure, but for what it is asked. */
import { X509Certificate } from 'node:crypto';
import type { PeerCertificate } from 'node:tls';
import { verifyError } from '../../tls/errors.ts';
import { certificateObject } from '../../tls/peer.ts';
import { type VerifiedIdentity, verifiedIdentity } from '../../tls/verified-identity.ts';
import type { TlsSettings } from './options.ts';

export interface Verdict {
  /** The peer is refused. */
  readonly refusal: Error | null;
  readonly isAuthorized: boolean;
  /** Why not. */
  readonly problem: Error | null;
  /** Of a client that is authorized. That of a server is read when somebody asks. */
  readonly identity: VerifiedIdentity | undefined;
}

/** X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT: Node's word for a peer without a certificate. */
const NO_CERTIFICATE = 2;
const NOT_ASKED: Verdict = { refusal: null, isAuthorized: false, problem: null, identity: undefined };

/**
 * A server judges a client.
 * @param problem what OpenSSL says of the certificate, and of none
 */
export function judgeClient(settings: TlsSettings, problem: Error | null, der: Buffer | undefined): Verdict {
  if (!settings.asksForCertificate) return NOT_ASKED;
  // A session that was resumed may be one of a server that asked nobody, with the same ticket keys.
  if (der === undefined) return verdict(settings, verifyError(NO_CERTIFICATE, 'the client has shown no certificate'));
  if (problem !== null) return verdict(settings, problem);
  try {
    return { refusal: null, isAuthorized: true, problem: null, identity: verifiedIdentity(new X509Certificate(der)) };
  } catch (error) {
    return verdict(settings, error as Error); // names that can't be told for sure let nobody in
  }
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
  let mismatch: Error | undefined;
  if (!isSessionReused) {
    try {
      const certificate = certificateObject(chain(), true) as PeerCertificate;
      mismatch = settings.checkServerIdentity(settings.expectedName, certificate);
    } catch (error) {
      return { refusal: error as Error, isAuthorized: false, problem: error as Error, identity: undefined };
    }
  }
  return verdict(settings, mismatch ?? null);
}

function verdict(settings: TlsSettings, problem: Error | null): Verdict {
  const refusal = settings.rejectsUnauthorized ? problem : null;
  return { refusal, isAuthorized: problem === null, problem, identity: undefined };
}
