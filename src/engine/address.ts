/**
 * Socket addresses between text and the kernel's sockaddr bytes (ip(7), ipv6(7), unix(7)).
 *
 * ```
 *  sockaddr_in   family (2, host order) | port (2, network order) | address (4) | zero (8)
 *  sockaddr_in6  family (2) | port (2) | flow info (4) | address (16) | scope id (4, host order)
 *  sockaddr_un   family (2) | path, zero-terminated; an abstract name begins with a zero byte
 * ```
 */
import { isIPv4, isIPv6 } from 'node:net';
import { AF } from './abi.ts';
import { builtins } from './builtins.ts';

/** Bytes that hold any address. */
export const SOCKADDR_BYTES = 128;
/** sizeof(sockaddr_un.sun_path); a path that fills it needs no terminating zero. */
export const MOST_PATH_BYTES = 108;

export interface IpAddress {
  address: string;
  family: 'IPv4' | 'IPv6';
  port: number;
}

/** @returns the sockaddr, or `undefined` if `ip` is no address of this family */
export function encodeIp(ip: string, port: number, family: 4 | 6): Uint8Array | undefined {
  return family === 6 ? encodeIpv6(ip, port) : encodeIpv4(ip, port);
}

function encodeIpv4(ip: string, port: number): Uint8Array | undefined {
  if (!isIPv4(ip)) return undefined;
  const out = Buffer.alloc(16);
  out.writeUInt16LE(AF.INET, 0);
  out.writeUInt16BE(port, 2);
  writeIpv4(ip, out, 4);
  return out;
}

function writeIpv4(ip: string, out: Buffer, at: number): void {
  for (const part of ip.split('.')) out[at++] = Number(part);
}

function encodeIpv6(ip: string, port: number): Uint8Array | undefined {
  if (!isIPv6(ip)) return undefined;
  const [text, zone] = ip.split('%') as [string, string | undefined];
  const out = Buffer.alloc(28);
  out.writeUInt16LE(AF.INET6, 0);
  out.writeUInt16BE(port, 2);
  writeIpv6(text, out, 8);
  if (zone !== undefined) out.writeUInt32LE(scopeId(zone), 24);
  return out;
}

/** RFC 4291 section 2.2, for text that is known to be valid. */
function writeIpv6(text: string, out: Buffer, at: number): void {
  const [head, tail] = text.split('::') as [string, string | undefined];
  const first = groups(head);
  const last = tail === undefined ? [] : groups(tail);
  const zeros = 8 - first.length - last.length;
  for (const group of [...first, ...new Array<number>(zeros).fill(0), ...last]) {
    out.writeUInt16BE(group, at);
    at += 2;
  }
}

function groups(text: string): number[] {
  if (text === '') return [];
  return text.split(':').flatMap((part) => {
    if (!part.includes('.')) return [Number.parseInt(part, 16)];
    const bytes = Buffer.alloc(4);
    writeIpv4(part, bytes, 0);
    return [bytes.readUInt16BE(0), bytes.readUInt16BE(2)];
  });
}

/** An interface's index by name or number (RFC 4007 section 11.2); 0 if there is no such interface. */
function scopeId(zone: string): number {
  if (/^\d+$/.test(zone)) return Number(zone);
  return builtins.os.networkInterfaces()[zone]?.find((info) => info.family === 'IPv6')?.scopeid ?? 0;
}

function scopeName(id: number): string {
  for (const [name, infos] of Object.entries(builtins.os.networkInterfaces()))
    if (infos?.some((info) => info.family === 'IPv6' && info.scopeid === id)) return name;
  return String(id);
}

/** @returns the sockaddr, or `undefined` if the path is too long or has a zero byte, where the kernel would cut it (unix(7)) */
export function encodePath(path: string): Uint8Array | undefined {
  const bytes = Buffer.from(path);
  if (bytes.length > MOST_PATH_BYTES) return undefined;
  const isAbstract = bytes[0] === 0;
  if (!isAbstract && bytes.includes(0)) return undefined;
  const out = Buffer.alloc(2 + (isAbstract ? bytes.length : Math.min(bytes.length + 1, MOST_PATH_BYTES)));
  out.writeUInt16LE(AF.UNIX, 0);
  bytes.copy(out, 2);
  return out;
}

/** @returns the address in a sockaddr of the internet families, or `undefined` for others */
export function decodeIp(sockaddr: Buffer): IpAddress | undefined {
  if (sockaddr.length < 2) return undefined;
  const family = sockaddr.readUInt16LE(0);
  if (family === AF.INET) return { address: formatIpv4(sockaddr, 4), family: 'IPv4', port: sockaddr.readUInt16BE(2) };
  if (family !== AF.INET6) return undefined;
  let address = formatIpv6(sockaddr.subarray(8, 24));
  const scope = sockaddr.readUInt32LE(24);
  if (scope !== 0) address += `%${scopeName(scope)}`;
  return { address, family: 'IPv6', port: sockaddr.readUInt16BE(2) };
}

/** @returns the path of a unix socket, '' if it has none: the other half of `encodePath` */
export function decodePath(sockaddr: Buffer): string {
  if (sockaddr.length < 3) return '';
  const end = sockaddr[2] === 0 ? -1 : sockaddr.indexOf(0, 2);
  return sockaddr.toString('utf8', 2, end < 0 ? sockaddr.length : end);
}

function formatIpv4(bytes: Buffer, at: number): string {
  return `${bytes[at]}.${bytes[at + 1]}.${bytes[at + 2]}.${bytes[at + 3]}`;
}

/** As inet_ntop(3): lower case, the longest run of two or more zero groups shortened, mapped IPv4 in dots. */
function formatIpv6(bytes: Buffer): string {
  const parts: number[] = [];
  for (let at = 0; at < 16; at += 2) parts.push(bytes.readUInt16BE(at));
  const run = longestZeroRun(parts);
  const isMapped = run.start === 0 && (run.length === 6 || (run.length === 5 && parts[5] === 0xffff));
  const text = (from: number, to: number) =>
    isMapped && to === 8
      ? [...parts.slice(from, 6).map((part) => part.toString(16)), formatIpv4(bytes, 12)].join(':')
      : parts
          .slice(from, to)
          .map((part) => part.toString(16))
          .join(':');
  if (run.length < 2) return text(0, 8);
  return `${text(0, run.start)}::${text(run.start + run.length, 8)}`;
}

function longestZeroRun(parts: number[]): { start: number; length: number } {
  let best = { start: 0, length: 0 };
  for (let start = 0; start < 8; start++) {
    let length = 0;
    while (start + length < 8 && parts[start + length] === 0) length++;
    if (length > best.length) best = { start, length };
  }
  return best;
}
