/**
 * A handshake under way: the owner of a link that is no connection yet. It has one outcome: the link is secure and somebody
 * else's, or it is closed, for a reason.
 */
import type { IpAddress } from '../engine/address.ts';
import type { Link, LinkOwner } from './link.ts';
import type { SecuringLink } from './security.ts';

/** Whom it tells. */
export interface HandshakeKeeper {
  /** The link belongs to whoever takes it from now on. */
  secured(handshake: Handshake, link: Link): void;
  /** It failed, or was given up (`null`); the link is closed. */
  failed(handshake: Handshake, error: Error | null): void;
}

export class Handshake implements LinkOwner {
  /** Of the peer, while it can still be asked for. */
  readonly remote: IpAddress | undefined;
  readonly isSentInSilence = true;
  readonly #link: SecuringLink;
  readonly #keeper: HandshakeKeeper;
  #error: Error | null = null;

  constructor(link: SecuringLink, keeper: HandshakeKeeper) {
    this.#link = link;
    this.#keeper = keeper;
    this.remote = link.name(true);
    link.owner = this;
  }

  start(): void {
    this.#link.start(null, null);
  }

  giveUp(): void {
    this.#link.close(true);
  }

  onSecure(): void {
    this.#keeper.secured(this, this.#link);
  }

  onTlsFailure(error: Error): void {
    this.#error ??= error;
    this.#link.close(false);
  }

  onError(error: Error): void {
    this.onTlsFailure(error);
  }

  onClosed(): void {
    this.#keeper.failed(this, this.#error);
  }

  onData(): void {}
  onEnd(): void {}
  onSendProgress(): void {}
  onSent(): void {}
  flush(): void {}
}
