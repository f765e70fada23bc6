import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import test from 'node:test';
import { engine } from 'millrace';
import { ClusterError, type ClusterReason, clusterReasons, type GroupOptions, run, worker } from 'millrace/cluster';
import { leakGuard } from '../support/net.ts';

await leakGuard();

test('every code of a group has its row in docs/errors.md, and there are no others', () => {
  const rows = readFileSync('docs/errors.md', 'utf8').matchAll(/^\| `MILLRACE_ERR_(\w+)` \| `millrace\/cluster` \|/gm);
  const documented = [...rows].map(([, reason]) => reason);
  assert.deepEqual(new Set(documented), new Set(Object.keys(clusterReasons)));
  assert.equal(documented.length, Object.keys(clusterReasons).length);
});

test('an error of a group has a code and a reason', () => {
  for (const reason of Object.keys(clusterReasons) as ClusterReason[]) {
    const error = new ClusterError(reason, 'text', 'cause');
    assert.deepEqual(
      [error.name, error.code, error.reason, error.message, error.cause],
      ['ClusterError', `MILLRACE_ERR_${reason}`, reason, 'text', 'cause'],
    );
  }
  assert.ok(!('cause' in new ClusterError('MISUSE', 'text')));
});

test('options that make no sense are refused before anything is started', async () => {
  const entry = new URL('file:///nowhere.js');
  const bad: unknown[] = [
    ...[undefined, null, 5, {}, { entry, setup() {} }, { setup: 5 }],
    ...[{ entry: 'relative.js' }, { entry: new URL('http://localhost/') }],
    ...[
      { entry, kind: 'fibers' },
      { entry, workers: 0 },
      { entry, workers: 1.5 },
      { entry, workers: 'many' },
    ],
    ...[
      { entry, balance: 'random' },
      { entry, balance: {} },
      { entry, balance: { key() {}, maxHeadBytes: 65_537 } },
    ],
    ...[
      { entry, drainMs: -1 },
      { entry, startMs: 0 },
      { entry, signals: 1 },
      { entry, execArgv: '--flag' },
    ],
    ...[
      { entry, restart: 5 },
      { entry, restart: { maxFailures: 0 } },
      { entry, env: null },
    ],
    { entry, restart: { minDelayMs: 10, maxDelayMs: 5 } },
  ];
  for (const options of bad)
    await assert.rejects(run(options as GroupOptions), { code: 'MILLRACE_ERR_BAD_OPTION' }, JSON.stringify(options));
});

test('engine node has processes and its own balance only', { skip: engine !== 'node' }, async () => {
  const entry = new URL('file:///nowhere.js');
  await assert.rejects(run({ entry, kind: 'threads' }), { code: 'MILLRACE_ERR_ENGINE_NODE' });
  await assert.rejects(run({ entry, balance: 'least-connections' }), { code: 'MILLRACE_ERR_ENGINE_NODE' });
});

test('outside of a group there is no worker', () => {
  assert.equal(worker, undefined);
});
