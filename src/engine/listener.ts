/**
 * A listening socket on the ring: an accept that is armed while the listener is open, and what happens when the process
 * has no descriptor left for a connection. With an inlet in place of a socket, somebody else accepts.
 */
import { USER_OP } from './abi.ts';
import { SOCKADDR_BYTES } from './address.ts';
import {
  type Inlet,
  type ListeningSocket,
  listeningSockets,
  mustWait,
  type Taker,
  waitNoMore,
} from './listener-source.ts';
import type { Place } from './open-listener.ts';
import { acceptOperation, completeAccept, completeReady, submitAccept } from './ops/accept.ts';
import { submitCancel } from './ops/cancel.ts';
import { submitClose } from './ops/close.ts';
import type { Endpoint } from './slots.ts';
import type { Turn } from './turn.ts';

/** How long a listener waits when there is no descriptor: the first time, and at most. */
const BACK_OFF_MS = 20;
const MOST_BACK_OFF_MS = 1000;

export abstract class Listener implements Endpoint, Taker, ListeningSocket {
  readonly turn: Turn;
  readonly slot: number;
  readonly generation: number;
  readonly isUnix: boolean;
  /** Other processes or threads accept from the same socket: see ops/accept.ts. */
  isShared: boolean;
  keepsPath = false;
  /** -1 with an inlet. */
  fd: number;
  readonly inlet: Inlet | null;
  place!: Readonly<Place>; // see `listed`
  inFlight = 0;
  isAccepting = false;
  isClosing = false;
  #isRef = true;
  #isHeld = false;
  #isClosed = false;
  #isInletStopped = false;
  #backOffMs = BACK_OFF_MS;
  #timer: NodeJS.Timeout | undefined;
  #onStopped: (() => void) | null = null;

  /** @param fd a listening socket, which belongs to the listener from now on; -1 with an inlet */
  constructor(turn: Turn, fd: number, isUnix: boolean, isShared = false, inlet: Inlet | null = null) {
    this.turn = turn;
    this.fd = fd;
    this.isUnix = isUnix;
    this.isShared = isShared;
    this.inlet = inlet;
    this.slot = turn.slots.take(fd);
    if (this.slot < 0) throw new Error('millrace: too many connections in one thread');
    this.generation = turn.slots.generations[this.slot] as number;
    turn.slots.adopt(this.slot, this);
    this.#settleHold();
  }

  /** A connection's descriptor, which is the owner's from now on, and what was read from it already. */
  abstract onAccept(fd: number, head?: Uint8Array): void;
  /** The listener accepts nothing any more. */
  abstract onAcceptError(errno: number): void;
  /** No descriptor or memory for another connection: connections wait in the backlog until the next attempt. */
  abstract onBackOff(errno: number, delayMs: number): void;
  abstract onClosed(): void;
  /** One connection more would be one too many. */
  abstract get isFull(): boolean;

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
    if (this.isAccepting || this.isClosing || this.#onStopped !== null || mustWait(this)) return;
    if (this.inlet === null) {
      submitAccept(this);
      return;
    }
    this.isAccepting = true;
    this.inlet.start(this);
  }

  deliver(fd: number, head?: Uint8Array): boolean {
    if (!this.isAccepting || this.isClosing || this.isFull) return false;
    // Whoever accepted it may run on another engine; and nobody else has it any more.
    this.turn.ring.native.setBlocking(fd, this.turn.ring.kind === 'io_uring');
    this.onAccept(fd, head);
    return true;
  }

  /** The address as getsockname(2) writes it, or `-errno`. */
  sockaddr(): Buffer | number {
    if (this.inlet !== null) return Buffer.from(this.inlet.sockaddr);
    const bytes = Buffer.alloc(SOCKADDR_BYTES);
    const length = this.turn.ring.native.name(this.fd, false, bytes);
    return length < 0 ? length : bytes.subarray(0, length);
  }

  // ---- for others who listen on the same socket ----

  /** Others may be given the socket from now on, as what was asked for with `place`. */
  listed(place: Readonly<Place>): void {
    this.place = place;
    if (this.inlet === null) listeningSockets.add(this);
  }

  share(isShared: boolean): void {
    if (this.isClosing || this.inlet !== null || this.isShared === isShared) return;
    // Armed in the other way; what it is told of its end arms it in the new way.
    if (this.isAccepting) this.#cancelAccept();
    this.isShared = isShared;
    const { native, kind } = this.turn.ring;
    native.setBlocking(this.fd, !isShared && kind === 'io_uring');
  }

  #cancelAccept(): void {
    this.inFlight++;
    submitCancel(this.turn, this.fd, this.slot, this.generation, acceptOperation(this));
  }

  /** Accepts no more, and says when no connection comes any more: those on their way are told first. Not after `close`. */
  stopped(callback: () => void): void {
    this.#onStopped = callback;
    clearTimeout(this.#timer);
    if (this.inlet !== null) this.#stopInlet();
    if (this.isAccepting) this.#cancelAccept();
    else this.#tellStopped();
  }

  #stopInlet(): void {
    this.isAccepting = false;
    if (!this.#isInletStopped) this.inlet?.stop();
    this.#isInletStopped = true;
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
    listeningSockets.delete(this);
    waitNoMore(this);
    if (this.inlet !== null) {
      this.#stopInlet();
      this.inFlight++;
      this.turn.completeLater(this, USER_OP.CLOSE);
      return;
    }
    if (this.isAccepting) this.#cancelAccept();
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
