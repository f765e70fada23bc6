/** What OpenSSL says of a peer, as the objects that Node makes of it. */
import { X509Certificate } from 'node:crypto';
import nodeTls, { type PeerCertificate } from 'node:tls';

/**
 * Node's legacy certificate object, with its issuers behind it.
 * @param chain DER, the certificate first, then each one's issuer
 */
export function certificateObject(chain: Buffer[], isDetailed: boolean): PeerCertificate | Record<string, never> {
  const objects = chain.map((der) => new X509Certificate(der).toLegacyObject() as unknown as PeerCertificate);
  const [first] = objects;
  if (first === undefined) return {};
  if (!isDetailed) return first;
  objects.forEach((object, i) => {
    const issuer = objects[i + 1] ?? (isSelfIssued(chain[i] as Buffer) ? object : undefined);
    if (issuer !== undefined) (object as { issuerCertificate?: unknown }).issuerCertificate = issuer;
  });
  return first;
}

/** The first of a chain, with `issuerCertificate` as Node's own have it. */
export function certificateChain(chain: Buffer[]): X509Certificate | undefined {
  const certificates = chain.map((der) => new X509Certificate(der));
  certificates.forEach((certificate, i) => {
    const value = certificates[i + 1] ?? (certificate.checkIssued(certificate) ? certificate : undefined);
    if (value !== undefined) Object.defineProperty(certificate, 'issuerCertificate', { value, configurable: true });
  });
  return certificates[0];
}

function isSelfIssued(der: Buffer): boolean {
  const certificate = new X509Certificate(der);
  return certificate.checkIssued(certificate);
}

/** The `ALPNProtocols` option as it goes over the wire: RFC 7301, 3.1. @throws what Node throws */
export function encodeAlpn(protocols: unknown): Buffer {
  const out: { ALPNProtocols?: Buffer } = {};
  (nodeTls as unknown as { convertALPNProtocols(from: unknown, to: object): void }).convertALPNProtocols(
    protocols,
    out,
  );
  return out.ALPNProtocols ?? Buffer.alloc(0);
}

/** The extension's body in a ClientHello: a list behind its length in two bytes. OpenSSL has not looked at it yet. */
export function decodeAlpn(extension: Buffer): string[] {
  const names: string[] = [];
  const end = Math.min(extension.length, 2 + (extension.length >= 2 ? extension.readUInt16BE(0) : 0));
  for (let at = 2; at < end; ) {
    const length = extension[at] as number;
    if (length === 0 || at + 1 + length > end) break;
    names.push(extension.toString('latin1', at + 1, at + 1 + length));
    at += 1 + length;
  }
  return names;
}

/** RFC 6066, 3: a list of names, of which the first is a host name. */
export function decodeServername(extension: Buffer | null): string | undefined {
  if (extension === null || extension.length < 5 || extension[2] !== 0) return undefined;
  const length = extension.readUInt16BE(3);
  return 5 + length <= extension.length ? extension.toString('latin1', 5, 5 + length) : undefined;
}

/** EVP_PKEY_* of evp.h */
const KEY = { DH: 28, EC: 408, X25519: 1034, X448: 1035 } as const;

export function ephemeralKey(found: [number, string, number] | undefined): object {
  if (found === undefined) return {};
  const [type, name, size] = found;
  if (type === KEY.DH) return { type: 'DH', size };
  if (type === KEY.EC || type === KEY.X25519 || type === KEY.X448) return { type: 'ECDH', name, size };
  return type === 0 ? { type: 'TLSGroup', name } : {};
}

/** Signatures by EVP_PKEY_* number, as Node names them. */
const SIGNATURES: Readonly<Record<number, string>> = {
  6: 'RSA',
  912: 'RSA-PSS',
  116: 'DSA',
  408: 'ECDSA',
  1087: 'Ed25519',
  1088: 'Ed448',
};

export function signatureNames(found: (string | number)[]): string[] {
  const names: string[] = [];
  for (let i = 0; i + 2 < found.length; i += 3)
    names.push(`${SIGNATURES[found[i] as number] ?? found[i + 1] ?? 'UNDEF'}+${found[i + 2] ?? 'UNDEF'}`);
  return names;
}
