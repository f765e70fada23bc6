// Each case runs, shortly and small, against node:net and against ours, without an error; what it costs is not looked at.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { test } from 'node:test';
import { engine } from 'millrace';
import { cases } from '../../bench/cases/cases.ts';
import { buildLoad } from '../../bench/load/build.ts';
import { readOptions } from '../../bench/options.ts';
import { rivals } from '../../bench/rivals.ts';
import type { Bench, Sample } from '../../bench/trial.ts';
import { Unavailable } from '../../bench/workshop.ts';

const isPossible = process.platform === 'linux' && spawnSync(process.env['CC'] ?? 'cc', ['--version']).status === 0;
const root = process.cwd();
const shop = { root, mayInstall: false };
const small = '--seconds 0.2 --warmup 0 --size 64,65536 --connections 1,50 --in-flight 1,16 --idle-connections 200';
const bench: Bench = {
  options: readOptions(small.split(' ')),
  placement: { server: [], load: [], about: '' },
  root,
  load: isPossible ? buildLoad(shop) : '',
};

const names = ['node', ...(engine === 'node' ? [] : ['millrace-epoll'])];
for (const one of cases) {
  if (one.name === 'programs') continue; // needs packages from the registry, and servers
  for (const trial of one.trials(bench)) {
    const { connections = 0, burst = 0 } = trial.parameters;
    if (connections > 1000 || burst > 1000) continue; // more descriptors than every machine gives
    for (const rival of rivals.filter(({ name }) => names.includes(name))) {
      test(`${trial.id} runs for ${rival.name}`, {
        timeout: 30_000,
        skip: isPossible ? false : 'needs Linux and cc',
      }, async (t) => {
        let sample: Sample;
        try {
          sample = await trial.run(rival, rival.prepare(shop));
        } catch (error) {
          if (!(error instanceof Unavailable)) throw error;
          t.skip(error.message); // TLS needs OpenSSL's headers
          return;
        }
        const cost = sample[trial.cost.key];
        assert.ok(cost !== undefined && !Number.isNaN(cost), `no ${trial.cost.key} in ${JSON.stringify(sample)}`);
        assert.equal(sample['socketErrors'], 0);
        for (const column of trial.columns)
          assert.doesNotMatch(
            column.cell((key) => sample[key] ?? Number.NaN),
            /NaN/,
            column.head,
          );
      });
    }
  }
}
