/**
 * Connecting a socket: name resolution, one attempt or several in sequence (`autoSelectFamily`), the local address, and
 * the errors of all of them.
 *
 * In: `socket.connect(options)`. Out: `socket._adopt(handle)` when a connection stands, else `socket.destroy(error)`.
 *
 * @see https://nodejs.org/api/net.html#socketconnectoptions-connectlistener
 */
import dns from 'node:dns';
import { type BlockList, isIP } from 'node:net';
import { AF, ERRNO } from '../engine/abi.ts';
import { Connection } from '../engine/connection.ts';
import { choice } from '../engine/engine.ts';
import type { Turn } from '../engine/turn.ts';
import { encodeIp, encodePath, type IpAddress } from './address.ts';
import { autoSelectFamilyDefaults, LEAST_ATTEMPT_TIMEOUT_MS } from './defaults.ts';
import {
  aggregateConnectError,
  hostPortException,
  invalidAddressFamily,
  invalidArgType,
  invalidIpAddress,
  ipBlocked,
  socketConnectionTimeout,
} from './errors.ts';
import { Handle } from './handle.ts';
import type { Socket } from './socket.ts';
import { setReuseAddress } from './socket-options.ts';
import { validateBoolean, validateFunction, validateInt32, validateNumber, validatePort } from './validate.ts';

const turn = choice.turn as Turn;

export interface ConnectOptions {
  port?: number | string;
  host?: string;
  path?: string;
  localAddress?: string;
  localPort?: number;
  family?: number | string;
  hints?: number;
  lookup?: Lookup;
  autoSelectFamily?: boolean;
  autoSelectFamilyAttemptTimeout?: number;
  signal?: AbortSignal;
}

type Lookup = (
  host: string,
  options: dns.LookupOptions,
  callback: (error: Error | null, address: unknown, family?: unknown) => void,
) => void;

interface Target {
  ip: string;
  family: 4 | 6;
}

/** Where an attempt goes from and to. */
interface Route extends Target {
  port: number;
  localAddress?: string | undefined;
  localPort?: number | undefined;
}

const UNSPECIFIED = { 4: '0.0.0.0', 6: '::' } as const;
const ETIMEDOUT = 110;

export function connectSocket(socket: Socket, options: ConnectOptions): void {
  if (options.path) {
    connectPath(socket, options.path);
    return;
  }
  const { localAddress, localPort } = options;
  const host = options.host || 'localhost';
  if (localAddress && !isIP(localAddress)) throw invalidIpAddress(localAddress);
  if (localPort) validateNumber(localPort, 'options.localPort');
  if (typeof options.port !== 'number' && typeof options.port !== 'string')
    throw invalidArgType('options.port', 'one of type number or string', options.port);
  const port = validatePort(options.port);
  const usesAll = options.autoSelectFamily ?? autoSelectFamilyDefaults.isOn;
  validateBoolean(usesAll, 'options.autoSelectFamily');
  let timeoutMs = options.autoSelectFamilyAttemptTimeout ?? autoSelectFamilyDefaults.attemptTimeoutMs;
  validateInt32(timeoutMs, 'options.autoSelectFamilyAttemptTimeout', 1);
  timeoutMs = Math.max(timeoutMs, LEAST_ATTEMPT_TIMEOUT_MS);

  if (typeof host !== 'string') throw invalidArgType('options.host', 'of type string', host);
  const family = isIP(host) as 0 | 4 | 6;
  if (family !== 0) {
    process.nextTick(() => {
      if (socket.connecting) connectOnce(socket, { ip: host, family, port, localAddress, localPort });
    });
    return;
  }
  if (options.lookup != null) validateFunction(options.lookup, 'options.lookup');
  const lookupOptions = lookupOptionsFor(options);
  const lookup = (options.lookup ?? dns.lookup) as Lookup;
  socket._host = host;
  if (usesAll && lookupOptions.family !== 4 && lookupOptions.family !== 6 && !localAddress) {
    lookup(host, { ...lookupOptions, all: true }, (error, addresses) =>
      onAddresses(socket, options, error, addresses, { host, port, localPort, timeoutMs }),
    );
  } else {
    lookup(host, lookupOptions, (error, ip, family) =>
      onAddress(socket, options, error, ip, family, { host, port, localAddress, localPort }),
    );
  }
}

function lookupOptionsFor(options: ConnectOptions): dns.LookupOptions {
  const family = options.family === 'IPv4' ? 4 : options.family === 'IPv6' ? 6 : options.family;
  let hints = options.hints || 0;
  if (family !== 4 && family !== 6 && hints === 0) hints = dns.ADDRCONFIG;
  return { family, hints } as dns.LookupOptions;
}

/** No listener can stand yet when createConnection's lookup fails at once. */
function failLater(socket: Socket, error: Error): void {
  process.nextTick(() => socket.destroy(error));
}

