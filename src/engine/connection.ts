/**
 * A connected (or connecting) stream socket on the ring: which operations are in flight, and what happens next.
 *
 * In from below: completions, by operation (`complete`). In from above: `connect`, `readStart`, `readStop`, `sendOne`,
 * `sendMany`, `shutdown`, `close`. Out: the abstract `on…` methods, which each tier above implements. This is the state
 * machine of a connection; the files in ops/ say what each operation's entries look like.
 */
import type { AsyncResource } from 'node:async_hooks';
import { type AF, SOCK, USER_OP } from './abi.ts';
import type { ReceiveBuffers } from './buffers.ts';
import type { LargeBuffers } from './large-buffers.ts';
import { submitCancel } from './ops/cancel.ts';
import { submitClose } from './ops/close.ts';
import { completeConnect, submitConnect } from './ops/connect.ts';
import { cancelRecv, completeLargeRecv, completeRecv, submitRecv } from './ops/recv.ts';
import { completeSend, LEAST_SENT_AT_ONCE, type Piece, sendAtOnce, sendMany, sendOne, submitSlot } from './ops/send.ts';
import { completeShutdown, submitShutdown } from './ops/shutdown.ts';
import type { Endpoint } from './slots.ts';
import type { Flushable, Starved, Turn } from './turn.ts';

export { LEAST_SENT_AT_ONCE, type Piece };

export abstract class Connection implements Endpoint, Flushable, Starved {
  readonly turn: Turn;
  /** -1 until there is a descriptor. */
  slot = -1;
  generation = 0;
  /** No TCP: a unix socket, or a pipe. */
  readonly isUnix: boolean;
  /** No socket at all: pipe(2), or a FIFO. */
  readonly isPipe: boolean;
  fd = -1;
  /** The asynchronous context that was current when the connection was made, and is current in all of its calls. */
  context: AsyncResource | null = null;

  /** Operations whose last completion is outstanding. */
  inFlight = 0;
  isReceiving = false;
  isCancellingRecv = false;
  /** The last receive filled its buffer, or nothing was received yet: there may be much more. */
  isFlooded = true;
  /** The descriptor is O_NONBLOCK and had nothing: a poll waits for bytes in place of the receive. */
  isDry = false;
  /** Receives to come that go into a large buffer: see `completeRecv`. */
  largeReceives = 0;
  /** The receive that is armed is into a large buffer. */
  isLarge = false;
  isSending = false;
  /** Likewise, and it had no room. */
  isFull = false;
  isConnecting = false;
  isClosing = false;
  /** Bytes that the kernel has taken. */
  bytesSent = 0;

  // What is being sent: see ops/send.ts.
  sendSlot = -1;
  sendAddress = 0;
  sendLeft = 0;
  /** Keeps the caller's buffers alive while the kernel reads them. */
  pieces: Uint8Array | Uint8Array[] | null = null;

  #wantsRead = false;
  #isRef = true;
  #holdsRead = false;
  #isCloseSubmitted = false;
  /** What came before the connection was ours, and is received first. */
  #head: Uint8Array | null = null;
  #onStopped: (() => void) | null = null;

  /** @param fd an open stream socket or pipe, which belongs to the connection from now on; or -1, and `open` follows */
  constructor(turn: Turn, fd: number, isUnix: boolean, isPipe = false) {
    this.turn = turn;
    this.isUnix = isUnix;
    this.isPipe = isPipe;
    if (fd >= 0) this.open(fd);
  }

  /** Gives a connection without a descriptor one. */
  open(fd: number): void {
    const { slots } = this.turn;
    const slot = slots.take(isClosable(fd) ? fd : -1);
    if (slot < 0) throw new Error('millrace: too many connections in one thread');
    this.fd = fd;
    this.slot = slot;
    this.generation = slots.generations[slot] as number;
    slots.adopt(slot, this);
  }

  // ---- what the owner is told; errno arguments are positive, 0 is success ----

