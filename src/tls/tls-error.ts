/**
 * The errors of what is ours in millrace/tls: one class, and one reason for each cause; docs/errors.md says when each comes
 * and what to do. What `tls` itself throws and emits are Node's own errors: errors.ts.
 */

/** Every reason, with what it means in a few words. */
export const tlsReasons = {
  BAD_CERTIFICATE: 'a certificate that is malformed, or whose names cannot be told for sure',
  BAD_KEY: 'a private key that cannot be read',
  KEY_MISMATCH: 'the key does not belong to the certificate',
  BAD_CHAIN: 'the certificates do not stand in their order',
  CERTIFICATE_EXPIRED: 'a certificate is no longer valid',
  CERTIFICATE_NOT_YET_VALID: 'a certificate is not valid yet',
  CERTIFICATE_UNREADABLE: 'key or certificate could not be had',
  CERTIFICATE_UNUSABLE: 'OpenSSL, or a server, does not take key and certificate',
  BAD_OPTION: 'an option that makes no sense',
} as const;

export type TlsReason = keyof typeof tlsReasons;

/** `code` is `MILLRACE_ERR_` and the reason. */
export class TlsError extends Error {
  readonly reason: TlsReason;
  readonly code: `MILLRACE_ERR_${TlsReason}`;

  constructor(reason: TlsReason, message: string, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause });
    this.name = 'TlsError';
    this.reason = reason;
    this.code = `MILLRACE_ERR_${reason}`;
  }
}
