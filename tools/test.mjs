// node tools/test.mjs [--engine NAME] [--only TEXT] [--skip SUITES] [--node PATH]: sets the checkout up and runs its tests.
//
// A suite is a folder of test/. Those that don't depend on the engine run once, all others once for each engine that
// this machine has. test/packages is npm packages on millrace: they are installed when they are first needed, and run on
// plain Node only with --engine node, which is their control. Ends with the titles of failed and of unstable tests, and one
// line, `N passed, N failed, N skipped`, summed over all runs.
//   --engine  io_uring, epoll or node: only this engine, and it is an error if it can't be had
//   --only    only the test files whose path contains this text
//   --skip    suites to leave out, with commas between them
//   --node    the Node.js to test with, if not the one that runs this
import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { runTests } from './run-tests.mjs';
import { installTestPackages, setup } from './setup.mjs';

/** Suites that test no engine, or open each ring by hand. */
const onceSuites = ['bench', 'engine', 'framing', 'package', 'tools'];
/** Those of them that can't do without the native part. */
const nativeSuites = ['engine'];
/** The suite that needs packages from npm. */
const packagesSuite = 'packages';
const nativePart = join('.build', 'millrace.node');
const engines = ['io_uring', 'epoll', 'node'];

const { values: options } = parseArgs({
  options: {
    engine: { type: 'string' },
    only: { type: 'string' },
    skip: { type: 'string', default: '' },
    node: { type: 'string' },
  },
});
const node = options.node ?? process.execPath;
const total = { passed: 0, failed: 0, skipped: 0, failures: [], unstable: [] };

setup({ quiet: true });
try {
  await main();
} catch (error) {
  console.error(error.message);
  total.failed += 1;
}
for (const title of total.unstable) console.log(`UNSTABLE, failed once and passed when it ran again: ${title}`);
for (const title of total.failures) console.log(`FAILED: ${title}`);
console.log(`${total.passed} passed, ${total.failed} failed, ${total.skipped} skipped`);
process.exitCode = total.failed === 0 ? 0 : 1;

async function main() {
  if (options.engine !== undefined && !engines.includes(options.engine)) {
    throw new Error(`--engine ${options.engine}: there are ${engines.join(', ')}`);
  }
  const files = testFiles();
  if (files.length === 0) throw new Error(`no test file has '${options.only}' in its path`);
  const once = files.filter((file) => onceSuites.includes(suiteOf(file)));
  const perEngine = files.filter((file) => !onceSuites.includes(suiteOf(file)));
  const version = spawnSync(node, ['--version'], { encoding: 'utf8' }).stdout?.trim();
  if (!version) throw new Error(`${node} is not a Node.js that runs here`);
  console.log(`Node.js ${version}, ${process.platform}-${process.arch}`);
  if (once.length > 0) await run('once', once, undefined);
  if (perEngine.length === 0) return;
  const withoutPackages = perEngine.filter((file) => suiteOf(file) !== packagesSuite);
  const all = withoutPackages.length < perEngine.length && !hasPackages() ? withoutPackages : perEngine;
  for (const engine of availableEngines()) {
    const files = engine === 'node' && options.engine === undefined ? withoutPackages : all;
    if (files.length > 0) await run(engine, files, engine);
  }
}

function hasPackages() {
  if (installTestPackages()) return true;
  console.log(`left out, for npm could not install its packages: test/${packagesSuite}`);
  total.skipped += 1;
  return false;
}

function testFiles() {
  const folder = join('.build', 'test');
  const leftOut = existsSync(nativePart) ? [] : nativeSuites;
  if (leftOut.length > 0) console.log(`left out, for there is no native part here: test/${leftOut.join(', test/')}`);
  return readdirSync(folder, { recursive: true })
    .map((name) => join(folder, String(name)))
    .filter((path) => path.endsWith('.test.js') && path.includes(options.only ?? ''))
    .filter((path) => !leftOut.includes(suiteOf(path)) && !options.skip.split(',').includes(suiteOf(path)))
    .sort();
}

function suiteOf(file) {
  return file.split(/[\\/]/)[2];
}

/** Asks each engine for itself: one that is forced and can't be had is an error at import. */
function availableEngines() {
  const program = `const { engine } = await import('millrace');
    if (engine !== process.env.MILLRACE_ENGINE) throw new Error('the import gave ' + engine);`;
  return engines.filter((engine) => {
    if (options.engine !== undefined && options.engine !== engine) return false;
    const { status, stderr } = spawnSync(node, ['--input-type=module', '--eval', program], {
      encoding: 'utf8',
      env: { ...process.env, MILLRACE_ENGINE: engine },
    });
    if (status === 0) return true;
    const reason = /^\w*Error.*$/m.exec(stderr)?.[0] ?? `exit code ${status}`;
    console.log(`engine ${engine}: left out, ${reason}`);
    // The native part was compiled and its fallback does not work: that is no property of the machine.
    const isBroken = engine === 'epoll' && existsSync(nativePart);
    if (isBroken || engine === 'node' || engine === options.engine) {
      console.log(`engine ${engine}: that is a failure here`);
      total.failed += 1;
    }
    return false;
  });
}

async function run(label, files, engine) {
  console.log(`\n${engine === undefined ? 'suites without an engine' : `engine ${engine}`}: ${files.length} files`);
  const { passed, failed, skipped, failures, unstable } = await runTests({
    node,
    label,
    files,
    env: { MILLRACE_ENGINE: engine },
  });
  total.passed += passed;
  total.failed += failed;
  total.skipped += skipped;
  const name = (title) => `${label}: ${title}`;
  total.failures.push(...failures.map(name));
  total.unstable.push(...unstable.map(name));
}
