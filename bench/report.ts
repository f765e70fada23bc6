// Medians, the table, the goals, the result file.
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { baseline } from './rivals.ts';
import type { Sample, Trial } from './trial.ts';

/** The runs of one trial: for each rival the samples in order of rounds, `undefined` where a run failed. */
export type Rounds = Map<string, (Sample | undefined)[]>;

export interface Verdict {
  trial: string;
  rival: string;
  goal: number;
  /** `undefined`: no figure, which counts as missed. */
  ratio: number | undefined;
  isMet: boolean;
}

export function median(numbers: readonly number[]): number {
  const sorted = [...numbers].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1
    ? (sorted[middle] ?? Number.NaN)
    : ((sorted[middle - 1] ?? Number.NaN) + (sorted[middle] ?? Number.NaN)) / 2;
}

/** One row for each rival: cost and ratio with their spread, then the trial's own columns. */
export function table(trial: Trial, rounds: Rounds): string {
  const { key, head, digits } = trial.cost;
  const rows = [
    ['', head, '(min-max)', `/ ${baseline}`, '(min-max)', ...trial.columns.map((column) => column.head), 'runs'],
  ];
  for (const [name, all] of rounds) {
    const samples = all.filter((sample) => sample !== undefined);
    if (samples.length === 0) {
      rows.push([name, 'failed']);
      continue;
    }
    const costs = samples.map((sample) => sample[key] ?? Number.NaN);
    const pairs = ratiosByRound(key, rounds, name);
    rows.push([
      name,
      median(costs).toFixed(digits),
      `(${Math.min(...costs).toFixed(digits)}-${Math.max(...costs).toFixed(digits)})`,
      ratio(trial, rounds, name)?.toFixed(2) ?? '-',
      pairs.length > 0 ? `(${Math.min(...pairs).toFixed(2)}-${Math.max(...pairs).toFixed(2)})` : '',
      ...trial.columns.map((column) =>
        column.cell((number) => median(samples.map((sample) => sample[number] ?? Number.NaN)), samples),
      ),
      samples.length === all.length ? `${all.length}` : `${samples.length} of ${all.length}`,
    ]);
  }
  return align(rows);
}

/** Median cost over node:net's median cost. */
export function ratio(trial: Trial, rounds: Rounds, rival: string): number | undefined {
  const cost = (name: string): number | undefined => {
    const samples = rounds.get(name)?.filter((sample) => sample !== undefined) ?? [];
    return samples.length > 0 ? median(samples.map((sample) => sample[trial.cost.key] ?? Number.NaN)) : undefined;
  };
  const [own, base] = [cost(rival), cost(baseline)];
  return own !== undefined && base !== undefined ? own / base : undefined;
}

/** The goals of a trial for the rivals that were run. */
export function judge(trial: Trial, rounds: Rounds): Verdict[] {
  return Object.entries(trial.goals)
    .filter(([rival]) => rounds.has(rival))
    .map(([rival, goal]) => {
      const value = ratio(trial, rounds, rival);
      return { trial: trial.title, rival, goal, ratio: value, isMet: value !== undefined && value <= goal };
    });
}

/** Writes bench/results/<time>.json and returns its path. */
export function writeResults(root: string, results: { date: string; [key: string]: unknown }): string {
  const folder = join(root, 'bench/results');
  mkdirSync(folder, { recursive: true });
  const path = join(folder, `${results.date.replaceAll(':', '-')}.json`);
  writeFileSync(path, `${JSON.stringify(results, null, 1)}\n`);
  return path;
}

/** Each run against node:net's run in the same round: shows how far the machine's mood moved the ratio. */
function ratiosByRound(key: string, rounds: Rounds, rival: string): number[] {
  const base = rounds.get(baseline) ?? [];
  return (rounds.get(rival) ?? []).flatMap((sample, round) => {
    const [own, other] = [sample?.[key], base[round]?.[key]];
    return own !== undefined && other !== undefined ? [own / other] : [];
  });
}

function align(rows: string[][]): string {
  const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0)));
  return rows
    .map((row) =>
      `  ${row.map((cell, column) => (column === 0 ? cell.padEnd(widths[0] ?? 0) : cell.padStart(widths[column] ?? 0))).join('  ')}`.trimEnd(),
    )
    .join('\n');
}
