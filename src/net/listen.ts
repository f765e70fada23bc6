/**
 * `server.listen(…)`: which of Node's forms it is, and where that leads.
 *
 * In: the arguments. Out: `server._listen2`, with `server._handle` set if somebody else has the listening socket already
 * (a handle, a BoundSocket, the primary of a cluster).
 *
 * @see https://nodejs.org/api/net.html#serverlisten
 */
import { tracingChannel } from 'node:diagnostics_channel';
import { BlockList } from 'node:net';
import { ERRNO } from '../engine/abi.ts';
import { builtins } from '../engine/builtins.ts';
import { choice } from '../engine/engine.ts';
import { discardOpened, givenListener, type Opened, type Place } from '../engine/open-listener.ts';
import { begin } from '../engine/serving.ts';
import type { Turn } from '../engine/turn.ts';
import { type Callback, isPath, normalizeArgs, toNumber } from './args.ts';
import { BoundSocket, kTake } from './bound-socket.ts';
import { askPrimary } from './cluster-handle.ts';
import { hostPortException, invalidArgValue, serverAlreadyListen } from './errors.ts';
import { Handle } from './handle.ts';
import { isNodeHandle, NodeListener } from './node-handle.ts';
import type { ServerClass } from './server.ts';
import { ServerHandle } from './server-handle.ts';
import { validateAbortSignal, validatePort } from './validate.ts';

const turn = choice.turn as Turn;
export const listenChannels = tracingChannel('net.server.listen');

/** listen(2): Node's default, because the kernel rounds it up to 512. */
export const BACKLOG = 511;

/** Flags of `_listen2`: libuv's UV_TCP_IPV6ONLY and UV_TCP_REUSEPORT. */
export const LISTEN = { IPV6ONLY: 1, REUSEPORT: 2 } as const;

export interface ListenOptions {
  port?: number | string | null;
  host?: string;
  path?: string;
  backlog?: number;
  exclusive?: boolean;
  ipv6Only?: boolean;
  reusePort?: boolean;
  readableAll?: boolean;
  writableAll?: boolean;
  signal?: AbortSignal;
  fd?: number;
  handle?: unknown;
}

/** Of a unix socket's path. */
interface Permissions {
  readableAll?: boolean | undefined;
  writableAll?: boolean | undefined;
}

/** Where to listen; `addressType` -1 is a unix socket or somebody else's handle. */
export interface Address {
  address: string | null;
  port: number | undefined;
  addressType: 4 | 6 | -1 | undefined;
  fd?: number | undefined;
  flags?: number | undefined;
}

/** A handle that exists is listened on as it is. */
const ANY_HANDLE: Address = { address: null, port: -1, addressType: -1 };

export function listen(server: ServerClass, args: unknown[]): void {
  const [given, callback] = normalizeArgs(args);
  if (server._handle !== null) throw serverAlreadyListen();
  if (listenChannels.asyncStart.hasSubscribers) listenChannels.asyncStart.publish({ server, options: given });
  if (callback !== null) server.once('listening', callback as Callback as () => void);
  const backlogArgument = toNumber(args.length > 1 && args[1]) || toNumber(args.length > 2 && args[2]) || 0;
  if (listenOnBound(server, given, backlogArgument)) return;
  const target = (given['_handle'] || given['handle'] || given) as ListenOptions;
  server._listeningId++;
  if (listenOnHandle(server, target, backlogArgument)) return;
  const options = target === given ? { ...target } : target;
  closeOnAbort(server, options.signal);
  const flags = (options.ipv6Only === true ? LISTEN.IPV6ONLY : 0) | (options.reusePort === true ? LISTEN.REUSEPORT : 0);
  if (typeof options.fd === 'number' && options.fd >= 0) {
    const address: Address = { address: null, port: undefined, addressType: undefined, fd: options.fd };
    listenInCluster(server, address, backlogArgument, false);
    return;
  }
  const [first] = args;
  const isPortOmitted = args.length === 0 || typeof first === 'function' || options.port === null;
  if (isPortOmitted || (options.port === undefined && 'port' in options)) options.port = 0;
  const backlog = options.backlog || backlogArgument;
  const isExclusive = options.exclusive === true || options.reusePort === true;
  if (typeof options.port === 'number' || typeof options.port === 'string') {
    const port = validatePort(options.port, 'options.port');
    if (options.host) lookUpAndListen(server, options.host, port, flags, backlog, isExclusive);
    else listenInCluster(server, { address: null, port, addressType: 4, flags }, backlog, isExclusive);
  } else if (options.path && isPath(options.path)) {
    listenOnPath(server, options, given, backlog, isExclusive);
  } else if (!('port' in options || 'path' in options)) {
    throw invalidArgValue('options', target, 'must have the property "port" or "path"');
  } else {
    throw invalidArgValue('options', target);
  }
}

/** `listen(boundSocket)`, `listen({ handle: boundSocket })`: its address, whatever else the options say. */
function listenOnBound(server: ServerClass, given: unknown, backlog: number): boolean {
  const { handle } = given as ListenOptions;
  const socket = given instanceof BoundSocket ? given : handle instanceof BoundSocket ? handle : undefined;
  if (socket === undefined) return false;
  const { fd, path } = socket[kTake]();
  server._pipeName = path;
  server._handle = new ServerHandle(turn, fd, path !== undefined, server);
  server._listeningId++;
  listenInCluster(server, ANY_HANDLE, backlog, true);
  return true;
}

