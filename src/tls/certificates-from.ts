/** Key and certificates from wherever a program has them: a secret store, a SPIFFE workload API, an ACME client. */
import type { CertificateMaterial } from './certificate-material.ts';
import { Certificates, type CertificatesOptions, type Clock, readInTime, systemClock } from './certificates.ts';
import { TlsError } from './tls-error.ts';

export type LoadCertificates = () => CertificateMaterial | Promise<CertificateMaterial>;

/**
 * Certificates that a callback brings: the first now, others when `reload()` is called, and with `watch` by themselves.
 * @throws {TlsError} `load` has failed, or what it brought can't be used: as for `Certificates.reload`
 * @example
 * ```ts
 * import tls, { certificatesFrom } from 'millrace/tls';
 *
 * const load = async () => (await (await fetch('http://127.0.0.1:8200/cert')).json()) as { key: string; cert: string };
 * const certificates = await certificatesFrom(load, { watch: { pollMs: 60_000 } });
 * const server = tls.createServer({ certificates });
 * process.on('SIGHUP', () => void certificates.reload().catch(console.error));
 * ```
 */
export async function certificatesFrom(
  load: LoadCertificates,
  options: CertificatesOptions = {},
): Promise<Certificates> {
  return openCertificatesFrom(load, options, systemClock);
}

/** The same with another clock. */
export async function openCertificatesFrom(
  load: LoadCertificates,
  options: CertificatesOptions,
  clock: Clock,
): Promise<Certificates> {
  if (typeof load !== 'function')
    throw new TlsError('BAD_OPTION', 'load is a function that brings key and certificates');
  const source = { settleMs: 0, read: async () => checkedMaterial(await load()) };
  return new Certificates(source, await readInTime(source, clock), options, clock);
}

const isPem = (value: unknown): boolean => typeof value === 'string' || Buffer.isBuffer(value);

function checkedMaterial(brought: CertificateMaterial): CertificateMaterial {
  const { key, cert, ca, crl, passphrase } = brought ?? {};
  const isWhole = isPem(key) && isPem(cert) && [ca, crl].every((value) => value === undefined || isPem(value));
  if (isWhole && (passphrase === undefined || typeof passphrase === 'string')) return brought;
  throw new TlsError(
    'CERTIFICATE_UNREADABLE',
    'what was brought is not { key, cert } in PEM, with ca, crl, passphrase or not',
  );
}
