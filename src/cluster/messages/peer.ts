/**
 * One other worker, as seen from here: what waits for it, what it has not acknowledged, and what it is interested in.
 *
 * ```
 *   push ──> queue ──────────> in flight ──────> the other's handlers
 *            one batch a turn  until its batches
 *                              are acknowledged
 *            └─ room: max… ──────────────┘  publish waits above high…, until low…
 * ```
 *
 * A port or a channel takes whatever it is given, so the receiver acknowledges each batch when its handlers have
 * returned, and no more than the high marks is in flight. On the link: `[acknowledged batches, batch | undefined]`.
 */
import type { Link } from '../link.ts';
import { Frame, ID_AT, joinFrames, KIND, KIND_AT } from './frame.ts';
import type { MessageRules } from './limits.ts';

/** What a peer needs of the bus. */
export interface PeerOwner {
  readonly rules: MessageRules;
  /** A frame that came in. Throws nothing. */
  receive(peer: Peer, frame: Frame): void;
  /** `flush` is to be called at the end of the turn. */
  schedule(peer: Peer): void;
  /** Its link has closed. */
  gone(peer: Peer): void;
}

interface Batch {
  readonly frames: number;
  readonly bytes: number;
}

interface Waiter {
  /** So many frames must have been acknowledged. */
  readonly frames: number;
  readonly resolve: () => void;
}

export class Peer {
  readonly id: number;
  /** Topics and handlers that the other has, as `bus.ts` writes them. */
  readonly interests: Set<string> = new Set();
  /** Questions of ours without an answer, and messages that it did not get. */
  unanswered = 0;
  dropped = 0;
  isGone = false;
  readonly #owner: PeerOwner;
  readonly #link: Link;
  readonly #queue: Uint8Array[] = [];
  readonly #inFlight: Batch[] = [];
  #queuedBytes = 0;
  #flightBytes = 0;
  #flightFrames = 0;
  /** Frames since the beginning. */
  #pushed = 0;
  #posted = 0;
  #acknowledged = 0;
  /** Batches of the other that it doesn't know to be handled. */
  #owed = 0;
  #isBlocked = false;
  /** News of our interests that wait in the queue: a newer one takes the place of an older one. */
  readonly #news: Map<string, Uint8Array> = new Map();
  #lowWaiters: (() => void)[] = [];
  #waiters: Waiter[] = [];

  constructor(id: number, link: Link, owner: PeerOwner) {
    this.id = id;
    this.#link = link;
    this.#owner = owner;
    link.onMessage = (message) => this.#onMessage(message as [number, Uint8Array | undefined]);
    link.onDrain = () => {
      this.#isBlocked = false;
      owner.schedule(this);
    };
    link.onClosed = () => owner.gone(this);
  }

  get bufferedBytes(): number {
    return this.#queuedBytes + this.#flightBytes;
  }

  get bufferedMessages(): number {
    return this.#queue.length + this.#flightFrames;
  }

  hasRoomFor(bytes: number): boolean {
    const { maxBytes, maxMessages } = this.#owner.rules;
    return this.bufferedBytes + bytes <= maxBytes && this.bufferedMessages < maxMessages;
  }

  get isAboveHigh(): boolean {
    const { highBytes, highMessages } = this.#owner.rules;
    return this.bufferedBytes >= highBytes || this.bufferedMessages >= highMessages;
  }

  /** @returns its number, for `wasPosted` */
  push(frame: Uint8Array): number {
    this.#queue.push(frame);
    this.#queuedBytes += frame.length;
    this.#owner.schedule(this);
    return ++this.#pushed;
  }

  /** Says that an interest of ours begins or ends. However often it changes, only one frame waits. */
  pushInterest(interest: string, frame: Uint8Array): void {
    const waiting = this.#news.get(interest);
    if (waiting !== undefined) {
      waiting.set(frame.subarray(ID_AT, ID_AT + 4), ID_AT);
      return;
    }
    const own = Uint8Array.from(frame);
    this.#news.set(interest, own);
    this.push(own);
  }

  wasPosted(number: number): boolean {
    return number <= this.#posted;
  }

