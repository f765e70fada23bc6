/** Messages and counters between real processes and real threads. */
import assert from 'node:assert/strict';
import test from 'node:test';
import { counters, run } from 'millrace/cluster';
import { until as untilIn } from '../support/net.ts';
import { kinds, limit, PATIENCE_MS } from './support/group.ts';

const entry = new URL(`./support/talker${import.meta.url.slice(-3)}`, import.meta.url);
const numbers = (count: number): number[] => Array.from({ length: count }, (_, n) => n);
const ascending = (a: number, b: number): number => a - b;
const patience = { timeoutMs: PATIENCE_MS };

/** Figures of other processes are a moment old. */
const until = (condition: () => boolean, what: string): Promise<void> => untilIn(condition, what, PATIENCE_MS / 2);

for (const kind of kinds) {
  test(`${kind}: workers publish, ask, count, die and are replaced`, limit, async () => {
    const figures = counters({ heard: 'counter', up: 'gauge' });
    let onReplaced = (): void => {};
    const group = await run({
      ...{ workers: 3, kind, entry, counters: figures, signals: false, messages: { highMessages: 16 } },
      restart: { minDelayMs: 0 },
      onOnline: () => onReplaced(),
      onExit: () => {},
    });
    try {
      const { messages } = group;
      const got: unknown[] = [];
      const byes: number[] = [];
      messages.subscribe('news', (message, { from }) => got.push([from, message]));
      await messages.subscribe('bye', (id: number) => byes.push(id)).ready;
      const ids = (await messages.askAll<number>('id', undefined, patience)).map(({ value }) => value as number);
      assert.deepEqual(ids.sort(ascending), [1, 2, 3]);

      const peers = await messages.ask(1, 'tell', { topic: 'news', count: 200 }, patience);
      assert.deepEqual(peers, [0, 2, 3]);
      assert.deepEqual(
        got,
        numbers(200).map((n) => [1, n]),
      );
      assert.deepEqual(await messages.ask(2, 'heard', undefined, patience), got);
      assert.deepEqual(await messages.ask(1, 'heard', undefined, patience), []);
      assert.equal(await messages.ask(2, 'relay', 3, patience), 3);
      await until(() => figures.total('heard') === 400 && figures.total('up') === 3, 'three are up');
      assert.deepEqual(
        figures.workers().map(({ worker, values }) => [worker, values.heard, values.up]),
        [
          [0, 0, 0],
          [1, 0, 1],
          [2, 200, 1],
          [3, 200, 1],
        ],
      );

      const replaced = new Promise<void>((resolve) => {
        onReplaced = resolve;
      });
      const gone = { code: 'MILLRACE_ERR_WORKER_GONE', worker: 2, mayHaveRun: true };
      await Promise.all([
        assert.rejects(messages.ask(2, 'never', undefined, patience), gone),
        assert.rejects(messages.ask(1, 'relay', 99, patience), {
          ...{ code: 'MILLRACE_ERR_ASK_FAILED', message: /there is no worker 99/ },
        }),
        assert.rejects(messages.ask(2, 'die', undefined, patience), gone),
      ]);
      await replaced;
      await until(() => figures.total('up') === 3, 'three are up');
      assert.equal(figures.total('heard'), 400);
      assert.deepEqual(
        figures.workers().map(({ worker }) => worker),
        [0, 1, 3, 4],
      );

      assert.deepEqual(await messages.ask(4, 'tell', { topic: 'news', count: 5 }, patience), [0, 1, 3]);
      assert.deepEqual(
        got.slice(200),
        numbers(5).map((n) => [4, n]),
      );
      assert.equal((await messages.ask<unknown[]>(3, 'heard', undefined, patience)).length, 205);
      await until(() => figures.total('heard') === 410, '410 heard');
      await group.close();
      // What they said last was not lost.
      assert.deepEqual(byes.sort(ascending), [1, 3, 4]);
      assert.deepEqual(figures.totals(), { heard: 410, up: 0 });
      await assert.rejects(messages.publish('news'), { code: 'MILLRACE_ERR_MESSAGES_CLOSED' });
    } finally {
      await group.close();
    }
  });
}

test('a worker that counts what its group does not know cannot start', limit, async () => {
  const options = { workers: 1, entry, signals: false, startMs: PATIENCE_MS } as const;
  await assert.rejects(run({ ...options, counters: counters({ heard: 'counter' }) }), {
    ...{ code: 'MILLRACE_ERR_BAD_OPTION', message: /counters\.up/ },
  });
  await assert.rejects(run(options), { code: 'MILLRACE_ERR_MISUSE', message: /without counters/ });
  await assert.rejects(run({ ...options, messages: { maxAsks: -1 } }), { code: 'MILLRACE_ERR_BAD_OPTION' });
  await assert.rejects(run({ ...options, counters: {} as never }), { code: 'MILLRACE_ERR_BAD_OPTION' });
});
