/** Node's errors of `tls`, as Node makes them: classes, codes, texts. @see https://nodejs.org/api/errors.html */
import { coded } from '../net/errors.ts';
import type { Failure } from './native.ts';

export const requiredServerName = (): Error =>
  coded(Error, 'ERR_TLS_REQUIRED_SERVER_NAME', '"servername" is required parameter for Server.addContext');

export const sniFromServer = (): Error =>
  coded(Error, 'ERR_TLS_SNI_FROM_SERVER', 'Cannot issue SNI from a TLS server-side socket');

export const handshakeTimeout = (): Error => coded(Error, 'ERR_TLS_HANDSHAKE_TIMEOUT', 'TLS handshake timeout');

export const renegotiationDisabled = (): Error =>
  coded(Error, 'ERR_TLS_RENEGOTIATION_DISABLED', 'TLS session renegotiation disabled for this socket');

/** TLS 1.3 has no renegotiation. */
export const wrongSslVersion = (): Error =>
  opensslError([Buffer.from('error:0A00010A:SSL routines::wrong ssl version'), 'SSL routines', 'wrong ssl version']);

export const invalidState = (): Error =>
  coded(Error, 'ERR_TLS_INVALID_STATE', 'TLS socket connection must be securely established');

export const invalidContext = (name: string): TypeError =>
  coded(TypeError, 'ERR_TLS_INVALID_CONTEXT', `${name} must be a SecureContext`);

export const dhParamSize = (size: number): Error =>
  coded(Error, 'ERR_TLS_DH_PARAM_SIZE', `DH parameter size ${size} is less than 2048`);

export const alpnCallbackWithProtocols = (): TypeError =>
  coded(
    TypeError,
    'ERR_TLS_ALPN_CALLBACK_WITH_PROTOCOLS',
    'The ALPNCallback and ALPNProtocols TLS options are mutually exclusive',
  );

export const alpnCallbackInvalidResult = (value: unknown, protocols: string[]): TypeError =>
  coded(
    TypeError,
    'ERR_TLS_ALPN_CALLBACK_INVALID_RESULT',
    `ALPN callback returned a value (${String(value)}) that did not match any of the client's offered protocols (${protocols.join(', ')})`,
  );

export const multipleCallback = (): Error => coded(Error, 'ERR_MULTIPLE_CALLBACK', 'Callback called multiple times');

export const socketClosed = (): Error => coded(Error, 'ERR_SOCKET_CLOSED', 'Socket is closed');

/** What Node says when the connection is lost on the way: its ConnResetException. */
export function connectionReset(message: string): NodeJS.ErrnoException {
  const error = new Error(message) as NodeJS.ErrnoException;
  error.code = 'ECONNRESET';
  return error;
}

/** An error of OpenSSL's: `code` is made of its reason, as Node does it. */
export function opensslError([message, library, reason]: Failure): NodeJS.ErrnoException {
  const text = message.toString('latin1') || 'TLS failed without a reason of OpenSSL';
  const error = new Error(text) as NodeJS.ErrnoException & { library?: string; reason?: string };
  if (library !== undefined) error.library = library;
  if (reason !== undefined) {
    error.reason = reason;
    error.code = `ERR_SSL_${reason.toUpperCase().replaceAll(' ', '_')}`;
  }
  return error;
}

/** X509_V_ERR_* by number: names as Node has them in `authorizationError`. */
const VERIFY_CODES: Readonly<Record<number, string>> = {
  2: 'UNABLE_TO_GET_ISSUER_CERT',
  3: 'UNABLE_TO_GET_CRL',
  4: 'UNABLE_TO_DECRYPT_CERT_SIGNATURE',
  5: 'UNABLE_TO_DECRYPT_CRL_SIGNATURE',
  6: 'UNABLE_TO_DECODE_ISSUER_PUBLIC_KEY',
  7: 'CERT_SIGNATURE_FAILURE',
  8: 'CRL_SIGNATURE_FAILURE',
  9: 'CERT_NOT_YET_VALID',
  10: 'CERT_HAS_EXPIRED',
  11: 'CRL_NOT_YET_VALID',
  12: 'CRL_HAS_EXPIRED',
  13: 'ERROR_IN_CERT_NOT_BEFORE_FIELD',
  14: 'ERROR_IN_CERT_NOT_AFTER_FIELD',
  15: 'ERROR_IN_CRL_LAST_UPDATE_FIELD',
  16: 'ERROR_IN_CRL_NEXT_UPDATE_FIELD',
  17: 'OUT_OF_MEM',
  18: 'DEPTH_ZERO_SELF_SIGNED_CERT',
  19: 'SELF_SIGNED_CERT_IN_CHAIN',
  20: 'UNABLE_TO_GET_ISSUER_CERT_LOCALLY',
  21: 'UNABLE_TO_VERIFY_LEAF_SIGNATURE',
  22: 'CERT_CHAIN_TOO_LONG',
  23: 'CERT_REVOKED',
  24: 'INVALID_CA',
  25: 'PATH_LENGTH_EXCEEDED',
  26: 'INVALID_PURPOSE',
  27: 'CERT_UNTRUSTED',
  28: 'CERT_REJECTED',
  62: 'HOSTNAME_MISMATCH',
};

/** What Node 24 and newer say behind OpenSSL's text, where it helps. */
const ADVICE =
  Number(process.versions.node.split('.')[0]) >= 24
    ? '; if the root CA is installed locally, try running Node.js with --use-system-ca'
    : '';
const ADVISED: readonly (string | undefined)[] = ['DEPTH_ZERO_SELF_SIGNED_CERT', 'UNABLE_TO_VERIFY_LEAF_SIGNATURE'];

/** @param text X509_verify_cert_error_string's */
export function verifyError(result: number, text: string | undefined): NodeJS.ErrnoException | null {
  if (result === 0) return null;
  const code = VERIFY_CODES[result];
  const message = text ?? `certificate verification failed (${result})`;
  const error = new Error(message + (ADVISED.includes(code) ? ADVICE : '')) as NodeJS.ErrnoException;
  error.code = code ?? 'UNSPECIFIED';
  return error;
}
