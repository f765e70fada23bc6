// Compiles the load generator when it is missing or older than its source.
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, renameSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';

/** Path of the load generator. @throws {Error} if there is no C compiler (`cc`, or $CC). */
export function buildLoad(root: string): string {
  const source = join(root, 'bench/load/load.c');
  const binary = join(root, '.build/bench/load/load');
  if (existsSync(binary) && statSync(binary).mtimeMs >= statSync(source).mtimeMs) return binary;
  mkdirSync(dirname(binary), { recursive: true });
  const fresh = `${binary}.${process.pid}`; // renamed when complete: another benchmark may be running the old one
  execFileSync(process.env['CC'] ?? 'cc', ['-O2', '-std=c11', '-Wall', '-Wextra', '-o', fresh, source], {
    stdio: 'inherit',
  });
  renameSync(fresh, binary);
  return binary;
}
