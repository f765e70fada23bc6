/** `serve`: from options to a server of sessions. */
import { type ListenOptions, listen, type TlsServerOptions } from '../direct/index.ts';
import type { Codec } from '../framing/index.ts';
import { type Clock, systemClock } from './clock.ts';
import { badOption } from './errors.ts';
import { Gate } from './gate.ts';
import { checkHeartbeat, type Heartbeat } from './heartbeat.ts';
import { gateRules, type ServerLimits, type SessionRules, sessionRules } from './limits.ts';
import { type ProxyProtocolOptions, proxyRules } from './proxy-stage.ts';
import { type ServerEvents, type SessionHandler, SessionServer } from './server.ts';
import type { Endpoint } from './session.ts';
import { Sweep } from './sweep.ts';

/** What `serve` and `dial` share. */
export interface SessionOptions<In, Out> {
  /** What the bytes mean, in both directions. */
  codec: Codec<In, Out>;
  heartbeat?: Heartbeat<In, Out> | undefined;
  /**
   * Messages are decoded as their bytes come, as many as the read buffer takes. `false`: one by one, as they are
   * taken; slower, and what `switchCodec` needs. `true` unless given.
   */
  decodeAhead?: boolean | undefined;
  /** The last message to a peer whose session is closed for its age, or by `drain`. */
  goodbye?: Out | undefined;
  /** Small messages don't wait for others. `true` unless given: what a turn sends leaves together anyway. */
  noDelay?: boolean | undefined;
  /** TCP's own question whether the peer's machine is there, after `keepAliveMs`. `true` unless given. */
  keepAlive?: boolean | undefined;
  /** 60,000 unless given. */
  keepAliveMs?: number | undefined;
  /** Where time comes from: for tests. */
  clock?: Clock | undefined;
}

export interface ServeOptions<In, Out> extends SessionOptions<In, Out>, ServerEvents<In, Out> {
  /** 0: any that is free. */
  port?: number | undefined;
  /** A name or an address. All addresses, of IPv6 and IPv4, unless given. */
  host?: string | undefined;
  /** Of a unix socket, in place of a port. */
  path?: string | undefined;
  /** A listening socket that is open already, in place of a port. */
  fd?: number | undefined;
  backlog?: number | undefined;
  ipv6Only?: boolean | undefined;
  /** Several processes listen on the same port. */
  reusePort?: boolean | undefined;
  limits?: ServerLimits | undefined;
  /**
   * Key, certificate, and whom to trust. A connection is a session when its handshake is done and the peer was accepted; until
   * then it counts in `limits`. Behind a PROXY protocol header, if there is one.
   */
  tls?: Omit<TlsServerOptions, 'onDemand'> | undefined;
  /** Connections of proxies begin with a header that says whose they are. */
  proxyProtocol?: ProxyProtocolOptions | undefined;
  /** Closes the server. */
  signal?: AbortSignal | undefined;
}

/**
 * Listens, and runs `handler` for each session. When its promise is settled, the session flushes, ends our side, waits
 * for the peer to end, and closes; a handler that throws ends its own session only, and `onError` hears of it.
 *
 * @returns the server, when it listens
 * @throws {MILLRACE_ERR_BAD_OPTION}
 * @throws Node's errors: EADDRINUSE, EACCES, …; with `tls`, ERR_OSSL_…
 */
export async function serve<In, Out>(
  options: ServeOptions<In, Out>,
  handler: SessionHandler<In, Out>,
): Promise<SessionServer<In, Out>> {
  if (typeof handler !== 'function') throw badOption('the handler of serve() is a function');
  const { codec, heartbeat, clock = systemClock, limits, signal, tls } = options;
  checkCommon(options);
  if (tls !== undefined && (typeof tls !== 'object' || tls === null)) throw badOption('tls of serve() is an object');
  const rules = sessionRules(limits, 'server');
  const server = new SessionServer<In, Out>(
    {
      ...{ codec, rules, heartbeat, sweep: Sweep.of(clock), goodbye: options.goodbye },
      ...{ decodeAhead: options.decodeAhead !== false, endsWithPeer: false, onBadMessage: options.onBadMessage },
    },
    handler,
    options,
    new Gate(gateRules(limits), clock),
    options.proxyProtocol === undefined ? undefined : proxyRules(options.proxyProtocol),
    tls !== undefined,
  );
  signal?.throwIfAborted();
  const { port, host, path, fd, backlog, ipv6Only, reusePort } = options;
  const listener = await listen<Endpoint>({
    ...{ port, hostname: host, path, fd, backlog, ipv6Only, reusePort },
    ...connectionOptions(options, rules),
    ...handlers,
    ...(tls === undefined ? {} : { tls: { ...tls, onDemand: true } }),
    open: (connection) => server.onConnection(connection),
    acceptError: (error) => server.onAcceptError(error),
  });
  server.listensOn(listener, signal);
  return server;
}

/** What happens on a connection goes to whatever it is at the moment. @internal */
export const handlers: Pick<ListenOptions<Endpoint>, 'data' | 'secure' | 'drain' | 'end' | 'close' | 'error'> = {
  data: (connection, view) => connection.data.onData(view),
  secure: (connection) => connection.data.onSecure?.(),
  drain: (connection) => connection.data.onDrain(),
  end: (connection) => connection.data.onEnd(),
  close: (connection, reason) => connection.data.onClose(reason),
  // `close` has it, too.
  error() {},
};

/** @throws {MILLRACE_ERR_BAD_OPTION} @internal */
export function checkCommon<In, Out>({ codec, heartbeat }: SessionOptions<In, Out>): void {
  if (typeof (codec as Partial<Codec<In, Out>> | undefined)?.decoder !== 'function') {
    throw badOption('codec is a codec of millrace/framing');
  }
  checkHeartbeat(heartbeat);
}

/**
 * The connection's own marks only have to wake us: in frames as in bytes, since a frame has a byte at least. What may
 * wait is decided here.
 *
 * @internal
 */
export function connectionOptions<In, Out>(options: SessionOptions<In, Out>, rules: SessionRules) {
  const { highBytes, lowBytes, highFrames, lowFrames } = rules.writeBuffer;
  return {
    limits: {
      highWaterMark: Math.min(highBytes, highFrames) - 1,
      lowWaterMark: Math.min(lowBytes, lowFrames),
      maxBufferedBytes: Number.MAX_SAFE_INTEGER,
    },
    allowHalfOpen: true,
    noDelay: options.noDelay,
    keepAlive: options.keepAlive !== false,
    keepAliveInitialDelayMs: options.keepAliveMs ?? 60_000,
  } as const;
}
