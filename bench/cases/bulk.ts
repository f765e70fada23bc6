// Bulk: one connection at a time carries 64 MiB as fast as it goes, out of and into memory, or a file by pipe(). Cost is the
// server's CPU time per MiB. The file is in shared memory, so that no disk is measured.
import { closeSync, existsSync, mkdtempSync, openSync, rmSync, statSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { columns, drive } from '../drive.ts';
import type { Kind, Prepared, Rival } from '../rivals.ts';
import type { Bench, Case, Sample, Trial } from '../trial.ts';

const bytes = 64 * 2 ** 20;

export const bulk: Case = {
  name: 'bulk',
  trials: (bench) => [
    trial(bench, 'source', 'download', 'bulk-out', 'out of memory', (run) => run(String(bytes))),
    trial(bench, 'sink', 'upload', 'bulk-in', 'into memory', (run) => run()),
    trial(bench, 'send-file', 'download', 'bulk-from-file', 'pipe from a file', (run) => inFolder(run, true)),
    trial(bench, 'receive-file', 'upload', 'bulk-to-file', 'pipe to a file', (run) => inFolder(run, false)),
  ],
};

type Run = (parameter?: string) => Promise<Sample>;

function trial(
  bench: Bench,
  kind: Kind,
  mode: string,
  id: string,
  what: string,
  around: (run: Run) => Promise<Sample>,
): Trial {
  return {
    id,
    title: `bulk, one connection, ${what}`,
    parameters: { bytes },
    cost: { key: 'cpuUsPerOperation', head: 'CPU µs/MiB', digits: 0 },
    columns: columns('MiB'),
    kind,
    isQuick: kind === 'source' || kind === 'sink',
    overheadSeconds: 0.4,
    run: (rival: Rival, prepared: Prepared) =>
      around((parameter) =>
        drive(bench, rival, prepared, {
          ...{ kind, mode, flags: { bytes }, connections: 1 },
          ...(parameter === undefined ? {} : { parameter }),
        }),
      ),
  };
}

/** Gives the run a file: with what a download has to bring, or to be written by uploads, whose size is then checked. */
async function inFolder(run: Run, isFull: boolean): Promise<Sample> {
  const folder = mkdtempSync(join(existsSync('/dev/shm') ? '/dev/shm' : tmpdir(), 'millrace-bench-'));
  const path = join(folder, 'file');
  try {
    if (isFull) {
      const block = Uint8Array.from({ length: 65_536 }, (_, p) => p ^ (p >> 8));
      const file = openSync(path, 'w');
      for (let at = 0; at < bytes; at += block.length) writeSync(file, block);
      closeSync(file);
    }
    const sample = await run(path);
    if (statSync(path).size !== bytes) throw new Error(`the file has ${statSync(path).size} bytes, not ${bytes}`);
    return sample;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
