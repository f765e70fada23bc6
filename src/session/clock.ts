/** Where time comes from: the system, or a test that moves it. */
export interface Clock {
  /** Milliseconds since whenever; never goes back. */
  nowMs(): number;
  /**
   * Calls `tick` about every `periodMs` until the returned function is called. It must not keep the process alive.
   */
  every(periodMs: number, tick: () => void): () => void;
}

export const systemClock: Clock = {
  nowMs: () => performance.now(),
  every(periodMs, tick) {
    const timer = setInterval(tick, periodMs).unref();
    return () => clearInterval(timer);
  },
};
