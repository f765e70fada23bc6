/** What happened to a server's connections, by reason, and what went through them. */

import type { ClosingReason, RefusalReason } from './reasons.ts';
import type { LiveSession } from './session.ts';

/** Bytes and frames are of all sessions, closed ones too. */
export interface ServerMetrics {
  /** Sessions that are open now, and connections: those whose PROXY header hasn't come, too. */
  readonly openSessions: number;
  readonly openConnections: number;
  /** Sessions so far. */
  readonly sessions: number;
  readonly refused: Readonly<Partial<Record<RefusalReason, number>>>;
  readonly closed: Readonly<Partial<Record<ClosingReason, number>>>;
  readonly bytesRead: number;
  readonly bytesWritten: number;
  readonly framesRead: number;
  readonly framesWritten: number;
  readonly framesDropped: number;
  /** What waits to be sent now. */
  readonly bufferedBytes: number;
  /** What was accepted and lost with its connection. */
  readonly unsentBytes: number;
  /** How often our own event loop was blocked for more than half a second, and for how long in all. */
  readonly loop: { readonly lateTicks: number; readonly lateMs: number };
}

type Traffic = 'bytesRead' | 'bytesWritten' | 'framesRead' | 'framesWritten' | 'framesDropped';
const traffic = ['bytesRead', 'bytesWritten', 'framesRead', 'framesWritten', 'framesDropped'] as const;

export class Counts {
  sessions = 0;
  unsentBytes = 0;
  readonly refused: Partial<Record<RefusalReason, number>> = {};
  readonly closed: Partial<Record<ClosingReason, number>> = {};
  /** Of sessions that are closed. */
  readonly #past: Record<Traffic, number> = {
    bytesRead: 0,
    bytesWritten: 0,
    framesRead: 0,
    framesWritten: 0,
    framesDropped: 0,
  };

  countRefused(reason: RefusalReason): void {
    this.refused[reason] = (this.refused[reason] ?? 0) + 1;
  }

  countClosed(session: Pick<LiveSession<unknown, unknown>, Traffic>, reason: ClosingReason, unsentBytes: number): void {
    this.closed[reason] = (this.closed[reason] ?? 0) + 1;
    this.unsentBytes += unsentBytes;
    for (const name of traffic) this.#past[name] += session[name];
  }

  /** The traffic of those that are closed and of those that are open. */
  traffic(open: Iterable<Pick<LiveSession<unknown, unknown>, Traffic>>): Record<Traffic, number> {
    const sum = { ...this.#past };
    for (const session of open) for (const name of traffic) sum[name] += session[name];
    return sum;
  }
}
