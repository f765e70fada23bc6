/**
 * Whose certificate it is, typed: subject, alternative names, SPIFFE id. It is read from the certificate's bytes: Node's
 * text of the alternative names has to be unquoted rightly, and what was read wrongly let strangers in (CVE-2021-44532,
 * CVE-2021-44533; docs/decisions/0086).
 *
 * Nothing is verified here: that the certificate is genuine and the peer has its key is what the handshake has found out.
 *
 * @see https://www.rfc-editor.org/rfc/rfc5280#section-4
 */
import type { X509Certificate } from 'node:crypto';
import { SocketAddress } from 'node:net';
import { DER, type DerValue, derContent, derOid, derText, derTime, derValues, derWithin, malformed } from './der.ts';
import { isSpiffeLeafId, trustDomainOf } from './spiffe.ts';
import { TlsError } from './tls-error.ts';

/** Whose certificate it is. */
export interface VerifiedIdentity {
  readonly subject: DistinguishedName;
  /** All of a kind in the certificate's order; empty where there are none. */
  readonly subjectAltNames: SubjectAltNames;
  /**
   * The SPIFFE id, if the certificate is an X.509-SVID of a workload: exactly one URI, which is a well-formed SPIFFE id with
   * a path, and no authority's certificate.
   * @see https://github.com/spiffe/spiffe/blob/main/standards/X509-SVID.md#52-leaf-validation
   */
  readonly spiffeId: string | undefined;
  /** The trust domain of `spiffeId`: compare this, not how the id begins. */
  readonly spiffeTrustDomain: string | undefined;
  readonly issuer: DistinguishedName;
  /** Hexadecimal, in capitals, as Node has it. Unique for its issuer only. */
  readonly serialNumber: string;
  /** SHA-256 of the certificate: pairs of hexadecimal digits with colons, as Node has it. */
  readonly fingerprint256: string;
  readonly validFrom: Date;
  readonly validTo: Date;
}

/** A subject or an issuer. */
export interface DistinguishedName {
  /** In the certificate's order. */
  readonly attributes: readonly NameAttribute[];
  /** The common name, if there is exactly one: programs disagree about which of several counts. */
  readonly commonName: string | undefined;
}

export interface NameAttribute {
  /** OpenSSL's short name (`CN`, `O`, `OU`, …), or the object identifier of what has none here. */
  readonly name: string;
  readonly oid: string;
  /** Text as it stands, without any quoting; of types that are no text '#' and hexadecimal digits. */
  readonly value: string;
}

export interface SubjectAltNames {
  /** As they stand: a name may begin with `*.`, and upper and lower case mean the same. */
  readonly dns: readonly string[];
  readonly uri: readonly string[];
  /** As the system prints addresses, as in `socket.remoteAddress`. */
  readonly ip: readonly string[];
  readonly email: readonly string[];
}

/**
 * Reads whose certificate it is.
 * @param x509 the certificate of a peer that the handshake has verified: `socket.getPeerX509Certificate()` where
 * `socket.authorized` is true
 * @throws {MILLRACE_ERR_BAD_CERTIFICATE} a certificate that is not DER, or has names that different programs would read
 * differently: control characters, other characters than ASCII's where only those may be, two lists of alternative names
 * @example
 * ```ts
 * import tls, { verifiedIdentity } from 'millrace/tls';
 *
 * const server = tls.createServer({ requestCert: true, rejectUnauthorized: true }, (socket) => {
 *   const certificate = socket.getPeerX509Certificate();
 *   if (certificate !== undefined) console.log(verifiedIdentity(certificate).spiffeId);
 * });
 * ```
 */
export function verifiedIdentity(x509: X509Certificate): VerifiedIdentity {
  return { ...readNames(x509.raw), serialNumber: x509.serialNumber, fingerprint256: x509.fingerprint256 };
}

/**
 * That `verifiedIdentity` would not throw, at a tenth of its cost: most of that is Node's X509Certificate.
 * @param certificate DER
 * @throws {MILLRACE_ERR_BAD_CERTIFICATE}
 */
export function checkIdentity(certificate: Buffer): void {
  readNames(certificate);
}

/** All that is read from the bytes. */
function readNames(der: Buffer): Omit<VerifiedIdentity, 'serialNumber' | 'fingerprint256'> {
  const [certificate, ...rest] = derValues(der);
  if (rest.length > 0) throw malformed('something behind it');
  const [signed] = derWithin(certificate, DER.SEQUENCE, 'the certificate');
  const fields = derWithin(signed, DER.SEQUENCE, 'what is signed');
  if (fields[0]?.tag === VERSION) fields.shift();
  const [, , issuer, validity, subject] = fields; // behind serial number and algorithm
  const [from, to] = derWithin(validity, DER.SEQUENCE, 'the validity');
  const extensions = readExtensions(fields.find(({ tag }) => tag === EXTENSIONS));
  const subjectAltNames = readAltNames(extensions.get(EXTENSION.SUBJECT_ALT_NAME));
  const spiffeId = isAuthority(extensions) ? undefined : theSpiffeId(subjectAltNames.uri);
  return {
    subject: readName(subject),
    subjectAltNames,
    spiffeId,
    spiffeTrustDomain: spiffeId && trustDomainOf(spiffeId),
    issuer: readName(issuer),
    validFrom: derTime(from),
    validTo: derTime(to),
  };
}

/** [0] and [3] of TBSCertificate */
const VERSION = 0xa0;
const EXTENSIONS = 0xa3;

const EXTENSION = {
  KEY_USAGE: '2.5.29.15',
  SUBJECT_ALT_NAME: '2.5.29.17',
  BASIC_CONSTRAINTS: '2.5.29.19',
} as const;

