/** The types of a group: what it shows of its workers, and what it tells. */

/** How a worker ended. */
export interface WorkerExit {
  /** The exit code; `null` if a signal ended it. */
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  /** What it failed with: its own error where it could tell one. `undefined` if it was drained. */
  readonly error: Error | undefined;
}

/** A worker, seen from the primary. */
export interface WorkerInfo {
  /** 1, 2, 3, …: never the same again. */
  readonly id: number;
  /** Its place in the group, from 0; who replaces it has the same. */
  readonly slot: number;
  /** How often the group was reloaded when it was started. */
  readonly generation: number;
  /** Of a process. */
  readonly pid: number | undefined;
  /** Of a thread. */
  readonly threadId: number | undefined;
  /** `waiting`: it has died, and is started again in a moment. `gaveUp`: it isn't, before a `reload`. */
  readonly state: 'starting' | 'ready' | 'draining' | 'gone' | 'waiting' | 'gaveUp';
  /** Open connections; a moment old. */
  readonly connections: number;
  /** How often the worker in this place was replaced because it died. */
  readonly restarts: number;
  /** What the last one in this place died of. */
  readonly lastError: Error | undefined;
}

/** What a group tells. What these throw is an 'uncaughtException'. */
export interface GroupEvents {
  /** A worker is ready. */
  onOnline?: ((worker: WorkerInfo) => void) | undefined;
  /** A worker has ended. Without it, each that wasn't meant to is a warning of the process. */
  onExit?: ((worker: WorkerInfo, exit: WorkerExit) => void) | undefined;
  /** A worker failed too often and is not started again. Without it: a warning of the process. */
  onGaveUp?: ((worker: WorkerInfo, error: Error) => void) | undefined;
  /** The group was reloaded (`undefined`), or wasn't: the old workers serve. Without it, that is a warning. */
  onReload?: ((error: Error | undefined) => void) | undefined;
}
