/** A time limit of its own for something that is over soon: a handshake, a farewell. On the wheel, as idle times are. */
import { TICK_MS, ticksOf, WheelEntry, wheel } from '../wheel.ts';

export class Deadline extends WheelEntry {
  readonly #onOver: () => void;
  readonly #dueTick: number;

  /** Begins. It keeps nothing alive. */
  constructor(ms: number, onOver: () => void) {
    super();
    this.#onOver = onOver;
    this.#dueTick = wheel.tick + ticksOf(ms);
    wheel.add(this, ms);
  }

  stop(): void {
    wheel.remove(this);
  }

  override onTime(): number {
    const left = this.#dueTick - wheel.tick;
    if (left > 0) return left * TICK_MS;
    this.#onOver();
    return 0;
  }
}
