// NODE_SUITE=FOLDER node tools/node-suite.mjs [options]: runs Node's own tests with `net` replaced by millrace, or `net` and
// `tls`.
//
// The folder holds `test/` of a Node.js checkout; nothing of it is part of this repository. Which tests count is written in
// node-suite/net.json and tls.json. A test that fails runs again, alone; one that passes without having asked for our module has failed.
// A run of all sets is recorded in .build/node-suite, from where --write makes the page.
//   --module   net (default), or tls: the tests of tls, with millrace/tls in its place
//   --engine   io_uring (default), epoll, or node: Node's own modules by the same way, as a control
//   --node     the Node.js to test with: its line should be the suite's
//   --set      only these sets, with commas between them
//   --only     only tests whose name contains this text
//   --entry    another build of millrace than this checkout's dist/index.js
//   --jobs     how many tests of `parallel` run at a time (default 2)
//   --retries  how often a failed test runs again (default 1)
//   --verbose  shows what the failed tests said, and the tests that load the module and are in no list
//   --write    docs/compat.md: writes the page from the runs recorded so far, and runs nothing
import { execFileSync, spawn } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  realpathSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { release, tmpdir } from 'node:os';
import { basename, dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { writePage } from './node-suite/page.mjs';
import { setup } from './setup.mjs';

const { values: options } = parseArgs({
  options: {
    module: { type: 'string', default: 'net' },
    engine: { type: 'string', default: 'io_uring' },
    node: { type: 'string', default: process.execPath },
    set: { type: 'string' },
    only: { type: 'string' },
    entry: { type: 'string', default: fileURLToPath(new URL('../dist/index.js', import.meta.url)) },
    jobs: { type: 'string', default: '2' },
    retries: { type: 'string', default: '1' },
    verbose: { type: 'boolean', default: false },
    write: { type: 'string' },
  },
});
const timeoutMs = 30_000;
const outputLimit = 64 * 1024;
const records = join('.build', 'node-suite');
const lists = Object.fromEntries(
  ['net', 'tls'].map((name) => [
    name,
    JSON.parse(readFileSync(new URL(`node-suite/${name}.json`, import.meta.url), 'utf8')),
  ]),
);
const list = lists[options.module];
if (list === undefined) throw new Error(`--module ${options.module}: there are ${Object.keys(lists).join(', ')}`);

const entry = resolve(options.entry);
/** What stands in for which module of Node's. */
const entries = {
  net: entry,
  ...(options.module === 'tls' ? { tls: join(dirname(entry), 'tls', 'index.js') } : {}),
};
let serial = 0;
const node = resolve(options.node);
const suite =
  process.env.NODE_SUITE && existsSync(process.env.NODE_SUITE) ? realpathSync(process.env.NODE_SUITE) : undefined;
setup({ quiet: true, withPrograms: options.write !== undefined });
if (options.write) await writePage({ path: options.write, records, lists });
else await main();

async function main() {
  if (!suite || !existsSync(join(suite, 'test', 'common'))) {
    throw new Error('NODE_SUITE has to name the folder that holds test/ of a Node.js checkout: see CONTRIBUTING.md');
  }
  const { version, engine } = probe();
  const suiteVersion = versionOf(suite);
  const tests = choose(suiteVersion);
  console.log(`${suiteVersion} on Node.js ${version}, ${options.module}, engine ${engine}: ${tests.length} tests`);

  const work = mkdtempSync(join(tmpdir(), 'ns-')); // short: a unix socket's path has at most 107 bytes
  const results = new Map();
  try {
    const stage = prepare(work, engine);
    const isParallel = ({ name }) => name.startsWith('parallel/');
    const runAll = async (queue, slot) => {
      for (let next = queue.shift(); next; next = queue.shift())
        results.set(next.name, await runTest(next, stage, slot));
    };
    const parallel = tests.filter(isParallel);
    await Promise.all(Array.from({ length: Number(options.jobs) }, (_, slot) => runAll(parallel, slot)));
    await runAll(
      tests.filter((test) => !isParallel(test)),
      0,
    );
    for (let round = 0; round < Number(options.retries); round++) {
      for (const test of tests.filter(({ name }) => hasFailed(results.get(name)))) {
        const again = await runTest(test, stage, 0);
        results.set(test.name, hasFailed(again) ? again : { ...again, note: 'at the second attempt' });
      }
    }
  } finally {
    rmSync(work, { recursive: true, force: true, maxRetries: 3 });
  }
  report(results);
  if (options.set === undefined && options.only === undefined) {
    mkdirSync(records, { recursive: true });
    const path = join(records, `${options.module === 'net' ? '' : `${options.module}-`}${suiteVersion}-${engine}.json`);
    const about = {
      module: options.module,
      suite: suiteVersion,
      node: version,
      engine,
      date: new Date().toISOString().slice(0, 10),
    };
    const named = Object.fromEntries(tests.map(({ name }) => [name, results.get(name)]));
    writeFileSync(path, `${JSON.stringify({ ...about, kernel: release().split('-')[0], results: named }, null, 1)}\n`);
    console.log(`recorded in ${path}`);
  }
  process.exitCode = [...results.values()].some(hasFailed) ? 1 : 0;
}

/** Asks the build for its engine, under the Node.js that will run the tests. */
function probe() {
  const program = `import(${JSON.stringify(entry)}).then((m) => console.log(process.version, m.engine))`;
  const env = { ...process.env, MILLRACE_ENGINE: options.engine };
  const [version, engine] = execFileSync(node, ['-e', program], { env, encoding: 'utf8' }).trim().split(' ');
  return { version, engine };
}

/** The version of a checkout of Node.js; a folder with tests only is called by its name. */
function versionOf(folder) {
  const header = join(folder, 'src', 'node_version.h');
  if (!existsSync(header)) return basename(folder);
  const text = readFileSync(header, 'utf8');
  return `v${['MAJOR', 'MINOR', 'PATCH'].map((part) => new RegExp(`NODE_${part}_VERSION (\\d+)`).exec(text)?.[1]).join('.')}`;
}

function choose(suiteVersion) {
  const exceptions = list.except[/^v(\d+)\./.exec(suiteVersion)?.[1]] ?? {};
  const sets = options.set?.split(',') ?? Object.keys(list.sets);
  const unknown = sets.find((set) => !(set in list.sets));
  if (unknown) throw new Error(`there is no set '${unknown}', only ${Object.keys(list.sets).join(', ')}`);
  if (options.verbose) nameTheUnlisted();
  return sets.flatMap((set) =>
    list.sets[set]
      .filter((name) => existsSync(join(suite, 'test', name)) && !(name in exceptions))
      .filter((name) => name.includes(options.only ?? ''))
      .map((name) => ({ name, set })),
  );
}

/** A newer suite has tests that nobody has looked at yet. */
function nameTheUnlisted() {
  const listed = new Set([...Object.values(list.sets).flat(), ...Object.keys(list['left out'])]);
  for (const folder of ['parallel', 'sequential', 'pummel']) {
    if (!existsSync(join(suite, 'test', folder))) continue;
    for (const file of readdirSync(join(suite, 'test', folder))) {
      const name = `${folder}/${file}`;
      if (!/^test-.*\.[cm]?js$/.test(file) || listed.has(name)) continue;
      const loads = new RegExp(`(require\\(|from |import\\()['"](node:)?${options.module}(/promises)?['"]`);
      if (loads.test(readFileSync(join(suite, 'test', name), 'utf8'))) console.log(`in no list: ${name}`);
    }
  }
}

/** What every test needs: a file for --require with the setting in it. */
function prepare(work, engine) {
  const preload = join(work, 'preload.cjs');
  const setting = { entries, folder: join(suite, 'test', '/'), engine };
  const hook = fileURLToPath(new URL('node-suite/preload.cjs', import.meta.url));
  writeFileSync(preload, `require(${JSON.stringify(hook)})(${JSON.stringify(setting)});\n`);
  return { work, preload, engine };
}

function runTest({ name, set }, { work, preload, engine }, slot) {
  const path = join(suite, 'test', name);
  const flags = [...readFileSync(path, 'utf8').matchAll(/^\/\/ Flags:(.*)$/gm)].flatMap(([, text]) =>
    text.trim().split(/\s+/),
  );
  const folder = join(work, String(slot));
  mkdirSync(folder, { recursive: true });
  serial += 1;
  const { NODE_CHANNEL_FD, NODE_DEBUG, NODE_TEST_CONTEXT, NODE_V8_COVERAGE, FORCE_COLOR, ...inherited } = process.env;
  const env = {
    ...inherited,
    MILLRACE_ENGINE: engine,
    MILLRACE_SUITE_TRACE: join(folder, 'trace'),
    NODE_OPTIONS: `--require ${preload}`,
    NODE_TEST_DIR: folder,
    TEST_THREAD_ID: String(slot),
    TEST_SERIAL_ID: String(serial),
    NODE_COMMON_PORT: String(20_000 + (process.pid % 200) * 50 + slot * 10),
  };
  return new Promise((done) => {
    const started = performance.now();
    const child = spawn(node, [...flags, path], { cwd: suite, env, detached: true, stdio: ['ignore', 'pipe', 'pipe'] });
    // The test's own group, with the children that it left behind.
    const killGroup = () => {
      try {
        process.kill(-child.pid, 'SIGKILL');
      } catch {}
    };
    let isLate = false;
    const timer = setTimeout(() => {
      isLate = true;
      killGroup();
    }, timeoutMs);
    const output = { stdout: '', stderr: '' };
    for (const stream of ['stdout', 'stderr']) {
      child[stream].setEncoding('utf8').on('data', (text) => {
        output[stream] = (output[stream] + text).slice(-outputLimit);
      });
    }
    child.on('error', (error) => finish(-1, error.message));
    // Not 'close': a grandchild that lives on holds the pipes.
    child.on('exit', (code, signal) => setTimeout(finish, 30, code, signal));
    const finish = (code, signal) => {
      clearTimeout(timer);
      killGroup();
      const hasAsked = existsSync(env.MILLRACE_SUITE_TRACE);
      rmSync(folder, { recursive: true, force: true, maxRetries: 3 });
      const skip = /^1\.\.0 # skip(?:ped)?:?\s*(.*)$/im.exec(output.stdout)?.[1];
      const result = { set, ms: Math.round(performance.now() - started) };
      if (isLate) Object.assign(result, { status: 'timed out', note: lastError(output) });
      else if (code !== 0)
        Object.assign(result, { status: 'failed', note: lastError(output) || String(signal ?? code) });
      else if (skip !== undefined) Object.assign(result, { status: 'skipped', note: skip });
      else if (!hasAsked) Object.assign(result, { status: 'failed', note: `never asked for ${options.module}` });
      else result.status = 'passed';
      if (hasFailed(result)) tell(name, result, output);
      done(result);
    };
  });
}

function tell(name, { status, note }, output) {
  console.log(`${status}: ${name}\n    ${note}`);
  if (options.verbose)
    console.log((output.stderr || output.stdout).trim().split('\n').slice(-30).join('\n').replace(/^/gm, '    | '));
}

function lastError({ stdout, stderr }) {
  const text = stderr || stdout;
  const line = /^(?:\w*Error\b.*|.*Assertion failed: .*|Mismatched .*|.*is not a (?:function|constructor).*)$/m.exec(
    text,
  )?.[0];
  const last = text
    .trim()
    .split('\n')
    .findLast((one) => !/^\s*(?:at |\d+:|Node\.js v|\}?$)/.test(one));
  return (line ?? last ?? '').trim().slice(0, 200);
}

function hasFailed(result) {
  return result === undefined || result.status === 'failed' || result.status === 'timed out';
}

function report(results) {
  const columns = ['passed', 'failed', 'timed out', 'skipped'];
  const row = (cells) =>
    console.log(cells.map((cell, i) => (i === 0 ? String(cell).padEnd(16) : String(cell).padStart(10))).join(''));
  const count = (entries) => columns.map((status) => entries.filter((entry) => entry.status === status).length);
  const all = [...results.values()];
  row(['', ...columns]);
  for (const set of Object.keys(list.sets)) {
    const entries = all.filter((entry) => entry.set === set);
    if (entries.length > 0) row([set, ...count(entries)]);
  }
  row(['all', ...count(all)]);
  for (const [name, { status, note }] of results) {
    if (status !== 'passed' || note) console.log(`${status}: ${name}${note ? ` (${note})` : ''}`);
  }
}
