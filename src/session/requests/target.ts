/** What requests can be made on: a session, or a client that has one session after the other. */
import { Peer, type RequestSession } from './peer.ts';

/** Hears of the sessions of a client that reconnects: one at a time. */
export interface SessionFollower {
  /** Connected, and `onConnect` is through. */
  onSession(session: RequestSession): void;
  /** That session is over. */
  onLost(): void;
  /** There will be no other. */
  onEnd(reason: unknown): void;
}

/** A client that reconnects. */
export interface SessionSource {
  /** @param follower is told of the session that is there already, too */
  follow(follower: SessionFollower): void;
}

export type RequestTarget = RequestSession | SessionSource;

export interface PeerFollower {
  onPeer(peer: Peer, isReconnecting: boolean): void;
  onLost(): void;
  onEnd(reason: unknown): void;
}

export function follow(target: RequestTarget, follower: PeerFollower): void {
  if ('follow' in target) {
    target.follow({
      onSession: (session) => follower.onPeer(Peer.of(session), true),
      onLost: () => follower.onLost(),
      onEnd: (reason) => follower.onEnd(reason),
    });
  } else {
    follower.onPeer(Peer.of(target), false);
  }
}
