// What a case is made of. A case gives trials (one table and one chart each); a trial measures one rival in a fresh process and
// returns numbers; main.ts alternates the rivals, report.ts prints. A new case is a file in cases/ and a line in main.ts.
import type { Placement } from './machine.ts';
import type { Options } from './options.ts';
import type { Kind, Prepared, Rival } from './rivals.ts';

/** What one run gave: numbers by name, as they go into the result file. */
export type Sample = Readonly<Record<string, number>>;

export interface Column {
  head: string;
  /** Text of the cell; `median` gives the median of one number over the runs. */
  cell(median: (key: string) => number): string;
}

export interface Trial {
  /** Stable, for goals and file names: `echo-64x50x1`. */
  id: string;
  title: string;
  parameters: Readonly<Record<string, number>>;
  /** The leading figure; smaller is better. */
  cost: { key: string; head: string; digits: number };
  columns: readonly Column[];
  /** The server it needs; rivals without one are left out. */
  kind: Kind;
  /** Runs without --full. */
  isQuick: boolean;
  /**
   * Who takes part unless rivals are named, which keeps --full about an hour: `all`; `usual` (absent): without the older and
   * odder ones; `narrow`: only Node 24 and 26, and ours on the newest.
   */
  breadth?: 'all' | 'narrow';
  /** At most so many runs of each rival, where runs hardly differ. */
  maxRuns?: number;
  /** Seconds a run takes beyond warm-up and measured phase: for the estimate. */
  overheadSeconds: number;
  run(rival: Rival, prepared: Prepared): Promise<Sample>;
}

export interface Bench {
  options: Options;
  placement: Placement;
  /** The checkout. */
  root: string;
  /** Path of the compiled load generator. */
  load: string;
}

export interface Case {
  name: string;
  /** All of them; main.ts chooses. */
  trials(bench: Bench): Trial[];
}
