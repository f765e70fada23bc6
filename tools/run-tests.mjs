// Runs test files with node:test, for tools/test.mjs and tools/sanitize.mjs.
//
// A file in which a test failed runs once more, alone: what fails twice has failed. What passes then is told as unstable,
// by name, at the end of the output; a machine that other work shares must not hide a defect, nor make one up. More than a
// few such files are no accident, and are not repeated.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, readFileSync, rmSync } from 'node:fs';
import { join, resolve } from 'node:path';

const testTimeoutMs = 180_000;
const mostRepeated = 3;
const results = join('.build', 'results');

/**
 * @param {{ node: string, label: string, files: string[], env: Record<string, string | undefined>,
 *   print?: (text: string) => void }} run  `label` names the record, `.build/results/LABEL.tap`; `print` takes what the
 *   tests say
 * @returns {Promise<{ passed: number, failed: number, skipped: number, failures: string[], unstable: string[] }>} counts
 *   of tests, and titles of those that failed, or that failed once
 */
export async function runTests(run) {
  const first = await runOnce(run);
  const filesOf = ({ details }) => run.files.filter((file) => details.includes(resolve(file)));
  const repeated = [...new Set(first.failures.flatMap(filesOf))];
  const isExplained = first.failures.every((failure) => filesOf(failure).length > 0);
  const titles = first.failures.map(({ title }) => title);
  const outcome = { ...first, failures: titles, unstable: [] };
  if (first.failed === 0 || !isExplained || repeated.length > mostRepeated) return outcome;
  const { print = printAll } = run;
  print(`\n${run.label}: once more, alone: ${repeated.join(', ')}\n`);
  const second = await runOnce({ ...run, label: `${run.label}-again`, files: repeated, isAlone: true });
  if (second.failed > 0) return outcome;
  return { ...outcome, passed: first.passed + first.failed, failed: 0, failures: [], unstable: titles };
}

const printAll = (text) => void process.stdout.write(text);

async function runOnce({ node, label, files, env, print = printAll, isAlone = false }) {
  mkdirSync(results, { recursive: true });
  const tap = join(results, `${label}.tap`);
  rmSync(tap, { force: true });
  const { NODE_TEST_CONTEXT: _, ...outer } = process.env;
  const reporters = ['--test-reporter=spec', '--test-reporter-destination=stdout', '--test-reporter=tap'];
  const run = spawn(
    node,
    [
      ...['--test', `--test-concurrency=${isAlone ? 1 : 2}`, `--test-timeout=${testTimeoutMs}`],
      ...[...reporters, `--test-reporter-destination=${tap}`, ...files],
    ],
    { stdio: ['ignore', 'pipe', 'pipe'], env: { ...outer, ...env } },
  );
  for (const stream of [run.stdout, run.stderr]) stream.setEncoding('utf8').on('data', print);
  const [status, signal] = await once(run, 'close');
  const record = existsSync(tap) ? readFileSync(tap, 'utf8') : '';
  const counts = countsOf(record);
  const outcome = {
    passed: counts.pass ?? 0,
    failed: (counts.fail ?? 0) + (counts.cancelled ?? 0),
    skipped: (counts.skipped ?? 0) + (counts.todo ?? 0),
    failures: failuresOf(record),
  };
  if (status !== 0 && outcome.failed === 0) {
    outcome.failed = 1;
    outcome.failures.push({
      title: `the test runner ended with ${signal ?? `exit code ${status}`} and no failed test`,
    });
  }
  return outcome;
}

/** The runner's own summary, which ends its TAP output: `# pass 12`. */
export function countsOf(tap) {
  const summary = tap.slice(tap.lastIndexOf('\n1..'));
  return Object.fromEntries([...summary.matchAll(/^# (\w+) (\d+)$/gm)].map(([, name, count]) => [name, Number(count)]));
}

/** The failed tests of a TAP record, each with its details, which name the file. Tests of a suite are indented. */
export function failuresOf(tap) {
  return [...tap.matchAll(/^( *)not ok \d+ - (.*)\n\1 {2}---\n([\s\S]*?)\n\1 {2}\.\.\.$/gm)]
    .map(([, , title, details]) => ({ title, details }))
    .filter(({ title }) => !/ # (SKIP|TODO)\b/.test(title));
}
