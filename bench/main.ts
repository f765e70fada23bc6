// `npm run bench`: starts each rival as a process of its own, alternating (A B C A B C ...), drives it with load/, and writes
// tables, results and charts. Exit status: 0; 1 if a run failed or, with --check, a goal was missed; 2 wrong usage.
import { existsSync, readFileSync } from 'node:fs';
import { loadavg } from 'node:os';
import { dirname, join } from 'node:path';
import { cases } from './cases/cases.ts';
import { goals } from './goals.ts';
import { buildLoad } from './load/build.ts';
import { describeMachine, mostConnections, place } from './machine.ts';
import { type Options, readOptions, usage } from './options.ts';
import { type Finished, judge, type Rounds, table, type Verdict, verdictLine, writeResults } from './report.ts';
import { type Prepared, prepareAll, type Rival, rivals } from './rivals.ts';
import { chooseCases, chooseRivals, type Plan, plan, secondsOf } from './select.ts';
import type { Bench, Case } from './trial.ts';
import { Unavailable } from './workshop.ts';

async function main(): Promise<number> {
  let options: Options;
  let chosenCases: readonly Case[];
  let chosenRivals: readonly Rival[];
  try {
    options = readOptions(process.argv.slice(2));
    chosenCases = chooseCases(cases, options.cases);
    chosenRivals = chooseRivals(options.rivals ?? (options.prepare ? ['all'] : undefined), options.full);
  } catch (error) {
    console.error(`bench: ${(error as Error).message}\n\n${usage}`);
    return 2;
  }
  if (options.help) {
    const about = rivals.map(({ name, about }) => `  ${name.padEnd(22)}${about}`).join('\n');
    console.log(`${usage}\n\ncases: ${cases.map((one) => one.name).join(', ')}\nrivals:\n${about}`);
    return 0;
  }
  if (process.platform !== 'linux') {
    console.error('bench: the load generator and the CPU clocks need Linux');
    return 1;
  }

  const root = projectRoot();
  const shop = { root, mayInstall: options.prepare };
  const { ready, missing } = options.list
    ? { ready: new Map(chosenRivals.map((rival) => [rival, undefined])), missing: [] as string[] }
    : prepareAll(chosenRivals, shop);
  for (const line of missing) console.log(line);
  if (options.prepare) {
    for (const [rival, prepared] of ready) console.log(`${rival.name.padEnd(22)}${prepared?.version}`);
    return 0;
  }
  const placement = place(options.pin);
  const bench: Bench = { options, placement, root, load: options.list ? '' : buildLoad(shop) };
  const plans = plan(bench, chosenCases, [...ready.keys()]);
  const minutes = Math.ceil(secondsOf(plans, bench) / 60);
  if (options.list) {
    for (const { trial, rivals: some, runs } of plans)
      console.log(`${trial.id.padEnd(24)}${runs} x ${some.map((rival) => rival.name).join(' ')}`);
    console.log(`about ${minutes} min`);
    return 0;
  }

  const most = mostConnections(100_000);
  if (most < 100_000) {
    missing.push(`a process can't have more than ${most} connections here: the largest idle trials have that many`);
    console.log(missing.at(-1));
  }
  const machine = describeMachine();
  const date = new Date().toISOString();
  const { cpu, cpus, kernel } = machine;
  console.log(`${cpu} x ${cpus}, Linux ${kernel}; ${placement.about}; medians; about ${minutes} min`);
  const load = loadavg()[0] ?? 0;
  if (load > 0.5) console.log(`note: the machine is not idle (load average ${load.toFixed(1)}): expect noise`);

  const finished: Finished[] = [];
  for (const one of plans) {
    const { rounds, errors, notes } = await alternate(one, ready as ReadonlyMap<Rival, Prepared>);
    console.log(`\n${one.trial.title}  [${one.trial.id}]\n${table(one.trial, rounds)}`);
    for (const note of [...one.notes, ...notes, ...errors.map((error) => `! ${error}`)]) console.log(`  ${note}`);
    finished.push({ trial: one.trial, rounds, errors });
  }

  const verdicts = judge(goals, finished);
  console.log('\ngoals');
  for (const verdict of verdicts) console.log(`  ${verdictLine(verdict)}`);
  if (verdicts.length === 0) console.log('  nothing that was run has a goal');
  const command = ['npm', 'run', 'bench', '--', ...process.argv.slice(2)].join(' ');
  const versions = Object.fromEntries([...ready].map(([rival, prepared]) => [rival.name, prepared?.version ?? '']));
  const facts = { date, command, machine, placement: placement.about, options, versions, missing };
  const folder = options.out ?? join(root, 'bench/results', date.slice(0, 19).replaceAll(':', '-'));
  writeResults(folder, facts, finished, verdicts);
  console.log(`\nresults, tables and charts: ${folder}`);
  const failures = finished.reduce((sum, { errors }) => sum + errors.length, 0);
  return (options.check && !passes(verdicts)) || failures > 0 ? 1 : 0;
}

/** Runs a trial for each rival, in rounds. A rival that fails in its first run is not tried again. */
async function alternate(
  { trial, rivals: some, runs }: Plan,
  ready: ReadonlyMap<Rival, Prepared>,
): Promise<{ rounds: Rounds; errors: string[]; notes: string[] }> {
  const notes: string[] = [];
  const rounds: Rounds = new Map(some.map((rival) => [rival.name, []]));
  const errors: string[] = [];
  for (let round = 0; round < runs; round++) {
    for (const rival of some) {
      const samples = rounds.get(rival.name) ?? [];
      const prepared = ready.get(rival);
      if (!prepared || (round > 0 && samples[0] === undefined)) continue;
      progress(`${trial.title}: round ${round + 1} of ${runs}, ${rival.name}`);
      try {
        const sample = await trial.run(rival, prepared);
        samples.push(sample);
        if ((sample['socketErrors'] ?? 0) > 0)
          errors.push(`${rival.name}, round ${round + 1}: ${sample['socketErrors']} sockets had an error`);
      } catch (error) {
        samples.push(undefined);
        if (error instanceof Unavailable) notes.push(`${rival.name} is left out: ${error.message}`);
        else errors.push(`${rival.name}, round ${round + 1}: ${(error as Error).message}`);
      }
    }
  }
  progress('');
  for (const [name, samples] of rounds)
    if (samples.every((one) => one === undefined) && !errors.some((text) => text.startsWith(`${name},`)))
      rounds.delete(name);
  return { rounds, errors, notes };
}

/** A goal without a figure (a rival that can't be had here) does not fail the check, but something must have been judged. */
const passes = (verdicts: readonly Verdict[]): boolean =>
  verdicts.some((verdict) => verdict.ratio !== undefined) && verdicts.every((verdict) => verdict.isMet !== false);

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