function badAddress(ip: unknown, family: unknown, options: ConnectOptions): Error | undefined {
  if (typeof ip !== 'string' || !isIP(ip)) return invalidIpAddress(ip);
  if (family !== 4 && family !== 6) return invalidAddressFamily(family, options.host, options.port);
  return undefined;
}

function onAddress(
  socket: Socket,
  options: ConnectOptions,
  error: Error | null,
  ip: unknown,
  family: unknown,
  route: Omit<Route, keyof Target> & { host: string },
): void {
  socket.emit('lookup', error, ip, family, route.host);
  if (!socket.connecting) return; // destroyed by a listener, or while we looked it up
  const problem = error ?? badAddress(ip, family, options);
  if (problem) {
    failLater(socket, problem);
    return;
  }
  socket._unrefTimer();
  connectOnce(socket, { ...route, ip: ip as string, family: family as 4 | 6 });
}

function onAddresses(
  socket: Socket,
  options: ConnectOptions,
  error: Error | null,
  addresses: unknown,
  plan: { host: string; port: number; localPort: number | undefined; timeoutMs: number },
): void {
  if (error) {
    socket.emit('lookup', error, undefined, undefined, plan.host);
    if (socket.connecting) failLater(socket, error);
    return;
  }
  const found = addresses as { address: string; family: number }[];
  for (const { address, family } of found) {
    socket.emit('lookup', null, address, family, plan.host);
    if (!socket.connecting) return;
  }
  const targets = interleave(found);
  if (targets.length === 0) {
    const [first] = found;
    failLater(socket, badAddress(first?.address, first?.family, options) ?? invalidIpAddress(first?.address));
    return;
  }
  socket._unrefTimer();
  const [only] = targets;
  if (targets.length === 1 && only !== undefined)
    connectOnce(socket, { ...only, port: plan.port, localPort: plan.localPort });
  else new Attempts(socket, targets, plan.port, plan.localPort, plan.timeoutMs).next();
}

/** Valid addresses without repeats, families taking turns, the family of the first one first (RFC 8305 section 4). */
function interleave(found: { address: string; family: number }[]): Target[] {
  const byFamily = new Map<number, Set<string>>();
  for (const { address, family } of found) {
    if (!isIP(address) || (family !== 4 && family !== 6)) continue;
    if (!byFamily.has(family)) byFamily.set(family, new Set());
    byFamily.get(family)?.add(address);
  }
  const lists = [...byFamily].map(([family, ips]) => [...ips].map((ip) => ({ ip, family: family as 4 | 6 })));
  const targets: Target[] = [];
  for (let i = 0; lists.some((list) => i < list.length); i++)
    for (const list of lists) if (list[i] !== undefined) targets.push(list[i] as Target);
  return targets;
}

// ---- one attempt ----

/** The socket's handle from now on. One of an attempt before, or of a connection before, is given up. */
function takeHandle(socket: Socket, handle: Handle): void {
  const before = socket._handle;
  if (before !== null) {
    before.socket = null;
    before.onConnected = null;
    before.close();
  }
  socket._handle = handle;
  handle.socket = socket;
}

/** Opens a socket for a route. @returns the handle, or the error of binding it */
function openHandle(socket: Socket, route: Route): Handle | NodeJS.ErrnoException {
  const fd = Connection.socket(turn, route.family === 6 ? AF.INET6 : AF.INET);
  if (fd < 0) return hostPortException(-fd, 'connect', route.ip, route.port, 'undefined:undefined'); // as Node says it
  const handle = new Handle(turn, fd, false);
  if (!socket._isRef) handle.unref();
  const { localPort } = route;
  const localAddress = route.localAddress || (localPort ? UNSPECIFIED[route.family] : undefined);
  if (localAddress === undefined) return handle;
  const family = isIP(localAddress) as 4 | 6;
  const sockaddr = encodeIp(localAddress, localPort ?? 0, family);
  setReuseAddress(turn.ring.native, fd); // or the port is nobody's for a minute after this connection
  const result = sockaddr === undefined ? -ERRNO.EINVAL : turn.ring.native.bind(fd, sockaddr);
  if (result === 0) return handle;
  handle.close();
  return hostPortException(-result, 'bind', localAddress, localPort);
}

function connectOnce(socket: Socket, route: Route): void {
  const handle = openHandle(socket, route);
  if (handle instanceof Error) {
    socket.destroy(handle);
    return;
  }
  takeHandle(socket, handle);
  socket.emit('connectionAttempt', route.ip, route.port, route.family);
  if (!socket.connecting) return;
  const blockList = (socket as { blockList?: BlockList }).blockList;
  if (blockList?.check(route.ip, route.family === 6 ? 'ipv6' : 'ipv4')) {
    socket.destroy(ipBlocked(route.ip));
    return;
  }
  handle.onConnected = (errno) => {
    handle.onConnected = null;
    if (errno === 0) {
      socket._adopt(handle);
      return;
    }
    const error = connectError(errno, handle, route);
    socket.emit('connectionAttemptFailed', route.ip, route.port, route.family, error);
    socket.destroy(error);
  };
  handle.connect(encodeIp(route.ip, route.port, route.family) as Uint8Array);
}

