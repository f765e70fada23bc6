/**
 * One attempt to connect: a socket that is opened, bound if asked to, and connected to one address. Where there is only
 * one address, that is all there is to connecting; attempts.ts and race.ts make several.
 *
 * In: a route, or the path of a unix socket. Out: the socket's `[kAdopt](handle)`, or its `destroy(error)`.
 */
import type { BlockList } from 'node:net';
import { AF, ERRNO } from '../engine/abi.ts';
import { encodeIp, encodePath, type IpAddress } from '../engine/address.ts';
import { Connection } from '../engine/connection.ts';
import { choice } from '../engine/engine.ts';
import { setReuseAddress } from '../engine/socket-options.ts';
import type { Target } from '../engine/targets.ts';
import type { Turn } from '../engine/turn.ts';
import { connectAgain, standingHandle } from './connect-again.ts';
import { isTraced, trace } from './debug.ts';
import { hostPortException, ipBlocked } from './errors.ts';
import { type Handle, newHandle } from './handle.ts';
import type { Socket } from './socket.ts';
import { kAdopt, kBound, kRace } from './symbols.ts';

const turn = choice.turn as Turn;

/** Where an attempt goes from and to. */
export interface Route extends Target {
  port: number;
  localAddress?: string | undefined;
  localPort?: number | undefined;
}

const UNSPECIFIED = { 4: '0.0.0.0', 6: '::' } as const;

/** No listener can stand yet when createConnection fails at once. */
export function failLater(socket: Socket, error: Error): void {
  process.nextTick(() => socket.destroy(error));
}

/** The socket's handle from now on. One of an attempt before, or of a connection before, is given up. */
export function takeHandle(socket: Socket, handle: Handle): void {
  socket[kRace]?.close();
  const before = socket._handle;
  if (before !== null && before !== handle) {
    if (!before.hasRef()) handle.unref();
    before.socket = null;
    before.onConnected = null;
    before.close();
  }
  socket._handle = handle;
  handle.socket = socket;
}

/** The handle that connect() made is the first attempt's, unless there is a race; others have one of their own. */
function handleFor(socket: Socket, fd: number, isUnix: boolean): Handle {
  const first = socket._handle;
  const isFree = first !== null && first.fd < 0 && !first.isClosing && first.isUnix === isUnix;
  if (!isFree || socket[kRace] !== null) return newHandle(turn, fd, isUnix);
  first.open(fd);
  return first;
}

/** The handle of a BoundSocket, which is used now. */
function boundHandle(socket: Socket): Handle | null {
  if (socket[kBound] === null) return null;
  socket[kBound].isUsed = true;
  return socket._handle;
}

/** Opens a socket for a route, and says in it from where. @returns the handle, or the error of binding it */
export function openHandle(socket: Socket, route: Route): Handle | NodeJS.ErrnoException {
  const bound = boundHandle(socket);
  if (bound !== null) return bound;
  const fd = Connection.socket(turn, route.family === 6 ? AF.INET6 : AF.INET);
  if (fd < 0) return hostPortException(-fd, 'connect', route.ip, route.port, 'undefined:undefined'); // as Node says it
  const handle = handleFor(socket, fd, false);
  const { localPort } = route;
  const localAddress = route.localAddress || (localPort ? UNSPECIFIED[route.family] : undefined);
  if (localAddress === undefined) return handle;
  route.localAddress = localAddress;
  const result = bind(fd, localAddress, localPort || 0, route.family);
  if (result === 0) return handle;
  handle.close();
  return hostPortException(-result, 'bind', localAddress, localPort);
}

/** @returns 0 or `-errno` */
function bind(fd: number, address: string, port: number, family: 4 | 6): number {
  const sockaddr = encodeIp(address, port & 0xffff, family);
  if (sockaddr === undefined) return -ERRNO.EINVAL;
  setReuseAddress(turn.ring.native, fd); // or the port is nobody's for a minute after this connection
  const result = turn.ring.native.bind(fd, sockaddr);
  // As Node, which binds the low 16 bits of a number and finds that it got another port.
  return result === 0 && port > 0 && port !== (port & 0xffff) ? -ERRNO.EADDRINUSE : result;
}

