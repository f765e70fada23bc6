/**
 * A connection whose TLS handshake isn't done: it is no session yet, and counts in the limits of the server. Its time limit
 * and its memory are those of the direct tier.
 */
import type { CloseReason } from '../direct/index.ts';
import type { RefusalReason } from './reasons.ts';
import type { Endpoint } from './session.ts';

/** What becomes of the connection. */
interface Outcome {
  /** The handshake is done, and the peer was accepted. */
  admit(): void;
  /** It has failed. The connection is closed. */
  refuse(reason: RefusalReason, message: string, cause: unknown): void;
  /** It was closed here, for another reason. */
  gone(): void;
}

export class TlsStage implements Endpoint {
  readonly #outcome: Outcome;
  #isOver = false;

  constructor(outcome: Outcome) {
    this.#outcome = outcome;
  }

  onSecure(): void {
    this.#isOver = true;
    this.#outcome.admit();
  }

  onClose(reason: CloseReason): void {
    if (this.#isOver) return;
    this.#isOver = true;
    const error = 'error' in reason ? (reason.error as NodeJS.ErrnoException) : undefined;
    if (error === undefined) {
      this.#outcome.gone();
      return;
    }
    const isLate = error.code === 'ERR_TLS_HANDSHAKE_TIMEOUT';
    const message = `the TLS handshake failed: ${error.code ?? error.message}`;
    this.#outcome.refuse(isLate ? 'TLS_HANDSHAKE_TIMEOUT' : 'TLS_HANDSHAKE_FAILED', message, error);
  }

  onData(): void {}
  onDrain(): void {}
  onEnd(): void {}
}
