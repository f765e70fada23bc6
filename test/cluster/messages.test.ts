import assert from 'node:assert/strict';
import test from 'node:test';
import { type Answer, Bus, type Published } from '#src/cluster/messages/index.ts';
import { leakGuard, limit, turns, until, within } from '../support/net.ts';
import { group, kinds } from './support/hub-group.ts';

await leakGuard();

/** An error's code, and what else is told. */
const failure = (promise: Promise<unknown>) =>
  promise.then(
    (value) => assert.fail(`resolved with ${String(value)}`),
    (error) => error as Record<string, unknown>,
  );

const ascending = (a: number, b: number): number => a - b;

for (const kind of kinds) {
  test(`${kind}: a message goes to every other worker that has subscribed, and to the primary`, limit, async (t) => {
    const { primary, join } = group(t, kind);
    const [one, two, three] = [await join(1), await join(2), await join(3)];
    const got: unknown[] = [];
    for (const bus of [primary, one, two])
      bus.subscribe('news', (message, { from }) => got.push([bus.id, from, message]));
    three.subscribe('other', () => assert.fail('not subscribed'));
    for (const bus of [primary, one, two]) await bus.flushed();

    assert.deepEqual(await one.publish('news', { n: 1 }), { workers: 2, dropped: 0 } satisfies Published);
    assert.deepEqual(await primary.publish('news', 'text'), { workers: 2, dropped: 0 });
    assert.deepEqual(await two.publish('news', 'own', { self: true }), { workers: 3, dropped: 0 });
    assert.deepEqual(await two.publish('nobody listens', 1), { workers: 0, dropped: 0 });
    for (const bus of [primary, one, two]) await bus.flushed();
    const sorted = got.map((each) => JSON.stringify(each)).sort();
    assert.deepEqual(sorted, [
      '[0,1,{"n":1}]',
      '[0,2,"own"]',
      '[1,0,"text"]',
      '[1,2,"own"]',
      '[2,0,"text"]',
      '[2,1,{"n":1}]',
      '[2,2,"own"]',
    ]);
  });

  test(`${kind}: a worker that joins later is told what others are interested in`, limit, async (t) => {
    const { join, kill } = group(t, kind);
    const one = await join(1);
    const got: unknown[] = [];
    one.subscribe('news', (message) => got.push(message));
    one.handle('double', (n: number) => 2 * n);
    const two = await join(2);
    await one.flushed();
    assert.equal((await two.publish('news', 'first')).workers, 1);
    await two.flushed();
    kill(2);
    const three = await join(3);
    await one.flushed();
    assert.equal((await three.publish('news', 'second')).workers, 1);
    assert.equal(await three.ask('any', 'double', 21), 42);
    await three.flushed();
    assert.deepEqual(got, ['first', 'second']);
  });

  test(`${kind}: a subscription that ended gets nothing more, nor do its messages travel`, limit, async (t) => {
    const { join } = group(t, kind);
    const [one, two] = [await join(1), await join(2)];
    const first = two.subscribe('news', () => {});
    const second = two.subscribe('news', () => {});
    await second.ready;
    first.close();
    first.close();
    await two.flushed();
    assert.equal((await one.publish('news')).workers, 1);
    second[Symbol.dispose]();
    await two.flushed();
    assert.equal((await one.publish('news')).workers, 0);
  });

  test(`${kind}: a question is answered by the worker asked, any worker, the primary, or oneself`, limit, async (t) => {
    const { primary, join } = group(t, kind);
    const all = [await join(1), await join(2), await join(3)];
    const [one] = all as [Bus];
    for (const bus of [primary, ...all]) bus.handle('who', (question) => ({ question, id: bus.id }));
    for (const bus of [primary, ...all]) await bus.flushed();
    assert.deepEqual(await one.ask(2, 'who', 'a'), { question: 'a', id: 2 });
    assert.deepEqual(await one.ask('primary', 'who'), { question: undefined, id: 0 });
    assert.deepEqual(await one.ask(1, 'who', [1]), { question: [1], id: 1 });
    assert.deepEqual(await primary.ask(3, 'who', null), { question: null, id: 3 });
    // Neither oneself nor the primary, and in turn.
    const asked = await Promise.all([1, 2, 3, 4].map(() => one.ask<{ id: number }>('any', 'who')));
    assert.deepEqual(asked.map(({ id }) => id).sort(ascending), [2, 2, 3, 3]);
  });

  test(`${kind}: all are asked, and each that fails is told by itself`, limit, async (t) => {
    const { primary, join } = group(t, kind);
    const [one, two, three] = [await join(1), await join(2), await join(3)];
    one.handle('load', () => 1);
    two.handle('load', async () => {
      throw Object.assign(new TypeError('broken'), { code: 'E_BROKEN' });
    });
    primary.handle('load', () => assert.fail('the primary is no worker'));
    const answers = await primary.askAll<number>('load');
    const texts = answers.map(({ worker, value, error }) => [worker, value, (error as { code?: string })?.code]);
    assert.deepEqual(texts, [
      [1, 1, undefined],
      [2, undefined, 'MILLRACE_ERR_ASK_FAILED'],
      [3, undefined, 'MILLRACE_ERR_UNKNOWN_HANDLER'],
    ]);
    const { cause, message, mayHaveRun } = (answers[1] as Answer<number>).error as Error & { mayHaveRun: boolean };
    assert.equal(message, "worker 2 was asked 'load': broken");
    assert.equal(mayHaveRun, true);
    assert.ok(cause instanceof TypeError);
    assert.deepEqual([cause.message, (cause as { code?: string }).code], ['broken', 'E_BROKEN']);
    assert.match(cause.stack ?? '', /messages\.test/);
    const own = await three.askAll('load', undefined, { self: true });
    assert.deepEqual(own.map(({ worker }) => worker).sort(ascending), [1, 2, 3]);
  });

  test(`${kind}: who was asked and dies fails the question, and says whether it can have run`, limit, async (t) => {
    const { primary, join, kill } = group(t, kind);
    const [one] = [await join(1), await join(2)];
    let hasBegun = false;
    one.handle('never', () => {
      hasBegun = true;
      return new Promise(() => {});
    });
    const begun = failure(primary.ask(1, 'never'));
    await until(() => hasBegun, 'the handler runs');
    const unsent = failure(primary.ask(1, 'never'));
    kill(1);
    const errors = [await begun, await unsent];
    for (const error of errors) assert.deepEqual([error['code'], error['worker']], ['MILLRACE_ERR_WORKER_GONE', 1]);
    assert.deepEqual(
      errors.map((error) => error['mayHaveRun']),
      [true, false],
    );
    assert.equal((await failure(primary.ask(1, 'never')))['code'], 'MILLRACE_ERR_UNKNOWN_WORKER');
    assert.deepEqual(
      primary.peers.map(({ worker }) => worker),
      [2],
    );
  });

  test(`${kind}: a question without an answer in time fails, and its handler is told`, limit, async (t) => {
    const { primary, join } = group(t, kind);
    const one = await join(1);
    const reasons: unknown[] = [];
    one.handle('slow', (_, { signal }) => {
      signal.addEventListener('abort', () => reasons.push(signal.reason.code));
      return new Promise(() => {});
    });
    const error = await failure(primary.ask(1, 'slow', 0, { timeoutMs: 1 }));
    assert.deepEqual([error['code'], error['limit']], ['MILLRACE_ERR_ASK_TIMEOUT', 1]);
    const controller = new AbortController();
    const aborted = failure(
      primary.ask(1, 'slow', 0, { signal: controller.signal, timeoutMs: Number.POSITIVE_INFINITY }),
    );
    await primary.flushed();
    controller.abort('enough');
    assert.equal(await aborted, 'enough');
    assert.equal(await failure(primary.ask(1, 'slow', 0, { signal: controller.signal })), 'enough');
    await until(() => reasons.length > 0, 'the handler is told');
    await primary.flushed();
    assert.ok(reasons.every((code) => code === 'MILLRACE_ERR_ASK_TIMEOUT'));
    assert.equal(primary.peers[0]?.unanswered, 0);
  });

  test(
    `${kind}: what is published without waiting is bounded, counted and told; who waits loses nothing`,
    limit,
    async (t) => {
      const rules = { highMessages: 8, lowMessages: 2, maxMessages: 20 };
      const { primary, join } = group(t, kind, rules);
      const one = await join(1);
      const got: number[] = [];
      await one.subscribe('n', (n: number) => got.push(n)).ready;
      const warned = new Promise<Error>((resolve) => process.once('warning', resolve));
      const results = await Promise.all(Array.from({ length: 30 }, (_, n) => primary.publish('n', n)));
      assert.deepEqual(
        results.map(({ workers }) => workers),
        [...Array(20).fill(1), ...Array(10).fill(0)],
      );
      assert.deepEqual(
        results.map(({ dropped }) => dropped),
        [...Array(20).fill(0), ...Array(10).fill(1)],
      );
      assert.equal(primary.peers[0]?.dropped, 10);
      assert.match((await warned).message, /worker 1 reads too slowly/);
      for (let n = 30; n < 100; n++) {
        await primary.publish('n', n);
        assert.ok((primary.peers[0]?.bufferedMessages ?? 0) <= 8);
      }
      await primary.flushed();
      assert.deepEqual(got, [
        ...Array.from({ length: 20 }, (_, n) => n),
        ...Array.from({ length: 70 }, (_, n) => n + 30),
      ]);
    },
  );

  test(`${kind}: a message can be refused for all when one has no room`, limit, async (t) => {
    const { primary, join } = group(t, kind, { highBytes: 1000, maxBytes: 2000 });
    const [one, two] = [await join(1), await join(2)];
    const got: number[] = [];
    for (const bus of [one, two]) await bus.subscribe('n', (text: string) => got.push(text.length)).ready;
    void primary.publish('n', 'x'.repeat(1900));
    const error = await failure(primary.publish('n', 'x'.repeat(100), { whenFull: 'refuse' }));
    assert.deepEqual([error['code'], error['worker']], ['MILLRACE_ERR_QUEUE_FULL', 1]);
    assert.equal((await failure(primary.ask(2, 'n', 'x'.repeat(100))))['code'], 'MILLRACE_ERR_QUEUE_FULL');
    const large = await failure(primary.publish('n', 'x'.repeat(2000)));
    assert.deepEqual([large['code'], large['limit']], ['MILLRACE_ERR_MESSAGE_TOO_LARGE', 2000]);
    await primary.flushed();
    assert.deepEqual(got, [1900, 1900]);
  });
}

