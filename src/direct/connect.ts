/**
 * `connect`: from a name to a connection that stands.
 *
 * In: where, and the handlers. Out: a promise of a `DirectConnection`, or of Node's error. Several addresses of a name are
 * tried as RFC 8305 says: the next attempt starts beside the one before after 250 ms, or when that one fails.
 */
import { AsyncResource } from 'node:async_hooks';
import { isIP, type LookupFunction } from 'node:net';
import { ERRNO } from '../engine/abi.ts';
import { builtins } from '../engine/builtins.ts';
import { choice } from '../engine/engine.ts';
import { hostPortException, overlappingConnectError } from '../engine/system-errors.ts';
import { interleave } from '../engine/targets.ts';
import type { Connection, ConnectOptions } from './api.ts';
import { DirectConnection } from './connection.ts';
import { type Dial, engineDial, type Goal, nodeDial } from './dial.ts';
import { Handshake } from './handshake.ts';
import type { Link } from './link.ts';
import { badOption, beginningOf, checkHandlers, checkName, checkSignal, integer } from './options.ts';
import type { Security } from './security.ts';
import type { TlsClientOptions } from './tls-api.ts';

/** RFC 8305 section 8: Connection Attempt Delay. */
const ATTEMPT_DELAY_MS = 250;
const MOST_PORT = 65535;

/**
 * Connects. All handlers run in the asynchronous context (AsyncLocalStorage) of this call.
 * @returns the connection; `open` was called just before
 * @throws {DirectError} BAD_OPTION
 * @throws Node's errors: ECONNREFUSED, ETIMEDOUT, ENOTFOUND, …, with `code`, `syscall`, `address`, `port`; an
 * AggregateError with the `code` of the first when several addresses were tried; the signal's reason when it was aborted
 * @throws with `tls`: OpenSSL's and Node's errors: CERT_HAS_EXPIRED, DEPTH_ZERO_SELF_SIGNED_CERT,
 * ERR_TLS_CERT_ALTNAME_INVALID, ERR_TLS_HANDSHAKE_TIMEOUT, ERR_SSL_…, ECONNRESET, …
 */
export async function connect<Data = unknown>(options: ConnectOptions<Data>): Promise<Connection<Data>> {
  checkHandlers(options);
  const { signal } = options;
  const timeoutMs = integer(options.timeoutMs, 'timeoutMs', 0);
  const route = routeOf(options);
  checkSignal(signal);
  signal?.throwIfAborted();
  const context = new AsyncResource('MILLRACE_CONNECT');
  const security = options.tls === undefined ? null : await securityOf(options.tls, route);
  const beginning = beginningOf(options, security);
  signal?.throwIfAborted();
  const { turn } = choice;
  return new Promise((resolve, reject) => {
    let handshake: Handshake | undefined;
    const over = (error: unknown, link: Link | null): void => {
      clearTimeout(timer);
      signal?.removeEventListener('abort', onAbort);
      if (link === null) {
        reject(error);
        return;
      }
      const connection = new DirectConnection<Data>(link, beginning, options, null);
      connection.begin();
      resolve(connection);
    };
    const dial = turn === null || security?.needsNode === true ? nodeDial : engineDial(turn);
    const attempts = new Attempts(dial, context, (error, link) => {
      if (link === null || security === null || security.onDemand) {
        over(error, link);
        return;
      }
      try {
        handshake = new Handshake(security.secure(link), {
          secured: (_, secure) => over(null, secure),
          failed: (_, failure) => over(failure ?? whyGivenUp, null),
        });
      } catch (failure) {
        link.close(true); // no memory for another SSL
        over(failure, null);
        return;
      }
      handshake.start();
    });
    let whyGivenUp: unknown;
    const giveUp = (why: unknown): void => {
      whyGivenUp = why;
      if (handshake === undefined) attempts.giveUp(why);
      else handshake.giveUp();
    };
    const onAbort = () => giveUp(signal?.reason);
    signal?.addEventListener('abort', onAbort, { once: true });
    const onTimeout = () => giveUp(hostPortException(ERRNO.ETIMEDOUT, 'connect', route.host, route.port));
    const timer = timeoutMs === 0 ? undefined : setTimeout(onTimeout, timeoutMs);
    if (route.isPath) attempts.start([{ path: route.host }], route);
    else findGoals(route, (error, goals) => attempts.start(goals, route, error));
  });
}

/** A certificate on a unix socket is one for `localhost`, as in Node. */
async function securityOf(tls: true | TlsClientOptions, { host, isPath }: Route): Promise<Security> {
  return (await import('./tls/index.ts')).clientSecurity(tls, isPath ? 'localhost' : host);
}

/** Where to go, checked. `host` is a path, an address or a name. */
interface Route {
  host: string;
  isPath: boolean;
  port: number | undefined;
  localAddress: string | undefined;
  localPort: number | undefined;
  family: 0 | 4 | 6;
  lookup: LookupFunction;
}

