// The one line that compiles the native part: for this machine (tools/setup.mjs) and for the package (tools/prebuild.mjs).
// No build system: no libc, no headers but the compiler's own and Node-API's, so one binary serves glibc and musl.
import { spawnSync } from 'node:child_process';
import { mkdirSync, readdirSync, renameSync } from 'node:fs';
import { dirname, join } from 'node:path';

const architectureFlags = {
  x64: [],
  // The helpers for outlined atomics live in libgcc, which -nostdlib leaves out.
  arm64: ['-mno-outline-atomics'],
};

/** The architectures with a native part, by Node's names. */
export const architectures = Object.keys(architectureFlags);

/** The native parts: the engine's, and the one that only millrace/tls loads, by what stands behind their names. */
export const parts = { '': 'native', '-tls': 'native/tls' };

/** The sources of a part, as seen from the root of the checkout. */
export function sourcesOf(folder) {
  return readdirSync(folder)
    .filter((file) => file.endsWith('.c'))
    .sort()
    .map((file) => join(folder, file));
}

/** The compiler's arguments for one architecture, as run from the root of the checkout. */
export function compilerArguments(architecture, output, folder = 'native') {
  return [
    ...['-std=gnu11', '-O2', '-Wall', '-Wextra', '-fPIC', '-shared', '-s'],
    // A compiler newer than ours may warn of what ours does not: an error in CI, not on a user's machine.
    ...(process.env['CI'] ? ['-Werror'] : []),
    ...['-nostdlib', '-ffreestanding', '-fvisibility=hidden', ...architectureFlags[architecture]],
    ...['-Inode_modules/node-api-headers/include', '-o', output],
    ...sourcesOf(folder),
  ];
}

/** Whether a program that calls itself a C compiler can be started. */
export function hasCompiler(compiler) {
  return spawnSync(compiler, ['--version'], { stdio: 'ignore' }).status === 0;
}

/**
 * Compiles the native part beside its place and renames it, so that a running process keeps the file it has mapped.
 * Returns whether that succeeded; the compiler has said why if not.
 */
export function compileNative(compiler, architecture, output, folder = 'native') {
  mkdirSync(dirname(output), { recursive: true });
  const temporary = `${output}.${process.pid}`;
  const { status } = spawnSync(compiler, compilerArguments(architecture, temporary, folder), {
    stdio: ['ignore', 'inherit', 'inherit'],
  });
  if (status === 0) renameSync(temporary, output);
  return status === 0;
}