test('a message is what it was in the call, and stays what it is', limit, async (t) => {
  const { primary, join } = group(t, 'threads');
  const one = await join(1);
  const got: unknown[] = [];
  await one.subscribe('any', (message) => got.push(message)).ready;
  const cyclic: Record<string, unknown> = { map: new Map([[1, new Set([2n])]]), at: new Date(5), none: undefined };
  cyclic['self'] = cyclic;
  const state = { n: 1 };
  const sent = [
    '',
    'é€😀',
    'half \ud83d',
    Buffer.from('ab'),
    new Uint8Array([1, 2]),
    new Uint16Array([3]),
    null,
    undefined,
    0,
    -0,
    cyclic,
  ];
  for (const message of sent) void primary.publish('any', message);
  void primary.publish('any', state);
  state.n = 2;
  void primary.publish('any', state);
  await primary.flushed();
  assert.deepEqual(got, [...sent, { n: 1 }, { n: 2 }]);
  assert.ok(Buffer.isBuffer(got[3]) && !Buffer.isBuffer(got[4]) && got[3].buffer.byteLength === 2);
});

test('what cannot be cloned is refused where it is sent, and harms nothing else', limit, async (t) => {
  const { primary, join } = group(t, 'threads');
  const one = await join(1);
  const got: unknown[] = [];
  await one.subscribe('any', (message) => got.push(message)).ready;
  one.handle('function', () => () => {});
  one.handle('throws a function', () => {
    throw Object.assign(new RangeError('holds a function', { cause: () => {} }), { code: 'X' });
  });
  one.handle('throws nothing', () => Promise.reject());
  const [before, refused, after] = [
    primary.publish('any', 1),
    failure(primary.publish('any', { f() {} })),
    primary.publish('any', 2),
  ];
  const error = await refused;
  assert.equal(error['code'], 'MILLRACE_ERR_NOT_CLONEABLE');
  assert.match(error['message'] as string, /could not be cloned/);
  assert.ok(error['cause'] instanceof Error);
  await Promise.all([before, after, primary.flushed()]);
  assert.deepEqual(got, [1, 2]);
  assert.equal((await failure(primary.ask(1, 'function', Symbol('x'))))['mayHaveRun'], false);
  const answer = await failure(primary.ask(1, 'function'));
  assert.deepEqual([answer['code'], answer['mayHaveRun']], ['MILLRACE_ERR_NOT_CLONEABLE', true]);
  const thrown = await failure(primary.ask(1, 'throws a function'));
  assert.equal(thrown['code'], 'MILLRACE_ERR_ASK_FAILED');
  assert.equal((thrown['cause'] as Error).message, 'holds a function');
  assert.equal((await failure(primary.ask(1, 'throws nothing')))['cause'], undefined);
  assert.equal(primary.peers[0]?.unanswered, 0);
});

