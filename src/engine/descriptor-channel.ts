/**
 * Messages with descriptors over a connected unix stream socket (SCM_RIGHTS in unix(7)), between processes or between the
 * threads of one. A message arrives whole and in order, with its descriptors, or not at all.
 *
 * ```
 *  length (4, little endian) | descriptors (2) | mark (2) | payload          the descriptors travel with the first byte
 * ```
 *
 * In: `send`. Out: `owner.onMessage`. A descriptor belongs to the channel from `send` until the kernel has taken it, and from
 * its arrival until `onMessage`; it has a slot all that time, so that nothing is left open when a Worker is terminated.
 * The ring only tells when there is something to read or room to write: sendmsg and recvmsg are called here.
 */
import { AsyncResource } from 'node:async_hooks';
import { ERRNO, MOST_RIGHTS, OP, POLL, SOCK, USER_OP, USER_OP_SHIFT } from './abi.ts';
import { ChannelError } from './channel-error.ts';
import type { Native } from './native.ts';
import { submitCancel } from './ops/cancel.ts';
import { submitClose } from './ops/close.ts';
import type { Endpoint } from './slots.ts';
import { errnoException } from './system-errors.ts';
import type { Turn } from './turn.ts';

/** Descriptors of one message. */
export const MOST_DESCRIPTORS: number = MOST_RIGHTS;

/** A message that was not sent, or not delivered; its descriptors are whose who has it. */
export interface ChannelMessage {
  readonly payload: Uint8Array;
  readonly descriptors: readonly number[];
}

/** Who is told. What it throws is an uncaught exception, and the channel goes on. */
export interface ChannelOwner {
  /** The payload is a copy, and the descriptors (close-on-exec) are the owner's from now on. */
  onMessage(payload: Buffer, descriptors: number[]): void;
  /**
   * A message whose last `lost` descriptors the kernel has closed: this process may have no more (EMFILE). Those that came
   * are the owner's. Without this, it is the end of the channel: LOST_DESCRIPTORS.
   */
  onIncomplete?(payload: Buffer, descriptors: number[], lost: number): void;
  /** `isFull` was true and is not any more. */
  onDrain?(): void;
  /**
   * Nothing comes after this. Without an error the peer has closed, or `close` was called here.
   * @param unsent messages that have not left: the owner's, if it takes them; what it leaves in the list is closed
   */
  onClosed(error: ChannelError | undefined, unsent: ChannelMessage[]): void;
}

export interface ChannelOptions {
  /** Of one payload that is received. Default 16 MiB. */
  maxMessageBytes?: number;
  /** `isFull` begins with so many bytes that wait to be sent. Default 1 MiB. */
  highWaterBytes?: number;
}

const HEADER_BYTES = 8;
/** The last two bytes of each header: whoever sends something else does not speak this. */
const MARK = 0x4d52;
const MAX_MESSAGE_BYTES = 16 << 20;
const HIGH_WATER_BYTES = 1 << 20;
/** Descriptors that wait to be sent: each is an open file of this process. */
const HIGH_WATER_DESCRIPTORS = 1024;
/** Receives in a row; then the other connections have their turn. */
const RECEIVES = 32;
/** No event tells when another message with descriptors may be in flight: see `ETOOMANYREFS` in unix(7). */
const TRY_AGAIN_MS = 10;

/** A descriptor and the slot from which teardown would close it. */
interface Held {
  readonly fd: number;
  readonly slot: number;
}

/** What waits to be sent. */
interface Outgoing {
  readonly bytes: Buffer;
  sent: number;
  held: Held[];
}

/** What has come and was not delivered yet. */
interface Incoming {
  readonly payload: Buffer;
  readonly held: Held[];
  readonly lost: number;
}

/** Stands behind the descriptors of a message, of which more were lost. */
const LOST: Held = { fd: -1, slot: -1 };

