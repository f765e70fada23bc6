/**
 * Where listening sockets come from, and who else may have them. Whoever runs several processes or threads (a group of
 * workers, a restart) puts a source in front of bind(2); servers of all tiers ask it before they bind by themselves.
 *
 * ```
 *  server.listen ─> askSource ─┬─ a descriptor: somebody else has bound it           ─> Listener accepts from it
 *                              ├─ an inlet: somebody else accepts, and brings them   ─> Listener.deliver(fd, head)
 *                              └─ nothing: bind it yourself                          ─> openListener
 * ```
 */
import type { Place } from './open-listener.ts';

/** Brings connections to a listener that has no socket of its own. */
export interface Inlet {
  /** Of the address that the connections come to, as getsockname(2) writes it. */
  readonly sockaddr: Uint8Array;
  /** `taker.deliver` may be called from now on. Called once. */
  start(taker: Taker): void;
  /** `taker.deliver` takes nothing any more. Called once, also when `start` never was. */
  stop(): void;
}

/** Who takes the connections of an inlet: a `Listener`. */
export interface Taker {
  /**
   * A connection, which is the taker's if it says so; `head` is what was read from it already, and is received first.
   * @returns false: it is full (`maxConnections`), stopped or closed, and the descriptor is still the caller's
   */
  deliver(fd: number, head?: Uint8Array): boolean;
  /** One connection more would not be taken. */
  readonly isFull: boolean;
}

/** What to listen with: a listening socket, which is the asker's from now on, or an inlet. */
export type Offer =
  | {
      readonly fd: number;
      /** Others accept from the same socket at the same time. */
      readonly isShared: boolean;
      /** Of a unix socket: its path is removed by somebody else. */
      readonly keepsPath: boolean;
    }
  | { readonly inlet: Inlet };

type Answer = Offer | number | undefined;

export interface ListenerSource {
  /** Asked also for what is to be listened on exclusively. */
  readonly answersExclusive?: boolean;
  /**
   * @param place as it was asked for; a name was looked up already
   * @returns what to listen with; `-errno`, with which listening fails; `undefined`: bind it yourself
   */
  open(place: Readonly<Place>, backlog: number, isExclusive?: boolean): Answer | Promise<Answer>;
}

let source: ListenerSource | undefined;

/** Asks `next` from now on in this thread, or nobody. @returns who was asked before */
export function setListenerSource(next: ListenerSource | undefined): ListenerSource | undefined {
  const previous = source;
  source = next;
  return previous;
}

/** Whether anybody is asked. */
export const hasListenerSource = (): boolean => source !== undefined;

/** Asks the source of this thread, if there is one. A promise rejects only for a defect of the source. */
export function askSource(place: Readonly<Place>, backlog: number, isExclusive = false): Answer | Promise<Answer> {
  if (isExclusive && source?.answersExclusive !== true) return undefined;
  return source?.open({ ...place }, backlog, isExclusive);
}

/** A socket that this thread listens on: for whoever hands it to the next process. */
export interface ListeningSocket {
  /** As it was asked for: port 0 stays 0. */
  readonly place: Readonly<Place>;
  readonly fd: number;
  /** Others accept from it, too, from now on; or nobody else does any more. */
  share(isShared: boolean): void;
  /** Of a unix socket: closing does not remove the path. */
  keepsPath: boolean;
}

/** All of this thread, in the order in which they began to listen. */
export const listeningSockets: Set<ListeningSocket> = new Set();

// ---- listening without accepting yet ----

interface Accepting {
  accept(): void;
}

let waiting: Set<Accepting> | undefined;

/**
 * Nobody in this thread accepts until the function that is returned is called: addresses are bound, `listening` is told,
 * and connections wait in the backlog.
 */
export function holdAccepting(): () => void {
  const held = new Set<Accepting>();
  waiting = held;
  return () => {
    if (waiting !== held) return;
    waiting = undefined;
    for (const each of held) each.accept();
  };
}

/** Whether a listener has to wait; it is told then. */
export function mustWait(listener: Accepting): boolean {
  waiting?.add(listener);
  return waiting !== undefined;
}

export function waitNoMore(listener: Accepting): void {
  waiting?.delete(listener);
}
