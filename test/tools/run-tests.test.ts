import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { pathToFileURL } from 'node:url';

interface Outcome {
  passed: number;
  failed: number;
  skipped: number;
  failures: string[];
  unstable: string[];
}
interface RunTests {
  runTests(run: {
    node: string;
    label: string;
    files: string[];
    env: Record<string, string>;
    print: (text: string) => void;
  }): Promise<Outcome>;
  failuresOf(tap: string): { title: string; details: string }[];
}
const { runTests, failuresOf }: RunTests = await import(pathToFileURL('tools/run-tests.mjs').href);

const timeout = 60_000;

const PASSES = "test('passes', () => {});";
const FAILS = "test('a suite', (t) => t.test('fails', () => { throw new Error('no'); }));";
const FAILS_ONCE = `test('fails once', () => {
  if (!existsSync(process.env.MARK)) { writeFileSync(process.env.MARK, ''); throw new Error('the first time'); }
});`;

/** Writes test files and runs them. */
function run(t: TestContext, sources: string[]): Promise<Outcome> {
  const folder = mkdtempSync(join(tmpdir(), 'millrace-run-tests-'));
  t.after(() => rmSync(folder, { recursive: true }));
  const files = sources.map((source, index) => {
    const file = join(folder, `${index}.test.mjs`);
    writeFileSync(
      file,
      `import { existsSync, writeFileSync } from 'node:fs'; import { test } from 'node:test';\n${source}`,
    );
    return file;
  });
  return runTests({
    node: process.execPath,
    label: 'of-a-test',
    files,
    env: { MARK: join(folder, 'mark') },
    print: () => {},
  });
}

test('a test that fails twice has failed, with its title', { timeout }, async (t) => {
  const outcome = await run(t, [PASSES, FAILS]);
  assert.deepEqual([outcome.passed, outcome.failed, outcome.unstable], [1, 2, []]);
  assert.deepEqual(outcome.failures, ['fails', 'a suite']);
});

test('a test that fails once is told as unstable', { timeout }, async (t) => {
  const outcome = await run(t, [PASSES, FAILS_ONCE]);
  assert.deepEqual(outcome, { passed: 2, failed: 0, skipped: 0, failures: [], unstable: ['fails once'] });
});

test('beside a test that fails, one that fails once is not forgiven', { timeout }, async (t) => {
  const { failed, failures } = await run(t, [FAILS, FAILS_ONCE]);
  assert.deepEqual([failed, failures], [3, ['fails', 'a suite', 'fails once']]);
});

test('when more than three files fail, none runs again', { timeout }, async (t) => {
  const { failed, unstable } = await run(t, [FAILS_ONCE, FAILS, FAILS, FAILS]);
  assert.deepEqual([failed, unstable], [7, []]);
});

test('a file that breaks off has failed', { timeout }, async (t) => {
  const { failed, failures } = await run(t, [PASSES, 'process.exit(3);']);
  assert.deepEqual([failed, failures.length], [1, 1]);
});

test('what is to be done or left out is no failure', () => {
  const tap = "not ok 1 - later # TODO soon\n  ---\n  location: '/a.js:1:1'\n  ...\n";
  assert.deepEqual(failuresOf(tap), []);
});