/** `listen(server)`, `listen({ _handle })`: the listening socket of another server, ours or Node's, is this one's now. */
function listenOnHandle(server: ServerClass, target: unknown, backlog: number): boolean {
  if (target instanceof ServerHandle && !target.isUnix) {
    target.server = server;
    server._handle = target;
  } else if (target instanceof NodeListener && !target.isUnix) {
    target.server = server;
    server._handle = target;
  } else if (target instanceof Handle && !target.isUnix) {
    server._failToListen(ERRNO.EINVAL, null, -1); // listen(2), of a connected socket
    return true;
  } else if (isNodeHandle(target)) {
    server._handle = NodeListener.takeOver(server, target);
  } else {
    return false;
  }
  listenInCluster(server, ANY_HANDLE, backlog, true);
  return true;
}

function listenOnPath(
  server: ServerClass,
  options: ListenOptions,
  given: unknown,
  backlog: number,
  isExclusive: boolean,
): void {
  const { readableAll, writableAll } = options;
  const path = options.path as string;
  if (path.startsWith('\0') && (readableAll || writableAll))
    throw invalidArgValue(
      'options',
      given,
      'can not set readableAll or writableAllt to true when path is abstract unix socket',
    );
  server._pipeName = path;
  listenInCluster(server, { address: path, port: -1, addressType: -1 }, backlog, isExclusive, {
    readableAll,
    writableAll,
  });
  if (
    !(server._handle instanceof ServerHandle) ||
    server._handle.keepsPath ||
    builtins.cluster.isWorker ||
    !(readableAll === true || writableAll === true)
  )
    return;
  builtins.fs.chmodSync(path, 0o700 | (readableAll === true ? 0o444 : 0) | (writableAll === true ? 0o222 : 0));
}

const linkLocal = new BlockList();
linkLocal.addSubnet('fe80::', 10, 'ipv6');

function lookUpAndListen(
  server: ServerClass,
  host: string,
  port: number,
  flags: number,
  backlog: number,
  isExclusive: boolean,
): void {
  const id = server._listeningId;
  const begun = begin();
  builtins.dns.lookup(host, { all: true }, (error, addresses) => {
    begun();
    if (id !== server._listeningId) return; // closed, or told to listen elsewhere, meanwhile
    if (error) {
      server.emit('error', error);
      return;
    }
    // A link-local address can't be bound without its interface (RFC 4007).
    const usable = addresses.find(({ address }) => !linkLocal.check(address, 'ipv6')) ?? addresses[0];
    const addressType = (usable?.family || 4) as 4 | 6;
    listenInCluster(server, { address: usable?.address ?? null, port, addressType, flags }, backlog, isExclusive);
  });
}

/** Whoever has the socket already is asked first: see listener-source.ts. */
function listenInCluster(
  server: ServerClass,
  where: Address,
  backlog: number,
  isExclusive: boolean,
  permissions: Permissions = {},
): void {
  if (server._handle !== null) {
    listenHere(server, where, backlog);
    return;
  }
  const id = server._listeningId;
  const listenOn = (opened: Opened | number | undefined): void => {
    if (opened !== undefined) listenOnGiven(server, where, backlog, opened);
    else if (builtins.cluster.isWorker && !isExclusive) listenAsWorker(server, where, backlog, permissions);
    else listenHere(server, where, backlog);
  };
  const given = givenListener(turn, placeOf(where), backlog || BACKLOG, isExclusive);
  if (!(given instanceof Promise)) {
    listenOn(given);
    return;
  }
  given.then(
    (opened) => {
      if (id === server._listeningId) listenOn(opened);
      else if (typeof opened === 'object') discardOpened(turn, opened); // closed before the answer came
    },
    (error: Error) => server.emit('error', error),
  );
}

/** What `_listen2` is given, as the engine knows it. */
export function placeOf({ address, port, addressType, fd, flags = 0 }: Address): Place {
  return {
    address,
    port,
    family: addressType ?? 4,
    fd,
    ipv6Only: (flags & LISTEN.IPV6ONLY) !== 0,
    reusePort: (flags & LISTEN.REUSEPORT) !== 0,
  };
}

function listenOnGiven(server: ServerClass, where: Address, backlog: number, given: Opened | number): void {
  if (typeof given === 'number') {
    server._pipeName = undefined; // somebody else's: close() must not remove it
    server._failToListen(-given, where.address, where.port);
  } else {
    server._handle = ServerHandle.of(turn, given, server);
    listenHere(server, where, backlog);
  }
}

function listenHere(server: ServerClass, { address, port, addressType, fd, flags }: Address, backlog: number): void {
  server._listen2(address, port, addressType, backlog, fd, flags);
}

/** In a worker of node:cluster the primary is asked for the address. */
function listenAsWorker(server: ServerClass, where: Address, backlog: number, permissions: Permissions): void {
  const { address, port } = where;
  const id = server._listeningId;
  askPrimary(server, { ...where, backlog, ...permissions }, (errno, handle) => {
    if (id !== server._listeningId) {
      handle?.close(); // closed before the primary's answer came
    } else if (errno !== 0 || handle === null) {
      handle?.close();
      server.emit('error', hostPortException(errno, 'bind', address as string, port));
    } else {
      server._handle?.close();
      server._handle = handle;
      listenHere(server, where, backlog);
    }
  });
}

export function closeOnAbort(server: ServerClass, signal: AbortSignal | undefined): void {
  if (signal === undefined) return;
  validateAbortSignal(signal, 'options.signal');
  const close = () => server.close();
  if (signal.aborted) {
    process.nextTick(close);
    return;
  }
  signal.addEventListener('abort', close);
  server.once('close', () => signal.removeEventListener('abort', close));
}