export class DescriptorChannel implements Endpoint {
  readonly turn: Turn;
  readonly slot: number;
  readonly #generation: number;
  readonly #owner: ChannelOwner;
  readonly #context = new AsyncResource('MILLRACE_CHANNEL', { requireManualDestroy: true });
  readonly #maxMessageBytes: number;
  readonly #highWaterBytes: number;
  #fd: number;
  #inFlight = 0;
  #isPolling = false;
  #isWaitingForRoom = false;
  #isRef = true;
  #isHeld = false;
  #isReading = true;
  #isEnding = false;
  /** Nothing can be sent any more, and what the peer has sent may still be read. */
  #isBroken = false;
  #isClosing = false;
  #error: ChannelError | undefined;
  #timer: NodeJS.Timeout | undefined;
  #wasFull = false;
  // Out.
  #queue: Outgoing[] = [];
  #queuedBytes = 0;
  #queuedDescriptors = 0;
  // In: descriptors that have arrived, the message that is being received, and those that are whole.
  #arrived: Held[] = [];
  readonly #header = Buffer.alloc(HEADER_BYTES);
  #headerFilled = 0;
  #payload: Buffer | null = null;
  #filled = 0;
  #ready: Incoming[] = [];
  #isDelivering = false;
  #hasEnded = false;

  /**
   * Reads from now on, and keeps the loop alive unless unref'd.
   * @param fd one end of a unix stream socket; it belongs to the channel from now on
   * @throws {Error} when this thread has no slot left
   */
  constructor(turn: Turn, fd: number, owner: ChannelOwner, options: ChannelOptions = {}) {
    this.turn = turn;
    this.#fd = fd;
    this.#owner = owner;
    this.#maxMessageBytes = options.maxMessageBytes ?? MAX_MESSAGE_BYTES;
    this.#highWaterBytes = options.highWaterBytes ?? HIGH_WATER_BYTES;
    this.slot = turn.slots.take(fd);
    if (this.slot < 0) throw new Error('millrace: too many connections in one thread');
    this.#generation = turn.slots.generations[this.slot] as number;
    turn.slots.adopt(this.slot, this);
    this.#pollForBytes();
    this.#settleHold();
  }

  // ---- out ----