  abstract onConnect(errno: number): void;
  /** `length` bytes from `start` of `buffers.memory`, lent until this returns. @hot */
  abstract onData(buffers: ReceiveBuffers, start: number, length: number): void;
  /** `length` bytes at the start of large buffer `id`, lent until this returns unless it takes them. @hot */
  abstract onLargeData(buffers: LargeBuffers, id: number, length: number): void;
  /** What came before the connection was ours: as if it came now. The bytes are the owner's. */
  abstract onHead(bytes: Buffer): void;
  /** The peer has sent its FIN. */
  abstract onEnd(): void;
  abstract onReadError(errno: number): void;
  /** Some, not all, of the bytes in flight were taken by the kernel. */
  abstract onSendProgress(): void;
  /** The bytes in flight were taken by the kernel, or never will be. @hot */
  abstract onSent(errno: number): void;
  abstract onShutdown(): void;
  /** Whether `onSent(0)` will call no code of the user's. @hot */
  abstract get isSentInSilence(): boolean;
  /** The descriptor is closed; nothing comes after this. */
  abstract onClosed(): void;
  /** Asked for by `turn.flushLater`: whatever was gathered has to be sent now. @hot */
  abstract flush(): void;

  /** Opens a socket that is connected to nothing yet. @returns its descriptor, or `-errno` */
  static socket(turn: Turn, family: (typeof AF)[keyof typeof AF]): number {
    // io_uring waits for readiness by itself; on a non-blocking descriptor it would answer EAGAIN instead.
    const type = SOCK.STREAM | (turn.ring.kind === 'epoll' ? SOCK.NONBLOCK : 0);
    return turn.ring.native.socket(family, type, 0);
  }

  /** @hot */
  complete(operation: number, res: number, flags: number): boolean {
    const { context } = this;
    if (operation === USER_OP.SEND && res === this.sendLeft && this.isSentInSilence) {
      completeSend(this, res);
      return false;
    }
    if (context === null) this.#dispatch(operation, res, flags);
    else context.runInAsyncScope(this.#dispatch, this, operation, res, flags);
    return true;
  }

  /** @hot */
  #dispatch(operation: number, res: number, flags: number): void {
    switch (operation) {
      case USER_OP.RECV:
        completeRecv(this, res, flags);
        break;
      case USER_OP.RECV_LARGE:
        completeLargeRecv(this, res, flags);
        break;
      case USER_OP.SEND:
        completeSend(this, res);
        break;
      case USER_OP.CONNECT:
        this.isConnecting = false;
        completeConnect(this, res);
        break;
      case USER_OP.SHUTDOWN:
        completeShutdown(this);
        break;
      case USER_OP.CANCEL:
        this.inFlight--;
        this.#settleClose();
        break;
      case USER_OP.CLOSE:
        this.#closed();
        break;
      case USER_OP.HEAD:
        this.isReceiving = false;
        this.isCancellingRecv = false;
        this.inFlight--;
        this.#receiveHead();
        break;
    }
  }

  // ---- what the owner asks for ----

  /** Connects to a sockaddr; the answer is `onConnect`. */
  connect(sockaddr: Uint8Array): void {
    this.isConnecting = true;
    submitConnect(this, sockaddr);
  }

  /** Bytes that somebody else has read from this connection, and that are received before all others. */
  preload(bytes: Uint8Array): void {
    if (bytes.byteLength > 0) this.#head = bytes;
  }

  #receiveHead(): void {
    try {
      if (this.#wantsRead) this.#tellHead();
    } finally {
      this.rearm();
    }
  }

