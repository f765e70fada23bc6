/**
 * Asking a silent peer whether it is there. Three things look alike from outside and are told apart:
 *
 * - The peer is silent: what we sent has left, and nothing came back. `PEER_SILENT`.
 * - The pipe is full: our bytes wait and the peer takes none. `PEER_NOT_READING`. While it takes some it is alive.
 * - Our own event loop was blocked: time stands still for limits (sweep.ts), so it closes nobody; `metrics().loop`.
 */
import { badOption } from './errors.ts';
import { number } from './limits.ts';

export interface Heartbeat<In, Out = In> {
  /** How long the peer may be silent until it is asked. Any byte of it counts as a sign of life. */
  intervalMs: number;
  /** How long the answer may take, at least 250. */
  timeoutMs: number;
  /** The message that asks; or what to do instead, such as a request of a protocol above. */
  ping: Out | (() => Out | undefined);
  /** Messages that are answers: the consumer doesn't get them. */
  isPong?: ((message: In) => boolean) | undefined;
  /** The answer to the peer's own asking: what it returns is sent at once, and the consumer doesn't get the message. */
  answer?: ((message: In) => Out | undefined) | undefined;
}

/** @throws {MILLRACE_ERR_BAD_OPTION} */
export function checkHeartbeat(heartbeat: Heartbeat<never, unknown> | undefined): void {
  if (heartbeat === undefined) return;
  number('heartbeat.intervalMs', heartbeat.intervalMs, 1);
  number('heartbeat.timeoutMs', heartbeat.timeoutMs, 250);
  if (heartbeat.ping === undefined) throw badOption('heartbeat.ping is the message that asks, or a function');
}