function routeOf(options: ConnectOptions<never>): Route {
  const { path, hostname = 'localhost', localAddress, family = 0 } = options;
  const lookup = options.lookup ?? builtins.dns.lookup;
  if (typeof lookup !== 'function') throw badOption('lookup', 'a function', lookup);
  if (family !== 0 && family !== 4 && family !== 6) throw badOption('family', '0, 4 or 6', family);
  if ((path === undefined) === (options.port === undefined))
    throw badOption('one of port and path', 'given', [options.port, path]);
  if (localAddress !== undefined && !isIP(localAddress)) throw badOption('localAddress', 'an IP address', localAddress);
  const host = path === undefined ? checkName(hostname, 'hostname') : checkName(path, 'path');
  if (path === undefined && host.includes('\0')) throw badOption('hostname', 'text without zero bytes', host);
  return {
    host,
    isPath: path !== undefined,
    port: path === undefined ? integer(options.port, 'port', 0, 0, MOST_PORT) : undefined,
    localAddress,
    localPort: options.localPort === undefined ? undefined : integer(options.localPort, 'localPort', 0, 0, MOST_PORT),
    family: localAddress === undefined ? family : (isIP(localAddress) as 4 | 6),
    lookup: lookup as LookupFunction,
  };
}

function findGoals(route: Route, found: (error: Error | null, goals: Goal[]) => void): void {
  const { host, family, port, localAddress, localPort } = route;
  const goal = (ip: string, version: 4 | 6): Goal => ({
    ip,
    family: version,
    port: port ?? 0,
    localAddress,
    localPort,
  });
  const version = isIP(host);
  if (version !== 0) {
    found(null, [goal(host, version as 4 | 6)]);
    return;
  }
  const hints = family === 0 ? builtins.dns.ADDRCONFIG : 0;
  route.lookup(host, { all: true, family, hints }, (error, addresses) => {
    if (error !== null && error !== undefined) {
      found(error, []);
      return;
    }
    // A lookup of the user's may have brought anything.
    const targets = interleave(Array.isArray(addresses) ? addresses.map((each) => each ?? {}) : []);
    const usable = targets.filter((target) => family === 0 || target.family === family);
    found(
      usable.length === 0 ? hostPortException(ERRNO.EADDRNOTAVAIL, 'connect', host, port) : null,
      usable.map((target) => goal(target.ip, target.family)),
    );
  });
}

type OnOver = (error: unknown, link: Link | null) => void;

/** Attempts that overlap; the first that connects is the connection, and ends the others. `onOver` is called once. */
class Attempts {
  readonly #dial: Dial;
  readonly #context: AsyncResource;
  readonly #onOver: OnOver;
  #goals: Goal[] = [];
  #route: Route | undefined;
  /** What gives up those under way. */
  readonly #running = new Set<() => void>();
  /** By attempt. */
  readonly #errors: NodeJS.ErrnoException[] = [];
  #started = 0;
  #timer: NodeJS.Timeout | undefined;
  #isOver = false;

  constructor(dial: Dial, context: AsyncResource, onOver: OnOver) {
    this.#dial = dial;
    this.#context = context;
    this.#onOver = onOver;
  }

  start(goals: Goal[], route: Route, error: Error | null = null): void {
    if (this.#isOver) return;
    this.#goals = goals;
    this.#route = route;
    if (error === null) this.#next();
    else this.#end(error, null);
  }

  giveUp(reason: unknown): void {
    this.#end(reason, null);
  }

  #next(): void {
    clearTimeout(this.#timer);
    const number = this.#started;
    const goal = this.#goals[number];
    if (goal === undefined) {
      if (this.#running.size === 0) this.#end(this.#failure(), null);
      return;
    }
    this.#started++;
    const cancel = this.#dial(goal, this.#context, (error, link) => {
      this.#running.delete(cancel);
      if (this.#isOver) return;
      if (link !== null) {
        this.#end(null, link);
        return;
      }
      this.#errors[number] = error as NodeJS.ErrnoException;
      this.#next(); // it does not wait for the rest of the delay
    });
    this.#running.add(cancel);
    if (this.#started < this.#goals.length) this.#timer = setTimeout(() => this.#next(), ATTEMPT_DELAY_MS);
  }

  #failure(): Error | undefined {
    const { host = '', port = 0 } = this.#route ?? {};
    return this.#errors.length > 1 ? overlappingConnectError({ host, port }, this.#errors) : this.#errors[0];
  }

  #end(error: unknown, link: Link | null): void {
    if (this.#isOver) return;
    this.#isOver = true;
    clearTimeout(this.#timer);
    for (const cancel of this.#running) cancel();
    this.#onOver(error, link);
  }
}
