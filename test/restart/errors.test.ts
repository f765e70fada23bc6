import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import test from 'node:test';
import { Worker } from 'node:worker_threads';
import { engine } from 'millrace';
import { RestartError, restartable, restartReasons } from 'millrace/restart';
import { channelReasons } from '#src/engine/channel-error.ts';
import { setListenerSource } from '#src/engine/listener-source.ts';
import { once } from '../support/net.ts';
import { limit } from './support/run.ts';

test('every code has its row in docs/errors.md, and there are no others', () => {
  const text = readFileSync('docs/errors.md', 'utf8');
  const rows = [...text.matchAll(/^\| `MILLRACE_ERR_(\w+)` \| `millrace\/restart` \|/gm)];
  assert.deepEqual(new Set(rows.map(([, reason]) => reason)), new Set(Object.keys(restartReasons)));
  const channel = [...text.matchAll(/^\| `MILLRACE_ERR_CHANNEL_(\w+)` \|/gm)];
  assert.deepEqual(new Set(channel.map(([, reason]) => reason)), new Set(Object.keys(channelReasons)));
  const error = new RestartError('EXITED', 'why', { exitCode: 1, signal: null });
  assert.equal(error.code, 'MILLRACE_ERR_EXITED');
  assert.equal(error.exitCode, 1);
});

test('options that make no sense are refused', async () => {
  for (const bad of [
    { signal: 'HUP' },
    { signal: 1 },
    { command: [] },
    { command: 'node' },
    { env: 'A=B' },
    { cwd: 1 },
    { path: '' },
    { path: '\0abstract' },
    { path: `/${'x'.repeat(120)}` },
    { readyMs: -1 },
    { drainMs: Number.NaN },
    { exit: 'yes' },
    { onHandOver: true },
    { onError: 1 },
    { onDrained: {} },
  ])
    await assert.rejects(restartable(bad as never), { code: 'MILLRACE_ERR_BAD_OPTION' }, JSON.stringify(bad));
});

test('a process that is no restart’s says so when it is asked too early, or cannot', limit, async (t) => {
  const service = await restartable({ signal: false, exit: false, command: ['/nonexistent/program'] });
  t.after(() => service.close());
  assert.equal(service.hasPredecessor, false);
  await assert.rejects(service.restart(), { code: 'MILLRACE_ERR_NOT_READY' });
  await service.ready();
  await assert.rejects(service.ready(), { code: 'MILLRACE_ERR_MISUSE' });
  if (engine === 'node') {
    await assert.rejects(service.restart(), { code: 'MILLRACE_ERR_NOT_SUPPORTED' });
  } else {
    const first = assert.rejects(service.restart(), { code: 'MILLRACE_ERR_START_FAILED', message: /ENOENT/ });
    await assert.rejects(service.restart(), { code: 'MILLRACE_ERR_IN_PROGRESS' });
    await first;
  }
  const order: string[] = [];
  service.onDrain(() => void order.push('hook'));
  assert.deepEqual(await service.drain(1000), { closed: 0, cut: 0 });
  assert.deepEqual(order, ['hook']);
  await assert.rejects(service.restart(), { code: 'MILLRACE_ERR_HANDED_OVER' });
});

test('a Worker restarts nothing, and a variable without a socket is no process before', limit, async () => {
  const source = `const { parentPort } = require('node:worker_threads');
    import('millrace/restart').then(({ restartable }) => restartable()).catch((error) => parentPort.postMessage(error.code));`;
  const worker = new Worker(source, { eval: true });
  assert.deepEqual(await once(worker, 'message', 60_000), ['MILLRACE_ERR_MISUSE']);
  await worker.terminate();
  process.env['MILLRACE_RESTART_FD'] = '1';
  const code = engine === 'node' ? 'NOT_SUPPORTED' : 'PROTOCOL';
  await assert.rejects(restartable({ signal: false }), { code: `MILLRACE_ERR_${code}` });
  delete process.env['MILLRACE_RESTART_FD'];
});

test('a worker of a group is not restarted by itself', async () => {
  const previous = setListenerSource({ open: () => undefined });
  try {
    await assert.rejects(restartable(), { code: 'MILLRACE_ERR_MISUSE' });
  } finally {
    setListenerSource(previous);
  }
});