/**
 * What connect(2) refuses at once (all but these) is told by libuv in the call itself, and Node's message then has the
 * local address.
 */
const LATE_ERRNOS: ReadonlySet<number> = new Set([111 /* ECONNREFUSED */, ETIMEDOUT, 113 /* EHOSTUNREACH */, 104, 103]);

function connectError(errno: number, handle: Handle, route: Route): NodeJS.ErrnoException {
  const { ip, port, localAddress, localPort } = route;
  if (localAddress && localPort && LATE_ERRNOS.has(errno)) {
    const error = hostPortException(errno, 'connect', ip, port, `${localAddress}:${localPort}`);
    return Object.assign(error, { localAddress, localPort });
  }
  if (LATE_ERRNOS.has(errno)) return hostPortException(errno, 'connect', ip, port);
  const local: Partial<IpAddress> = {};
  handle.getsockname(local);
  return hostPortException(errno, 'connect', ip, port, `${local.address}:${local.port}`);
}

function connectPath(socket: Socket, path: string): void {
  const fd = Connection.socket(turn, AF.UNIX);
  if (fd < 0) {
    failLater(socket, hostPortException(-fd, 'connect', path, undefined));
    return;
  }
  const handle = new Handle(turn, fd, true);
  if (!socket._isRef) handle.unref();
  takeHandle(socket, handle);
  socket.emit('connectionAttempt', path, undefined, undefined);
  const sockaddr = encodePath(path);
  handle.onConnected = (errno) => {
    handle.onConnected = null;
    if (errno === 0) {
      socket._adopt(handle);
      return;
    }
    const error = hostPortException(errno, 'connect', path, undefined);
    socket.emit('connectionAttemptFailed', path, undefined, undefined, error);
    socket.destroy(error);
  };
  if (sockaddr === undefined)
    failLater(socket, hostPortException(ERRNO.EINVAL, 'connect', path, undefined, 'undefined:undefined'));
  else handle.connect(sockaddr);
}

// ---- several attempts ----

/** Attempts in sequence: an attempt that takes too long is given up, as Node does, and the next address is tried. */
class Attempts {
  readonly #socket: Socket;
  readonly #targets: Target[];
  readonly #port: number;
  readonly #localPort: number | undefined;
  readonly #timeoutMs: number;
  readonly #errors: NodeJS.ErrnoException[] = [];
  #current = 0;
  #timer: NodeJS.Timeout | undefined;

  constructor(socket: Socket, targets: Target[], port: number, localPort: number | undefined, timeoutMs: number) {
    this.#socket = socket;
    this.#targets = targets;
    this.#port = port;
    this.#localPort = localPort;
    this.#timeoutMs = timeoutMs;
    socket.autoSelectFamilyAttemptedAddresses = [];
  }

  next(): void {
    const socket = this.#socket;
    clearTimeout(this.#timer);
    if (!socket.connecting) return;
    const target = this.#targets[this.#current++];
    if (target === undefined) {
      socket.destroy(this.#errors.length === 0 ? socketConnectionTimeout() : aggregateConnectError(this.#errors));
      return;
    }
    const route: Route = { ...target, port: this.#port, localPort: this.#localPort };
    const handle = openHandle(socket, route);
    if (handle instanceof Error) {
      this.#failed(route, handle);
      return;
    }
    const blockList = (socket as { blockList?: BlockList }).blockList;
    if (blockList?.check(route.ip, route.family === 6 ? 'ipv6' : 'ipv4')) {
      handle.close();
      this.#failed(route, ipBlocked(route.ip) as NodeJS.ErrnoException);
      return;
    }
    takeHandle(socket, handle);
    socket.autoSelectFamilyAttemptedAddresses?.push(`${route.ip}:${route.port}`);
    socket.emit('connectionAttempt', route.ip, route.port, route.family);
    if (!socket.connecting) return;
    handle.onConnected = (errno) => this.#onConnected(errno, handle, route);
    handle.connect(encodeIp(route.ip, route.port, route.family) as Uint8Array);
    if (this.#current < this.#targets.length)
      this.#timer = setTimeout(() => this.#timedOut(handle, route), this.#timeoutMs);
  }

  #onConnected(errno: number, handle: Handle, route: Route): void {
    clearTimeout(this.#timer);
    handle.onConnected = null;
    if (errno === 0) this.#socket._adopt(handle);
    else this.#failed(route, connectError(errno, handle, route));
  }

  #failed(route: Route, error: NodeJS.ErrnoException): void {
    this.#errors.push(error);
    this.#socket.emit('connectionAttemptFailed', route.ip, route.port, route.family, error);
    this.next();
  }

  #timedOut(handle: Handle, route: Route): void {
    if (handle.onConnected === null) return;
    this.#socket.emit('connectionAttemptTimeout', route.ip, route.port, route.family);
    this.#errors.push(hostPortException(ETIMEDOUT, 'connect', route.ip, route.port));
    this.next();
  }
}
