/**
 * A listening socket on the ring: an accept that is armed while the listener is open, and what happens when the process
 * has no descriptor left for a connection.
 */
import { USER_OP } from './abi.ts';
import { acceptOperation, completeAccept, completeReady, submitAccept } from './ops/accept.ts';
import { submitCancel } from './ops/cancel.ts';
import { submitClose } from './ops/close.ts';
import type { Endpoint } from './slots.ts';
import type { Turn } from './turn.ts';

/** How long a listener waits when there is no descriptor: the first time, and at most. */
const BACK_OFF_MS = 20;
const MOST_BACK_OFF_MS = 1000;

export abstract class Listener implements Endpoint {
  readonly turn: Turn;
  readonly slot: number;
  readonly generation: number;
  readonly isUnix: boolean;
  /** Other processes or threads accept from the same socket: see ops/accept.ts. */
  readonly isShared: boolean;
  fd: number;
  inFlight = 0;
  isAccepting = false;
  isClosing = false;
  #isRef = true;
  #isHeld = false;
  #isClosed = false;
  #backOffMs = BACK_OFF_MS;
  #timer: NodeJS.Timeout | undefined;
  #onStopped: (() => void) | null = null;

  /** @param fd a listening socket; it belongs to the listener from now on */
  constructor(turn: Turn, fd: number, isUnix: boolean, isShared = false) {
    this.turn = turn;
    this.fd = fd;
    this.isUnix = isUnix;
    this.isShared = isShared;
    this.slot = turn.slots.take(fd);
    if (this.slot < 0) throw new Error('millrace: too many connections in one thread');
    this.generation = turn.slots.generations[this.slot] as number;
    turn.slots.adopt(this.slot, this);
    this.#settleHold();
  }

  /** A connection's descriptor, which is the owner's from now on. */
  abstract onAccept(fd: number): void;
  /** The listener accepts nothing any more. */
  abstract onAcceptError(errno: number): void;
  /** No descriptor or memory for another connection: connections wait in the backlog until the next attempt. */
  abstract onBackOff(errno: number, delayMs: number): void;
  abstract onClosed(): void;

  complete(operation: number, res: number, flags: number): boolean {
    if (operation === USER_OP.ACCEPT) {
      if (res >= 0) this.#backOffMs = BACK_OFF_MS;
      completeAccept(this, res, flags);
    } else if (operation === USER_OP.READY) {
      completeReady(this, res);
    } else {
      this.inFlight--; // CANCEL, CLOSE
    }
    if (this.#onStopped !== null && !this.isAccepting) this.#tellStopped();
    this.#settleClosed();
    return true;
  }

  /** Accepts from now on. */
  accept(): void {
    if (!this.isAccepting && !this.isClosing && this.#onStopped === null) submitAccept(this);
  }

  /** Accepts no more, and says when no connection comes any more: those on their way are told first. Not after `close`. */
  stopped(callback: () => void): void {
    this.#onStopped = callback;
    clearTimeout(this.#timer);
    if (!this.isAccepting) {
      this.#tellStopped();
      return;
    }
    this.inFlight++;
    submitCancel(this.turn, this.fd, this.slot, this.generation, acceptOperation(this));
  }

  #tellStopped(): void {
    const callback = this.#onStopped as () => void;
    this.#onStopped = () => {}; // and stays so: nothing is accepted again
    callback();
  }

  /** Tries again later, and later still when that fails, too: a full descriptor table must not spin. */
  backOff(errno: number): void {
    const delayMs = this.#backOffMs;
    this.#backOffMs = Math.min(delayMs * 2, MOST_BACK_OFF_MS);
    this.#timer = setTimeout(() => this.accept(), delayMs);
    if (!this.#isRef) this.#timer.unref();
    this.onBackOff(errno, delayMs);
  }

  close(): void {
    if (this.isClosing) return;
    this.isClosing = true;
    clearTimeout(this.#timer);
    this.turn.hold();
    this.#settleHold();
    if (this.isAccepting) {
      this.inFlight++;
      submitCancel(this.turn, this.fd, this.slot, this.generation, acceptOperation(this));
    }
    // The port has to be free when close() returns, as in Node: entered now, not at the end of the turn. The cancellation
    // goes first, since an accept that is armed holds the file open.
    this.inFlight++;
    submitClose(this.turn, this.fd, this.slot, this.generation);
    this.fd = -1;
    this.turn.ring.enter();
  }

  ref(): void {
    this.#isRef = true;
    this.#timer?.ref();
    this.#settleHold();
  }

  unref(): void {
    this.#isRef = false;
    this.#timer?.unref();
    this.#settleHold();
  }

  hasRef(): boolean {
    return this.#isRef;
  }

  get isActive(): boolean {
    return this.#isHeld;
  }

  #settleHold(): void {
    const holds = this.#isRef && !this.isClosing;
    if (holds === this.#isHeld) return;
    this.#isHeld = holds;
    if (holds) this.turn.hold();
    else this.turn.release();
  }

  #settleClosed(): void {
    if (!this.isClosing || this.inFlight > 0 || this.#isClosed) return;
    this.#isClosed = true;
    this.turn.slots.free(this.slot);
    this.turn.release();
    this.onClosed();
  }
}
