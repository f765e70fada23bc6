// What a case is made of. A case gives trials (one table each); a trial measures one rival in a fresh process and returns
// numbers; main.ts alternates the rivals, report.ts prints. A new case is a file in cases/ and a line in main.ts.
import type { Placement } from './machine.ts';
import type { Options } from './options.ts';
import type { Rival } from './rivals.ts';

/** What one run gave: numbers by name, as they go into the result file. */
export type Sample = Readonly<Record<string, number>>;

export interface Column {
  head: string;
  /** Text of the cell from the samples of all runs; `median` gives the median of one number over the runs. */
  cell(median: (key: string) => number, samples: readonly Sample[]): string;
}

export interface Trial {
  title: string;
  parameters: Readonly<Record<string, number>>;
  /** The number that is compared with node:net's; smaller is better. */
  cost: { key: string; head: string; digits: number };
  columns: readonly Column[];
  /** Highest ratio to node:net that passes `--check`, by rival. */
  goals: Readonly<Record<string, number>>;
  run(rival: Rival): Promise<Sample>;
}

export interface Bench {
  options: Options;
  placement: Placement;
  /** Path of the compiled load generator. */
  load: string;
}

export interface Case {
  name: string;
  trials(bench: Bench): Trial[];
}
