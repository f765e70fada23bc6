/** How a client reconnects. */
import type { Session } from '../api.ts';
import { badOption } from '../errors.ts';
import type { BackoffOptions } from './backoff.ts';
import type { OutboxOptions } from './outbox.ts';

/** Where time comes from: the system, or a test that moves it. */
export interface ReconnectClock {
  /** Milliseconds since whenever; never goes back. */
  nowMs(): number;
  /** Calls `run` once, unless the returned function is called before. */
  after(delayMs: number, run: () => void): () => void;
}

/** A client that waits for its next attempt keeps the process alive, as one that is connected does. */
export const systemReconnectClock: ReconnectClock = {
  nowMs: () => performance.now(),
  after(delayMs, run) {
    const timer = setTimeout(run, delayMs);
    return () => clearTimeout(timer);
  },
};

export interface ReconnectOptions<In, Out, Address> extends BackoffOptions {
  /** Where to connect. One that fails doesn't stop the others: an attempt goes through all of them. */
  addresses?: readonly Address[] | undefined;
  /** `shuffled`: in another order in each attempt, which spreads clients over servers. `inOrder` unless given. */
  order?: 'inOrder' | 'shuffled' | undefined;
  /** Attempts in a row without a connection that lasted; then the client gives up. No limit unless given. */
  maxAttempts?: number | undefined;
  /** A connection that lived this long has lasted: the next wait is a short one again. 10,000 unless given. */
  stableMs?: number | undefined;
  /**
   * Whether to go on after a failure: the error of connecting, what `onConnect` threw, or the `SessionCloseReason`. A
   * peer that says one isn't wanted should be believed.
   */
  shouldRetry?: ((cause: unknown) => boolean) | undefined;
  /**
   * Called with each new session before anything else is sent on it: logs in, subscribes again. It may send and receive.
   * When it throws, or isn't through within `connectTimeoutMs`, the attempt has failed.
   */
  onConnect?:
    | ((session: Session<In, Out>, context: { readonly address: Address; readonly signal: AbortSignal }) => unknown)
    | undefined;
  outbox?: OutboxOptions<Out> | undefined;
  /** Ends it, as `abort()`. */
  signal?: AbortSignal | undefined;
  /** For tests. */
  clock?: ReconnectClock | undefined;
  /** From 0 to 1, without 1. For tests; `Math.random` unless given. */
  random?: (() => number) | undefined;
}

export interface ReconnectingOptions<In, Out, Address> extends ReconnectOptions<In, Out, Address> {
  addresses: readonly Address[];
  /** Makes one connection. Must be settled soon after the signal is aborted; the next attempt waits for that. */
  connect(address: Address, signal: AbortSignal): Promise<Session<In, Out>>;
  /** For connecting and `onConnect` together. 10,000 unless given. */
  connectTimeoutMs?: number | undefined;
}

/** @throws {MILLRACE_ERR_BAD_OPTION} */
export function checkReconnecting<In, Out, Address>(options: ReconnectingOptions<In, Out, Address>): void {
  const { addresses, order, maxAttempts = 1, stableMs = 0, connectTimeoutMs = 1 } = options;
  if (!Array.isArray(addresses) || addresses.length === 0) throw badOption('reconnect.addresses: there are none');
  if (order !== undefined && order !== 'inOrder' && order !== 'shuffled') throw badOption(`reconnect.order: ${order}`);
  if (!(maxAttempts >= 1)) throw badOption(`reconnect.maxAttempts: ${maxAttempts}`);
  if (!(stableMs >= 0)) throw badOption(`reconnect.stableMs: ${stableMs}`);
  if (!(connectTimeoutMs > 0 && connectTimeoutMs < 2 ** 31)) throw badOption(`connectTimeoutMs: ${connectTimeoutMs}`);
}