test('an exception in a subscriber is told, and keeps neither others nor later messages', limit, async (t) => {
  const { primary, join } = group(t, 'threads');
  const one = await join(1);
  const [errors, got]: unknown[][] = [[], []];
  one.subscribe(
    'n',
    (n) => {
      throw new Error(`sync ${n}`);
    },
    { onError: (error) => errors?.push((error as Error).message) },
  );
  one.subscribe(
    'n',
    async (n) => {
      throw new Error(`async ${n}`);
    },
    { onError: (error) => errors?.push((error as Error).message) },
  );
  one.subscribe('n', () => {
    throw new Error('nobody asked');
  });
  await one.subscribe('n', (n) => got?.push(n)).ready;
  const warnings: Error[] = [];
  const onWarning = (warning: Error) => warnings.push(warning);
  process.on('warning', onWarning);
  t.after(() => void process.off('warning', onWarning));
  for (const n of [1, 2]) await primary.publish('n', n);
  await primary.flushed();
  await until(() => errors?.length === 4 && warnings.length > 0, 'all is told');
  await turns(3);
  assert.deepEqual(got, [1, 2]);
  assert.deepEqual(new Set(errors), new Set(['async 1', 'async 2', 'sync 1', 'sync 2']));
  assert.deepEqual(
    warnings.map((warning) => (warning as { code?: string }).code),
    ['MILLRACE_WARN_MESSAGES'],
  );
  assert.match(warnings[0]?.message ?? '', /topic 'n' threw: Error: nobody asked/);
});

