// Medians and ratios, the table, the goals, the files.
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { barChart, overviewChart, themes } from './chart.ts';
import type { Goal } from './goals.ts';
import { rivals } from './rivals.ts';
import type { Sample, Trial } from './trial.ts';

/** The runs of one trial: for each rival the samples in order of rounds, `undefined` where a run failed. */
export type Rounds = Map<string, (Sample | undefined)[]>;

export interface Finished {
  trial: Trial;
  rounds: Rounds;
  errors: readonly string[];
}

export interface Verdict {
  trial: string;
  figure: string;
  /** Whose median was the numerator, and whose the denominator. */
  own: string;
  of: string;
  atMost: number;
  /** `undefined`: no figure. */
  ratio: number | undefined;
  isMet: boolean | undefined;
}

export function median(numbers: readonly number[]): number {
  const sorted = [...numbers].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1
    ? (sorted[middle] ?? Number.NaN)
    : ((sorted[middle - 1] ?? Number.NaN) + (sorted[middle] ?? Number.NaN)) / 2;
}

/** Median of one number over a rival's runs, if it has any. */
export function medianOf(rounds: Rounds, rival: string, key: string): number | undefined {
  const samples = rounds.get(rival)?.filter((sample) => sample !== undefined) ?? [];
  const value = median(samples.map((sample) => sample[key] ?? Number.NaN));
  return Number.isNaN(value) ? undefined : value;
}

/** Of these rivals the one with the smallest median; the lines that are compared, or else the Node that runs this. */
function best(rounds: Rounds, name: string, key: string): { name: string; value: number } | undefined {
  const known = (names: string[]): { name: string; value: number }[] =>
    names.flatMap((one) => {
      const value = medianOf(rounds, one, key);
      return value === undefined ? [] : [{ name: one, value }];
    });
  const lines = known([`${name}@24`, `${name}@26`]);
  return (lines.length > 0 ? lines : known([name])).sort((a, b) => a.value - b.value)[0];
}

/** node:net at its best in this trial: the better of Node 24 and 26. */
export const baseline = (rounds: Rounds, key: string): { name: string; value: number } | undefined =>
  best(rounds, 'node', key);

/** One row for each rival: cost and ratios with their spread, then the trial's own columns. */
export function tableRows(trial: Trial, rounds: Rounds): string[][] {
  const { key, head, digits } = trial.cost;
  const base = baseline(rounds, key);
  const rows = [
    [
      '',
      head,
      '(min-max)',
      '/ best node',
      '(min-max)',
      '/ same node',
      ...trial.columns.map((column) => column.head),
      'runs',
    ],
  ];
  for (const [name, all] of rounds) {
    const samples = all.filter((sample) => sample !== undefined);
    const cost = medianOf(rounds, name, key);
    if (cost === undefined) {
      rows.push([name, 'failed']);
      continue;
    }
    const costs = samples.map((sample) => sample[key] ?? Number.NaN);
    const pairs = base ? ratiosByRound(key, rounds, name, base.name) : [];
    const sameNode = rivals.find((rival) => rival.name === name)?.sameNode;
    const same = sameNode === undefined ? undefined : medianOf(rounds, sameNode, key);
    rows.push([
      name,
      cost.toFixed(digits),
      `(${Math.min(...costs).toFixed(digits)}-${Math.max(...costs).toFixed(digits)})`,
      base ? (cost / base.value).toFixed(2) : '-',
      pairs.length > 0 ? `(${Math.min(...pairs).toFixed(2)}-${Math.max(...pairs).toFixed(2)})` : '',
      same === undefined ? '' : (cost / same).toFixed(2),
      ...trial.columns.map((column) => column.cell((number) => medianOf(rounds, name, number) ?? Number.NaN)),
      samples.length === all.length ? `${all.length}` : `${samples.length} of ${all.length}`,
    ]);
  }
  return rows;
}

export function table(trial: Trial, rounds: Rounds): string {
  const rows = tableRows(trial, rounds);
  const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0)));
  return rows
    .map((row) =>
      `  ${row.map((cell, column) => (column === 0 ? cell.padEnd(widths[0] ?? 0) : cell.padStart(widths[column] ?? 0))).join('  ')}`.trimEnd(),
    )
    .join('\n');
}

/** Each run against the base's run in the same round: shows how far the machine's mood moved the ratio. */
function ratiosByRound(key: string, rounds: Rounds, rival: string, base: string): number[] {
  const others = rounds.get(base) ?? [];
  return (rounds.get(rival) ?? []).flatMap((sample, round) => {
    const [own, other] = [sample?.[key], others[round]?.[key]];
    return own !== undefined && other !== undefined ? [own / other] : [];
  });
}

