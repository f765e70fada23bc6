/**
 * A listening socket: opening one for a place, and `server._handle`, which makes a handle of each accepted descriptor.
 *
 * In: where to listen, from server.ts. Out: `server._accept(handle)`.
 */
import { AsyncResource } from 'node:async_hooks';
import { AF, ERRNO } from '../engine/abi.ts';
import { Connection } from '../engine/connection.ts';
import { choice } from '../engine/engine.ts';
import { Listener } from '../engine/listener.ts';
import type { Turn } from '../engine/turn.ts';
import { decodeIp, encodeIp, encodePath, type IpAddress, SOCKADDR_BYTES } from './address.ts';
import { errnoException } from './errors.ts';
import { familyOf, type Handle, newHandle } from './handle.ts';
import type { ServerClass } from './server.ts';
import { setReuseAddress, setReusePort, setV6Only } from './socket-options.ts';

const turn = choice.turn as Turn;

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

/** A listening descriptor; `isShared` if it may be somebody else's, too. */
export interface Opened {
  fd: number;
  isUnix: boolean;
  isShared: boolean;
  place: Place;
}

const EADDRINUSE = 98;
const EACCES = 13;
const MOST_DESCRIPTORS = 2 ** 31 - 1;
const UNSPECIFIED = { 4: '0.0.0.0', 6: '::' } as const;

/** A listening socket of our own: `server._handle`. */
export class ServerHandle extends Listener {
  /** Whose connections these are: another server may take the handle over. */
  server: ServerClass;
  readonly #context: AsyncResource;
  #hasWarned = false;

  constructor(owner: Turn, fd: number, isUnix: boolean, server: ServerClass, isShared = false) {
    super(owner, fd, isUnix, isShared);
    this.server = server;
    this.#context = new AsyncResource(isUnix ? 'PIPESERVERWRAP' : 'TCPSERVERWRAP', { requireManualDestroy: true });
  }

  /** What Node's handle calls for a connection; monitors and tests put themselves in between. `errno` is 0. */
  onconnection = (_errno: number, handle: Handle): void => this.server._accept(handle);

  /** listen(2), which may be called again. @returns 0 or `-errno` */
  listen(backlog: number): number {
    return turn.ring.native.listen(this.fd, backlog);
  }

  /** The socket's own context is that of no listener, as in Node; 'connection' is emitted in that of `listen`. */
  override onAccept(fd: number): void {
    const handle = newHandle(this.turn, fd, this.isUnix, false, this.#context.asyncId());
    this.#context.runInAsyncScope(this.onconnection, this, 0, handle);
  }

  override onAcceptError(errno: number): void {
    this.#context.runInAsyncScope(() => this.server.emit('error', errnoException(errno, 'accept')));
  }

  override onBackOff(errno: number, delayMs: number): void {
    if (this.#hasWarned) return;
    this.#hasWarned = true;
    const { code } = errnoException(errno, 'accept');
    process.emitWarning(`accept: ${code}, connections wait in the backlog; next attempt in ${delayMs} ms`, {
      type: 'MillraceWarning',
      code: 'MILLRACE_WARN_ACCEPT',
    });
  }

  override onClosed(): void {
    this.#context.emitDestroy();
  }

  address(): IpAddress | null {
    const out: Partial<IpAddress> = {};
    const result = this.getsockname(out);
    if (result < 0) throw errnoException(-result, 'address');
    return out.address === undefined ? null : (out as IpAddress);
  }

  getsockname(out: Partial<IpAddress>): number {
    const bytes = Buffer.alloc(SOCKADDR_BYTES);
    const length = turn.ring.native.name(this.fd, false, bytes);
    if (length < 0) return length;
    const ip = decodeIp(bytes.subarray(0, length));
    if (ip !== undefined) Object.assign(out, { address: ip.address, family: ip.family, port: ip.port });
    return 0;
  }
}

/** Opens, binds and listens. Without an address: every address of both families, or of IPv4 where there is no IPv6. */
export function openListener(place: Place, backlog: number): Opened | number {
  if (place.fd !== undefined) return adoptListener(place, place.fd, backlog);
  if (place.address === null) {
    const both = bindAndListen({ ...place, address: UNSPECIFIED[6], family: 6 }, backlog);
    if (typeof both === 'object') return both;
    // As in Node: a bind(2) that fails says "no IPv6", a listen(2) that fails (somebody else listens) is final.
    place.address = both === -EADDRINUSE ? UNSPECIFIED[6] : UNSPECIFIED[4];
    if (both === -EADDRINUSE) return both;
  }
  return bindAndListen(place, backlog);
}

function bindAndListen(place: Place, backlog: number): Opened | number {
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
  if (result === 0) return { fd, isUnix, isShared: false, place };
  native.closeDescriptor(fd);
  return result;
}

/** `listen({ fd })`: somebody else opened it, and others may have it, too. */
function adoptListener(place: Place, fd: number, backlog: number): Opened | number {
  const { native } = turn.ring;
  if (!Number.isInteger(fd) || fd > MOST_DESCRIPTORS) return -ERRNO.EINVAL;
  const family = familyOf(native, fd);
  if (family < 0) return -ERRNO.EINVAL;
  if (turn.slots.has(fd)) return -ERRNO.EEXIST; // what libuv says, whose epoll knows it already
  const result = native.listen(fd, backlog);
  if (result < 0) return result;
  native.setBlocking(fd, false);
  return { fd, isUnix: family === AF.UNIX, isShared: true, place };
}
