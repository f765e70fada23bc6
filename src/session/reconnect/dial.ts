/** `dial`, with and without `reconnect`. */
import type { Codec } from '../../framing/index.ts';
import type { Session } from '../api.ts';
import { type DialOptions, dial as dialOnce } from '../dial.ts';
import { sessionRules } from '../limits.ts';
import { checkCommon } from '../serve.ts';
import { type ReconnectingClient, reconnecting } from './client.ts';
import type { ReconnectOptions } from './options.ts';

/** Where to connect: a host and port, or a unix socket. */
export type DialAddress = Pick<DialOptions<never, never>, 'host' | 'port' | 'path'>;

export interface DialReconnectOptions<In, Out> extends DialOptions<In, Out> {
  /**
   * Connects again whenever the connection is lost. `addresses` in place of `host`, `port` and `path`, where there are
   * several; `connectTimeoutMs` and `signal` are those of `dial`.
   */
  reconnect: Omit<ReconnectOptions<In, Out, DialAddress>, 'signal'>;
}

/**
 * Connects; with `reconnect`, whenever the connection is lost.
 *
 * @returns the session, when it is connected; with `reconnect`, the client, at once
 * @throws {MILLRACE_ERR_BAD_OPTION}
 * @throws without `reconnect`: Node's errors (ECONNREFUSED, ETIMEDOUT, ENOTFOUND, …); the signal's reason when it was
 *   aborted
 */
export function dial<In, Out>(
  options: DialReconnectOptions<In, Out>,
): Promise<ReconnectingClient<In, Out, DialAddress>>;
export function dial<In, Out>(options: DialOptions<In, Out> & { reconnect?: undefined }): Promise<Session<In, Out>>;
export async function dial<In, Out>(
  options: DialOptions<In, Out> | DialReconnectOptions<In, Out>,
): Promise<Session<In, Out> | ReconnectingClient<In, Out, DialAddress>> {
  if (!('reconnect' in options) || options.reconnect === undefined) return dialOnce(options);
  const { reconnect, host, port, path, signal, ...rest } = options;
  // What is wrong with the program is said now, and not tried for ever.
  checkCommon(options);
  sessionRules(options.limits, 'client');
  const addresses = reconnect.addresses ?? [{ host, port, path }];
  return reconnecting<In, Out, DialAddress>({
    ...reconnect,
    addresses,
    signal,
    // 0 is none, as in `dial`; the longest there is will do.
    connectTimeoutMs: options.connectTimeoutMs === 0 ? 2 ** 31 - 1 : options.connectTimeoutMs,
    outbox: { sizeOf: (message) => payloadBytes(options.codec, message), ...reconnect.outbox },
    connect: (address, ending) => dialOnce({ ...rest, ...address, signal: ending }),
  });
}

function payloadBytes<Out>(codec: Codec<unknown, Out>, message: Out): number {
  const payload = codec.payload.write(message);
  return typeof payload === 'string' ? Buffer.byteLength(payload) : payload.length;
}
