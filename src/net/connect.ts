/**
 * Connecting a socket: the options, and from a name to its addresses. What is done with them: one address, attempt.ts;
 * several, attempts.ts in sequence as Node does, or race.ts beside each other.
 *
 * In: `socket.connect(options)`. Out: `socket[kAdopt](handle)` when a connection stands, else `socket.destroy(error)`.
 *
 * @see https://nodejs.org/api/net.html#socketconnectoptions-connectlistener
 */
import type dns from 'node:dns';
import { isIP } from 'node:net';
import { builtins } from '../engine/builtins.ts';
import { interleave } from '../engine/targets.ts';
import { connectOnce, connectPath, failLater } from './attempt.ts';
import { Attempts } from './attempts.ts';
import { standingHandle } from './connect-again.ts';
import {
  attemptDelayOf,
  autoSelectFamilyDefaults,
  defaultAttemptDelay,
  type HappyEyeballs,
  LEAST_ATTEMPT_TIMEOUT_MS,
} from './defaults.ts';
import { invalidAddressFamily, invalidArgType, invalidArgValue, invalidIpAddress } from './errors.ts';
import { type Course, Race } from './race.ts';
import type { Socket } from './socket.ts';
import { kBound } from './symbols.ts';
import {
  validateBoolean,
  validateFunction,
  validateInt32,
  validateNumber,
  validatePort,
  validateString,
} from './validate.ts';

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
  /** An addition of ours: attempts overlap instead of being given up (RFC 8305). */
  happyEyeballs?: boolean | HappyEyeballs;
  signal?: AbortSignal;
}

type Lookup = (
  host: string,
  options: dns.LookupOptions,
  callback: (error: Error | null, address: unknown, family?: unknown) => void,
) => void;

/** What to do with several addresses. */
interface Plan {
  /** How long each attempt may take, in sequence. */
  timeoutMs: number;
  /** When the next attempt starts beside it, if they overlap. */
  delayMs: number | undefined;
}

export function connectSocket(socket: Socket, options: ConnectOptions): void {
  const bound = socket[kBound];
  if (bound === null ? options.path : socket._handle?.isUnix) {
    validateString(options.path, 'options.path');
    connectPath(socket, options.path);
    return;
  }
  const { localAddress, localPort } = options;
  const host = options.host || 'localhost';
  validateString(host, 'options.host');
  if (host.includes('\0')) throw invalidArgValue('options.host', host, 'must be a string without null bytes');
  if (bound !== null && (localAddress !== undefined || localPort !== undefined))
    throw invalidArgValue('options', options, 'localAddress and localPort cannot be used with an adopted bound socket');
  if (localAddress && !isIP(localAddress)) throw invalidIpAddress(localAddress);
  if (localPort) validateNumber(localPort, 'options.localPort');
  const port = options.port === undefined ? 0 : portOf(options.port); // undefined comes with an empty path
  const usesAll = bound === null && (options.autoSelectFamily ?? autoSelectFamilyDefaults.isOn);
  validateBoolean(usesAll, 'options.autoSelectFamily');
  let timeoutMs = options.autoSelectFamilyAttemptTimeout ?? autoSelectFamilyDefaults.attemptTimeoutMs;
  validateInt32(timeoutMs, 'options.autoSelectFamilyAttemptTimeout', 1);
  timeoutMs = Math.max(timeoutMs, LEAST_ATTEMPT_TIMEOUT_MS);
  const delayMs = bound === null ? attemptDelay(options, usesAll) : undefined;

  const family = isIP(host) as 0 | 4 | 6;
  if (family !== 0 && bound !== null) {
    connectOnce(socket, { ip: host, family, port });
    return;
  }
  if (family !== 0) {
    process.nextTick(() => {
      if (socket.connecting) connectOnce(socket, { ip: host, family, port, localAddress, localPort });
    });
    return;
  }
  if (options.lookup != null) validateFunction(options.lookup, 'options.lookup');
  const lookupOptions = lookupOptionsFor(options);
  const lookup = (options.lookup ?? builtins.dns.lookup) as Lookup;
  const course: Course = { host, port, localAddress, localPort };
  socket._host = host;
  const hasFamily = lookupOptions.family === 4 || lookupOptions.family === 6;
  if (delayMs !== undefined && localAddress && !hasFamily) lookupOptions.family = isIP(localAddress);
  if (delayMs !== undefined || (usesAll && !hasFamily && !localAddress)) {
    lookup(host, { ...lookupOptions, all: true }, (error, addresses) =>
      onAddresses(socket, options, error, addresses, course, { timeoutMs, delayMs }),
    );
  } else {
    lookup(host, lookupOptions, (error, ip, family) => onAddress(socket, options, error, ip, family, course));
  }
}

function portOf(port: unknown): number {
  if (typeof port !== 'number' && typeof port !== 'string')
    throw invalidArgType('options.port', 'one of type number or string', port);
  return validatePort(port);
}

/** When the next attempt starts beside the one before, in milliseconds; `undefined` if attempts don't overlap. */
function attemptDelay(options: ConnectOptions, usesAll: boolean): number | undefined {
  if (options.happyEyeballs == null) return usesAll ? defaultAttemptDelay() : undefined;
  const delayMs = attemptDelayOf(options.happyEyeballs, 'options.happyEyeballs');
  if (delayMs !== undefined && options.autoSelectFamily === false)
    throw invalidArgValue('options.happyEyeballs', options.happyEyeballs, 'needs autoSelectFamily');
  return delayMs;
}

function lookupOptionsFor(options: ConnectOptions): dns.LookupOptions {
  const family = options.family === 'IPv4' ? 4 : options.family === 'IPv6' ? 6 : options.family;
  let hints = options.hints || 0;
  if (family !== 4 && family !== 6 && hints === 0) hints = builtins.dns.ADDRCONFIG;
  return { family, hints } as dns.LookupOptions;
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
  { host, ...route }: Course,
): void {
  socket.emit('lookup', error, ip, family, host);
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
  course: Course,
  plan: Plan,
): void {
  if (!socket.connecting) return;
  const { host, ...route } = course;
  if (error) {
    socket.emit('lookup', error, undefined, undefined, host);
    failLater(socket, error);
    return;
  }
  // A lookup of the user's may have brought anything.
  const found: Partial<dns.LookupAddress>[] = Array.isArray(addresses) ? addresses.map((each) => each ?? {}) : [];
  for (const { address, family } of found) {
    socket.emit('lookup', error, address, family, host);
    if (!socket.connecting) return;
  }
  const targets = interleave(found);
  const [only] = targets;
  if (only === undefined) {
    const [first] = found;
    failLater(socket, badAddress(first?.address, first?.family, options) ?? invalidIpAddress(first?.address));
    return;
  }
  socket._unrefTimer();
  if (targets.length === 1 || standingHandle(socket) !== null) connectOnce(socket, { ...route, ...only });
  else if (plan.delayMs !== undefined) Race.start(socket, targets, course, plan.delayMs);
  else new Attempts(socket, targets, route.port, route.localPort, plan.timeoutMs).next();
}
