/** What a server shows and proves itself with, and whether it is any good: checked here before anybody is given it. */
import { createHash, createPrivateKey, type KeyObject, X509Certificate } from 'node:crypto';
import { createSecureContext, type SecureContext } from './context.ts';
import { TlsError } from './tls-error.ts';
import { type VerifiedIdentity, verifiedIdentity } from './verified-identity.ts';

/** Key and certificates in PEM, as `createSecureContext` takes them. */
export interface CertificateMaterial {
  key: string | Buffer;
  /** The certificate first, and behind it those of its issuers, each before its own. */
  cert: string | Buffer;
  /** Whom peers' certificates have to come from. */
  ca?: string | Buffer | undefined;
  /** Which of them were revoked. */
  crl?: string | Buffer | undefined;
  /** Of the key. */
  passphrase?: string | undefined;
}

/** Material that was found good. */
export interface CheckedMaterial {
  readonly material: CertificateMaterial;
  readonly identity: VerifiedIdentity;
  /** Of key, certificates and nothing else. */
  readonly context: SecureContext;
}

/**
 * Checks that the key can be read and belongs to the first certificate, that each certificate was issued by the next, that
 * all are valid now, that authorities can be read, and that OpenSSL takes all of it.
 * @throws {TlsError}
 */
export function checkMaterial(
  material: CertificateMaterial,
  nowMs: number,
  ticketKeys: Buffer | undefined,
): CheckedMaterial {
  const key = readKey(material);
  const chain = readCertificates(material.cert, 'certificate');
  const [leaf] = chain as [X509Certificate];
  checkFit(key, chain);
  checkOrder(chain);
  for (const certificate of chain) if (certificate === leaf || !isRoot(certificate)) checkDates(certificate, nowMs);
  if (material.ca !== undefined) readCertificates(material.ca, 'authority');
  return { material, identity: verifiedIdentity(leaf), context: contextOf(material, ticketKeys) };
}

/** The same for the same material. */
export function digestOf({ key, cert, ca = '', crl = '', passphrase = '' }: CertificateMaterial): string {
  const hash = createHash('sha256');
  for (const part of [key, cert, ca, crl, passphrase]) hash.update(`${Buffer.byteLength(part)}:`).update(part);
  return hash.digest('hex');
}

function readKey({ key, passphrase }: CertificateMaterial): KeyObject {
  try {
    return createPrivateKey(passphrase === undefined ? { key } : { key, passphrase });
  } catch (error) {
    throw new TlsError('BAD_KEY', `the private key cannot be read: ${messageOf(error)}`, error);
  }
}

const BEGIN = '-----BEGIN CERTIFICATE-----';
const END = '-----END CERTIFICATE-----';

/** All of a PEM file; what stands between them, keys for example, is skipped. */
function readCertificates(pem: string | Buffer, what: string): X509Certificate[] {
  const text = pem.toString('latin1');
  const certificates: X509Certificate[] = [];
  for (let at = text.indexOf(BEGIN); at !== -1; at = text.indexOf(BEGIN, at)) {
    const end = text.indexOf(END, at);
    const place = `${what} ${certificates.length + 1}`;
    if (end === -1) throw new TlsError('BAD_CERTIFICATE', `${place} is cut off`);
    try {
      certificates.push(new X509Certificate(text.slice(at, end + END.length)));
    } catch (error) {
      throw new TlsError('BAD_CERTIFICATE', `${place} cannot be read: ${messageOf(error)}`, error);
    }
    at = end;
  }
  if (certificates.length === 0) throw new TlsError('BAD_CERTIFICATE', `there is no ${what} in PEM`);
  return certificates;
}

function checkFit(key: KeyObject, chain: X509Certificate[]): void {
  const place = chain.findIndex((certificate) => certificate.checkPrivateKey(key));
  if (place === 0) return;
  if (place === -1) throw new TlsError('KEY_MISMATCH', 'the private key does not belong to the certificate');
  throw new TlsError('BAD_CHAIN', `the key belongs to certificate ${place + 1}, which has to be the first`);
}

/** RFC 5246, 7.4.2: each certificate certifies the one before it. */
function checkOrder(chain: X509Certificate[]): void {
  chain.forEach((certificate, i) => {
    const issuer = chain[i + 1];
    if (issuer !== undefined && !certificate.checkIssued(issuer))
      throw new TlsError('BAD_CHAIN', `certificate ${i + 1} was not issued by certificate ${i + 2}, which follows it`);
  });
}

/** Peers have their own copy of a root, and look at that. */
function isRoot(certificate: X509Certificate): boolean {
  return certificate.checkIssued(certificate);
}

function checkDates(certificate: X509Certificate, nowMs: number): void {
  const { validFrom, validTo, subject } = verifiedIdentity(certificate);
  const whose = `the certificate of ${subject.commonName ?? 'no common name'}`;
  if (nowMs >= validTo.getTime())
    throw new TlsError('CERTIFICATE_EXPIRED', `${whose} has expired: ${validTo.toISOString()}`);
  if (nowMs < validFrom.getTime())
    throw new TlsError('CERTIFICATE_NOT_YET_VALID', `${whose} is not valid before ${validFrom.toISOString()}`);
}

function contextOf(material: CertificateMaterial, ticketKeys: Buffer | undefined): SecureContext {
  try {
    return createSecureContext({ ...contextOptions(material), ...(ticketKeys && { ticketKeys }) });
  } catch (error) {
    throw new TlsError('CERTIFICATE_UNUSABLE', `OpenSSL does not take it: ${messageOf(error)}`, error);
  }
}

/** Without what is not there, so that it can be spread over others. */
export function contextOptions({ key, cert, ca, crl, passphrase }: CertificateMaterial): {
  key: string | Buffer;
  cert: string | Buffer;
  ca?: string | Buffer;
  crl?: string | Buffer;
  passphrase?: string;
} {
  return { key, cert, ...(ca && { ca }), ...(crl && { crl }), ...(passphrase && { passphrase }) };
}

export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
