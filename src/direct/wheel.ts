/**
 * One coarse timer for everything that waits long and is put off often: idle times, ages, heartbeats. To put something off
 * costs a store (see idle.ts), to enter or leave the wheel a few; Node's timers would cost a list operation for each
 * message, and memory for each connection.
 *
 * ```
 *   spokes   0    1    2   …   255        one is due every TICK_MS: its entries are taken off and asked
 *            │    │    │
 *            e    e    e                  a list of entries, by links in themselves
 *            │         │
 *            e         e
 * ```
 *
 * Time here is counted in ticks. A wheel turns while it has entries; it never keeps the loop alive. When the loop was
 * blocked for long, the ticks that it missed are not made up for: nobody's silence is measured while we did not listen.
 */

/** Length of a tick in ms. */
export const TICK_MS = 100;
const SPOKES = 256;
/** How much lateness of the loop is made up for, tick by tick. More of it was a blocked loop. */
const MOST_LATE_MS = TICK_MS / 10;

/** Something in a wheel, at most once. The two links are the wheel's. */
export abstract class WheelEntry {
  next: WheelEntry = this;
  previous: WheelEntry = this;

  /**
   * Its time has come.
   * @returns in how many ms to be called again, or 0: it leaves the wheel
   */
  abstract onTime(): number;
}

class Spoke extends WheelEntry {
  override onTime(): number {
    return 0;
  }
}

export class Wheel {
  /** Counts up while the wheel turns. */
  tick = 0;
  #size = 0;
  #dueMs = 0;
  #timer: NodeJS.Timeout | undefined;
  readonly #spokes: WheelEntry[] = Array.from({ length: SPOKES }, () => new Spoke());
  readonly #turn = () => this.#onTick();

  /** How many entries there are. */
  get size(): number {
    return this.#size;
  }

  /**
   * Has an entry called after at least so many ms; one that is in the wheel already is moved. Times beyond what the wheel
   * holds (25 s) come earlier: `onTime` sees to it by itself that its time has really come, as it has to anyway for what was
   * put off meanwhile.
   */
  add(entry: WheelEntry, afterMs: number): void {
    if (entry.next === entry) this.#size++;
    else unlink(entry);
    link(entry, this.#spoke(Math.min(ticksOf(afterMs), SPOKES - 1)));
    if (this.#timer === undefined) this.#start();
  }

  /** Takes an entry out, if it is in. */
  remove(entry: WheelEntry): void {
    if (entry.next === entry) return;
    unlink(entry);
    this.#size--;
    this.#settle();
  }

  #spoke(inTicks: number): WheelEntry {
    return this.#spokes[(this.tick + inTicks) % SPOKES] as WheelEntry;
  }

  #start(): void {
    this.#dueMs = performance.now() + TICK_MS;
    this.#timer = setTimeout(this.#turn, TICK_MS).unref();
  }

  /** Stands still when nobody is in it. */
  #settle(): void {
    if (this.#size > 0) return;
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }

  #onTick(): void {
    this.tick++;
    const nowMs = performance.now();
    const isSlightlyLate = nowMs >= this.#dueMs && nowMs - this.#dueMs <= MOST_LATE_MS;
    this.#dueMs = TICK_MS + (isSlightlyLate ? this.#dueMs : nowMs);
    this.#timer = setTimeout(this.#turn, Math.round(this.#dueMs - nowMs)).unref();
    this.#call(this.#spoke(0));
  }

  /** Takes the entries off first: whom they add, remove and move meanwhile, they may. */
  #call(spoke: WheelEntry): void {
    const due = new Spoke();
    for (let entry = spoke.next; entry !== spoke; entry = spoke.next) {
      unlink(entry);
      link(entry, due);
    }
    try {
      for (let entry = due.next; entry !== due; entry = due.next) {
        unlink(entry);
        this.#size--;
        const againMs = entry.onTime();
        if (againMs > 0) this.add(entry, againMs);
      }
    } finally {
      // One that threw: the others are called with the next tick.
      for (let entry = due.next; entry !== due; entry = due.next) {
        unlink(entry);
        link(entry, this.#spoke(1));
      }
      this.#settle();
    }
  }
}

/** The ticks that are surely over so many ms from now: the present one has begun already. */
export const ticksOf = (ms: number): number => Math.ceil((ms + MOST_LATE_MS) / TICK_MS) + 1;

function link(entry: WheelEntry, spoke: WheelEntry): void {
  entry.previous = spoke.previous;
  entry.next = spoke;
  entry.previous.next = entry;
  spoke.previous = entry;
}

function unlink(entry: WheelEntry): void {
  entry.previous.next = entry.next;
  entry.next.previous = entry.previous;
  entry.next = entry;
  entry.previous = entry;
}

/** The wheel of this thread. */
export const wheel: Wheel = new Wheel();
