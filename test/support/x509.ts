/** Certificates with whatever a test wants in them: written in DER here, and signed by nobody. */
import { generateKeyPairSync, X509Certificate } from 'node:crypto';

export function der(tag: number, ...contents: (Buffer | string)[]): Buffer {
  const content = Buffer.concat(
    contents.map((part) => (typeof part === 'string' ? Buffer.from(part, 'latin1') : part)),
  );
  const { length } = content;
  if (length < 0x80) return Buffer.concat([Buffer.from([tag, length]), content]);
  const digits = Buffer.from(length.toString(16).padStart(length < 0x100 ? 2 : length < 0x10000 ? 4 : 6, '0'), 'hex');
  return Buffer.concat([Buffer.from([tag, 0x80 | digits.length]), digits, content]);
}

export const sequence = (...contents: Buffer[]): Buffer => der(0x30, ...contents);

/** @param hex of the contents */
export const oid = (hex: string): Buffer => der(0x06, Buffer.from(hex, 'hex'));

/** id-at-commonName and its like: 2.5.4.N */
export const attribute = (n: number, value: Buffer | string): Buffer =>
  der(
    0x31,
    sequence(
      oid(`5504${n.toString(16).padStart(2, '0')}`),
      typeof value === 'string' ? der(0x0c, Buffer.from(value)) : value,
    ),
  );

/** id-ce-N, not critical. */
export const extension = (n: number, content: Buffer): Buffer =>
  sequence(oid(`551d${n.toString(16).padStart(2, '0')}`), der(0x04, content));

/** GeneralName's tags. */
export const GENERAL_NAME = { email: 0x81, dns: 0x82, uri: 0x86, ip: 0x87 } as const;
export type NameKind = keyof typeof GENERAL_NAME;

export const altNames = (...names: [NameKind, Buffer | string][]): Buffer =>
  extension(17, sequence(...names.map(([kind, value]) => der(GENERAL_NAME[kind], value))));

/** basicConstraints: cA */
export const authorityFlag: Buffer = extension(19, sequence(der(0x01, '\xff')));
/** keyUsage with these bits, the first being the most significant of its byte. */
export const keyUsage = (bits: number): Buffer => extension(15, der(0x03, Buffer.from([0, bits])));

export interface Parts {
  subject?: Buffer;
  issuer?: Buffer;
  extensions?: Buffer[];
  /** Both with their tags. */
  notBefore?: Buffer;
  notAfter?: Buffer;
}

const key = generateKeyPairSync('ed25519').publicKey.export({ type: 'spki', format: 'der' });
const ed25519 = sequence(oid('2b6570'));

/** The bytes of such a certificate. */
export function certificateBytes(parts: Parts = {}): Buffer {
  const signed = sequence(
    der(0xa0, der(0x02, '\x02')),
    der(0x02, '\x0a\xbc'),
    ed25519,
    parts.issuer ?? sequence(attribute(3, 'issuer')),
    sequence(parts.notBefore ?? der(0x17, '200102030405Z'), parts.notAfter ?? der(0x18, '20500102030405Z')),
    parts.subject ?? sequence(attribute(3, 'subject')),
    key,
    ...(parts.extensions === undefined ? [] : [der(0xa3, sequence(...parts.extensions))]),
  );
  return sequence(signed, ed25519, der(0x03, '\0', Buffer.alloc(64)));
}

/** As Node takes it. */
export function unsigned(parts?: Parts): X509Certificate {
  return new X509Certificate(certificateBytes(parts));
}