/** The contents of extensions by their identifiers. */
function readExtensions(field: DerValue | undefined): Map<string, Buffer> {
  const found = new Map<string, Buffer>();
  if (field === undefined) return found;
  const [list] = derValues(field.content);
  for (const extension of derWithin(list, DER.SEQUENCE, 'the list of extensions')) {
    const parts = derWithin(extension, DER.SEQUENCE, 'an extension');
    const oid = derOid(parts[0]);
    if (found.has(oid)) throw malformed(`extension ${oid} stands twice`);
    found.set(oid, derContent(parts.at(-1), DER.OCTET_STRING, `the content of extension ${oid}`));
  }
  return found;
}

function readName(value: DerValue | undefined): DistinguishedName {
  const attributes: NameAttribute[] = [];
  for (const set of derWithin(value, DER.SEQUENCE, 'a name')) {
    for (const attribute of derWithin(set, DER.SET, 'a part of a name')) {
      const [type, content] = derWithin(attribute, DER.SEQUENCE, 'an attribute');
      const oid = derOid(type);
      if (content === undefined) throw malformed(`attribute ${oid} has no value`);
      const text = derText(content);
      if (text.includes('\0')) throw ambiguous(`attribute ${oid}`); // where some programs think that it ends
      attributes.push({ name: ATTRIBUTE_NAMES[oid] ?? oid, oid, value: text });
    }
  }
  const common = attributes.filter(({ name }) => name === 'CN');
  return { attributes, commonName: common.length === 1 ? common[0]?.value : undefined };
}

/** GeneralName's tags; the others are nobody's address. */
const NAME = { EMAIL: 0x81, DNS: 0x82, URI: 0x86, IP: 0x87 } as const;

function readAltNames(extension: Buffer | undefined): SubjectAltNames {
  const dns: string[] = [];
  const uri: string[] = [];
  const ip: string[] = [];
  const email: string[] = [];
  if (extension !== undefined) {
    const [list, ...rest] = derValues(extension);
    if (rest.length > 0) throw malformed('something behind the alternative names');
    for (const { tag, content } of derWithin(list, DER.SEQUENCE, 'the list of alternative names')) {
      if (tag === NAME.DNS) dns.push(visible(content, 'a DNS name'));
      else if (tag === NAME.URI) uri.push(visible(content, 'a URI'));
      else if (tag === NAME.EMAIL) email.push(visible(content, 'an email address'));
      else if (tag === NAME.IP) ip.push(address(content));
    }
  }
  return { dns, uri, ip, email };
}

/** IA5String, of which only these characters have a use in names. */
function visible(bytes: Buffer, what: string): string {
  if (bytes.some((byte) => byte < 0x20 || byte > 0x7e)) throw ambiguous(what);
  return bytes.toString('latin1');
}

function address(bytes: Buffer): string {
  if (bytes.length === 4) return bytes.join('.');
  if (bytes.length !== 16) throw malformed(`an IP address of ${bytes.length} bytes`);
  const groups = Array.from({ length: 8 }, (_, i) => bytes.readUInt16BE(2 * i).toString(16));
  return new SocketAddress({ family: 'ipv6', address: groups.join(':') }).address;
}

function ambiguous(what: string): TlsError {
  return new TlsError('BAD_CERTIFICATE', `the certificate has ${what} with characters that do not belong there`);
}

/** Authorities are not to be authenticated by their own SPIFFE id. X509-SVID, 5.2. */
function isAuthority(extensions: Map<string, Buffer>): boolean {
  const constraints = extensions.get(EXTENSION.BASIC_CONSTRAINTS);
  if (constraints !== undefined) {
    const [first] = derWithin(derValues(constraints)[0], DER.SEQUENCE, 'basic constraints');
    if (first?.tag === DER.BOOLEAN && first.content[0] !== 0) return true;
  }
  const usage = extensions.get(EXTENSION.KEY_USAGE);
  if (usage === undefined) return false;
  const bits = derContent(derValues(usage)[0], DER.BIT_STRING, 'the key usage');
  return ((bits[1] ?? 0) & 0b0000_0110) !== 0; // keyCertSign (5) and cRLSign (6), counted from the left
}

function theSpiffeId(uris: readonly string[]): string | undefined {
  const [uri] = uris;
  return uris.length === 1 && uri !== undefined && isSpiffeLeafId(uri) ? uri : undefined;
}

/** As OpenSSL abbreviates them. */
const ATTRIBUTE_NAMES: Readonly<Record<string, string>> = {
  '2.5.4.3': 'CN',
  '2.5.4.4': 'SN',
  '2.5.4.5': 'serialNumber',
  '2.5.4.6': 'C',
  '2.5.4.7': 'L',
  '2.5.4.8': 'ST',
  '2.5.4.9': 'street',
  '2.5.4.10': 'O',
  '2.5.4.11': 'OU',
  '2.5.4.12': 'title',
  '2.5.4.13': 'description',
  '2.5.4.15': 'businessCategory',
  '2.5.4.17': 'postalCode',
  '2.5.4.41': 'name',
  '2.5.4.42': 'GN',
  '2.5.4.43': 'initials',
  '2.5.4.44': 'generationQualifier',
  '2.5.4.46': 'dnQualifier',
  '2.5.4.65': 'pseudonym',
  '2.5.4.97': 'organizationIdentifier',
  '0.9.2342.19200300.100.1.1': 'UID',
  '0.9.2342.19200300.100.1.25': 'DC',
  '1.2.840.113549.1.9.1': 'emailAddress',
};
