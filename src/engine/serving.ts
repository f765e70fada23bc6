/**
 * Who listens in this thread, so that all of it can be drained: servers of every tier enter when they begin to listen and
 * leave when they are closed. In: src/net, src/direct, and through it src/session. Out: src/cluster, src/restart.
 */

/** A server that listens. */
export interface Serving {
  /** How many connections it has. */
  readonly connectionCount: number;
  /**
   * Stops accepting (who was accepted already is served), lets its connections come to an end of their own, and destroys
   * what is left after `deadlineMs`.
   * @returns how many were destroyed, when all are closed
   */
  drain(deadlineMs: number): Promise<number>;
}

/** What became of the connections of all servers. */
export interface Drained {
  /** Those that came to an end of their own. */
  readonly closed: number;
  /** Those that were destroyed at the deadline. */
  readonly cut: number;
}

const all = new Set<Serving>();
let beginning = 0;
let waiting: (() => void)[] = [];

export function enter(serving: Serving): void {
  all.add(serving);
}

export function leave(serving: Serving): void {
  all.delete(serving);
}

/** Somebody begins to listen, and can't say at once whether that succeeds. @returns to be called once when it is known */
export function begin(): () => void {
  beginning++;
  return () => {
    if (--beginning > 0) return;
    for (const tell of waiting) tell();
    waiting = [];
  };
}

/** Resolves when nobody is about to listen: all do, or have failed. */
export async function settled(): Promise<void> {
  while (beginning > 0) await new Promise<void>((resolve) => waiting.push(resolve));
}

export function connectionCount(): number {
  let count = 0;
  for (const serving of all) count += serving.connectionCount;
  return count;
}

/** Drains every server that listens now. */
export async function drainAll(deadlineMs: number): Promise<Drained> {
  const count = connectionCount();
  const cuts = await Promise.all([...all].map((serving) => serving.drain(deadlineMs)));
  const cut = cuts.reduce((sum, each) => sum + each, 0);
  return { closed: Math.max(0, count - cut), cut };
}
