/**
 * Opening a listening socket for a place: an address and a port, the path of a unix socket, or a descriptor that somebody
 * else opened. Out: a descriptor for a `Listener`.
 */
import { AF, ERRNO } from './abi.ts';
import { encodeIp, encodePath } from './address.ts';
import { builtins } from './builtins.ts';
import { Connection } from './connection.ts';
import { askSource, type Inlet, type Offer } from './listener-source.ts';
import { familyOf, setReuseAddress, setReusePort, setV6Only } from './socket-options.ts';
import { errnoException } from './system-errors.ts';
import type { Turn } from './turn.ts';

/** Where a server listens. */
export interface Place {
  address: string | null;
  port: number | undefined;
  /** -1 is a unix socket. */
  family: 4 | 6 | -1;
  fd: number | undefined;
  ipv6Only: boolean;
  reusePort: boolean;
}

/** A listening descriptor, or an inlet; `isShared` if it may be somebody else's, too. */
export interface Opened {
  fd: number;
  isUnix: boolean;
  isShared: boolean;
  /** The path of a unix socket is somebody else's to remove. */
  keepsPath: boolean;
  inlet: Inlet | null;
  place: Place;
}

const EADDRINUSE = 98;
const EACCES = 13;
const MOST_DESCRIPTORS = 2 ** 31 - 1;
const UNSPECIFIED = { 4: '0.0.0.0', 6: '::' } as const;

/** What somebody else gives in place of a socket of our own; `undefined`: nobody does. */
type Given = Opened | number | undefined;

/**
 * What the source of this thread gives for a place: see listener-source.ts. `-errno` if it says so.
 * @param isExclusive not to be shared with the other workers of a group
 */
export function givenListener(turn: Turn, place: Place, backlog: number, isExclusive = false): Given | Promise<Given> {
  const offer = askSource(place, backlog, isExclusive);
  if (offer === undefined || typeof offer === 'number') return offer;
  if (offer instanceof Promise) return offer.then((answer) => accepted(turn, place, answer));
  return accepted(turn, place, offer);
}

function accepted(turn: Turn, place: Place, offer: Offer | number | undefined): Given {
  if (offer === undefined || typeof offer === 'number') return offer;
  if ('inlet' in offer) {
    const isUnix = Buffer.from(offer.inlet.sockaddr).readUInt16LE(0) === AF.UNIX;
    return { fd: -1, isUnix, isShared: false, keepsPath: true, inlet: offer.inlet, place };
  }
  const { fd, isShared, keepsPath } = offer;
  const { native, kind } = turn.ring;
  native.setBlocking(fd, !isShared && kind === 'io_uring');
  return { fd, isUnix: familyOf(native, fd) === AF.UNIX, isShared, keepsPath, inlet: null, place };
}

/**
 * Opens, binds and listens. Without an address: every address of both families, or of IPv4 where there is no IPv6;
 * `place.address` is then what was tried last.
 * @returns what was opened, or `-errno`
 */
export function openListener(turn: Turn, place: Place, backlog: number): Opened | number {
  if (place.fd !== undefined) return adoptListener(turn, place, place.fd, backlog);
  if (place.address === null) {
    const both = bindAndListen(turn, { ...place, address: UNSPECIFIED[6], family: 6 }, backlog);
    if (typeof both === 'object') return both;
    // As in Node: a bind(2) that fails says "no IPv6", a listen(2) that fails (somebody else listens) is final.
    place.address = both === -EADDRINUSE ? UNSPECIFIED[6] : UNSPECIFIED[4];
    if (both === -EADDRINUSE) return both;
  }
  return bindAndListen(turn, place, backlog);
}

function bindAndListen(turn: Turn, place: Place, backlog: number): Opened | number {
  const { native } = turn.ring;
  const isUnix = place.family === -1;
  const address = place.address as string;
  const sockaddr = isUnix ? encodePath(address) : encodeIp(address, place.port ?? 0, place.family as 4 | 6);
  if (sockaddr === undefined) return -ERRNO.EINVAL;
  const fd = Connection.socket(turn, isUnix ? AF.UNIX : place.family === 6 ? AF.INET6 : AF.INET);
  if (fd < 0) return fd;
  let result = 0;
  if (!isUnix) {
    setReuseAddress(native, fd);
    if (place.reusePort) result = setReusePort(native, fd);
    if (result === 0 && place.family === 6) result = setV6Only(native, fd, place.ipv6Only);
  }
  if (result === 0) result = native.bind(fd, sockaddr);
  if (isUnix && result === -ERRNO.ENOENT) result = -EACCES; // as libuv, so that it is the same everywhere
  if (result === 0) result = native.listen(fd, backlog);
  if (result === 0) return { fd, isUnix, isShared: false, keepsPath: false, inlet: null, place };
  native.closeDescriptor(fd);
  return result;
}

/** What was given after all to somebody who does not want it any more. */
export function discardOpened(turn: Turn, { fd, inlet }: Opened): void {
  if (inlet === null) turn.ring.native.closeDescriptor(fd);
  else inlet.stop();
}

/** `listen({ fd })`: somebody else opened it, and others may have it, too. */
function adoptListener(turn: Turn, place: Place, fd: number, backlog: number): Opened | number {
  const { native } = turn.ring;
  if (!Number.isInteger(fd) || fd > MOST_DESCRIPTORS) return -ERRNO.EINVAL;
  const family = familyOf(native, fd);
  if (family < 0) return -ERRNO.EINVAL;
  if (turn.slots.has(fd)) return -ERRNO.EEXIST; // what libuv says, whose epoll knows it already
  const result = native.listen(fd, backlog);
  if (result < 0) return result;
  native.setBlocking(fd, false);
  return { fd, isUnix: family === AF.UNIX, isShared: true, keepsPath: true, inlet: null, place };
}

/** unix(7): the path stays when the socket is closed; an abstract one has none. */
export function removePath(path: string): void {
  if (path.startsWith('\0')) return;
  try {
    builtins.fs.unlinkSync(path);
  } catch {
    // somebody else removed it
  }
}

/** Tells the process that no connection can be accepted at the moment: once a listener is often enough. */
export function warnOfBackOff(errno: number, delayMs: number): void {
  const { code } = errnoException(errno, 'accept');
  process.emitWarning(`accept: ${code}, connections wait in the backlog; next attempt in ${delayMs} ms`, {
    type: 'MillraceWarning',
    code: 'MILLRACE_WARN_ACCEPT',
  });
}