/** Connects an opened handle; `onConnected` is called once, maybe at once, with the error if there is one. */
export function connectHandle(
  handle: Handle,
  route: Route,
  onConnected: (error: NodeJS.ErrnoException | undefined, isLate: boolean) => void,
): void {
  if (isTraced) trace('fd %d: connect to %s:%d', handle.fd, route.ip, route.port);
  const sockaddr = encodeIp(route.ip, route.port, route.family);
  if (sockaddr === undefined) {
    // A lookup that says IPv4 of an IPv6 address; Node tells it in the call.
    onConnected(hostPortException(ERRNO.EINVAL, 'connect', route.ip, route.port, 'undefined:undefined'), false);
    return;
  }
  handle.onConnected = (errno) => {
    handle.onConnected = null;
    if (errno === 0) onConnected(undefined, true);
    else onConnected(connectError(errno, handle, route), LATE_ERRNOS.has(errno));
  };
  handle.connect(sockaddr);
}

/** @returns the error if the socket's block list has the address */
export function blockedError(socket: Socket, { ip, family }: Target): NodeJS.ErrnoException | undefined {
  const blockList = (socket as { blockList?: BlockList }).blockList;
  return blockList?.check(ip, family === 6 ? 'ipv6' : 'ipv4') ? ipBlocked(ip) : undefined;
}

/**
 * What connect(2) refuses at once (all but these) is told by libuv in the call itself, and Node's message then has the
 * local address.
 */
const LATE_ERRNOS: ReadonlySet<number> = new Set([
  ERRNO.ECONNREFUSED,
  ERRNO.ETIMEDOUT,
  ERRNO.EHOSTUNREACH,
  ERRNO.ECONNRESET,
  ERRNO.ECONNABORTED,
]);

function connectError(errno: number, handle: Handle, route: Route): NodeJS.ErrnoException {
  if (LATE_ERRNOS.has(errno)) return lateError(errno, route);
  const local: Partial<IpAddress> = {};
  handle.getsockname(local);
  return hostPortException(errno, 'connect', route.ip, route.port, `${local.address}:${local.port}`);
}

export function lateError(errno: number, route: Route): NodeJS.ErrnoException {
  const { ip, port, localAddress, localPort } = route;
  if (!localAddress || !localPort) return hostPortException(errno, 'connect', ip, port);
  const error = hostPortException(errno, 'connect', ip, port, `${localAddress}:${localPort}`);
  return Object.assign(error, { localAddress, localPort });
}

/** Connects to the only address there is. */
export function connectOnce(socket: Socket, route: Route): void {
  const standing = standingHandle(socket);
  const handle = standing ?? openHandle(socket, route);
  if (handle instanceof Error) {
    socket.destroy(handle);
    return;
  }
  takeHandle(socket, handle);
  socket.emit('connectionAttempt', route.ip, route.port, route.family);
  if (!socket.connecting) return;
  const blocked = blockedError(socket, route);
  if (blocked !== undefined) {
    socket.destroy(blocked);
    return;
  }
  if (standing !== null) {
    connectAgain(socket, standing, route.ip, route.port, route.family);
    return;
  }
  connectHandle(handle, route, (error, isLate) => {
    if (error === undefined) {
      socket[kAdopt](handle);
      return;
    }
    // Node tells of an attempt that fails later, not of one that is refused in the call.
    if (isLate) socket.emit('connectionAttemptFailed', route.ip, route.port, route.family, error);
    socket.destroy(error);
  });
  // The kernel chooses what a BoundSocket left open (its address may be 0.0.0.0) now, and connect() has it known.
  if (socket[kBound] !== null) turn.ring.enter();
}

/** Connects to a unix socket. */
export function connectPath(socket: Socket, path: string): void {
  const standing = standingHandle(socket);
  if (standing !== null) {
    socket.emit('connectionAttempt', path, undefined, undefined);
    if (socket.connecting) connectAgain(socket, standing, path, undefined, undefined);
    return;
  }
  const handle = boundHandle(socket) ?? openUnixHandle(socket);
  if (typeof handle === 'number') {
    failLater(socket, hostPortException(-handle, 'connect', path, undefined));
    return;
  }
  takeHandle(socket, handle);
  if (isTraced) trace('fd %d: connect to %s', handle.fd, path);
  socket.emit('connectionAttempt', path, undefined, undefined);
  const sockaddr = encodePath(path);
  if (sockaddr === undefined) {
    failLater(socket, hostPortException(ERRNO.EINVAL, 'connect', path, undefined, 'undefined:undefined'));
    return;
  }
  handle.onConnected = (errno) => {
    handle.onConnected = null;
    if (errno === 0) {
      socket[kAdopt](handle);
      return;
    }
    const error = hostPortException(errno, 'connect', path, undefined);
    socket.emit('connectionAttemptFailed', path, undefined, undefined, error);
    socket.destroy(error);
  };
  handle.connect(sockaddr);
}

function openUnixHandle(socket: Socket): Handle | number {
  const fd = Connection.socket(turn, AF.UNIX);
  return fd < 0 ? fd : handleFor(socket, fd, true);
}
