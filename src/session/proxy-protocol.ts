/**
 * The PROXY protocol: what a load balancer says about a connection before its first byte.
 *
 *      version 1   PROXY TCP4 192.0.2.1 198.51.100.1 51000 443 CR LF              at most 107 bytes
 *      version 2   0d 0a 0d 0a 00 0d 0a 51 55 49 54 0a | 2 command | family protocol | length | addresses | TLVs
 *                  12                                    1           1                 2
 *
 * Bytes in, as they come; a header out, or that more is needed, or why it is none.
 *
 * @see https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt
 */
import { isIPv4, isIPv6 } from 'node:net';
import type { ProxyInfo } from './api.ts';
import type { RefusalReason } from './reasons.ts';

/** A header, without who sent it. */
export type ProxyHeader = Omit<ProxyInfo, 'via'>;

export interface ParsedHeader {
  readonly header: ProxyHeader;
  /** Where the connection's own bytes begin. */
  readonly end: number;
}

/** Why it is no header: a reason and a sentence. */
export interface BadHeader {
  readonly reason: Extract<RefusalReason, `PROXY_HEADER_${string}`>;
  readonly message: string;
}

const V2_SIGNATURE = Buffer.from('0d0a0d0a000d0a515549540a', 'hex');
const V1_SIGNATURE = Buffer.from('PROXY ');
const V1_MAX_BYTES = 107;
const V2_HEAD_BYTES = 16;

/** Types of TLVs, section 2.2. */
const PP2_TYPE = { AUTHORITY: 0x02, CRC32C: 0x03, UNIQUE_ID: 0x05 } as const;

/**
 * Reads the header at the beginning of what has come so far.
 *
 * @returns `undefined`: more bytes are needed
 */
export function parseProxyHeader(bytes: Buffer, maxBytes: number): ParsedHeader | BadHeader | undefined {
  if (bytes.length === 0) return undefined;
  if (isBeginning(bytes, V2_SIGNATURE)) return parseV2(bytes, maxBytes);
  if (isBeginning(bytes, V1_SIGNATURE)) return parseV1(bytes);
  return { reason: 'PROXY_HEADER_MISSING', message: `the connection begins with ${hex(bytes)}: no PROXY header` };
}

function isBeginning(bytes: Buffer, signature: Buffer): boolean {
  const length = Math.min(bytes.length, signature.length);
  return bytes.compare(signature, 0, length, 0, length) === 0;
}

// ---------------------------------------------------------------------------------------------------------- version 1

function parseV1(bytes: Buffer): ParsedHeader | BadHeader | undefined {
  const end = bytes.subarray(0, V1_MAX_BYTES).indexOf('\r\n');
  if (end < 0)
    return bytes.length < V1_MAX_BYTES ? undefined : bad(`a line of version 1 has at most ${V1_MAX_BYTES} bytes`);
  const line = bytes.toString('latin1', 0, end);
  const [, protocol, source, destination, sourcePort, destinationPort, ...rest] = line.split(' ');
  // 'UNKNOWN' may be followed by anything, which is to be ignored.
  if (protocol === 'UNKNOWN') return { header: plain(1, 'proxy', 'unknown'), end: end + 2 };
  const isAddress = protocol === 'TCP4' ? isIPv4 : protocol === 'TCP6' ? isIPv6 : undefined;
  const ports = [sourcePort, destinationPort].map(portOf);
  if (
    isAddress?.(source ?? '') !== true ||
    !isAddress(destination ?? '') ||
    ports[0] === undefined ||
    ports[1] === undefined ||
    rest.length > 0
  ) {
    return bad(`not a line of version 1: ${JSON.stringify(line)}`);
  }
  const header: ProxyHeader = {
    ...plain(1, 'proxy', protocol === 'TCP4' ? 'tcp4' : 'tcp6'),
    source: { address: source as string, port: ports[0] },
    destination: { address: destination as string, port: ports[1] },
  };
  return { header, end: end + 2 };
}

/** A decimal number of 0 to 65535 without leading zeros. */
function portOf(text: string | undefined): number | undefined {
  return text !== undefined && /^(0|[1-9]\d{0,4})$/.test(text) && Number(text) <= 65535 ? Number(text) : undefined;
}

// ---------------------------------------------------------------------------------------------------------- version 2

/** By the byte of family and protocol: the name, and the bytes of one address. */
const TRANSPORTS: Readonly<Record<number, readonly [ProxyHeader['transport'], number]>> = {
  0: ['unknown', 0],
  17: ['tcp4', 4],
  18: ['udp4', 4],
  33: ['tcp6', 16],
  34: ['udp6', 16],
  49: ['unix', 108],
  50: ['unix', 108],
};

