import assert from 'node:assert/strict';
import { fstatSync, openSync } from 'node:fs';
import test from 'node:test';
import { Counters, counters, openRow, setOwnRow, Table } from '#src/cluster/counters/index.ts';
import { leakGuard, limit, type Stage } from '../support/net.ts';

await leakGuard();

const kinds = { messages: 'counter', bytes: 'counter', connections: 'gauge' } as const;
type Name = keyof typeof kinds;

/** A worker's view, in this thread: what `worker-main.ts` and `counters()` do in one of its own. */
function join(t: Stage, table: Table, id: number, declared: Partial<typeof kinds> = kinds) {
  const config = table.take(id);
  // What a process inherits is a descriptor of its own.
  const fd = config.fd === undefined ? -1 : openSync(`/proc/self/fd/${config.fd}`, 'r+');
  const row = openRow(config, id, fd);
  t.after(() => row.store.close());
  setOwnRow(row);
  try {
    return { figures: counters(declared as typeof kinds), flush: () => row.store.put(config.row, row.own) };
  } finally {
    setOwnRow(undefined);
  }
}

test('figures without a group are those of this thread', limit, () => {
  const figures = counters(kinds);
  figures.add('messages');
  figures.add('messages', 2);
  figures.set('connections', 5);
  figures.add('connections', -2);
  assert.deepEqual([figures.get('messages'), figures.total('messages'), figures.get('connections')], [3, 3, 3]);
  assert.deepEqual(figures.totals(), { messages: 3, bytes: 0, connections: 3 });
  assert.deepEqual(figures.workers(), [{ worker: 0, values: { messages: 3, bytes: 0, connections: 3 } }]);
});

const tooMany: Record<string, 'gauge'> = {};
for (let i = 0; i < 1025; i++) tooMany[`n${i}`] = 'gauge';

test('figures that were not declared, that do not exist, and counters that would go down are refused', limit, () => {
  const code = 'MILLRACE_ERR_BAD_OPTION';
  const figures = counters(kinds) as Counters;
  for (const name of ['nothing', 'constructor', '__proto__', 'toString']) {
    assert.throws(() => figures.add(name), { code });
    assert.throws(() => figures.set(name, 1), { code });
    assert.throws(() => figures.get(name), { code });
    assert.throws(() => figures.total(name), { code });
  }
  assert.throws(() => figures.add('messages', -1), { code });
  assert.throws(() => figures.add('messages', Number.NaN), { code });
  assert.throws(() => figures.add('messages', Number.POSITIVE_INFINITY), { code });
  assert.throws(() => figures.add('connections', Number.NaN), { code });
  assert.throws(() => figures.set('messages', 1), { code });
  assert.throws(() => figures.set('connections', '5' as never), { code });
  assert.throws(() => counters({ x: 'histogram' as never }), { code });
  assert.throws(() => counters(undefined as never), { code });
  assert.throws(() => counters(tooMany), {
    code,
  });
  const odd = counters({ constructor: 'counter' as const });
  odd.add('constructor');
  assert.equal(odd.total('constructor'), 1);
  assert.deepEqual(figures.totals(), { messages: 0, bytes: 0, connections: 0 });
});

// A file in memory that has no name can't be opened twice everywhere.
const kindsHere = process.platform === 'linux' ? (['threads', 'processes'] as const) : (['threads'] as const);