test('handlers that run are bounded, also those whose caller does not wait any more', limit, async (t) => {
  const { primary, join } = group(t, 'threads', { maxAsks: 2 });
  const one = await join(1);
  const open: (() => void)[] = [];
  one.handle('open', () => new Promise<void>((resolve) => open.push(resolve)));
  const timedOut = await Promise.all([1, 2].map(() => failure(primary.ask(1, 'open', 0, { timeoutMs: 1 }))));
  assert.ok(timedOut.every((error) => error['code'] === 'MILLRACE_ERR_ASK_TIMEOUT'));
  await until(() => open.length === 2, 'both run');
  const refused = await failure(primary.ask(1, 'open'));
  assert.deepEqual([refused['code'], refused['mayHaveRun']], ['MILLRACE_ERR_QUEUE_FULL', false]);
  for (const resolve of open.splice(0)) resolve();
  const asks = [primary.ask(1, 'open'), primary.ask(1, 'open')];
  const third = await failure(primary.ask(1, 'open'));
  assert.deepEqual([third['code'], third['limit']], ['MILLRACE_ERR_QUEUE_FULL', 2]);
  await until(() => open.length === 2, 'both run');
  for (const resolve of open) resolve();
  assert.deepEqual(await Promise.all(asks), [undefined, undefined]);
});

