/**
 * A turn: the completions that wait are given to their owners, and what the owners queued meanwhile is handed over with
 * one system call. This is where bytes enter and leave TypeScript.
 *
 * ```
 *   Node's loop wakes ──> drain: completion ─> owner ─> ticks and promise jobs ─> next completion ─> …
 *                           │                                                       budget spent or queue empty
 *                         flush: gathered writes ─> submissions ─> enter ─> what completed at once is drained, too
 *                           │
 *   Node's loop blocks <── prepare hook: the same flush for what timers, promises and others queued
 * ```
 */
import { CONTROL, CQE, CQE_BUFFER_SHIFT, CQE_F, CQE_WORDS, USER_OP, USER_OP_SHIFT, USER_SLOT_MASK } from './abi.ts';
import { SendArena } from './arena.ts';
import { ReceiveBuffers } from './buffers.ts';
import { LargeBuffers } from './large-buffers.ts';
import type { Native } from './native.ts';
import { Ring, type RingKind } from './ring.ts';
import { type Endpoint, Slots } from './slots.ts';

/**
 * After so many completions, and sends without one, the loop gets its turn, so that timers and other handles live beside
 * a flood. The poll on the ring is level-triggered: it calls again. (No limit in time: a clock for each completion would
 * cost more than it brings, and libuv, too, serves up to 1,024 events before it looks at its timers.)
 */
const BUDGET = 2048;

/** Something that has gathered writes, and turns them into submissions when it is asked to. */
export interface Flushable {
  flush(): void;
}

/** Something that found no receive buffer and is armed again when there are some. */
export interface Starved {
  rearm(): void;
}

/**
 * Runs the ticks and promise jobs that an owner left behind, before the next owner is called: in Node every socket
 * event is a callback scope of its own, and programs rely on that order. Undocumented, present in Node 20 to 26, 50 ns;
 * where it is missing, jobs run at the end of the turn.
 */
const runTicks: () => void =
  (process as unknown as { _tickCallback?: () => void })._tickCallback?.bind(process) ?? (() => {});

export class Turn {
  readonly ring: Ring;
  readonly buffers: ReceiveBuffers;
  readonly arena: SendArena;
  readonly slots: Slots;
  /** No turn will come any more. */
  isEnding = false;
  /** Operations that are done without the ring: owner, operation, owner, operation, … */
  #large: LargeBuffers | null | undefined;
  #later: (Endpoint | number)[] = [];
  #toFlush: Flushable[] = [];
  #spare: Flushable[] = [];
  #starved: Starved[] = [];
  #holds = 0;
  #isHeld = false;
  #isDraining = false;
  /** What is left of `BUDGET` until the next turn. */
  #left = BUDGET;
  #hasRetry = false;

  private constructor(ring: Ring) {
    this.ring = ring;
    this.buffers = new ReceiveBuffers(ring);
    this.arena = new SendArena(ring);
    this.slots = new Slots(ring);
  }

  /** Opens a ring with all that belongs to it. @returns the turn, or `-errno` */
  static open(native: Native, kind: RingKind, sqEntries = 4096, cqEntries = 16384): Turn | number {
    let turn: Turn | undefined;
    const drain = () => turn?.drain();
    const flush = () => turn?.flush();
    const ring = Ring.open(
      native,
      kind,
      sqEntries,
      cqEntries,
      () => process.nextTick(drain),
      () => process.nextTick(flush),
    );
    if (typeof ring === 'number') return ring;
    try {
      turn = new Turn(ring);
    } catch (error) {
      ring.close(); // no memory, or no buffer ring
      throw error;
    }
    return turn;
  }

