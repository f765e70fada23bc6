/**
 * Node's `net.BoundSocket`: an address that is taken now and used later, by a server (`listen`) or a client (`connect`).
 * Here on every line of Node.
 *
 * In: an address of ours. Out: the bound descriptor, given once to whoever adopts it (`kTake`).
 *
 * @see https://nodejs.org/api/net.html#class-netboundsocket
 */
import { isIP } from 'node:net';
import { AF, ERRNO } from '../engine/abi.ts';
import { decodeIp, encodeIp, encodePath, type IpAddress, SOCKADDR_BYTES } from '../engine/address.ts';
import { Connection } from '../engine/connection.ts';
import { choice } from '../engine/engine.ts';
import { removePath } from '../engine/open-listener.ts';
import { setReuseAddress, setReusePort, setV6Only } from '../engine/socket-options.ts';
import type { Turn } from '../engine/turn.ts';
import { errnoException, hostPortException, invalidArgValue, socketHandleAdopted } from './errors.ts';
import { validateBoolean, validateObject, validatePort, validateString } from './validate.ts';

const turn = choice.turn as Turn;
const EACCES = 13;

export interface BoundSocketOptions {
  /** A numeric address: nothing is looked up. Default `'0.0.0.0'`, or `'::'` with `ipv6Only`. */
  host?: string | null;
  /** Default 0: a free one. */
  port?: number | string | null;
  ipv6Only?: boolean;
  reusePort?: boolean;
  /** A unix socket instead; excludes the others. */
  path?: string;
}

/** What was bound; the descriptor belongs to the caller. */
export interface Bound {
  fd: number;
  path: string | undefined;
}

/** Gives the descriptor away. @throws {ERR_SOCKET_HANDLE_ADOPTED} the second time, and after `close()` */
export const kTake: unique symbol = Symbol('take');

export class BoundSocket {
  #fd: number;
  readonly #path: string | undefined;
  readonly #address: IpAddress | undefined;

  /**
   * Binds at once.
   * @throws {ERR_INVALID_ARG_TYPE}, {ERR_INVALID_ARG_VALUE}, {ERR_SOCKET_BAD_PORT} and the errors of bind(2)
   */
  constructor(options: BoundSocketOptions = {}) {
    validateObject(options, 'options');
    if (options.path !== undefined) {
      this.#path = checkedPath(options);
      this.#fd = bindPath(this.#path);
    } else {
      this.#fd = bindIp(options);
      this.#address = nameOf(this.#fd);
    }
  }

  /** Where it is bound: as `server.address()` says it. */
  address(): IpAddress | string {
    this.#checkIsOurs();
    return this.#path ?? (this.#address as IpAddress);
  }

  /** The descriptor, which stays the BoundSocket's: it must not be closed. */
  fd(): number {
    this.#checkIsOurs();
    return this.#fd;
  }

  /** Whether it is a unix socket. */
  get isPipe(): boolean {
    return this.#path !== undefined;
  }

  /** Gives the address up: only for one that nobody adopted. */
  close(): void {
    this.#checkIsOurs();
    turn.ring.native.closeDescriptor(this.#fd);
    this.#fd = -1;
    if (this.#path !== undefined) removePath(this.#path);
  }

  /** `using`: closes it if nobody has adopted or closed it. */
  [Symbol.dispose](): void {
    if (this.#fd >= 0) this.close();
  }

  /** @internal */
  [kTake](): Bound {
    this.#checkIsOurs();
    const bound = { fd: this.#fd, path: this.#path };
    this.#fd = -1;
    return bound;
  }

  #checkIsOurs(): void {
    if (this.#fd < 0) throw socketHandleAdopted();
  }
}

function checkedPath(options: BoundSocketOptions): string {
  const { path, host, port, ipv6Only, reusePort } = options;
  if (host !== undefined || port !== undefined || ipv6Only !== undefined || reusePort !== undefined)
    throw invalidArgValue('options', options, 'path is mutually exclusive with host, port, ipv6Only, and reusePort');
  validateString(path, 'options.path');
  return path;
}

function bindPath(path: string): number {
  const { native } = turn.ring;
  const sockaddr = encodePath(path);
  if (sockaddr === undefined) throw errnoException(ERRNO.EINVAL, 'bind');
  const fd = Connection.socket(turn, AF.UNIX);
  if (fd < 0) throw errnoException(-fd, 'bind');
  const result = native.bind(fd, sockaddr);
  if (result === 0) return fd;
  native.closeDescriptor(fd);
  throw errnoException(result === -ERRNO.ENOENT ? EACCES : -result, 'bind'); // as libuv, so that it is the same everywhere
}

function bindIp(options: BoundSocketOptions): number {
  const { native } = turn.ring;
  const port = validatePort(options.port ?? 0, 'options.port');
  const ipv6Only = options.ipv6Only ?? false;
  validateBoolean(ipv6Only, 'options.ipv6Only');
  const reusePort = options.reusePort ?? false;
  validateBoolean(reusePort, 'options.reusePort');
  const host = options.host ?? (ipv6Only ? '::' : '0.0.0.0');
  validateString(host, 'options.host');
  const family = isIP(host) as 0 | 4 | 6;
  if (family === 0)
    throw invalidArgValue(
      'options.host',
      host,
      'must be a numeric IP address; net.BoundSocket does not perform DNS resolution',
    );
  const fd = Connection.socket(turn, family === 6 ? AF.INET6 : AF.INET);
  if (fd < 0) throw hostPortException(-fd, 'bind', host, port);
  setReuseAddress(native, fd);
  let result = reusePort ? setReusePort(native, fd) : 0;
  if (result === 0 && family === 6) result = setV6Only(native, fd, ipv6Only);
  if (result === 0) result = native.bind(fd, encodeIp(host, port, family) as Uint8Array);
  if (result === 0) return fd;
  native.closeDescriptor(fd);
  throw hostPortException(-result, 'bind', host, port);
}

function nameOf(fd: number): IpAddress {
  const out = Buffer.alloc(SOCKADDR_BYTES);
  const length = turn.ring.native.name(fd, false, out);
  return decodeIp(out.subarray(0, length)) as IpAddress;
}
