// Counts against the baseline.
import type { Count } from './count.ts';

export interface Baseline {
  versions: Readonly<Record<string, string>>;
  connections: number;
  counts: Readonly<Record<string, Count>>;
}

/** A count that grows by more than this is warned of. Two runs of the same code on the epoll ring differed by 0.1 %. */
const tolerance = 0.05;
/** System calls: how often the loop waits depends a little on the scheduler (3.0 to 3.4 a message with epoll were seen). */
const systemCallTolerance = 0.5;

export function compare(
  baseline: Baseline,
  counts: Readonly<Record<string, Count>>,
): { lines: string[]; passed: number; warned: number } {
  const lines: string[] = [];
  let passed = 0;
  let warned = 0;
  for (const [engine, now] of Object.entries(counts)) {
    const before = baseline.counts[engine];
    if (!before) {
      lines.push(`${engine}: ${text(now)}; the baseline has nothing to compare`);
      passed++;
      continue;
    }
    const isSlower =
      now.instructions > before.instructions * (1 + tolerance) ||
      now.systemCalls > before.systemCalls + systemCallTolerance;
    const change = (100 * (now.instructions / before.instructions - 1)).toFixed(1);
    lines.push(
      `${isSlower ? 'WARNING ' : ''}${engine}: ${text(now)}; before: ${text(before)}; instructions ${change.startsWith('-') ? '' : '+'}${change} %`,
    );
    if (isSlower) warned++;
    else passed++;
  }
  return { lines, passed, warned };
}

const text = ({ instructions, systemCalls }: Count): string =>
  `${instructions.toFixed(0)} instructions and ${systemCalls.toFixed(2)} system calls a message`;