  /**
   * Sends a message, in order. Once it is taken, its descriptors are the channel's, which closes them when they have left.
   * @returns whether it was taken; if not, because the channel is closed or closing, everything is still the caller's
   * @throws {ChannelError} BAD_MESSAGE for more than 253 descriptors, or one that is not open: nothing was taken
   */
  send(payload: Uint8Array, descriptors: readonly number[] = []): boolean {
    if (this.#isClosing || this.#isEnding || this.#isBroken) return false;
    const { native } = this.turn.ring;
    if (descriptors.length > MOST_RIGHTS)
      throw new ChannelError(
        'BAD_MESSAGE',
        `${descriptors.length} descriptors, and a message has at most ${MOST_RIGHTS}`,
      );
    if (payload.byteLength > 0xffffffff - HEADER_BYTES)
      throw new ChannelError('BAD_MESSAGE', `a payload of ${payload.byteLength} bytes`);
    for (const fd of descriptors) {
      if (!Number.isInteger(fd) || fd < 0 || native.flags(fd) < 0)
        throw new ChannelError('BAD_MESSAGE', `${fd} is not an open descriptor`);
    }
    const bytes = Buffer.allocUnsafeSlow(HEADER_BYTES + payload.byteLength);
    bytes.writeUInt32LE(payload.byteLength, 0);
    bytes.writeUInt16LE(descriptors.length, 4);
    bytes.writeUInt16LE(MARK, 6);
    bytes.set(payload, HEADER_BYTES);
    this.#queue.push({ bytes, sent: 0, held: descriptors.map((fd) => this.#hold(fd)) });
    this.#queuedBytes += bytes.byteLength;
    this.#queuedDescriptors += descriptors.length;
    if (this.#queue.length === 1) this.#flush();
    if (this.isFull) this.#wasFull = true;
    return true;
  }

  /** More waits to be sent than should: wait for `onDrain`. */
  get isFull(): boolean {
    return this.#queuedBytes >= this.#highWaterBytes || this.#queuedDescriptors >= HIGH_WATER_DESCRIPTORS;
  }

  /** Bytes that wait to be sent. */
  get queuedBytes(): number {
    return this.#queuedBytes;
  }

  /** Sends what the kernel takes; the rest when there is room. */
  #flush(): void {
    if (this.#isWaitingForRoom || this.#isBroken || this.#timer !== undefined) return;
    const { native } = this.turn.ring;
    for (let first = this.#queue[0]; first !== undefined && !this.#isClosing; first = this.#queue[0]) {
      const rest = first.sent === 0 ? first.bytes : first.bytes.subarray(first.sent);
      const rights = Int32Array.from(first.held, ({ fd }) => fd);
      const sent = native.sendMessage(this.#fd, rest, rights, NO_ADDRESS);
      if (sent < 0) {
        this.#cannotSend(-sent);
        return;
      }
      first.sent += sent;
      this.#queuedBytes -= sent;
      for (const held of first.held) this.#closeHeld(held); // the kernel has its own
      this.#queuedDescriptors -= first.held.length;
      first.held = [];
      if (first.sent === first.bytes.byteLength) this.#queue.shift();
    }
    if (this.#isEnding && this.#queue.length === 0) this.close();
  }

  #cannotSend(errno: number): void {
    if (errno === ERRNO.EAGAIN || errno === ERRNO.ENOBUFS) {
      this.#isWaitingForRoom = true;
      this.#poll(POLL.OUT, USER_OP.SEND);
    } else if (errno === ERRNO.ETOOMANYREFS || errno === ERRNO.ENOMEM) {
      this.#timer = setTimeout(() => {
        this.#timer = undefined;
        this.#flush();
        this.#tellDrain();
      }, TRY_AGAIN_MS);
      if (!this.#isRef) this.#timer.unref();
    } else {
      const cause = errnoException(errno, 'sendmsg');
      this.#isBroken = true;
      this.#error ??= new ChannelError('PEER_GONE', 'the other end of the channel is gone', { cause });
      if (!this.#isReading) this.#fail(this.#error); // else what it said last comes first
    }
  }

  #tellDrain(): void {
    if (!this.#wasFull || this.isFull || this.#isClosing) return;
    this.#wasFull = false;
    this.#owner.onDrain?.();
  }

  // ---- in ----

  /** Messages come again. */
  readStart(): void {
    if (this.#isReading || this.#isClosing) return;
    this.#isReading = true;
    this.#settleHold();
    // Not from within the caller: what waits comes as any other message does.
    if (this.#ready.length > 0 || this.#hasEnded) this.#later();
    else this.#pollForBytes();
  }

  /** No message comes until `readStart`: the sender is made to wait. */
  readStop(): void {
    this.#isReading = false;
    this.#settleHold();
  }

  complete(operation: number, res: number): boolean {
    this.#context.runInAsyncScope(this.#dispatch, this, operation, res);
    return true;
  }

  #dispatch(operation: number, res: number): void {
    this.#inFlight--;
    if (operation === USER_OP.READY) {
      this.#isPolling = false;
      if (this.#isReading && !this.#isClosing && res !== -ERRNO.ECANCELED) this.#receive();
    } else if (operation === USER_OP.SEND) {
      this.#isWaitingForRoom = false;
      if (!this.#isClosing) {
        this.#flush();
        this.#tellDrain();
      }
    } else if (operation === USER_OP.RECV) {
      if (this.#isReading && !this.#isClosing) this.#deliver();
    } else if (operation === USER_OP.CLOSE) {
      this.#closed();
      return;
    }
    this.#settleClose();
  }

  /** Takes what is there, as bytes; then delivers what is whole. */
  #receive(): void {
    const { native } = this.turn.ring;
    for (let i = 0; i < RECEIVES && !this.#hasEnded; i++) {
      const length = native.receiveMessage(this.#fd, scratch, rights);
      if (length === -ERRNO.EAGAIN || length === -ERRNO.EINTR) break;
      for (let k = 0; k < (rights[0] as number); k++) this.#arrived.push(this.#hold(rights[2 + k] as number));
      if (length <= 0) {
        this.#end(length);
      } else if (rights[1] !== 0 && this.#owner.onIncomplete === undefined) {
        this.#stop(
          new ChannelError(
            'LOST_DESCRIPTORS',
            'descriptors were lost on their way: this process may have no more (EMFILE)',
          ),
        );
      } else {
        if (rights[1] !== 0) this.#arrived.push(LOST);
        this.#parse(scratch, length);
      }
    }
    this.#deliver();
  }

  /** The stream ends here: in order between two messages, when nothing more was to be said to the peer. */
  #end(length: number): void {
    const isWhole = this.#headerFilled === 0 && this.#arrived.length === 0;
    if (length === 0 && !isWhole) {
      this.#stop(new ChannelError('TRUNCATED', 'the channel ended in the middle of a message'));
    } else if (length < 0 || this.#queue.length > 0) {
      const data = length < 0 ? { cause: errnoException(-length, 'recvmsg') } : {};
      this.#stop(new ChannelError('PEER_GONE', 'the other end of the channel is gone', data));
    } else {
      this.#stop(undefined);
    }
  }

  /** Nothing is received any more; what has come whole is delivered first. */
  #stop(error: ChannelError | undefined): void {
    this.#hasEnded = true;
    this.#error ??= error;
  }

  #parse(bytes: Buffer, length: number): void {
    let at = 0;
    while (at < length && !this.#hasEnded) {
      if (this.#payload === null) {
        const count = Math.min(HEADER_BYTES - this.#headerFilled, length - at);
        bytes.copy(this.#header, this.#headerFilled, at, at + count);
        this.#headerFilled += count;
        at += count;
        if (this.#headerFilled < HEADER_BYTES) break;
        if (!this.#begin()) return;
      }
      const payload = this.#payload as unknown as Buffer;
      const count = Math.min(payload.byteLength - this.#filled, length - at);
      bytes.copy(payload, this.#filled, at, at + count);
      this.#filled += count;
      at += count;
      if (this.#filled < payload.byteLength) break;
      this.#finish(payload);
    }
    // At most those of the message that is on its way may have come before they are due.
    const isMidway = this.#headerFilled > 0;
    if (!this.#hasEnded && this.#arrived.length > (isMidway ? MOST_RIGHTS + 1 : 0))
      this.#stop(new ChannelError('BAD_FRAME', 'descriptors that belong to no message'));
  }

  /** The header is there. @returns whether it is one */
  #begin(): boolean {
    const length = this.#header.readUInt32LE(0);
    if (this.#header.readUInt16LE(6) !== MARK || this.#header.readUInt16LE(4) > MOST_RIGHTS) {
      this.#stop(new ChannelError('BAD_FRAME', 'the other end speaks something else'));
      return false;
    }
    if (length > this.#maxMessageBytes) {
      const message = `a message of ${length} bytes is over the limit of ${this.#maxMessageBytes}`;
      this.#stop(new ChannelError('MESSAGE_TOO_LARGE', message));
      return false;
    }
    this.#payload = Buffer.allocUnsafeSlow(length);
    this.#filled = 0;
    return true;
  }

  #finish(payload: Buffer): void {
    const count = this.#header.readUInt16LE(4);
    this.#headerFilled = 0;
    this.#payload = null;
    const end = this.#arrived.indexOf(LOST);
    if (end >= 0 && end < count) {
      const held = this.#arrived.splice(0, end + 1).slice(0, -1);
      this.#ready.push({ payload, held, lost: count - end });
    } else if (count > this.#arrived.length) {
      this.#stop(new ChannelError('LOST_DESCRIPTORS', `${this.#arrived.length} of ${count} descriptors have come`));
    } else {
      this.#ready.push({ payload, held: this.#arrived.splice(0, count), lost: 0 });
    }
  }

  /** Also when a callback throws, or stops reading, nothing is lost and the order stays. */
  #deliver(): void {
    if (this.#isDelivering) return;
    this.#isDelivering = true;
    try {
      while (this.#ready.length > 0 && this.#isReading && !this.#isClosing) {
        const { payload, held, lost } = this.#ready.shift() as Incoming;
        const descriptors = held.map((each) => this.#release(each));
        if (lost > 0) this.#owner.onIncomplete?.(payload, descriptors, lost);
        else this.#owner.onMessage(payload, descriptors);
      }
    } finally {
      this.#isDelivering = false;
      if (this.#isReading && !this.#isClosing) {
        if (this.#ready.length > 0) this.#later();
        else if (this.#hasEnded) this.#fail(this.#error);
        else this.#pollForBytes();
      }
    }
  }

  /** Delivers in a callback of its own. */
  #later(): void {
    this.#inFlight++;
    this.turn.completeLater(this, USER_OP.RECV);
  }

  // ---- the ring ----

  #pollForBytes(): void {
    if (this.#isPolling) return;
    this.#isPolling = true;
    this.#poll(POLL.IN, USER_OP.READY);
  }

  #poll(events: number, operation: number): void {
    this.#inFlight++;
    const userLow = this.slot | (operation << USER_OP_SHIFT);
    this.turn.ring.push(OP.POLL_ADD, this.#fd, 0, 0, 0, events, userLow, this.#generation, 0);
  }

  // ---- descriptors ----

  #hold(fd: number): Held {
    return { fd, slot: this.turn.slots.take(fd) };
  }

  /** It is somebody else's from now on. */
  #release({ fd, slot }: Held): number {
    if (slot >= 0) this.turn.slots.free(slot);
    return fd;
  }

  #closeHeld(held: Held): void {
    if (held === LOST) return;
    this.turn.ring.native.closeDescriptor(this.#release(held));
  }

  // ---- the end ----

  /** Takes no more to send, and closes when all of it has left. Messages still come meanwhile. */
  end(): void {
    if (this.#isEnding || this.#isClosing) return;
    this.#isEnding = true;
    if (this.#queue.length === 0) this.close();
  }

  /** Closes now; the answer is `onClosed`. Messages that have come and were not delivered are dropped. */
  close(): void {
    this.#fail(undefined);
  }

  #fail(error: ChannelError | undefined): void {
    if (this.#isClosing) return;
    this.#error = error;
    this.#isClosing = true;
    clearTimeout(this.#timer);
    this.turn.hold();
    this.#settleHold();
    if (this.#isPolling) this.#cancel(USER_OP.READY);
    if (this.#isWaitingForRoom) this.#cancel(USER_OP.SEND);
    for (const { held } of this.#ready) this.#arrived.push(...held);
    for (const held of this.#arrived) this.#closeHeld(held);
    this.#ready = [];
    this.#arrived = [];
    this.#settleClose();
  }

  #cancel(operation: number): void {
    this.#inFlight++;
    submitCancel(this.turn, this.#fd, this.slot, this.#generation, operation);
  }

  /** close(2) comes last, when no poll is in flight. */
  #settleClose(): void {
    if (!this.#isClosing || this.#inFlight > 0) return;
    this.#inFlight++;
    submitClose(this.turn, this.#fd, this.slot, this.#generation);
  }

  #closed(): void {
    this.#fd = -1;
    this.turn.slots.free(this.slot);
    this.turn.release();
    this.#context.emitDestroy();
    // What left in part is lost: its descriptors are with the peer, or gone with it.
    const whole = this.#queue.filter(({ sent }) => sent === 0);
    this.#queue = [];
    this.#queuedBytes = 0;
    const unsent: ChannelMessage[] = whole.map(({ bytes, held }) => ({
      payload: bytes.subarray(HEADER_BYTES),
      descriptors: held.map((each) => this.#release(each)),
    }));
    try {
      this.#owner.onClosed(this.#error, unsent);
    } finally {
      for (const { descriptors } of unsent) for (const fd of descriptors) this.turn.ring.native.closeDescriptor(fd);
    }
  }

  /** A channel that reads keeps the loop alive. */
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

  #settleHold(): void {
    const holds = this.#isRef && this.#isReading && !this.#isClosing;
    if (holds === this.#isHeld) return;
    this.#isHeld = holds;
    if (holds) this.turn.hold();
    else this.turn.release();
  }
}

const scratch = Buffer.allocUnsafeSlow(65536);
const rights = new Int32Array(2 + MOST_RIGHTS);
const NO_ADDRESS = new Uint8Array(0);

// ---- the two ends ----

/**
 * The end of a channel that is meant for somebody else. A child process gets it by its number, as an entry of `stdio`, and
 * `discardEnd` follows; a Worker gets the whole object, and takes it with `takeEnd`.
 */
export interface ChannelEnd {
  readonly fd: number;
  /** Shared by all copies: 1 when somebody has taken it. */
  readonly claim: SharedArrayBuffer;
}

/** Two ends of a new socket: ours, and the other's. @throws Node's error when there is no descriptor */
export function openEnds(native: Native): [near: number, far: ChannelEnd] {
  const pair = native.socketPair(SOCK.STREAM);
  if (typeof pair === 'number') throw errnoException(-pair, 'socketpair');
  return [pair[0], { fd: pair[1], claim: new SharedArrayBuffer(4) }];
}

/** @returns the descriptor, which is the caller's now; -1 if somebody has it already */
export function takeEnd(end: ChannelEnd): number {
  return Atomics.exchange(new Int32Array(end.claim), 0, 1) === 0 ? end.fd : -1;
}

/** Closes an end, unless somebody has taken it. */
export function discardEnd(native: Native, end: ChannelEnd): void {
  const fd = takeEnd(end);
  if (fd >= 0) native.closeDescriptor(fd);
}

/**
 * The end that this process was started with, as descriptor `fd`: from now on close-on-exec, so that its own children
 * don't keep the channel open.
 * @throws Node's error when there is no such descriptor
 */
export function inheritedEnd(native: Native, fd: number): number {
  const own = native.duplicate(fd);
  if (own < 0) throw errnoException(-own, 'fcntl');
  native.closeDescriptor(fd);
  return own;
}
