/** Socket options by setsockopt(2): tcp(7), socket(7), ip(7), ipv6(7). Each returns 0 or `-errno`. */
import { ERRNO } from './abi.ts';
import { SOCKADDR_BYTES } from './address.ts';
import type { Native } from './native.ts';

const SOL_SOCKET = 1;
const SO_REUSEADDR = 2;
const SO_TYPE = 3;
const SO_ERROR = 4;
const SO_KEEPALIVE = 9;
const SO_LINGER = 13;
const SO_REUSEPORT = 15;
const IPPROTO_TCP = 6;
const TCP_NODELAY = 1;
const TCP_KEEPIDLE = 4;
const TCP_KEEPINTVL = 5;
const TCP_KEEPCNT = 6;
const TCP_USER_TIMEOUT = 18;
const IPPROTO_IP = 0;
const IP_TOS = 1;
const IPPROTO_IPV6 = 41;
const IPV6_TCLASS = 67;
const IPV6_V6ONLY = 26;

const value = new Int32Array(2);
const one = new Uint8Array(value.buffer, 0, 4);
const two = new Uint8Array(value.buffer, 0, 8);

function setInt(native: Native, fd: number, level: number, name: number, to: number): number {
  value[0] = to;
  return native.setOption(fd, level, name, one);
}

/** @returns the value, or `-errno` */
function getInt(native: Native, fd: number, level: number, name: number): number {
  value[0] = 0;
  const result = native.getOption(fd, level, name, one);
  return result < 0 ? result : (value[0] as number);
}

export const setNoDelay = (native: Native, fd: number, on: boolean): number =>
  setInt(native, fd, IPPROTO_TCP, TCP_NODELAY, on ? 1 : 0);

/** What libuv and Node use unless told otherwise. */
const KEEP_ALIVE_INTERVAL_SECONDS = 1;
const KEEP_ALIVE_PROBES = 10;

/**
 * Probes of an idle connection, as libuv sets them: in this order, up to the first value that the kernel refuses.
 * @param delaySeconds idle time before the first probe; 0 leaves all three values the system's
 * @param intervalSeconds between two probes; what is no unsigned integer means Node's default
 * @param count probes without an answer until the connection is lost; likewise
 */
export function setKeepAlive(
  native: Native,
  fd: number,
  on: boolean,
  delaySeconds: number,
  intervalSeconds?: number,
  count?: number,
): number {
  const interval = isUint32(intervalSeconds) ? intervalSeconds : KEEP_ALIVE_INTERVAL_SECONDS;
  const probes = isUint32(count) ? count : KEEP_ALIVE_PROBES;
  const result = setInt(native, fd, SOL_SOCKET, SO_KEEPALIVE, on ? 1 : 0);
  if (result < 0 || !on) return result;
  if (delaySeconds <= 0 || interval === 0 || probes === 0) return -ERRNO.EINVAL;
  return (
    setInt(native, fd, IPPROTO_TCP, TCP_KEEPIDLE, delaySeconds) ||
    setInt(native, fd, IPPROTO_TCP, TCP_KEEPINTVL, interval) ||
    setInt(native, fd, IPPROTO_TCP, TCP_KEEPCNT, probes)
  );
}

const isUint32 = (value: unknown): value is number => typeof value === 'number' && value === value >>> 0;

/**
 * How long sent bytes may stay unacknowledged before the kernel gives the connection up: tcp(7) TCP_USER_TIMEOUT.
 * @param ms 0 is the system's default
 */
export const setUserTimeout = (native: Native, fd: number, ms: number): number =>
  setInt(native, fd, IPPROTO_TCP, TCP_USER_TIMEOUT, ms);
export const getNoDelay = (native: Native, fd: number): boolean => getInt(native, fd, IPPROTO_TCP, TCP_NODELAY) > 0;

/** @returns the idle time in seconds, or `undefined` if it is off */
export const getKeepAlive = (native: Native, fd: number): number | undefined =>
  getInt(native, fd, SOL_SOCKET, SO_KEEPALIVE) > 0 ? getInt(native, fd, IPPROTO_TCP, TCP_KEEPIDLE) : undefined;

/** The type-of-service byte: ip(7) IP_TOS, ipv6(7) IPV6_TCLASS. */
export const setTypeOfService = (native: Native, fd: number, isIpv6: boolean, tos: number): number =>
  setInt(native, fd, isIpv6 ? IPPROTO_IPV6 : IPPROTO_IP, isIpv6 ? IPV6_TCLASS : IP_TOS, tos);

/** @returns the byte, or `-errno` */
export function getTypeOfService(native: Native, fd: number, isIpv6: boolean): number {
  return getInt(native, fd, isIpv6 ? IPPROTO_IPV6 : IPPROTO_IP, isIpv6 ? IPV6_TCLASS : IP_TOS);
}

/** SOCK_STREAM or another, or `-errno`. */
export function getSocketType(native: Native, fd: number): number {
  const result = native.getOption(fd, SOL_SOCKET, SO_TYPE, one);
  return result < 0 ? result : (value[0] as number);
}

/** The error that waits to be told, which is then taken: a positive errno, 0 for none; or `-errno`. */
export const takeError = (native: Native, fd: number): number => getInt(native, fd, SOL_SOCKET, SO_ERROR);

const sockaddr = Buffer.alloc(SOCKADDR_BYTES);

/** The address family of an open socket: AF.UNIX, AF.INET, AF.INET6 or `-errno`. */
export function familyOf(native: Native, fd: number): number {
  const length = native.name(fd, false, sockaddr);
  return length < 0 ? length : sockaddr.readUInt16LE(0);
}

/** close(2) then sends RST instead of FIN and drops what was not sent (socket(7), SO_LINGER with a time of 0). */
export function setReset(native: Native, fd: number): number {
  value[0] = 1;
  value[1] = 0;
  return native.setOption(fd, SOL_SOCKET, SO_LINGER, two);
}

export const setReuseAddress = (native: Native, fd: number): number => setInt(native, fd, SOL_SOCKET, SO_REUSEADDR, 1);

export const setReusePort = (native: Native, fd: number): number => setInt(native, fd, SOL_SOCKET, SO_REUSEPORT, 1);

export const setV6Only = (native: Native, fd: number, on: boolean): number =>
  setInt(native, fd, IPPROTO_IPV6, IPV6_V6ONLY, on ? 1 : 0);