for (const kind of kindsHere) {
  test(`${kind}: everybody sees what all have counted, together and one by one`, limit, (t) => {
    const primary = counters(kinds);
    primary.add('messages', 1); // before there is a group
    const table = new Table(primary, kind, 2);
    t.after(() => table.close());
    const [one, two] = [join(t, table, 1), join(t, table, 2)];
    primary.add('messages', 10);
    one.figures.add('messages', 100);
    two.figures.add('messages', 1000);
    two.figures.set('connections', 7);
    for (const { flush } of [one, two]) flush();
    assert.deepEqual(primary.totals(), { messages: 1111, bytes: 0, connections: 7 });
    for (const { figures } of [one, two]) assert.equal(figures.total('messages'), kind === 'threads' ? 1111 : 1101);
    assert.equal(two.figures.get('messages'), 1000);
    assert.deepEqual(
      primary.workers().map(({ worker, values }) => [worker, values.messages, values.connections]),
      [
        [0, 11, 0],
        [1, 100, 0],
        [2, 1000, 7],
      ],
    );
  });

  test(`${kind}: who is gone leaves its counters and takes its gauges; the next one begins at zero`, limit, (t) => {
    const primary = counters(kinds);
    const table = new Table(primary, kind, 2);
    t.after(() => table.close());
    const one = join(t, table, 1);
    one.figures.add('messages', 5);
    one.figures.set('connections', 3);
    one.flush();
    table.release(1);
    table.release(1);
    assert.deepEqual(primary.totals(), { messages: 5, bytes: 0, connections: 0 });
    assert.deepEqual(
      primary.workers().map(({ worker }) => worker),
      [0],
    );

    const two = join(t, table, 2);
    two.figures.add('messages', 2);
    two.flush();
    assert.equal(two.figures.get('messages'), 2);
    assert.deepEqual(primary.totals(), { messages: 7, bytes: 0, connections: 0 });
    assert.deepEqual(primary.workers()[1], { worker: 2, values: { messages: 2, bytes: 0, connections: 0 } });
  });

  test(`${kind}: the primary keeps what a group has counted, also for its next group`, limit, (t) => {
    const primary = counters(kinds);
    const first = new Table(primary, kind, 1);
    const { figures, flush } = join(t, first, 1);
    figures.add('bytes', 4);
    flush();
    primary.add('bytes', 1);
    first.release(1);
    first.close();
    assert.deepEqual([primary.total('bytes'), primary.get('bytes')], [5, 1]);
    const second = new Table(primary, kind, 1);
    t.after(() => second.close());
    primary.add('bytes', 1);
    assert.deepEqual([primary.total('bytes'), primary.get('bytes')], [6, 2]);
  });

  test(`${kind}: a worker may declare some of the figures, and none that its group has not`, limit, (t) => {
    const primary = counters(kinds);
    const table = new Table(primary, kind, 1);
    t.after(() => table.close());
    const some = join(t, table, 1, { connections: 'gauge' });
    some.figures.set('connections', 2);
    some.flush();
    assert.equal(primary.total('connections'), 2);
    assert.deepEqual(some.figures.totals(), { connections: 2 });
    assert.throws(() => some.figures.add('messages' as Name), { code: 'MILLRACE_ERR_BAD_OPTION' });
    const other = (declared: object) => () => join(t, table, 2, declared as typeof kinds);
    assert.throws(other({ connections: 'counter' }), { code: 'MILLRACE_ERR_BAD_OPTION' });
    assert.throws(other({ more: 'counter' }), { code: 'MILLRACE_ERR_BAD_OPTION', message: /no such figure/ });
  });
}

test('a worker of a group without counters is told so', limit, () => {
  setOwnRow('none');
  try {
    assert.throws(() => counters(kinds), { code: 'MILLRACE_ERR_MISUSE' });
  } finally {
    setOwnRow(undefined);
  }
});

test('threads that drain for long take no more rows than there are', limit, (t) => {
  const primary = counters({ n: 'counter' });
  const table = new Table(primary, 'threads', 1);
  t.after(() => table.close());
  for (let id = 1; id < 64; id++) table.take(id);
  assert.throws(() => table.take(64), /too many/);
  table.release(7);
  assert.equal(table.take(64).row, 7);
});

test('the file of processes has no name, and rows of whole cache lines', limit, (t) => {
  const table = new Table(counters(kinds), 'processes', 1);
  t.after(() => table.close());
  const { fd, row } = table.take(1);
  assert.deepEqual([fstatSync(fd as number).nlink, row], [0, 1]);
  const { layout } = new Counters(kinds);
  assert.equal((layout.rowCells * 8) % 128, 0);
  assert.equal(fstatSync(fd as number).size, layout.rowCells * 8);
});
