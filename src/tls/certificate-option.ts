/** The option `certificates`, on whatever tier: whose they are, and what a context is made of that has them. */
import { createHash } from 'node:crypto';
import { type CertificateFilesOptions, certificateFiles } from './certificate-files.ts';
import { type CertificateMaterial, contextOptions } from './certificate-material.ts';
import type { Certificates } from './certificates.ts';
import type { ContextOptions } from './context.ts';

export interface CertificatesOption {
  /**
   * Key and certificates that look after themselves, in place of `key` and `cert`: files, which are then watched until the
   * server is closed, or what `certificateFiles` and `certificatesFrom` give, which is yours to close.
   */
  certificates?: CertificateFilesOptions | Certificates | undefined;
}

/** Certificates that somebody serves with. */
export interface HeldCertificates {
  readonly certificates: Certificates;
  /** They were opened for this one, and are closed with it. */
  readonly isOwn: boolean;
}

/** @throws {TlsError} as `certificateFiles` */
export function holdCertificates(given: CertificateFilesOptions | Certificates): HeldCertificates {
  return isMade(given) ? { certificates: given, isOwn: false } : { certificates: certificateFiles(given), isOwn: true };
}

/** Made by `certificateFiles` or `certificatesFrom`, perhaps of another copy of this package. */
export const isMade = (given: CertificateFilesOptions | Certificates): given is Certificates => 'attach' in given;

/**
 * What a server was made with, and this key and these certificates.
 * @param ticketKeys of the context before it, whose sessions go on
 */
export function contextWith(
  others: ContextOptions,
  material: CertificateMaterial,
  ticketKeys: Buffer | undefined,
): ContextOptions {
  const whole: ContextOptions = { ...others, ...contextOptions(material) };
  // Whom another authority has let in may not resume: OpenSSL takes sessions of the same context only.
  if (material.ca || material.crl) whole.sessionIdContext = trustOf(whole);
  if (ticketKeys !== undefined) whole.ticketKeys = ticketKeys;
  return whole;
}

function trustOf({ ca, crl, sessionIdContext = process.argv.join(' ') }: ContextOptions): string {
  const hash = createHash('sha256').update(sessionIdContext);
  for (const part of [ca, crl].flat()) if (part !== undefined) hash.update('\0').update(part);
  return hash.digest('hex').slice(0, 32); // SSL_MAX_SID_CTX_LENGTH
}
