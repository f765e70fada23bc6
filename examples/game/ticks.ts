// A tick that doesn't drift. Each is due at start + n × tickMs, whatever happened to those before: a timer that fires late, or a
// slow step, delays one tick and none of the others. `setInterval` would add up what each of its rounds was late.

/** After a pause the world catches up, but a laptop that slept doesn't replay the night. */
const MAX_TICKS_AT_ONCE = 10;

/** Calls `step` for each tick that is due, then `publish` once. Returns what stops it. */
export function startTicks(
  tickMs: number,
  { step, publish }: { step(): void; publish(tick: number): void },
  now: () => number = () => performance.now(),
): () => void {
  const startMs = now();
  let tick = 0;
  let timer: NodeJS.Timeout;
  const run = (): void => {
    const due = Math.floor((now() - startMs) / tickMs);
    if (due > tick) {
      for (let steps = Math.min(due - tick, MAX_TICKS_AT_ONCE); steps > 0; steps--) step();
      tick = due;
      publish(tick);
    }
    timer = setTimeout(run, Math.max(1, Math.ceil((tick + 1) * tickMs - (now() - startMs)))); // it may be late already
  };
  run();
  return () => clearTimeout(timer);
}
