/**
 * Messages on their way out. As long as the connection's own buffer is below the high marks they are encoded into it,
 * above that they wait here, as whole frames: only these can be dropped or replaced.
 *
 *      send ──> queue (frames) ──> connection (bytes) ──> kernel
 *               maxBytes, policy    highBytes, highFrames
 *               maxFrames
 */
import type { Connection } from '../direct/index.ts';
import type { Codec } from '../framing/index.ts';
import type { SendStatus } from './api.ts';
import { SessionError } from './errors.ts';
import { Fifo } from './fifo.ts';
import type { SessionRules } from './limits.ts';

/** What is needed of a connection. */
export type Outlet = Pick<Connection, 'write' | 'bufferedBytes' | 'bytesWritten'>;

/** About what a frame that waits takes besides its bytes: the entry, and the Buffer. */
const ENTRY_BYTES = 128;

/** A frame that waits. */
interface Entry {
  bytes: Uint8Array;
  readonly key: unknown;
  /** Who waits in `send` for it. */
  waiter: Waiter | undefined;
}

export interface Waiter {
  resolve(): void;
  reject(error: unknown): void;
}

/** Small frames are encoded here and copied by the connection at once; from 4 KiB on it would keep the memory. */
const scratch = Buffer.allocUnsafeSlow(4096);

export class Outgoing<Out> {
  /** Frames given to the connection, and frames that gave way. */
  framesWritten = 0;
  framesDropped = 0;
  /** What the last frame that was offered takes. */
  offeredBytes = 0;
  #codec: Codec<unknown, Out>;
  readonly #connection: Outlet;
  readonly #rules: SessionRules['writeBuffer'];
  readonly #surelyRoomBelow: number;
  readonly #queue = new Fifo<Entry>();
  #queuedBytes = 0;
  #keyed: Map<unknown, Entry> | undefined;
  /** Where the frames end that the connection has, in bytes from its beginning. */
  readonly #ends = new Fifo<number>();
  #givenBytes = 0;
  #waiters: Set<Waiter> | undefined;
  /** The message of the last `offer`, if it waits in the queue. */
  #last: Entry | undefined;
  /** Frames of late were larger than `scratch`. */
  #isLarge = false;

  constructor(codec: Codec<unknown, Out>, connection: Outlet, rules: SessionRules['writeBuffer']) {
    this.#codec = codec;
    this.#connection = connection;
    this.#rules = rules;
    this.#surelyRoomBelow = Math.min(rules.highBytes, rules.highFrames);
  }

  get bufferedBytes(): number {
    return this.#connection.bufferedBytes + this.#queuedBytes;
  }

  /** What it takes of the memory: many small frames take more than their bytes. */
  get heldBytes(): number {
    return this.bufferedBytes + ENTRY_BYTES * this.#queue.length;
  }

  get queuedFrames(): number {
    return this.#queue.length;
  }

  get bufferedFrames(): number {
    return this.#queue.length + this.#framesInConnection();
  }

