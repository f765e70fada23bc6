/** Certificates with whatever a test wants in them, written in DER here: signed by each other, or by nobody. */
import { generateKeyPairSync, type KeyObject, randomBytes, sign, X509Certificate } from 'node:crypto';

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

/** Key and certificate in PEM. */
export interface Issued {
  key: string;
  cert: string;
  name: string;
  privateKey: KeyObject;
}

export type KeyKind = 'ec' | 'rsa' | 'ed25519';

/** Algorithm identifiers of signatures. */
const SIGNATURE: Record<KeyKind, Buffer> = {
  ec: sequence(oid('2a8648ce3d040302')), // ecdsa-with-SHA256
  rsa: sequence(oid('2a864886f70d01010b'), der(0x05)), // sha256WithRSAEncryption
  ed25519: sequence(oid('2b6570')),
};

function newKey(kind: KeyKind): { publicKey: KeyObject; privateKey: KeyObject } {
  if (kind === 'rsa') return generateKeyPairSync('rsa', { modulusLength: 2048 });
  return kind === 'ec' ? generateKeyPairSync('ec', { namedCurve: 'prime256v1' }) : generateKeyPairSync('ed25519');
}

function kindOf({ asymmetricKeyType }: KeyObject): KeyKind {
  return asymmetricKeyType as KeyKind;
}

function toBeSigned(parts: Parts, publicKey: Buffer, algorithm: Buffer): Buffer {
  return sequence(
    der(0xa0, der(0x02, '\x02')),
    der(0x02, Buffer.concat([Buffer.from([1]), randomBytes(8)])),
    algorithm,
    parts.issuer ?? sequence(attribute(3, 'issuer')),
    sequence(parts.notBefore ?? der(0x17, '200102030405Z'), parts.notAfter ?? der(0x18, '20500102030405Z')),
    parts.subject ?? sequence(attribute(3, 'subject')),
    publicKey,
    ...(parts.extensions === undefined ? [] : [der(0xa3, sequence(...parts.extensions))]),
  );
}

const spki = (key: KeyObject): Buffer => key.export({ type: 'spki', format: 'der' });
let nobodys: Buffer | undefined;

/** The bytes of a certificate that nobody has signed. */
export function certificateBytes(parts: Parts = {}): Buffer {
  nobodys ??= spki(newKey('ed25519').publicKey);
  return sequence(toBeSigned(parts, nobodys, SIGNATURE.ed25519), SIGNATURE.ed25519, der(0x03, '\0', Buffer.alloc(64)));
}

/** As Node takes it. */
export function unsigned(parts?: Parts): X509Certificate {
  return new X509Certificate(certificateBytes(parts));
}

export interface IssueOptions {
  /** Common name, and DNS name unless there are other extensions. */
  name: string;
  kind?: KeyKind;
  /** Itself unless given. */
  by?: Issued;
  isAuthority?: boolean;
  /** In place of the usual ones. */
  extensions?: Buffer[];
  /** Since 1970; an hour ago and in 30 days unless given. */
  fromMs?: number;
  toMs?: number;
}

const HOUR_MS = 3_600_000;

/** A new key, and its certificate. */
export function issue(options: IssueOptions): Issued {
  const { name, kind = 'ec', by, isAuthority = false } = options;
  const { publicKey, privateKey } = newKey(kind);
  const time = (ms: number): Buffer => der(0x18, `${new Date(ms).toISOString().replace(/\.\d+|\D/g, '')}Z`);
  const signer = by?.privateKey ?? privateKey;
  const algorithm = SIGNATURE[kindOf(signer)];
  const parts: Parts = {
    subject: sequence(attribute(3, name)),
    issuer: sequence(attribute(3, by?.name ?? name)),
    extensions: options.extensions ?? (isAuthority ? [authorityFlag] : [altNames(['dns', name])]),
    notBefore: time(options.fromMs ?? Date.now() - HOUR_MS),
    notAfter: time(options.toMs ?? Date.now() + 30 * 24 * HOUR_MS),
  };
  const signed = toBeSigned(parts, spki(publicKey), algorithm);
  const signature = sign(kindOf(signer) === 'ed25519' ? null : 'sha256', signed, signer);
  const bytes = sequence(signed, algorithm, der(0x03, '\0', signature)).toString('base64');
  return {
    key: privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(),
    cert: `-----BEGIN CERTIFICATE-----\n${bytes.replace(/.{64}(?=.)/g, '$&\n')}\n-----END CERTIFICATE-----\n`,
    name,
    privateKey,
  };
}
