/**
 * Reads DER (X.690), strictly: lengths are definite, minimal and within what holds them. What a certificate says is read
 * here and not from Node's text of it, which quotes names (docs/decisions/0086).
 */
import { TlsError } from './tls-error.ts';

/** One value: its tag as it stands in the first byte, and its contents, which lie in the bytes that were given. */
export interface DerValue {
  readonly tag: number;
  readonly content: Buffer;
}

export const DER = {
  BOOLEAN: 0x01,
  INTEGER: 0x02,
  BIT_STRING: 0x03,
  OCTET_STRING: 0x04,
  OBJECT_IDENTIFIER: 0x06,
  UTF8_STRING: 0x0c,
  NUMERIC_STRING: 0x12,
  PRINTABLE_STRING: 0x13,
  T61_STRING: 0x14,
  IA5_STRING: 0x16,
  UTC_TIME: 0x17,
  GENERALIZED_TIME: 0x18,
  VISIBLE_STRING: 0x1a,
  UNIVERSAL_STRING: 0x1c,
  BMP_STRING: 0x1e,
  SEQUENCE: 0x30,
  SET: 0x31,
} as const;

/** An identifier of ours is never longer; a peer's that is would only cost time. */
const MAX_OID_BYTES = 64;

/**
 * The values that lie one behind the other, up to the end.
 * @throws {MILLRACE_ERR_BAD_CERTIFICATE}
 */
export function derValues(bytes: Buffer): DerValue[] {
  const values: DerValue[] = [];
  for (let at = 0; at < bytes.length; ) {
    const tag = bytes[at++] as number;
    if ((tag & 0x1f) === 0x1f) throw malformed('a tag of several bytes');
    let length = bytes[at++];
    if (length === undefined) throw malformed('a value that is cut off');
    if (length >= 0x80) {
      const count = length & 0x7f;
      if (count === 0 || count > 4 || at + count > bytes.length) throw malformed('a length that cannot be one');
      length = bytes.readUIntBE(at, count);
      if (length < 0x80 || length < 2 ** (8 * (count - 1))) throw malformed('a length in more bytes than it needs');
      at += count;
    }
    if (at + length > bytes.length) throw malformed('a value that is cut off');
    values.push({ tag, content: bytes.subarray(at, at + length) });
    at += length;
  }
  return values;
}

/** The values within a value that has to have this tag. @throws {MILLRACE_ERR_BAD_CERTIFICATE} */
export function derWithin(value: DerValue | undefined, tag: number, what: string): DerValue[] {
  return derValues(derContent(value, tag, what));
}

/** The contents of a value that has to have this tag. @throws {MILLRACE_ERR_BAD_CERTIFICATE} */
export function derContent(value: DerValue | undefined, tag: number, what: string): Buffer {
  if (value?.tag !== tag) throw malformed(`${what} is missing, or of another type`);
  return value.content;
}

/** In dotted form. @throws {MILLRACE_ERR_BAD_CERTIFICATE} */
export function derOid(value: DerValue | undefined): string {
  const bytes = derContent(value, DER.OBJECT_IDENTIFIER, 'an object identifier');
  if (bytes.length === 0 || bytes.length > MAX_OID_BYTES || (bytes.at(-1) as number) >= 0x80)
    throw malformed('an object identifier that cannot be one');
  const arcs: bigint[] = [];
  let arc = 0n; // of any size: those under 2.25 are UUIDs
  for (const byte of bytes) {
    arc = (arc << 7n) | BigInt(byte & 0x7f);
    if (byte >= 0x80) continue;
    if (arcs.length > 0) arcs.push(arc);
    else if (arc < 80n) arcs.push(arc / 40n, arc % 40n);
    else arcs.push(2n, arc - 80n);
    arc = 0n;
  }
  return arcs.join('.');
}

/** Either time of RFC 5280, 4.1.2.5. @throws {MILLRACE_ERR_BAD_CERTIFICATE} */
export function derTime(value: DerValue | undefined): Date {
  const text = value?.content.toString('latin1') ?? '';
  const digits = value?.tag === DER.UTC_TIME ? `${Number(text.slice(0, 2)) < 50 ? '20' : '19'}${text}` : text;
  const parts = /^(\d{4})(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)Z$/.exec(digits);
  const isTime = value?.tag === DER.UTC_TIME || value?.tag === DER.GENERALIZED_TIME;
  if (!isTime || parts === null) throw malformed('a time that cannot be one');
  const [, year, month, day, hour, minute, second] = parts;
  const iso = `${year}-${month}-${day}T${hour}:${minute}:${second}.000Z`;
  const date = new Date(iso);
  if (Number.isNaN(date.getTime()) || date.toISOString() !== iso) throw malformed('a time that cannot be one');
  return date;
}

/**
 * The text of any of the string types, and of others their bytes in RFC 4514's form, '#' and hexadecimal digits.
 * @throws {MILLRACE_ERR_BAD_CERTIFICATE} if the bytes are no text of that type
 */
export function derText({ tag, content }: DerValue): string {
  switch (tag) {
    case DER.UTF8_STRING:
      return utf8(content);
    case DER.NUMERIC_STRING:
    case DER.PRINTABLE_STRING:
    case DER.IA5_STRING:
    case DER.VISIBLE_STRING:
    case DER.T61_STRING: // as everybody reads it
      return content.toString('latin1');
    case DER.BMP_STRING:
      if (content.length % 2 !== 0) throw malformed('half a character');
      return Buffer.from(content).swap16().toString('utf16le');
    case DER.UNIVERSAL_STRING:
      return utf32(content);
    default:
      return `#${content.toString('hex')}`;
  }
}

const strictUtf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

function utf8(bytes: Buffer): string {
  try {
    return strictUtf8.decode(bytes);
  } catch {
    throw malformed('text that is not UTF-8');
  }
}

function utf32(bytes: Buffer): string {
  if (bytes.length % 4 !== 0) throw malformed('part of a character');
  let text = '';
  for (let at = 0; at < bytes.length; at += 4) {
    const point = bytes.readUInt32BE(at);
    if (point > 0x10ffff) throw malformed('a character that does not exist');
    text += String.fromCodePoint(point);
  }
  return text;
}

export function malformed(what: string): TlsError {
  return new TlsError('BAD_CERTIFICATE', `the certificate is malformed: ${what}`);
}
