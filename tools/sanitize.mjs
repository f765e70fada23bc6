// Runs tests with a native part that was compiled with AddressSanitizer and UndefinedBehaviorSanitizer, on each engine.
//
//   node tools/sanitize.mjs [test files; default: those of every suite in which the native part works]
//   node tools/sanitize.mjs --leaks
//
// Fails when a test fails or when a sanitizer has anything to say in any process. Leaks are not looked for there, because Node
// itself has some. With --leaks one program makes TLS connections of every kind (test/soak/tls-connections.ts), and
// LeakSanitizer must find nothing at its end that was allocated by a native part, or by OpenSSL on its behalf. Plain JavaScript
// like the other tools; the checkout has to be set up (tools/setup.mjs).
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdirSync, readdirSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { parts, sourcesOf } from './native.mjs';
import { runTests } from './run-tests.mjs';

const root = new URL('..', import.meta.url).pathname;
process.chdir(root);
const folder = resolve('.build/sanitized');
const binary = (name) => join(folder, `millrace${name}.node`);
const cc = process.env.CC ?? 'cc';

/** Suites that are about something else, or whose other programs would run with the sanitizers as well. */
const leftOut = 'apps bench cluster compat examples framing package packages register restart tools'.split(' ');
const leakProgram = '.build/test/soak/tls-connections.js';
const leakTimeoutMs = 600_000;
/** A source of ours in a stack. */
const OURS = /\bnative\/(?:tls\/)?\w+\.c:\d/;
/** What Node itself allocates for an object of V8 that points to something of ours, and does not free at the end of a process. */
const NODES = /#1 \S+ in napi_create_external /;

function tests(folder) {
  return readdirSync(folder, { recursive: true })
    .filter((file) => file.endsWith('.test.js') && !leftOut.includes(file.split(/[\\/]/)[0]))
    .map((file) => join(folder, file))
    .sort();
}

const library = (name) => execFileSync(cc, [`-print-file-name=${name}`], { encoding: 'utf8' }).trim();

mkdirSync(folder, { recursive: true });
for (const [name, sources] of Object.entries(parts)) {
  execFileSync(
    cc,
    [
      '-std=gnu11',
      '-O1',
      '-g',
      '-fno-omit-frame-pointer',
      '-fsanitize=address,undefined',
      // A complaint ends the process, and with it the test, even where nobody reads what a child process prints.
      '-fno-sanitize-recover=all',
      '-Wall',
      '-Wextra',
      '-Werror',
      '-fPIC',
      '-shared',
      '-fvisibility=hidden',
      '-Inode_modules/node-api-headers/include',
      '-o',
      binary(name),
      ...sourcesOf(sources),
    ],
    { stdio: 'inherit' },
  );
}

if (process.argv[2] === '--leaks') lookForLeaks();
else await runSuites();

async function runSuites() {
  const files = process.argv.length > 2 ? process.argv.slice(2) : tests('.build/test');
  const COMPLAINT = /AddressSanitizer|runtime error:/;
  let isClean = true;
  for (const engine of ['io_uring', 'epoll']) {
    console.log(`sanitize: ${engine}, ${files.length} test files`);
    let hasComplaint = false;
    let lastLine = '';
    const { failures, unstable } = await runTests({
      node: process.execPath,
      label: `sanitize-${engine}`,
      files,
      env: { ...sanitized(engine), ASAN_OPTIONS: 'detect_leaks=0', UBSAN_OPTIONS: 'print_stacktrace=1' },
      print: (text) => {
        process.stdout.write(text);
        const lines = lastLine + text;
        hasComplaint ||= COMPLAINT.test(lines);
        lastLine = lines.slice(lines.lastIndexOf('\n') + 1);
      },
    });
    if (hasComplaint) console.error(`sanitize: ${engine}: a sanitizer complained`);
    for (const title of unstable)
      console.error(`UNSTABLE, failed once and passed when it ran again: ${engine}: ${title}`);
    for (const title of failures) console.error(`FAILED: ${engine}: ${title}`);
    isClean &&= failures.length === 0 && !hasComplaint;
  }
  console.log(isClean ? 'sanitize: clean' : 'sanitize: not clean');
  process.exitCode = isClean ? 0 : 1;
}

/** What makes a process load the sanitized parts. */
function sanitized(engine) {
  return {
    MILLRACE_NATIVE: binary(''),
    MILLRACE_NATIVE_TLS: binary('-tls'),
    MILLRACE_ENGINE: engine,
    LD_PRELOAD: `${library('libasan.so')} ${library('libubsan.so')}`,
  };
}

function lookForLeaks() {
  for (const engine of ['io_uring', 'epoll']) {
    const lost = lostWith(engine);
    console.log(`sanitize: ${engine}: ${lost.length} leaks in the native parts, or in what OpenSSL does for them`);
    if (lost.length === 0) continue;
    console.error(lost.join('\n'));
    process.exitCode = 1;
  }
}

/** What LeakSanitizer reports when the program ends, as far as a native part of ours is among the callers. */
function lostWith(engine) {
  const { status, signal, stderr } = spawnSync(process.execPath, ['--expose-gc', leakProgram], {
    encoding: 'utf8',
    maxBuffer: 1 << 30,
    timeout: leakTimeoutMs,
    env: {
      ...process.env,
      ...sanitized(engine),
      // Node is compiled without frame pointers: callers are found by its tables, which takes a minute.
      ASAN_OPTIONS: 'detect_leaks=1:fast_unwind_on_malloc=0:malloc_context_size=20',
      LSAN_OPTIONS: 'exitcode=0:max_leaks=0',
    },
  });
  if (status !== 0) throw new Error(`${leakProgram}: ${signal ?? status}\n${stderr.slice(-2000)}`);
  return stderr
    .split(/\n(?=(?:Direct|Indirect) leak of )/)
    .filter((text, i) => i > 0 && OURS.test(text) && !NODES.test(text));
}
