// node tools/check.mjs [NAME...]: what CI asks of the sources besides the tests. All checks, or the ones named.
// Ends with one line, `N passed, N failed, N skipped`, in which each check counts once.
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setup } from './setup.mjs';

/** The checks by name: each returns whether it is content, and has said what it is not content with. */
const checks = {
  /** Format and lint. `npm run format` mends most of it. */
  biome: () => tool('@biomejs/biome/bin/biome', 'check', '--colors=off', '--error-on-warnings', '.'),
  /** Promises nobody waits for: the lint that needs types. */
  oxlint: () => tool('oxlint/bin/oxlint', '--type-aware', '--deny-warnings'),
  layers: () => run('tools/layers.mjs'),
  /** Tests and programs compile, and programs written for node:net compile against millrace. */
  types: () => ['tsconfig.rest.json', 'test/types'].every((path) => tool('typescript/bin/tsc', '--noEmit', '-p', path)),
  /** The code blocks of the documentation compile. */
  docs: () => run('tools/docs.mjs'),
  package: checkPackage,
};

/** publint and "are the types wrong", on what would be published. */
function checkPackage() {
  const folder = mkdtempSync(join(tmpdir(), 'millrace-pack-'));
  try {
    const options = { stdio: ['ignore', 'ignore', 'inherit'], shell: process.platform === 'win32' };
    const packed = spawnSync('npm', ['pack', '--silent', '--pack-destination', folder], options);
    const tarball = readdirSync(folder).map((name) => join(folder, name))[0];
    if (packed.status !== 0 || tarball === undefined) return false;
    const publint = tool('publint/src/cli.js', tarball, '--strict');
    // node16 leaves out resolution without "exports" (TypeScript 4, --moduleResolution node10). The rule ignored
    // says that CommonJS gets an ES module: every Node.js supported here can require one.
    const types = tool(
      '@arethetypeswrong/cli/dist/index.js',
      ...[tarball, '--profile', 'node16', '--ignore-rules', 'cjs-resolves-to-esm', '--no-emoji', '--no-color'],
    );
    return publint && types;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function tool(path, ...toolArguments) {
  return run(join('node_modules', path), ...toolArguments);
}

function run(...nodeArguments) {
  return spawnSync(process.execPath, nodeArguments, { stdio: ['ignore', 'inherit', 'inherit'] }).status === 0;
}

setup({ quiet: true, withPrograms: false });
const names = process.argv.length > 2 ? process.argv.slice(2) : Object.keys(checks);
const failed = names.filter((name) => {
  if (!(name in checks)) {
    console.error(`there is no check '${name}', only ${Object.keys(checks).join(', ')}`);
    return true;
  }
  console.log(`check ${name}`);
  const isContent = checks[name]();
  if (!isContent) console.log(`check ${name}: FAILED`);
  return !isContent;
});
if (failed.length > 0) console.log(`failed: ${failed.join(', ')}`);
console.log(`${names.length - failed.length} passed, ${failed.length} failed, 0 skipped`);
process.exitCode = failed.length === 0 ? 0 : 1;
