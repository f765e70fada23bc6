// Runs tests with a native part that was compiled with AddressSanitizer and UndefinedBehaviorSanitizer, on each engine.
//
//   node tools/sanitize.mjs [test files; default: those of every suite in which the native part works]
//
// Fails when a test fails or when a sanitizer has anything to say in any process. Leaks are not looked for, because Node
// itself has many. Plain JavaScript like the other tools; the checkout has to be set up (tools/setup.mjs).
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, readdirSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { parts, sourcesOf } from './native.mjs';

const root = new URL('..', import.meta.url).pathname;
process.chdir(root);
const folder = resolve('.build/sanitized');
const binary = (name) => join(folder, `millrace${name}.node`);
const cc = process.env.CC ?? 'cc';

/** Suites that are about something else, or whose other programs would run with the sanitizers as well. */
const leftOut = ['apps', 'bench', 'examples', 'framing', 'package', 'packages', 'tools'];
const testTimeoutMs = 180_000;

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

const files = process.argv.length > 2 ? process.argv.slice(2) : tests('.build/test');
const COMPLAINT = /AddressSanitizer|runtime error:/;
let isClean = true;
for (const engine of ['io_uring', 'epoll']) {
  console.log(`sanitize: ${engine}, ${files.length} test files`);
  const run = spawn(process.execPath, ['--test', `--test-timeout=${testTimeoutMs}`, ...files], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: {
      ...process.env,
      MILLRACE_NATIVE: binary(''),
      MILLRACE_NATIVE_TLS: binary('-tls'),
      MILLRACE_ENGINE: engine,
      LD_PRELOAD: `${library('libasan.so')} ${library('libubsan.so')}`,
      ASAN_OPTIONS: 'detect_leaks=0',
      UBSAN_OPTIONS: 'print_stacktrace=1',
    },
  });
  let output = '';
  for (const stream of [run.stdout, run.stderr]) {
    stream.setEncoding('utf8').on('data', (text) => {
      output += text;
      process.stdout.write(text);
    });
  }
  const [status, signal] = await once(run, 'close');
  const hasComplaint = COMPLAINT.test(output);
  if (hasComplaint) console.error(`sanitize: ${engine}: a sanitizer complained`);
  if (status !== 0) console.error(`sanitize: ${engine}: tests failed (${signal ?? status})`);
  isClean &&= status === 0 && !hasComplaint;
}
console.log(isClean ? 'sanitize: clean' : 'sanitize: not clean');
process.exitCode = isClean ? 0 : 1;
