// node tools/prebuild.mjs: compiles the native parts that the package carries, prebuilt/linux-<architecture>.node.
// It runs before `npm pack`. An architecture without a compiler on this machine is left out, and that is said.
import { rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { compileNative, hasCompiler, parts } from './native.mjs';
import { setup } from './setup.mjs';

const crossCompilers = { x64: 'x86_64-linux-gnu-gcc', arm64: 'aarch64-linux-gnu-gcc' };

setup({ quiet: true, withPrograms: false });
rmSync('prebuilt', { recursive: true, force: true });
for (const [architecture, crossCompiler] of Object.entries(crossCompilers)) {
  const isOwn = process.platform === 'linux' && process.arch === architecture;
  const compiler = isOwn ? (process.env['CC'] ?? 'cc') : crossCompiler;
  const has = hasCompiler(compiler);
  for (const [name, folder] of Object.entries(parts)) {
    const output = join('prebuilt', `linux-${architecture}${name}.node`);
    if (!has) console.error(`prebuild: no ${compiler}, so ${output} is left out`);
    else if (compileNative(compiler, architecture, output, folder)) {
      console.error(`prebuild: ${output}, ${Math.ceil(statSync(output).size / 1024)} KB`);
    } else process.exitCode = 1;
  }
}
