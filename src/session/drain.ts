/**
 * Ending a server without hurting anybody: sessions are told goodbye one after the other, so that their clients don't
 * all come back in the same moment; each is closed as soon as nothing of it is in flight; what isn't done by the
 * deadline is cut. The deadline is real time: it is somebody else's, a service manager's.
 */
import type { Hold, Session } from './api.ts';
import { Fifo } from './fifo.ts';
import { ms, number } from './limits.ts';
import type { LiveSession } from './session.ts';
import type { Sweep, Swept } from './sweep.ts';

export interface DrainOptions<In, Out> {
  /** What isn't closed by then is cut. 30,000 unless given. */
  deadlineMs?: number | undefined;
  /** The last message to each session, or who makes it. The server's `goodbye` unless given. */
  goodbye?: Out | ((session: Session<In, Out>) => Out | undefined) | undefined;
  /** The time over which the goodbyes are spread, less than the deadline. 0, all at once, unless given. */
  spreadMs?: number | undefined;
  /**
   * How long a session without work is still heard after its goodbye, unless the peer ends first: what the peer sent before
   * it knew is answered. With the spread, not more than the deadline. 1,000 unless given, or half of what the deadline
   * leaves; without a goodbye there is none.
   */
  graceMs?: number | undefined;
  /** Cuts at once. */
  signal?: AbortSignal | undefined;
}

/** A session that was cut. */
export interface CutSession<In, Out> {
  readonly session: Session<In, Out>;
  /** Whether work was in flight; otherwise the peer just didn't end. */
  readonly wasBusy: boolean;
  readonly unsentBytes: number;
}

export interface DrainResult<In, Out> {
  /** Sessions that came to an end of their own. */
  readonly closed: number;
  readonly cut: readonly CutSession<In, Out>[];
}

/** The longest time that `setInterval` knows. */
const MOST_MS = 2 ** 31 - 1;
const GRACE_MS = 1_000;

export class Drain<In, Out> implements Swept {
  readonly #sweep: Sweep;
  readonly #goodbye: DrainOptions<In, Out>['goodbye'];
  /** Who hasn't been told yet, and when each is due. */
  readonly #untold: { readonly session: LiveSession<In, Out>; readonly atMs: number }[] = [];
  /** Who has been told, is still heard, and until when; the earliest stands first. */
  readonly #graces = new Fifo<{ readonly hold: Hold; readonly untilMs: number }>();
  readonly #graceMs: number;
  readonly #open = new Set<LiveSession<In, Out>>();
  readonly #count: number;
  readonly #cut: CutSession<In, Out>[] = [];
  #isCut = false;
  readonly #deadlineAtMs: number;
  readonly #fail: (error: unknown, session: LiveSession<In, Out>) => void;
  #finish: (() => void) | undefined;

  /** @throws {MILLRACE_ERR_BAD_OPTION} */
  constructor(
    sessions: Iterable<LiveSession<In, Out>>,
    options: DrainOptions<In, Out>,
    sweep: Sweep,
    fail: (error: unknown, session: LiveSession<In, Out>) => void,
  ) {
    const deadlineMs = ms('deadlineMs', options.deadlineMs, 30_000);
    const spreadMs = number('spreadMs', options.spreadMs ?? 0, 0, deadlineMs);
    const leftMs = deadlineMs - spreadMs;
    this.#graceMs = number('graceMs', options.graceMs ?? Math.min(GRACE_MS, leftMs / 2), 0, leftMs);
    for (const session of sessions) this.#open.add(session);
    this.#sweep = sweep;
    this.#goodbye = options.goodbye;
    this.#fail = fail;
    this.#count = this.#open.size;
    const nowMs = sweep.clock.nowMs();
    this.#deadlineAtMs = nowMs + deadlineMs;
    // The first is told now, the last at the end of the spread; the earliest stands last, to be popped.
    const stepMs = spreadMs / Math.max(1, this.#count - 1);
    let atMs = nowMs + spreadMs;
    for (const session of [...this.#open].reverse()) {
      this.#untold.push({ session, atMs });
      atMs -= stepMs;
    }
    const last = this.#untold.at(-1);
    if (last !== undefined) this.#untold[this.#untold.length - 1] = { ...last, atMs: nowMs };
  }

  /** Resolves when all are closed. */
  async run(signal?: AbortSignal): Promise<DrainResult<In, Out>> {
    if (this.#count > 0) {
      const finished = new Promise<void>((resolve) => (this.#finish = resolve));
      const onAbort = (): void => this.#cutAll('the drain was cut short');
      signal?.addEventListener('abort', onAbort, { once: true });
      this.#sweep.add(this);
      // A connection that isn't read keeps no process alive, but whoever waits for the drain wants to see its deadline.
      const alive = setInterval(() => {}, MOST_MS);
      for (const session of this.#open) void session.closed.then(() => this.#onClosed(session));
      if (signal?.aborted === true) onAbort();
      else this.check();
      await finished;
      clearInterval(alive);
      this.#sweep.delete(this);
      signal?.removeEventListener('abort', onAbort);
    }
    return { closed: this.#count - this.#cut.length, cut: this.#cut };
  }

  check(): void {
    const nowMs = this.#sweep.clock.nowMs();
    if (nowMs >= this.#deadlineAtMs) {
      this.#cutAll('the session was not done by the deadline of the drain');
      return;
    }
    while (this.#graces.length > 0 && this.#graces.peek().untilMs <= nowMs) this.#graces.shift().hold.release();
    for (let next = this.#untold.at(-1); next !== undefined && next.atMs <= nowMs; next = this.#untold.at(-1)) {
      this.#untold.pop();
      if (this.#open.has(next.session)) this.#tell(next.session, nowMs);
    }
  }

  #tell(session: LiveSession<In, Out>, nowMs: number): void {
    let goodbye: Out | undefined;
    try {
      goodbye =
        typeof this.#goodbye === 'function'
          ? (this.#goodbye as (session: Session<In, Out>) => Out | undefined)(session)
          : this.#goodbye;
    } catch (error) {
      this.#fail(error, session);
    }
    if (goodbye !== undefined && this.#graceMs > 0)
      this.#graces.push({ hold: session.hold(), untilMs: nowMs + this.#graceMs });
    session.leave('DRAINED', goodbye);
  }

  #cutAll(message: string): void {
    if (this.#isCut) return;
    this.#isCut = true;
    this.#untold.length = 0;
    for (const session of this.#open) {
      this.#cut.push({ session, wasBusy: session.isBusy, unsentBytes: session.bufferedBytes });
      session.cut('DRAIN_DEADLINE', message);
    }
  }

  #onClosed(session: LiveSession<In, Out>): void {
    this.#open.delete(session);
    if (this.#open.size === 0) this.#finish?.();
  }
}