  get isFull(): boolean {
    // A frame has a byte at least: below that there is nothing to be counted.
    if (this.bufferedBytes < this.#surelyRoomBelow) return false;
    return this.bufferedBytes >= this.#rules.highBytes || this.bufferedFrames >= this.#rules.highFrames;
  }

  set codec(codec: Codec<unknown, Out>) {
    this.#codec = codec;
  }

  /**
   * Takes a message, or doesn't.
   *
   * @returns also `overflow`: the policy is to close
   * @hot bench/session.ts, echo
   */
  offer(message: Out, key: unknown): SendStatus | 'overflow' {
    this.#last = undefined;
    if (this.#queue.length > 0 || this.isFull) return this.#enqueue(this.#codec.encode(message), key);
    const bytes = this.#give(message);
    if (bytes < 0) return 'dropped';
    this.offeredBytes = bytes;
    this.#given(bytes);
    return this.isFull ? 'queued' : 'sent';
  }

  /** The same for a frame that is encoded already, and may belong to many sessions. */
  offerFrame(frame: Uint8Array, key: unknown): SendStatus | 'overflow' {
    this.#last = undefined;
    if (this.#queue.length > 0 || this.isFull) return this.#enqueue(frame, key);
    if (this.#connection.write(frame) === 'dropped') return 'dropped';
    this.offeredBytes = frame.length;
    this.#given(frame.length);
    return this.isFull ? 'queued' : 'sent';
  }

  /** The wait of a message that was just `queued`. */
  wait(waiter: Waiter): void {
    this.#waiters ??= new Set();
    this.#waiters.add(waiter);
    if (this.#last !== undefined) this.#last.waiter = waiter;
  }

  /** A wait that is over for other reasons. */
  forget(waiter: Waiter): void {
    this.#waiters?.delete(waiter);
  }

  /** The connection has room again. */
  drained(): void {
    while (this.#queue.length > 0 && !this.#isConnectionFull()) this.#giveQueued();
    const { lowBytes, lowFrames } = this.#rules;
    const waiters = this.#waiters;
    if (waiters === undefined || this.bufferedBytes > lowBytes || this.bufferedFrames > lowFrames) return;
    this.#waiters = undefined;
    for (const waiter of waiters) waiter.resolve();
  }

  /** Gives everything to the connection: our side is about to end. */
  flush(): void {
    while (this.#queue.length > 0) this.#giveQueued();
  }

  /** Nothing can be sent any more, and so many bytes were lost. */
  finish(error: Error, lostBytes: number): void {
    this.#queue.clear();
    this.#keyed = undefined;
    this.#queuedBytes = 0;
    for (const waiter of this.#waiters ?? []) {
      if (lostBytes > 0) waiter.reject(error);
      else waiter.resolve();
    }
    this.#waiters = undefined;
  }

  // ------------------------------------------------------------------------------------------------ to the connection

  /** Encodes into the connection. @returns the bytes of the frame, or -1 if it takes none. @hot bench/session.ts, echo */
  #give(message: Out): number {
    if (!this.#isLarge) {
      const end = this.#codec.encodeInto(message, scratch);
      if (end >= 0) return this.#connection.write(scratch.subarray(0, end)) === 'dropped' ? -1 : end;
      this.#isLarge = true;
    }
    let bytes = 0;
    for (const piece of this.#codec.pieces(message)) {
      if (this.#connection.write(piece) === 'dropped') return -1;
      bytes += piece.length;
    }
    this.#isLarge = bytes > scratch.length;
    return bytes;
  }

  #giveQueued(): void {
    const { bytes } = this.#shift();
    this.#connection.write(bytes);
    this.#given(bytes.length);
  }

  #given(bytes: number): void {
    this.framesWritten++;
    if (this.#connection.bufferedBytes <= bytes) this.#ends.clear();
    this.#givenBytes += bytes;
    this.#ends.push(this.#givenBytes);
  }

  #isConnectionFull(): boolean {
    const { highBytes, highFrames } = this.#rules;
    return this.#connection.bufferedBytes >= highBytes || this.#framesInConnection() >= highFrames;
  }

  #framesInConnection(): number {
    const takenBytes = this.#connection.bytesWritten;
    while (this.#ends.length > 0 && this.#ends.peek() <= takenBytes) this.#ends.shift();
    return this.#ends.length;
  }

  // -------------------------------------------------------------------------------------------------------- the queue

  #enqueue(bytes: Uint8Array, key: unknown): SendStatus | 'overflow' {
    this.offeredBytes = bytes.length + ENTRY_BYTES;
    const older = key === undefined ? undefined : this.#keyed?.get(key);
    const { maxBytes, onOverflow } = this.#rules;
    if (older !== undefined && this.bufferedBytes - older.bytes.length + bytes.length <= maxBytes) {
      this.framesDropped++;
      this.#queuedBytes += bytes.length - older.bytes.length;
      older.bytes = bytes;
      return 'queued';
    }
    // Only if that helps: what the connection has can't give way.
    if (onOverflow === 'dropOldest' && this.#connection.bufferedBytes + bytes.length <= maxBytes) {
      while (!this.#hasRoom(bytes.length)) this.#dropOldest();
    }
    if (!this.#hasRoom(bytes.length)) {
      if (onOverflow === 'close') return 'overflow';
      this.framesDropped++;
      return 'dropped';
    }
    this.#last = { bytes, key, waiter: undefined };
    this.#queue.push(this.#last);
    this.#queuedBytes += bytes.length;
    if (key !== undefined) {
      this.#keyed ??= new Map();
      this.#keyed.set(key, this.#last);
    }
    return 'queued';
  }

  /** Takes out the oldest frame. A newer one of its key, for which there was no room in its place, keeps the key. */
  #shift(): Entry {
    const entry = this.#queue.shift();
    if (entry.key !== undefined && this.#keyed?.get(entry.key) === entry) this.#keyed.delete(entry.key);
    this.#queuedBytes -= entry.bytes.length;
    return entry;
  }

  #hasRoom(bytes: number): boolean {
    const { maxBytes, maxFrames } = this.#rules;
    return this.bufferedBytes + bytes <= maxBytes && this.#queue.length < maxFrames;
  }

  #dropOldest(): void {
    const { waiter } = this.#shift();
    this.framesDropped++;
    if (waiter === undefined) return;
    this.forget(waiter);
    waiter.reject(new SessionError('DROPPED', 'the message gave way to a newer one: more waits to be sent than may'));
  }
}