  #tellHead(): void {
    const { buffer, byteOffset, byteLength } = this.#head as Uint8Array;
    this.#head = null;
    this.onHead(Buffer.from(buffer, byteOffset, byteLength));
  }

  get isReading(): boolean {
    return this.#wantsRead;
  }

  readStart(): void {
    this.wantRead(true);
    this.rearm();
  }

  /** Bytes that the kernel has given out already still come: a bounded few. */
  readStop(): void {
    this.wantRead(false);
    if (this.isReceiving) cancelRecv(this);
  }

  /** Stops reading, and says when nothing comes any more: what was on its way is told first. Not after `close`. */
  stopped(callback: () => void): void {
    this.#onStopped = callback;
    this.readStop();
    if (!this.isReceiving) this.rearm();
  }

  /** Sends what the kernel takes at once; nothing else may be in flight. @returns how many bytes, or `-errno` @hot */
  sendAtOnce(chunk: Uint8Array): number {
    return sendAtOnce(this, chunk);
  }

  /** Sends bytes; the answer is `onSent`. Nothing else may be in flight. @returns how many @hot */
  sendOne(chunk: Uint8Array | string, encoding: BufferEncoding): number {
    return sendOne(this, chunk, encoding);
  }

  /** Sends pieces in order, with one system call; the answer is `onSent`. @returns how many bytes @hot */
  sendMany(pieces: Piece[]): number {
    return sendMany(this, pieces);
  }

  /** Sends what was put into a slot of the arena, which is given back; the answer is `onSent`. @hot */
  sendSlotted(offset: number, length: number): number {
    return submitSlot(this, offset, length);
  }

  /** Ends the sending side, after the last send's completion; the answer is `onShutdown`. */
  shutdown(): void {
    submitShutdown(this);
  }

  /**
   * Closes the descriptor when nothing is in flight any more; the answer is `onClosed`. What was handed over for sending
   * in this turn still gets its one attempt, since it stands before the cancellation in the queue.
   */
  close(): void {
    if (this.isClosing) return;
    this.isClosing = true;
    this.turn.hold();
    this.wantRead(false);
    if (this.isReceiving) cancelRecv(this);
    if (this.isSending) this.cancel(USER_OP.SEND);
    if (this.isConnecting) this.cancel(USER_OP.CONNECT);
    this.#settleClose();
  }

  ref(): void {
    this.#isRef = true;
    this.#settleRead();
  }

  unref(): void {
    this.#isRef = false;
    this.#settleRead();
  }

  hasRef(): boolean {
    return this.#isRef;
  }

  get isActive(): boolean {
    return this.#holdsRead || (this.#isRef && (this.isConnecting || this.isSending));
  }

  // ---- what the operations call ----

  /** A request (not a receive) is in flight: it keeps the loop alive, as a request of libuv does. @hot */
  begin(): void {
    this.inFlight++;
    this.turn.hold();
  }

  /** @hot */
  end(): void {
    this.inFlight--;
    this.turn.release();
    if (this.isClosing) this.#settleClose();
  }

  cancel(operation: number): void {
    this.inFlight++;
    submitCancel(this.turn, this.fd, this.slot, this.generation, operation);
  }

  wantRead(wants: boolean): void {
    if (this.#wantsRead === wants || (wants && this.isClosing)) return;
    this.#wantsRead = wants;
    this.#settleRead();
  }

  /** Arms the receive if it should be and is not. @hot */
  rearm(): void {
    if (this.isClosing) {
      this.#settleClose();
    } else if (!this.isReceiving) {
      if (this.#head !== null) this.#submitHead();
      else if (this.#wantsRead) submitRecv(this);
      else if (this.#onStopped !== null) this.#tellStopped();
    }
  }

  /** In a turn of its own, as any receive. Whoever stops the connection to hand it on takes the head with it. */
  #submitHead(): void {
    if (this.#wantsRead) {
      this.isReceiving = true;
      this.inFlight++;
      this.turn.completeLater(this, USER_OP.HEAD);
    } else if (this.#onStopped !== null) {
      this.#tellHead();
      this.#tellStopped();
    }
  }

  #tellStopped(): void {
    const callback = this.#onStopped;
    this.#onStopped = null;
    callback?.();
  }

  /** Reading keeps the loop alive, unless unref'd; as an active handle of libuv does. */
  #settleRead(): void {
    const holds = this.#wantsRead && this.#isRef;
    if (holds === this.#holdsRead) return;
    this.#holdsRead = holds;
    if (holds) this.turn.hold();
    else this.turn.release();
  }

  #settleClose(): void {
    if (!this.isClosing || this.inFlight > 0 || this.#isCloseSubmitted) return;
    this.#isCloseSubmitted = true;
    if (isClosable(this.fd)) submitClose(this.turn, this.fd, this.slot, this.generation);
    else this.turn.completeLater(this, USER_OP.CLOSE);
  }

  #closed(): void {
    if (this.slot >= 0) this.turn.slots.free(this.slot);
    this.turn.release();
    this.fd = -1;
    this.onClosed();
  }
}

/** Stdin, stdout and stderr stay open, as in libuv: the next file that is opened must not get such a number. */
const isClosable = (fd: number): boolean => fd > 2;