test('interests that come and go while nobody reads take the place of each other', limit, async (t) => {
  const { primary, join } = group(t, 'threads');
  const one = await join(1);
  for (let i = 0; i < 1000; i++) primary.subscribe('flaps', () => {}).close();
  assert.equal(primary.peers[0]?.bufferedMessages, 1);
  await primary.flushed();
  assert.equal((await one.publish('flaps')).workers, 0);
  for (let i = 0; i < 1000; i++) primary.subscribe('flaps', () => {}).close();
  const last = primary.subscribe('flaps', () => {});
  assert.equal(primary.peers[0]?.bufferedMessages, 1);
  await last.ready;
  assert.equal((await one.publish('flaps')).workers, 1);
});

test('an end that is closed refuses, and fails what it had asked', limit, async (t) => {
  const { primary, join } = group(t, 'threads');
  const one = await join(1);
  primary.handle('never', () => new Promise(() => {}));
  const asked = failure(one.ask('primary', 'never'));
  await one.flushed();
  one.close();
  one.close();
  const error = await asked;
  assert.deepEqual([error['code'], error['mayHaveRun']], ['MILLRACE_ERR_MESSAGES_CLOSED', true]);
  for (const promise of [one.publish('n'), one.ask('primary', 'n'), one.askAll('n')])
    assert.equal((await failure(promise))['code'], 'MILLRACE_ERR_MESSAGES_CLOSED');
  assert.throws(() => one.subscribe('n', () => {}), { code: 'MILLRACE_ERR_MESSAGES_CLOSED' });
  assert.throws(() => one.handle('n', () => {}), { code: 'MILLRACE_ERR_MESSAGES_CLOSED' });
  await within(one.flushed(), 'a closed end has nothing to flush');
  await until(() => primary.peers.length === 0, 'the primary has seen it');
});

test('options and arguments that make no sense are refused', limit, async (t) => {
  const { primary, join } = group(t, 'threads');
  await join(1);
  const code = 'MILLRACE_ERR_BAD_OPTION';
  for (const limits of [
    { highBytes: 0 },
    { highMessages: 1.5 },
    { lowBytes: 1 << 20 },
    { maxMessages: 5 },
    { maxBytes: 2 ** 31 },
    { maxAsks: 0 },
  ])
    assert.throws(() => new Bus(1, limits), { code }, JSON.stringify(limits));
  for (const timeoutMs of [0, -1, Number.NaN, 2 ** 31])
    assert.equal((await failure(primary.ask(1, 'n', 0, { timeoutMs })))['code'], code);
  assert.equal((await failure(primary.publish(5 as never)))['code'], code);
  assert.equal((await failure(primary.publish('x'.repeat(65_536))))['code'], code);
  assert.equal((await failure(primary.publish('x', 0, { whenFull: 'wait' as never })))['code'], code);
  assert.throws(() => primary.subscribe('x', 5 as never), { code });
  assert.throws(() => primary.handle('x', undefined as never), { code });
  primary.handle('x', () => {});
  assert.throws(() => primary.handle('x', () => {}), { code: 'MILLRACE_ERR_MISUSE' });
  assert.equal((await failure(primary.ask('any', 'nobody')))['code'], 'MILLRACE_ERR_UNKNOWN_HANDLER');
  assert.equal((await failure(primary.ask(99, 'x')))['code'], 'MILLRACE_ERR_UNKNOWN_WORKER');
});
