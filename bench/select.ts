// Which trials are run for which rivals, and how long that will take.
import { groups, lacks, type Rival, rivals } from './rivals.ts';
import type { Bench, Case, Trial } from './trial.ts';

export interface Plan {
  trial: Trial;
  rivals: Rival[];
  runs: number;
  /** Sentences about rivals that were named but can't serve this. */
  notes: string[];
}

/** Rivals by name or group, in the order of the table. @throws {Error} with a sentence for the user. */
export function chooseRivals(names: readonly string[] | undefined, isFull: boolean): Rival[] {
  const wanted = names ?? [isFull ? 'all' : 'quick'];
  for (const name of wanted)
    if (!(name in groups) && !rivals.some((rival) => rival.name === name))
      throw new Error(
        `there is no rival '${name}'; there are: ${list(rivals)}; groups: ${Object.keys(groups).join(', ')}`,
      );
  return rivals.filter((rival) => wanted.some((name) => name === rival.name || groups[name]?.(rival)));
}

/** Cases by name. @throws {Error} with a sentence for the user. */
export function chooseCases(all: readonly Case[], names: readonly string[]): readonly Case[] {
  if (names.length === 0) return all;
  return names.map((name) => {
    const found = all.find((one) => one.name === name);
    if (!found) throw new Error(`there is no case '${name}'; there are: ${list(all)}`);
    return found;
  });
}

const isNarrow = ({ name }: Rival): boolean =>
  ['node@24', 'node@26', 'millrace-io_uring@26', 'millrace-epoll@26'].includes(name);

export function plan(bench: Bench, cases: readonly Case[], ready: readonly Rival[]): Plan[] {
  const { options } = bench;
  const trials = cases.flatMap((one) => {
    const all = one.trials(bench);
    const quick = all.filter((trial) => trial.isQuick);
    // A case that is named runs, even if the selection has nothing of it.
    return options.full || (options.cases.length > 0 && quick.length === 0) ? all : quick;
  });
  return trials.map((trial) => {
    const asked =
      options.rivals || trial.breadth === 'all'
        ? ready
        : ready.filter(trial.breadth ? isNarrow : (groups['usual'] as typeof isNarrow));
    return {
      trial,
      rivals: asked.filter((rival) => lacks(rival, trial.kind) === undefined),
      runs: Math.min(options.runs, trial.maxRuns ?? options.runs),
      notes: options.rivals ? asked.flatMap((rival) => lacks(rival, trial.kind) ?? []) : [],
    };
  });
}

export function secondsOf(plans: readonly Plan[], bench: Bench): number {
  const { warmupSeconds, seconds } = bench.options;
  return plans.reduce(
    (sum, { trial, rivals, runs }) => sum + rivals.length * runs * (warmupSeconds + seconds + trial.overheadSeconds),
    0,
  );
}

const list = (all: readonly { name: string }[]): string => all.map((one) => one.name).join(', ');
