/** `dial`: a session as a client. */
import { connect, type TlsClientOptions } from '../direct/index.ts';
import type { Session } from './api.ts';
import * as channels from './channels.ts';
import { systemClock } from './clock.ts';
import { badOption } from './errors.ts';
import { type SessionLimits, sessionRules } from './limits.ts';
import { plainAddress } from './networks.ts';
import type { SessionCloseReason } from './reasons.ts';
import { checkCommon, connectionOptions, handlers, type SessionOptions } from './serve.ts';
import { type Endpoint, LiveSession } from './session.ts';
import { Sweep } from './sweep.ts';
import { tell } from './tell.ts';

export interface DialOptions<In, Out> extends SessionOptions<In, Out> {
  port?: number | undefined;
  /** `localhost` unless given. */
  host?: string | undefined;
  /** Of a unix socket, in place of a port. */
  path?: string | undefined;
  /**
   * A secure connection, to a server that is who it says: its certificate is verified, and that it is one for `host`. `true`:
   * with Node's usual roots.
   */
  tls?: true | Omit<TlsClientOptions, 'onDemand'> | undefined;
  localAddress?: string | undefined;
  localPort?: number | undefined;
  family?: 0 | 4 | 6 | undefined;
  /** Without `firstByteMs`, `handshakeMs` and `idleMs` unless they are given: a server may have nothing to say. */
  limits?: SessionLimits | undefined;
  /** Gives up connecting after so many ms: ETIMEDOUT. 10,000 unless given; 0 for none. */
  connectTimeoutMs?: number | undefined;
  /**
   * Our side stays open when the peer has ended. `false` unless given: it ends when the consumer has taken the last
   * message.
   */
  allowHalfOpen?: boolean | undefined;
  /** While connecting, gives up; afterwards, aborts the session. */
  signal?: AbortSignal | undefined;
  onClosed?: ((session: Session<In, Out>, reason: SessionCloseReason) => void) | undefined;
  /** What `heartbeat.ping` threw. */
  onError?: ((error: unknown, session: Session<In, Out>) => void) | undefined;
  /**
   * A message whose content is wrong (`BAD_JSON`, `SCHEMA`, …). It is left out, then; without it, that is the end. Also
   * told of a message that the codec leaves out anyway, as soon as it is too large (`onTooLarge: 'skip'`).
   */
  onBadMessage?: ((error: unknown, session: Session<In, Out>) => void) | undefined;
}

/**
 * Connects.
 *
 * @returns the session, when it is connected
 * @throws {MILLRACE_ERR_BAD_OPTION}
 * @throws Node's errors: ECONNREFUSED, ETIMEDOUT, ENOTFOUND, …; the signal's reason when it was aborted
 * @throws with `tls`, Node's and OpenSSL's: CERT_HAS_EXPIRED, ERR_TLS_CERT_ALTNAME_INVALID, ERR_TLS_HANDSHAKE_TIMEOUT, …
 */
export async function dial<In, Out>(options: DialOptions<In, Out>): Promise<Session<In, Out>> {
  checkCommon(options);
  const { codec, heartbeat, signal, clock = systemClock, onError, onClosed } = options;
  const rules = sessionRules(options.limits, 'client');
  const setup = {
    ...{ codec, rules, heartbeat, sweep: Sweep.of(clock), goodbye: options.goodbye },
    decodeAhead: options.decodeAhead !== false,
    endsWithPeer: options.allowHalfOpen !== true,
    onBadMessage: options.onBadMessage,
    onClosed: (session: LiveSession<In, Out>, reason: SessionCloseReason) => {
      signal?.removeEventListener('abort', onAbort);
      if (channels.closed.hasSubscribers) channels.closed.publish({ session, reason });
      onClosed?.(session, reason);
    },
    onError: (error: unknown, session: LiveSession<In, Out>) => {
      if (channels.failed.hasSubscribers) channels.failed.publish({ error, session });
      tell(() => onError?.(error, session));
    },
  };
  let session: LiveSession<In, Out> | undefined;
  const onAbort = (): void => session?.abort(signal?.reason);
  const { port, host, path, localAddress, localPort, family, tls, connectTimeoutMs = 10_000 } = options;
  if (tls !== undefined && tls !== true && 'onDemand' in tls) throw badOption('tls.onDemand is not for sessions');
  await connect<Endpoint>({
    ...{ port, hostname: host, path, localAddress, localPort, family, tls, signal, timeoutMs: connectTimeoutMs },
    ...connectionOptions(options, rules),
    ...handlers,
    open(connection) {
      const { remote } = connection;
      const identity = connection.tls?.peer;
      const address = remote && plainAddress(remote.address);
      const peer = { address, port: remote?.port, proxy: undefined, identity };
      session = new LiveSession(connection, peer, setup);
      connection.data = session;
    },
  });
  const open = session as LiveSession<In, Out> | undefined;
  if (open === undefined) throw new Error('connected without open()');
  signal?.addEventListener('abort', onAbort, { once: true });
  if (signal?.aborted === true) onAbort();
  if (channels.opened.hasSubscribers) channels.opened.publish({ session: open });
  return open;
}
