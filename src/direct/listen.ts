/**
 * `listen`: from options to a server that accepts.
 *
 * In: where, and the handlers. Out: a `DirectServer` behind a door of this machine's engine.
 */
import { AsyncResource } from 'node:async_hooks';
import { isIP } from 'node:net';
import { builtins } from '../engine/builtins.ts';
import { choice } from '../engine/engine.ts';
import type { Place } from '../engine/open-listener.ts';
import { begin } from '../engine/serving.ts';
import type { ListenOptions, Server } from './api.ts';
import { EngineDoor } from './engine-door.ts';
import { NodeDoor } from './node-door.ts';
import { badOption, beginningOf, checkHandlers, checkName, checkSignal, flag, integer } from './options.ts';
import { DirectServer } from './server.ts';

/** listen(2): Node's default, because the kernel rounds it up to 512. */
const BACKLOG = 511;
const MOST_CONNECTIONS = Number.MAX_SAFE_INTEGER;
const MOST_PORT = 65535;

/**
 * Listens for connections. All handlers run in the asynchronous context (AsyncLocalStorage) of this call.
 * @returns the server, when it listens
 * @throws {DirectError} BAD_OPTION
 * @throws what `tls.createSecureContext` throws: ERR_OSSL_…, ERR_INVALID_ARG_TYPE, …
 * @throws {TlsError} `tls.certificates` can't be used
 * @throws Node's errors: EADDRINUSE, EACCES, ENOTFOUND, …, with `code`, `syscall`, `address`, `port`
 */
export async function listen<Data = unknown>(options: ListenOptions<Data>): Promise<Server<Data>> {
  checkHandlers(options);
  const { signal, acceptError, handshakeError, tls } = options;
  const place = placeOf(options);
  const backlog = integer(options.backlog, 'backlog', BACKLOG, 1);
  const most = options.maxConnections === Number.POSITIVE_INFINITY ? undefined : options.maxConnections;
  const maxConnections = integer(most, 'maxConnections', MOST_CONNECTIONS, 1, MOST_CONNECTIONS);
  if (acceptError !== undefined && typeof acceptError !== 'function')
    throw badOption('acceptError', 'a function', acceptError);
  if (handshakeError !== undefined && typeof handshakeError !== 'function')
    throw badOption('handshakeError', 'a function', handshakeError);
  checkSignal(signal);
  signal?.throwIfAborted();
  const context = new AsyncResource('MILLRACE_SERVER');
  const plain = beginningOf(options);
  const security = tls === undefined ? null : (await import('./tls/index.ts')).serverSecurity(tls);
  const told = { acceptError, handshakeError };
  const server = new DirectServer<Data>(options, { ...plain, security }, maxConnections, told);
  const begun = begin();
  try {
    if (place.address !== null && place.family !== -1 && !isIP(place.address)) await lookUp(place);
    signal?.throwIfAborted();
    const { turn } = choice;
    if (turn === null || security?.needsNode === true) {
      server.begin(await NodeDoor.open(place, backlog, server, context));
    } else {
      const door = await EngineDoor.open(turn, place, backlog, server, context);
      server.begin(door);
      door.accept();
    }
  } catch (error) {
    security?.close();
    throw error;
  } finally {
    begun();
  }
  if (signal !== undefined) server.closeOn(signal);
  return server;
}

function placeOf({ port, hostname, path, fd, ipv6Only, reusePort }: ListenOptions<never>): Place {
  const given = [port, path, fd].filter((each) => each !== undefined);
  if (given.length !== 1) throw badOption('one of port, path and fd', 'given', given);
  const common = {
    fd: fd === undefined ? undefined : integer(fd, 'fd', 0),
    ipv6Only: flag(ipv6Only, 'ipv6Only', false),
    reusePort: flag(reusePort, 'reusePort', false),
  };
  if (path !== undefined) return { ...common, address: checkName(path, 'path'), port: undefined, family: -1 };
  const address = hostname === undefined ? null : checkName(hostname, 'hostname');
  const family = address !== null && isIP(address) === 6 ? 6 : 4;
  return { ...common, address, port: integer(port, 'port', 0, 0, MOST_PORT), family };
}

/** A name's first address, as in Node. */
async function lookUp(place: Place): Promise<void> {
  const { address, family } = await builtins.dns.promises.lookup(place.address as string);
  place.address = address;
  place.family = family as 4 | 6;
}
