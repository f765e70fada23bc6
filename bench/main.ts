// `npm run bench`: starts each rival as a process of its own, alternating (A B C A B C ...), drives it with load/load.c, and
// prints a table for each trial. Exit status: 0; 1 if a run failed or, with --check, a goal was missed; 2 wrong usage.
import { existsSync, readFileSync } from 'node:fs';
import { loadavg } from 'node:os';
import { dirname, join } from 'node:path';
import { echo } from './cases/echo.ts';
import { idle } from './cases/idle.ts';
import { buildLoad } from './load/build.ts';
import { describeMachine, place } from './machine.ts';
import { type Options, readOptions, usage } from './options.ts';
import { judge, type Rounds, ratio, table, type Verdict, writeResults } from './report.ts';
import { baseline, type Rival, rivals } from './rivals.ts';
import type { Case, Trial } from './trial.ts';

const cases: readonly Case[] = [echo, idle];

async function main(): Promise<number> {
  let options: Options;
  let chosenCases: readonly Case[];
  let chosenRivals: readonly Rival[];
  try {
    options = readOptions(process.argv.slice(2));
    chosenCases = choose('case', cases, options.cases.length > 0 ? options.cases : cases.map((one) => one.name));
    chosenRivals = options.rivals
      ? choose('rival', rivals, options.rivals)
      : rivals.filter((rival) => !rival.isOptional);
  } catch (error) {
    console.error(`bench: ${(error as Error).message}\n\n${usage}`);
    return 2;
  }
  if (options.help) {
    console.log(`${usage}\n\ncases: ${names(cases)}\nrivals: ${names(rivals)}`);
    return 0;
  }
  if (process.platform !== 'linux') {
    console.error('bench: the load generator and the CPU clocks need Linux');
    return 1;
  }

  const root = projectRoot();
  const placement = place(options.pin);
  const bench = { options, placement, load: buildLoad(root) };
  const machine = describeMachine();
  const date = new Date().toISOString();
  console.log(
    `${machine['cpu']} x ${machine['cpus']}, Linux ${machine['kernel']}, Node ${process.version}; ${placement.about}; medians of ${options.runs} runs`,
  );
  if ((loadavg()[0] ?? 0) > 0.5)
    console.log(`note: the machine is not idle (load average ${loadavg()[0]?.toFixed(1)}): expect noise`);

  const results = [];
  const verdicts: Verdict[] = [];
  let failures = 0;
  for (const trial of chosenCases.flatMap((one) => one.trials(bench))) {
    const { rounds, errors } = await alternate(trial, chosenRivals, options.runs);
    console.log(`\n${trial.title}\n${table(trial, rounds)}`);
    for (const error of errors) console.log(`  ! ${error}`);
    failures += errors.length;
    verdicts.push(...judge(trial, rounds));
    results.push({
      title: trial.title,
      parameters: trial.parameters,
      cost: trial.cost.key,
      errors,
      rivals: [...rounds].map(([name, samples]) => ({
        name,
        ratio: ratio(trial, rounds, name) ?? null,
        samples: samples.map((sample) => sample ?? null),
      })),
    });
  }

  const command = ['npm', 'run', 'bench', '--', ...process.argv.slice(2)].join(' ');
  const path = writeResults(root, {
    date,
    command,
    machine,
    placement: placement.about,
    options,
    results,
    goals: verdicts,
  });
  console.log(`\nresults: ${path}`);
  return (options.check && !passes(verdicts)) || failures > 0 ? 1 : 0;
}

/** Runs a trial `runs` times for each rival, in rounds. A rival that fails in its first run is not tried again. */
async function alternate(
  trial: Trial,
  chosen: readonly Rival[],
  runs: number,
): Promise<{ rounds: Rounds; errors: string[] }> {
  const rounds: Rounds = new Map(chosen.map((rival) => [rival.name, []]));
  const errors: string[] = [];
  for (let round = 0; round < runs; round++) {
    for (const rival of chosen) {
      const samples = rounds.get(rival.name) ?? [];
      if (round > 0 && samples[0] === undefined) continue;
      progress(`${trial.title}: round ${round + 1} of ${runs}, ${rival.name}`);
      try {
        const sample = await trial.run(rival);
        samples.push(sample);
        if ((sample['socketErrors'] ?? 0) > 0)
          errors.push(`${rival.name}, round ${round + 1}: ${sample['socketErrors']} sockets had an error`);
      } catch (error) {
        samples.push(undefined);
        errors.push(`${rival.name}, round ${round + 1}: ${(error as Error).message}`);
      }
    }
  }
  progress('');
  return { rounds, errors };
}

function passes(verdicts: readonly Verdict[]): boolean {
  console.log('\ngoals');
  for (const { trial, rival, goal, ratio: value, isMet } of verdicts)
    console.log(
      `  ${isMet ? 'met   ' : 'MISSED'}  ${trial}: ${rival} ${value?.toFixed(3) ?? 'no figure'} of ${baseline}, at most ${goal.toFixed(2)}`,
    );
  if (verdicts.length === 0) console.log('  MISSED  nothing that was run has a goal');
  return verdicts.length > 0 && verdicts.every((verdict) => verdict.isMet);
}

function choose<T extends { name: string }>(what: string, all: readonly T[], wanted: readonly string[]): readonly T[] {
  return wanted.map((name) => {
    const found = all.find((one) => one.name === name);
    if (!found) throw new Error(`there is no ${what} '${name}'; there are: ${names(all)}`);
    return found;
  });
}

const names = (all: readonly { name: string }[]): string => all.map((one) => one.name).join(', ');

function progress(text: string): void {
  if (process.stderr.isTTY) process.stderr.write(`\r\x1b[K${text}`);
}

function projectRoot(): string {
  for (let folder = import.meta.dirname; folder !== dirname(folder); folder = dirname(folder)) {
    const file = join(folder, 'package.json');
    if (existsSync(file) && (JSON.parse(readFileSync(file, 'utf8')) as { name?: string }).name === 'millrace')
      return folder;
  }
  throw new Error('package.json of millrace not found');
}

process.exitCode = await main();