  /** Resolves when no more than the low marks waits, or the other is gone. */
  untilLow(): Promise<void> {
    if (this.isGone || this.#isLow) return Promise.resolve();
    return new Promise((resolve) => this.#lowWaiters.push(resolve));
  }

  /** Resolves when everything up to now was handled by the other, or the other is gone. */
  untilHandled(): Promise<void> {
    if (this.isGone || this.#acknowledged === this.#pushed) return Promise.resolve();
    return new Promise((resolve) => this.#waiters.push({ frames: this.#pushed, resolve }));
  }

  /** Posts what is due: one batch, and what we owe. */
  flush(): void {
    if (this.isGone || this.#isBlocked) return;
    const batch = this.#takeBatch();
    if (batch === undefined && this.#owed === 0) return;
    const owed = this.#owed;
    this.#owed = 0;
    const transfer = batch === undefined ? undefined : [batch.buffer];
    this.#isBlocked = !this.#link.post([owed, batch], transfer);
    if (this.#queue.length > 0 && this.#mayPost) this.#owner.schedule(this);
  }

  /** The other is gone, or we are. Nobody waits for it any more. */
  close(): void {
    this.isGone = true;
    this.#link.close();
    this.#queue.length = this.#inFlight.length = 0;
    this.#queuedBytes = this.#flightBytes = this.#flightFrames = 0;
    this.interests.clear();
    this.#news.clear();
    for (const resolve of this.#lowWaiters.splice(0)) resolve();
    for (const { resolve } of this.#waiters.splice(0)) resolve();
  }

  // -------------------------------------------------------------------------------------------------------------- out

  get #isLow(): boolean {
    const { lowBytes, lowMessages } = this.#owner.rules;
    return this.bufferedBytes <= lowBytes && this.bufferedMessages <= lowMessages;
  }

  get #mayPost(): boolean {
    const { highBytes, highMessages } = this.#owner.rules;
    return this.#flightBytes < highBytes && this.#flightFrames < highMessages;
  }

  /** The next frames: at most a quarter of the high marks, so that acknowledgements come while more is in flight. */
  #takeBatch(): Uint8Array<ArrayBuffer> | undefined {
    if (this.#queue.length === 0 || !this.#mayPost) return undefined;
    const mostBytes = this.#owner.rules.highBytes / 4;
    const mostFrames = Math.max(1, this.#owner.rules.highMessages / 4);
    let count = 0;
    let bytes = 0;
    for (const frame of this.#queue) {
      if (count > 0 && (count + 1 > mostFrames || bytes + frame.length > mostBytes)) break;
      if (frame[KIND_AT] === KIND.INTEREST) this.#news.delete(new Frame(asBuffer(frame), 0).name);
      count++;
      bytes += frame.length;
    }
    const frames = this.#queue.splice(0, count);
    this.#queuedBytes -= bytes;
    this.#flightBytes += bytes;
    this.#flightFrames += count;
    this.#posted += count;
    this.#inFlight.push({ frames: count, bytes });
    return joinFrames(frames, bytes);
  }

  #onAcknowledged(batches: number): void {
    for (const { frames, bytes } of this.#inFlight.splice(0, batches)) {
      this.#flightFrames -= frames;
      this.#flightBytes -= bytes;
      this.#acknowledged += frames;
    }
    if (this.#queue.length > 0) this.#owner.schedule(this);
    if (this.#lowWaiters.length > 0 && this.#isLow) for (const resolve of this.#lowWaiters.splice(0)) resolve();
    while (this.#waiters.length > 0 && (this.#waiters[0] as Waiter).frames <= this.#acknowledged)
      this.#waiters.shift()?.resolve();
  }

  // --------------------------------------------------------------------------------------------------------------- in

  #onMessage([acknowledged, bytes]: [number, Uint8Array | undefined]): void {
    if (acknowledged > 0) this.#onAcknowledged(acknowledged);
    if (bytes === undefined) return;
    const batch = asBuffer(bytes);
    for (let at = 0; at < batch.length && !this.isGone; ) {
      const frame = new Frame(batch, at);
      at = frame.end;
      this.#owner.receive(this, frame);
    }
    this.#owed++;
    this.#owner.schedule(this);
  }
}

function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
}
