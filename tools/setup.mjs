// Makes a checkout runnable: dependencies, the native part (where there is a C compiler), the compiled TypeScript.
// Each step is skipped when nothing it reads has changed since it last succeeded. Plain JavaScript, because it runs first.
// With --quiet only what has to be waited for, and what went wrong, is said.
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { architectures, compileNative, compilerArguments, hasCompiler, parts } from './native.mjs';

const root = fileURLToPath(new URL('..', import.meta.url));
const typescript = join('node_modules', 'typescript', 'bin', 'tsc');
const nativeParts = Object.entries(parts).map(([name, folder]) => [join('.build', `millrace${name}.node`), folder]);
const lockFile = join('.build', 'setup.lock');

/**
 * Sets the checkout up; afterwards the working directory is its root. Ends the process with a sentence if it can't.
 * Without programs only the library is compiled: all that packing it needs.
 */
export function setup({ quiet = false, withPrograms = true } = {}) {
  try {
    runSteps(quiet, withPrograms);
  } catch (error) {
    say(error.message);
    process.exit(1);
  }
}

function runSteps(quiet, withPrograms) {
  const [major, minor] = process.versions.node.split('.').map(Number);
  if (major < 20 || (major === 20 && minor < 19)) {
    throw new Error(`millrace needs Node.js 20.19 or newer; this is ${process.version}`);
  }
  process.chdir(root);
  mkdirSync('.build', { recursive: true });
  const steps = [dependencies, native(quiet), sources, ...(withPrograms ? [programs] : [])];
  if (steps.every((step) => step.isDone())) {
    if (!quiet) say('everything is up to date');
    return;
  }
  const release = lock();
  try {
    for (const step of steps) if (!step.isDone()) step.run();
  } finally {
    release();
  }
}

function say(text) {
  console.error(`setup: ${text}`);
}

const dependencies = dependenciesStep('.', 'the development dependencies', () => {
  if (!existsSync(typescript)) throw new Error('npm could not install the development dependencies');
  say('npm failed; going on with the dependencies that are there');
});

/**
 * Installs the packages that test/packages runs on millrace, unless they are there. Not part of the set-up: nothing else
 * needs them. @returns whether they are there now
 */
export function installTestPackages() {
  let isThere = true;
  const step = dependenciesStep(join('test', 'packages'), 'the packages of test/packages', () => {
    isThere = false;
  });
  const release = step.isDone() ? () => {} : lock();
  try {
    if (!step.isDone()) step.run();
  } finally {
    release();
  }
  return isThere;
}

/** What the package-lock.json of a folder names. */
function dependenciesStep(folder, title, onFailure) {
  const modules = join(folder, 'node_modules');
  return {
    /** Compares versions, not dates: an edited package.json alone installs nothing, so it works without a network. */
    isDone() {
      const installed = lockedPackages(join(modules, '.package-lock.json'));
      return Object.entries(lockedPackages(join(folder, 'package-lock.json'))).every(([path, locked]) => {
        if (path === '') return true;
        const found = installed[path];
        if (found === undefined) return locked.optional === true;
        return found.version === locked.version && existsSync(join(folder, path));
      });
    },
    run() {
      say(`installing ${title}`);
      // The set-up may itself run under `npm pack --dry-run` or with NODE_ENV=production: neither is meant for this.
      const { npm_config_dry_run: _, ...env } = process.env;
      const flags = [
        '--ignore-scripts',
        '--include=dev',
        '--include=optional',
        '--no-audit',
        '--no-fund',
        '--loglevel=error',
      ];
      const npm = (...command) => {
        const stdio = ['ignore', 'ignore', 'inherit'];
        const options = { cwd: folder, stdio, env, shell: process.platform === 'win32' };
        return spawnSync('npm', [...command, ...flags], options).status === 0;
      };
      // `npm ci` empties node_modules before it has anything to put there: only for a folder that is empty.
      if (!existsSync(modules) && npm('ci')) return;
      if (npm('install', '--no-save', '--prefer-offline')) return;
      onFailure();
    },
  };
}

function lockedPackages(path) {
  return existsSync(path) ? JSON.parse(readFileSync(path, 'utf8')).packages : {};
}