/** Judges every goal whose trial was run for one of ours. */
export function judge(goals: readonly Goal[], finished: readonly Finished[]): Verdict[] {
  return finished.flatMap(({ trial, rounds }) =>
    goals
      .filter((goal) => goal.trials.test(trial.id))
      .flatMap((goal) => (goal.ring ? [goal.ring] : ['io_uring', 'epoll']).map((ring) => ({ goal, ring })))
      .flatMap(({ goal, ring }) => {
        const figure = goal.figure ?? trial.cost.key;
        const own = best(rounds, `${goal.tier ?? 'millrace'}-${ring}`, figure);
        if (!own) return [];
        const there = goal.ofTrial ? finished.find((one) => one.trial.id === goal.ofTrial)?.rounds : rounds;
        const name = goal.of === 'self' ? own.name : goal.of;
        const of = name === 'one' ? { name, value: 1 } : there && otherOf(there, name, figure);
        const ratio = of && own.value / of.value;
        return [
          {
            trial: trial.id,
            figure,
            own: own.name,
            of: `${of?.name ?? name}${goal.ofTrial ? ` in ${goal.ofTrial}` : ''}`,
            atMost: goal.atMost,
            ratio,
            isMet: ratio === undefined ? undefined : ratio <= goal.atMost,
          },
        ];
      }),
  );
}

const otherOf = (rounds: Rounds, name: string, key: string): { name: string; value: number } | undefined =>
  name === 'node' ? baseline(rounds, key) : only(rounds, name, key);

function only(rounds: Rounds, name: string, key: string): { name: string; value: number } | undefined {
  const value = medianOf(rounds, name, key);
  return value === undefined ? undefined : { name, value };
}

export function verdictLine({ trial, figure, own, of, atMost, ratio, isMet }: Verdict): string {
  const word = isMet === undefined ? 'unknown' : isMet ? 'met    ' : 'MISSED ';
  if (of === 'one') return `${word} ${trial}, ${figure}: ${own} has ${ratio?.toFixed(0)}, at most ${atMost}`;
  return `${word} ${trial}, ${figure}: ${own} is ${ratio?.toFixed(3) ?? 'not to be compared'} of ${of}, at most ${atMost.toFixed(2)}`;
}

/** Writes results.json, tables.md and a chart for each trial in each theme. */
export function writeResults(
  folder: string,
  facts: Readonly<Record<string, unknown>>,
  finished: readonly Finished[],
  verdicts: readonly Verdict[],
): void {
  mkdirSync(folder, { recursive: true });
  const results = finished.map(({ trial, rounds, errors }) => ({
    id: trial.id,
    title: trial.title,
    parameters: trial.parameters,
    cost: trial.cost,
    baseline: baseline(rounds, trial.cost.key)?.name ?? null,
    errors,
    rivals: [...rounds].map(([name, samples]) => ({
      name,
      cost: medianOf(rounds, name, trial.cost.key) ?? null,
      samples: samples.map((sample) => sample ?? null),
    })),
  }));
  writeFileSync(join(folder, 'results.json'), `${JSON.stringify({ ...facts, results, goals: verdicts }, null, 1)}\n`);
  writeFileSync(join(folder, 'tables.md'), markdown(facts, finished, verdicts));
  for (const [name, theme] of Object.entries(themes)) {
    for (const { trial, rounds } of finished) {
      const bars = [...rounds.keys()].flatMap((rival) => {
        const value = medianOf(rounds, rival, trial.cost.key);
        const family = rivals.find((one) => one.name === rival)?.family ?? 'rival';
        return value === undefined ? [] : [{ name: rival, value, family }];
      });
      const { head, digits } = trial.cost;
      const chart = barChart({ title: trial.title, unit: head, digits, bars }, theme);
      writeFileSync(join(folder, `${trial.id}-${name}.svg`), chart);
    }
    const rows = finished.flatMap(({ trial, rounds }) => {
      const base = baseline(rounds, trial.cost.key);
      const own = (ring: string): number | undefined => best(rounds, `millrace-${ring}`, trial.cost.key)?.value;
      const [uring, epoll] = [own('io_uring'), own('epoll')];
      return base && (uring !== undefined || epoll !== undefined)
        ? [{ title: trial.id, ratios: [uring, epoll].map((value) => value && value / base.value) }]
        : [];
    });
    writeFileSync(join(folder, `overview-${name}.svg`), overviewChart(rows, ['io_uring', 'epoll'], theme));
  }
}

function markdown(
  facts: Readonly<Record<string, unknown>>,
  finished: readonly Finished[],
  verdicts: readonly Verdict[],
): string {
  const machine = facts['machine'] as Record<string, unknown>;
  const versions = Object.entries(facts['versions'] as Record<string, string>);
  const trials = finished.map(({ trial, rounds, errors }) => {
    const [head = [], ...rows] = tableRows(trial, rounds);
    const line = (cells: readonly string[]): string => `| ${cells.join(' | ')} |`;
    const full = rows.map((row) => line(head.map((_, column) => row[column] ?? '')));
    const notes = errors.map((error) => `\n- ${error.split('\n')[0]}`).join('');
    return `## ${trial.title}\n\n${[line(head), line(head.map(() => '---')), ...full].join('\n')}\n${notes}`;
  });
  return `${[
    '# Benchmark',
    `${facts['date']}, ${machine['cpu']} x ${machine['cpus']}, Linux ${machine['kernel']}, commit ${machine['commit']}; ${facts['placement']}. \`${facts['command']}\``,
    `Versions: ${versions.map(([name, version]) => `${name} ${version}`).join('; ')}.`,
    ...(facts['missing'] as string[]).map((text) => `- ${text}`),
    ...trials,
    '## Goals',
    verdicts.map((verdict) => `- ${verdictLine(verdict)}`).join('\n'),
  ].join('\n\n')}\n`;
}
