/**
 * The idle times of one connection: how long nothing was received, and how long nothing of what waits could be sent.
 *
 * In: `received` and `sent` of a connection, a store each. Out: `onIdle(side, afterMs)`, never early, and late by no more
 * than 250 ms; the wheel looks when the time could be over at the earliest.
 */
import { TICK_MS, ticksOf, WheelEntry, wheel } from './wheel.ts';

export type Side = 'read' | 'write';

/** What a connection is asked, and told. */
export interface IdleOwner {
  /** We don't read at present, so that nothing can be received. */
  readonly isPaused: boolean;
  /** The peer has ended its side: it owes us nothing. */
  readonly isReadEnded: boolean;
  readonly bufferedBytes: number;
  onIdle(side: Side, afterMs: number): void;
}

export class Idle extends WheelEntry {
  readonly #owner: IdleOwner;
  #readMs = 0;
  #writeMs = 0;
  #readTick = 0;
  #writeTick = 0;

  constructor(owner: IdleOwner) {
    super();
    this.#owner = owner;
  }

  /** Times in ms, 0 for none; both begin now. */
  set(readMs: number, writeMs: number): void {
    this.#readMs = readMs;
    this.#writeMs = writeMs;
    this.#readTick = wheel.tick;
    this.#writeTick = wheel.tick;
    const ms = this.#leastMs();
    if (ms === 0) wheel.remove(this);
    else wheel.add(this, ms);
  }

  get readMs(): number {
    return this.#readMs;
  }

  get writeMs(): number {
    return this.#writeMs;
  }

  /** @hot */
  received(): void {
    this.#readTick = wheel.tick;
  }

  /** The kernel took bytes, or the first of them began to wait. @hot */
  sent(): void {
    this.#writeTick = wheel.tick;
  }

  stop(): void {
    this.#readMs = 0;
    this.#writeMs = 0;
    wheel.remove(this);
  }

  override onTime(): number {
    const owner = this.#owner;
    if (owner.isPaused || owner.isReadEnded) this.#readTick = wheel.tick;
    if (owner.bufferedBytes === 0) this.#writeTick = wheel.tick;
    if (this.#isOver(this.#readMs, this.#readTick)) {
      this.#readTick = wheel.tick;
      owner.onIdle('read', this.#readMs);
    }
    if (this.#isOver(this.#writeMs, this.#writeTick)) {
      this.#writeTick = wheel.tick;
      owner.onIdle('write', this.#writeMs);
    }
    return this.#leastMs();
  }

  #isOver(ms: number, sinceTick: number): boolean {
    return ms > 0 && wheel.tick - sinceTick >= ticksOf(ms);
  }

  /** When to look again: what is left of the shorter time. */
  #leastMs(): number {
    const read = this.#leftMs(this.#readMs, this.#readTick);
    const write = this.#leftMs(this.#writeMs, this.#writeTick);
    return read === 0 ? write : write === 0 ? read : Math.min(read, write);
  }

  #leftMs(ms: number, sinceTick: number): number {
    return ms === 0 ? 0 : Math.max(1, ms - (wheel.tick - sinceTick) * TICK_MS);
  }
}
