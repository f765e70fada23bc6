/**
 * What `detach` makes and `attach` takes: a plain object that can be sent to another thread of the process with
 * `postMessage`, as data. The descriptor is the ticket's until one `attach` or `discard` claims it.
 */
import { coded } from './errors.ts';

interface Claimable {
  /** In the table of this process. */
  readonly fd: number;
  /** Shared by all copies of the ticket: 1 when it is claimed. */
  readonly claim: SharedArrayBuffer;
}

export interface SocketTicket extends Claimable {
  readonly kind: 'socket';
  readonly allowHalfOpen: boolean;
  /** `end()` was called: nothing can be written any more. */
  readonly isEnded: boolean;
  /** What was received and not read, in order. */
  readonly received: Uint8Array;
}

export interface ServerTicket extends Claimable {
  readonly kind: 'server';
  /** The path of a unix socket, which the server that closes removes. */
  readonly path: string | undefined;
  /** As for `createServer`. */
  readonly options: {
    readonly allowHalfOpen: boolean;
    readonly pauseOnConnect: boolean;
    readonly noDelay: boolean;
    readonly keepAlive: boolean;
    readonly keepAliveInitialDelay: number;
    readonly highWaterMark: number;
  };
}

export type Ticket = SocketTicket | ServerTicket;

export interface AttachOptions {
  /** A socket: instead of what it was. */
  allowHalfOpen?: boolean | undefined;
  /** A socket: the buffers of the stream, in bytes. */
  highWaterMark?: number | undefined;
  /** A socket: begins paused, and nothing is read before `resume()`. Default false. */
  pauseOnConnect?: boolean | undefined;
  /** A socket is destroyed, a server closed, when it is aborted. */
  signal?: AbortSignal | undefined;
}

export const openClaim = (): SharedArrayBuffer => new SharedArrayBuffer(4);

/** Whoever gets through here owns the descriptor. */
export function claim(ticket: Ticket): void {
  const given = ticket as Partial<Ticket> | null | undefined;
  const isTicket =
    (given?.kind === 'socket' || given?.kind === 'server') &&
    Number.isInteger(given.fd) &&
    given.claim instanceof SharedArrayBuffer;
  if (!isTicket) throw ticketError('this is not a ticket of detach(), or lost its claim on the way');
  if (Atomics.exchange(new Int32Array(ticket.claim), 0, 1) !== 0) throw ticketError('the ticket was used already');
}

const ticketError = (message: string): Error => coded(Error, 'MILLRACE_ERR_TICKET', message);
export const detachError = (message: string): Error => coded(Error, 'MILLRACE_ERR_DETACH', message);