function parseV2(bytes: Buffer, maxBytes: number): ParsedHeader | BadHeader | undefined {
  if (bytes.length < V2_HEAD_BYTES) return undefined;
  const end = V2_HEAD_BYTES + bytes.readUInt16BE(14);
  if (end > maxBytes) {
    return { reason: 'PROXY_HEADER_TOO_LARGE', message: `a header of ${end} bytes is over the limit of ${maxBytes}` };
  }
  const [versionAndCommand, familyAndProtocol] = [bytes.readUInt8(12), bytes.readUInt8(13)];
  if (versionAndCommand >> 4 !== 2) return bad(`there is no version ${versionAndCommand >> 4} with this signature`);
  const command = versionAndCommand & 15;
  if (command > 1) return bad(`there is no command ${command}`);
  if (bytes.length < end) return undefined;
  // What a proxy says of its own connection is to be ignored: it may be anything.
  if (command === 0) return { header: plain(2, 'local', 'unknown'), end };
  const [transport, addressBytes] = TRANSPORTS[familyAndProtocol] ?? ['unknown', 0];
  // Without addresses that we know, nobody can say where TLVs begin.
  if (transport === 'unknown') return { header: plain(2, 'proxy', 'unknown'), end };
  const portBytes = transport === 'unix' ? 0 : 2;
  const tlvsAt = V2_HEAD_BYTES + 2 * addressBytes + 2 * portBytes;
  if (tlvsAt > end) return bad(`${end - V2_HEAD_BYTES} bytes are too few for the addresses of ${transport}`);
  const header = bytes.subarray(0, end);
  const tlvs = readTlvs(header, tlvsAt);
  if (typeof tlvs === 'string') return bad(tlvs);
  const wrong = checkCrc(header, tlvs);
  if (wrong !== undefined) return bad(wrong);
  const authority = tlvs.find(({ type }) => type === PP2_TYPE.AUTHORITY)?.value;
  const endpoint = (index: 0 | 1) => ({
    address: addressText(header, V2_HEAD_BYTES + index * addressBytes, addressBytes),
    port: portBytes === 0 ? undefined : header.readUInt16BE(V2_HEAD_BYTES + 2 * addressBytes + index * portBytes),
  });
  return {
    header: {
      ...plain(2, 'proxy', transport),
      source: endpoint(0),
      destination: endpoint(1),
      tlvs: tlvs.map(({ type, value }) => ({ type, value: Buffer.from(value) })),
      authority: authority?.toString('utf8'),
      uniqueId: copyOf(tlvs.find(({ type }) => type === PP2_TYPE.UNIQUE_ID)?.value),
    },
    end,
  };
}

interface Tlv {
  readonly type: number;
  /** Within the header. */
  readonly at: number;
  readonly value: Buffer;
}

/** Returns what is wrong if they don't fill the header exactly. */
function readTlvs(header: Buffer, from: number): Tlv[] | string {
  const tlvs: Tlv[] = [];
  for (let at = from; at < header.length; ) {
    if (at + 3 > header.length) return 'a TLV is cut off';
    const valueAt = at + 3;
    const next = valueAt + header.readUInt16BE(at + 1);
    if (next > header.length) return 'a TLV is longer than the header';
    tlvs.push({ type: header.readUInt8(at), at: valueAt, value: header.subarray(valueAt, next) });
    at = next;
  }
  return tlvs;
}

/** Section 2.2.3: the CRC32c of the whole header, in which its own four bytes are zero. */
function checkCrc(header: Buffer, tlvs: readonly Tlv[]): string | undefined {
  const crc = tlvs.find(({ type }) => type === PP2_TYPE.CRC32C);
  if (crc === undefined) return undefined;
  if (crc.value.length !== 4) return `a CRC32c of ${crc.value.length} bytes`;
  const blank = Buffer.from(header).fill(0, crc.at, crc.at + 4);
  return crc32c(blank) === crc.value.readUInt32BE() ? undefined : 'the CRC32c is not that of the header';
}

/** Castagnoli's polynomial, reflected; a header is short and comes once, so no table. RFC 3720, appendix B.4. */
export function crc32c(bytes: Uint8Array): number {
  let crc = 0xffffffff;
  for (const byte of bytes) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ (crc & 1 ? 0x82f63b78 : 0);
  }
  return (crc ^ 0xffffffff) >>> 0;
}

function addressText(header: Buffer, at: number, length: number): string {
  const bytes = header.subarray(at, at + length);
  if (length === 4) return bytes.join('.');
  if (length === 16) return ipv6Text(bytes);
  const end = bytes.indexOf(0, bytes[0] === 0 ? 1 : 0);
  return bytes.toString('utf8', 0, end < 0 ? length : end);
}

/** RFC 5952: no leading zeros, and the longest run of zero groups, if it is more than one, is `::`. */
function ipv6Text(bytes: Buffer): string {
  const groups = Array.from({ length: 8 }, (_, index) => bytes.readUInt16BE(2 * index).toString(16));
  const text = `:${groups.join(':')}:`;
  const runs = [...text.matchAll(/(?<=:)(?:0:){2,}/g)].sort((a, b) => b[0].length - a[0].length);
  const run = runs[0];
  if (run === undefined) return text.slice(1, -1);
  return `${text.slice(1, run.index) || ':'}:${text.slice(run.index + run[0].length, -1)}`;
}

// -------------------------------------------------------------------------------------------------------------- parts

function plain(version: 1 | 2, command: ProxyHeader['command'], transport: ProxyHeader['transport']): ProxyHeader {
  return {
    ...{ version, command, transport, source: undefined, destination: undefined },
    ...{ tlvs: [], authority: undefined, uniqueId: undefined },
  };
}

function bad(message: string): BadHeader {
  return { reason: 'PROXY_HEADER_BAD', message };
}

function hex(bytes: Buffer): string {
  return bytes.toString('hex', 0, 16);
}

function copyOf(bytes: Buffer | undefined): Buffer | undefined {
  return bytes === undefined ? undefined : Buffer.from(bytes);
}