  /**
   * Gives every waiting completion to its owner. Called by the loop as a tick; called again after an exception in an
   * owner, which has become an 'uncaughtException' meanwhile.
   * @hot
   */
  drain(): void {
    const ring = this.ring;
    const { words, cqesAt, cqMask } = ring;
    const { owners, generations } = this.slots;
    this.#left = BUDGET;
    this.#isDraining = true;
    for (;;) {
      let tail = ring.tail();
      while (ring.head !== tail && this.#left-- > 0) {
        const at = cqesAt + (ring.head & cqMask) * CQE_WORDS;
        const low = words[at + CQE.USER_LOW] as number;
        const generation = words[at + CQE.USER_HIGH] as number;
        const res = words[at + CQE.RES] as number;
        const flags = words[at + CQE.FLAGS] as number;
        ring.advance((ring.head + 1) | 0); // before the owner is called: it may throw, or fill the queue again
        const slot = low & USER_SLOT_MASK;
        const owner = owners[slot];
        if (owner === undefined || generations[slot] !== generation) {
          this.#orphan(low >>> USER_OP_SHIFT, res, flags);
        } else if (owner.complete(low >>> USER_OP_SHIFT, res, flags)) {
          runTicks();
          if (this.#later.length > 0) this.#completeDeferred();
        }
        if (ring.head === tail) tail = ring.tail();
      }
      this.flush();
      if (this.#left <= 0 || ring.tail() === ring.head) break;
    }
    this.#isDraining = false;
    ring.control[CONTROL.IS_DRAINING] = 0;
    this.#settleHold();
  }

  /** Completes an operation that needs no ring, after the ticks of the present owner, like any other. */
  completeLater(owner: Endpoint, operation: number): void {
    this.#later.push(owner, operation);
    this.ring.wantFlush(true);
  }

  #completeDeferred(): void {
    while (this.#later.length > 0) {
      const owner = this.#later.shift() as Endpoint;
      owner.complete(this.#later.shift() as number, 0, 0);
      runTicks();
    }
  }

  /** The large receive buffers, from the first connection on that has use for them; null if they can't be had. */
  get large(): LargeBuffers | null {
    if (this.#large === undefined) {
      try {
        this.#large = new LargeBuffers(this.ring);
      } catch {
        this.#large = null; // no memory: the small ones do as well
      }
    }
    return this.#large;
  }

  /** Receive buffers that were not given back, of both kinds. */
  get lentBuffers(): number {
    return this.buffers.lent + (this.#large?.lent ?? 0);
  }

  /**
   * Asks `writer` for its submissions at the end of this turn, or before the loop blocks. The loop has to live until then:
   * nothing else may keep it alive.
   * @hot
   */
  flushLater(writer: Flushable): void {
    if (this.#toFlush.push(writer) > 1) return;
    this.ring.wantFlush(true);
    this.hold();
  }

  /**
   * Whether a send may be a call of its own, without a completion: see ops/send.ts. The 'drain' that follows it is a tick, and
   * a peer that takes everything at once would otherwise keep the loop in its ticks.
   * @hot
   */
  maySendAtOnce(): boolean {
    return this.#left-- > 0;
  }

  /** Arms `reader` again when every completion was given out, and with it every buffer came back. */
  starve(reader: Starved): void {
    if (this.#starved.push(reader) === 1) this.ring.wantFlush(true);
  }

  #feed(): void {
    const readers = this.#starved;
    this.#starved = [];
    this.buffers.grow(); // so many connections had bytes at once: next time there is one for each
    for (const reader of readers) reader.rearm();
  }

  /** The process ends: from now on every write is handed over at once, since no turn comes any more. */
  end(): void {
    this.isEnding = true;
    this.flush();
  }

  /** Turns gathered writes into submissions and hands all submissions over. @hot */
  flush(): void {
    if (this.#later.length > 0 && !this.isEnding) this.#completeDeferred(); // at the end no tick runs any more
    if (this.#starved.length > 0) this.#feed();
    this.ring.wantFlush(false);
    this.buffers.publish();
    this.#large?.publish();
    const writers = this.#toFlush;
    if (writers.length > 0) {
      this.#toFlush = this.#spare;
      let done = 0;
      try {
        while (done < writers.length) (writers[done++] as Flushable).flush();
      } finally {
        // A stream whose _write was overridden may throw: the writes of the others are not lost.
        for (; done < writers.length; done++) this.flushLater(writers[done] as Flushable);
        writers.length = 0;
        this.#spare = writers;
        this.release();
      }
    }
    if (this.ring.unsubmitted !== 0) {
      this.ring.enter();
      // EAGAIN, ENOMEM, EBUSY: nothing is lost, the entries stay published; but nothing else may wake the loop.
      if (this.ring.unsubmitted !== 0 && !this.#hasRetry) this.#retry();
    } else if (this.ring.hasOverflowed) {
      this.ring.enter();
    }
  }

  #retry(): void {
    this.#hasRetry = true;
    setImmediate(() => {
      this.#hasRetry = false;
      this.flush();
    });
  }

  /** One more reason for the loop to live. */
  hold(): void {
    if (this.#holds++ === 0 && !this.#isHeld) this.#settleHold();
  }

  /** One reason less. Within a turn the loop is only told at its end. */
  release(): void {
    if (--this.#holds === 0 && !this.#isDraining) this.#settleHold();
  }

  #settleHold(): void {
    const wants = this.#holds > 0;
    if (wants === this.#isHeld) return;
    this.#isHeld = wants;
    this.ring.native.ref(this.ring.id, wants);
  }

  /** A completion whose owner is gone. Owners wait for all of theirs, so this is a last line of defence. */
  #orphan(operation: number, res: number, flags: number): void {
    if (flags & CQE_F.BUFFER) {
      const buffers = operation === USER_OP.RECV_LARGE ? (this.#large as LargeBuffers) : this.buffers;
      buffers.lent++;
      buffers.give(flags >>> CQE_BUFFER_SHIFT);
    }
    if (operation === USER_OP.ACCEPT && res >= 0) this.ring.native.closeDescriptor(res);
  }
}
