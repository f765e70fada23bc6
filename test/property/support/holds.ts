/**
 * A property, tried for a while: fast-check with a time in place of a number of runs, and a stage for each story.
 *
 * `MILLRACE_PROPERTY_SECONDS` is the time for each property (default 3), `MILLRACE_PROPERTY_SEED` repeats a run. A failure
 * prints its seed and the shortest story that was found to fail within `SHRINK_MS`.
 */
import assert from 'node:assert/strict';
import fc from 'fast-check';
import { type Stage, within } from '../../support/net.ts';

export const SECONDS = Number(process.env['MILLRACE_PROPERTY_SECONDS'] ?? 3);
const SEED = process.env['MILLRACE_PROPERTY_SEED'];
/** For making the story of a failure shorter. */
export const SHRINK_MS = 20_000;
const CLEANUP_MS = 15_000;

interface HoldsOptions {
  /** How many stories one seed gives. */
  runs?: number;
  /** Called behind each story, when its stage is gone. */
  behind?: () => Promise<void>;
}

/** @param run tells a story; returns what was wrong with it, or throws */
export async function holds<T>(
  arbitrary: fc.Arbitrary<T>,
  run: (value: T, stage: Stage) => Promise<string[] | undefined>,
  { runs = 20, behind }: HoldsOptions = {},
): Promise<void> {
  let failedAt = 0;
  const property = fc.asyncProperty(arbitrary, async (value) => {
    if (failedAt > 0 && performance.now() - failedAt > SHRINK_MS) return; // short enough
    const afters: (() => void | Promise<void>)[] = [];
    try {
      assert.deepEqual((await run(value, { after: (fn) => void afters.push(fn) })) ?? [], []);
    } catch (error) {
      if (failedAt === 0) failedAt = performance.now();
      throw error;
    } finally {
      for (const fn of afters.reverse()) await within(Promise.resolve(fn()), 'the end of a story', CLEANUP_MS);
    }
    await behind?.();
  });
  const end = performance.now() + SECONDS * 1000;
  let seed = SEED === undefined ? Date.now() | 0 : Number(SEED);
  do await fc.assert(property, { seed: seed++, numRuns: runs, includeErrorInReport: true });
  while (performance.now() < end);
}
