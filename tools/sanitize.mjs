// Runs tests with a native part that was compiled with AddressSanitizer and UndefinedBehaviorSanitizer, on each engine.
//
//   node tools/sanitize.mjs [test files; default: those of every suite in which the native part works]
//
// Fails when a test fails or when a sanitizer has anything to say in any process. Leaks are not looked for, because Node
// itself has many. Plain JavaScript like the other tools; the checkout has to be set up (tools/setup.mjs).
import { execFileSync } from 'node:child_process';
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
const leftOut = ['apps', 'bench', 'examples', 'framing', 'package', 'packages', 'tools'];

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
  let hasComplaint = false;
  let lastLine = '';
  const { failures, unstable } = await runTests({
    node: process.execPath,
    label: `sanitize-${engine}`,
    files,
    env: {
      MILLRACE_NATIVE: binary(''),
      MILLRACE_NATIVE_TLS: binary('-tls'),
      MILLRACE_ENGINE: engine,
      LD_PRELOAD: `${library('libasan.so')} ${library('libubsan.so')}`,
      ASAN_OPTIONS: 'detect_leaks=0',
      UBSAN_OPTIONS: 'print_stacktrace=1',
    },
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