function native(quiet) {
  const compiler = process.env['CC'] ?? 'cc';
  const isPossible = process.platform === 'linux' && architectures.includes(process.arch);
  const digest = () =>
    digestOf(['native', 'package-lock.json'], [compiler, ...compilerArguments(process.arch, 'millrace.node')]);
  const without = (reason) => {
    const isNews = readStamp('native') !== 'none';
    for (const [output] of nativeParts) rmSync(output, { force: true });
    writeStamp('native', 'none');
    if (isNews || !quiet) say(`${reason}: no native part here, millrace runs on node:net`);
  };
  return {
    isDone: () =>
      !isPossible || (nativeParts.every(([output]) => existsSync(output)) && readStamp('native') === digest()),
    run() {
      if (!hasCompiler(compiler)) return without(`no C compiler (${compiler})`);
      say('compiling the native part');
      if (nativeParts.every(([output, folder]) => compileNative(compiler, process.arch, output, folder)))
        return writeStamp('native', digest());
      const probe = ['-x', 'c', '-ffreestanding', '-nostdlib', '-shared', '-fPIC', '-include', 'stdint.h'];
      const canCompile = spawnSync(compiler, [...probe, '-o', '/dev/null', '-'], { input: 'int works;' }).status === 0;
      if (canCompile) throw new Error('the native part does not compile');
      without(`the C compiler (${compiler}) compiles nothing`);
    },
  };
}

const sources = typescriptStep('sources', 'tsconfig.json', 'dist', ['src'], []);
const programs = typescriptStep(
  'programs',
  'tsconfig.rest.json',
  '.build',
  ['test', 'examples', 'apps', 'bench'],
  ['src', 'tsconfig.json', 'package.json'],
);

function typescriptStep(name, config, outDir, folders, alsoRead) {
  const inputs = [...folders, ...alsoRead, config, 'package-lock.json'];
  return {
    isDone: () => existsSync(outDir) && readStamp(name) === digestOf(inputs),
    run() {
      say(`compiling ${folders.join(', ')}`);
      const digest = digestOf(inputs);
      const { status } = spawnSync(process.execPath, [typescript, '-p', config], { stdio: ['ignore', 2, 2] });
      if (status !== 0) throw new Error(`${config}: the TypeScript does not compile`);
      if (folders.length === 1) removeStale(outDir, folders[0]);
      else for (const folder of folders) removeStale(join(outDir, folder), folder);
      writeStamp(name, digest);
    },
  };
}

/** Removes what was compiled from a source that is gone. File by file: a program may be running from this folder. */
function removeStale(outDir, sourceDir) {
  for (const file of filesIn(outDir)) {
    const source = join(sourceDir, file.slice(outDir.length).replace(/(?:\.d\.(c?)ts|\.(c?)js)(?:\.map)?$/, '.$1$2ts'));
    if (!existsSync(source)) rmSync(file);
  }
}

function filesIn(folder) {
  if (!existsSync(folder)) return [];
  return readdirSync(folder, { withFileTypes: true }).flatMap((entry) => {
    if (entry.name === 'node_modules') return [];
    const path = join(folder, entry.name);
    return entry.isDirectory() ? filesIn(path) : [path];
  });
}

function digestOf(inputs, more = []) {
  const hash = createHash('sha256').update(JSON.stringify(more));
  for (const input of inputs) {
    const files = input.endsWith('.json') ? [input] : filesIn(input).sort();
    for (const file of files) hash.update(file).update('\0').update(readFileSync(file));
  }
  return hash.digest('hex');
}

function readStamp(name) {
  const path = join('.build', `${name}.stamp`);
  return existsSync(path) ? readFileSync(path, 'utf8') : undefined;
}

function writeStamp(name, text) {
  writeFileSync(join('.build', `${name}.stamp`), text);
}

/** One set-up at a time: waits for another one that lives, takes over from one that died. Returns the release. */
function lock() {
  for (let waited = 0; ; waited += 1) {
    try {
      writeFileSync(lockFile, String(process.pid), { flag: 'wx' });
      return () => rmSync(lockFile, { force: true });
    } catch (error) {
      if (error.code !== 'EEXIST') throw error;
    }
    const owner = existsSync(lockFile) ? Number(readFileSync(lockFile, 'utf8')) : 0;
    if (waited === 0) say('waiting for another set-up');
    if (owner > 0 && !isAlive(owner)) rmSync(lockFile, { force: true });
    else if (waited > 3000)
      throw new Error(`another set-up (process ${owner}) does not end; if there is none, remove ${lockFile}`);
    else Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 100);
  }
}

function isAlive(pid) {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return error.code === 'EPERM';
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) setup({ quiet: process.argv.includes('--quiet') });
