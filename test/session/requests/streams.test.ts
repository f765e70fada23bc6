import assert from 'node:assert/strict';
import test from 'node:test';
import { type CallStream, call, defineContract, RpcError, requestStats, respond } from 'millrace/session';
import { deferred, limit, pair, settle } from '../support/pair.ts';
import { number, text } from '../support/schemas.ts';

const contract = defineContract({
  count: { kind: 'stream', input: number, items: number },
  sum: { kind: 'upload', uploads: number, output: number },
  double: { kind: 'duplex', input: text, uploads: number, items: text },
});

/** A source that says how far it got, and whether it was returned. */
function source(most = Number.POSITIVE_INFINITY) {
  const state = { given: 0, isReturned: false };
  async function* numbers(): AsyncGenerator<number, void> {
    try {
      while (state.given < most) yield ++state.given;
    } finally {
      state.isReturned = true;
    }
  }
  return { state, numbers };
}

const handlers = {
  async *count(most: number) {
    for (let i = 1; i <= most; i++) yield i;
  },
  async sum(_: undefined, uploads: AsyncIterable<number>) {
    let sum = 0;
    for await (const n of uploads) sum += n;
    return sum;
  },
  async *double(label: string, uploads: AsyncIterable<number>) {
    for await (const n of uploads) yield `${label} ${2 * n}`;
  },
};

async function all<T>(stream: AsyncIterable<T>): Promise<T[]> {
  const items: T[] = [];
  for await (const item of stream) items.push(item);
  return items;
}

test('items come in order, to the end', limit, async () => {
  const { client, server } = pair();
  respond(server, contract, handlers);
  const api = call(client, contract);
  const stream: CallStream<number> = api.count(100);
  assert.deepEqual(
    await all(stream),
    Array.from({ length: 100 }, (_, i) => i + 1),
  );
  assert.deepEqual(await all(api.count(0)), []);
  assert.deepEqual(client.sent[0], '[1,1,"count",0,32,100]');
  assert.deepEqual(server.sent.slice(0, 2), ['[2,-1,1]', '[2,-1,2]']);
  assert.equal(server.sent.at(-1), '[4,-2]');
  assert.deepEqual([requestStats(client).calling, requestStats(server).serving, server.holds], [0, 0, 0]);
});

test('items go up, and one answer comes back', limit, async () => {
  const { client, server } = pair();
  respond(server, contract, handlers);
  const api = call(client, contract);
  assert.equal(await api.sum(undefined, source(100).numbers()), 5050);
  // Anything that can be iterated, with promises in it, too.
  assert.equal(await api.sum(undefined, [1, 2, 3]), 6);
  assert.equal(await api.sum(undefined, new Set([Promise.resolve(4) as never])), 4);
  assert.equal(await api.sum(undefined, []), 0);
  assert.equal(server.sent[0], '[3,-1,32]');
});

test('items go both ways', limit, async () => {
  const { client, server } = pair();
  respond(server, contract, handlers);
  const api = call(client, contract);
  assert.deepEqual(await all(api.double('twice', [1, 2, 3])), ['twice 2', 'twice 4', 'twice 6']);
});

test('a slow reader stops its source, and nobody else', limit, async () => {
  const { client, server } = pair();
  const { state, numbers } = source();
  respond(server, contract, { ...handlers, count: numbers });
  const api = call(client, contract, { window: 4 });
  const slow = api.count(0);
  await settle();
  assert.equal(state.given, 4, 'a window of items, and the source is not asked for more');
  assert.equal(await api.sum(undefined, [1, 2]), 3, 'the session goes on');
  assert.deepEqual(await slow.next(), { done: false, value: 1 });
  await settle();
  assert.equal(state.given, 4, 'no message for each item');
  await slow.next();
  await settle();
  assert.equal(state.given, 6);
  assert.equal(client.sent.at(-1), '[3,1,2]');
  await slow.return?.();
  await settle();
  assert.ok(state.isReturned);
});

test('a slow handler stops the source of an upload', limit, async () => {
  const { client, server } = pair();
  const gate = deferred();
  const { state, numbers } = source(100);
  const sum = async (_: undefined, uploads: AsyncIterable<number>): Promise<number> => {
    await gate.promise;
    return handlers.sum(_, uploads);
  };
  respond(server, contract, { ...handlers, sum }, { window: 8 });
  const answer = call(client, contract).sum(undefined, numbers());
  await settle();
  assert.equal(state.given, 0, 'nothing is sent that nobody has room for');
  gate.resolve();
  assert.equal(await answer, 5050);
});

test('a source waits while the connection is full', limit, async () => {
  const { client, server } = pair();
  const { state, numbers } = source();
  respond(server, contract, { ...handlers, count: numbers });
  const stream = call(client, contract, { window: 1000 }).count(0);
  await settle();
  const before = state.given;
  assert.equal(before, 1000);
  server.highFrames = 3;
  client.holdUp();
  for (let i = 0; i < 600; i++) await stream.next();
  await settle();
  assert.ok(state.given - before <= 3, `${state.given - before}`);
  client.letGo();
  while (state.given - before < 400) await settle();
  await stream.return?.();
});

test('leaving the loop cancels, and the generator is returned', limit, async () => {
  const { client, server } = pair();
  const { state, numbers } = source();
  respond(server, contract, { ...handlers, count: numbers });
  const api = call(client, contract);
  for await (const n of api.count(0)) if (n === 3) break;
  await settle();
  assert.ok(state.isReturned);
  assert.deepEqual([requestStats(client).calling, requestStats(server).serving, server.holds], [0, 0, 0]);
  {
    await using stream = api.count(0);
    await stream.next();
  }
  await settle();
  assert.equal(requestStats(server).serving, 0);
  assert.equal(await api.sum(undefined, [1]), 1, 'the session lives');
});

test('leaving ends a next() that waits, and the wait of the generator by its signal', limit, async () => {
  const { client, server } = pair();
  const left = deferred();
  respond(server, contract, {
    ...handlers,
    async *count(_, { signal }) {
      try {
        await new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason)));
        yield 1;
      } finally {
        left.resolve();
      }
    },
  });
  const stream = call(client, contract).count(0);
  const waiting = stream.next();
  await settle();
  await assert.rejects(stream.next(), { code: 'MILLRACE_ERR_CALL_MISUSE' });
  await stream.return?.();
  assert.deepEqual(await waiting, { done: true, value: undefined });
  await left.promise;
  await settle();
  assert.equal(server.holds, 0);
});

test('a handler that leaves an upload early answers all the same', limit, async () => {
  const { client, server } = pair();
  const { state, numbers } = source();
  const gate = deferred();
  respond(server, contract, {
    ...handlers,
    async sum(_, uploads) {
      for await (const n of uploads) if (n === 2) break;
      await gate.promise;
      return 2;
    },
  });
  const answer = call(client, contract).sum(undefined, numbers());
  await settle();
  assert.ok(state.isReturned, 'before the answer');
  gate.resolve();
  assert.equal(await answer, 2);
  assert.ok(server.sent.includes('[6,-1]'));
});

test('a handler that answers without reading ends the upload', limit, async () => {
  const { client, server } = pair();
  const { state, numbers } = source();
  respond(server, contract, { ...handlers, sum: async (_, uploads) => (await uploads.next()).value ?? 0 });
  assert.equal(await call(client, contract).sum(undefined, numbers()), 1);
  await settle();
  assert.ok(state.isReturned);
  assert.equal(requestStats(client).calling, 0);
});

test('errors of a generator come behind its items', limit, async () => {
  const { client, server } = pair();
  respond(server, contract, {
    ...handlers,
    async *count() {
      yield 1;
      throw new RpcError('GONE', 'no more');
    },
  });
  const stream = call(client, contract).count(0);
  await settle();
  assert.deepEqual(await stream.next(), { done: false, value: 1 });
  await assert.rejects(stream.next(), { code: 'GONE', isRemote: true });
  assert.deepEqual(await stream.next(), { done: true, value: undefined });
});

test('errors of an uploading source reach the caller and the handler', limit, async () => {
  const { client, server } = pair();
  const seen: RpcError[] = [];
  const sum = (_: undefined, uploads: AsyncIterable<number>) =>
    handlers.sum(_, uploads).catch((error) => {
      seen.push(error);
      throw error;
    });
  respond(server, contract, { ...handlers, sum });
  const api = call(client, contract);
  const failing = async function* (error: Error): AsyncGenerator<number> {
    yield 1;
    throw error;
  };
  const problem = new Error('the disk is full');
  await assert.rejects(api.sum(undefined, failing(problem)), (error) => error === problem);
  await assert.rejects(api.sum(undefined, failing(new RpcError('DISK', 'full'))), { code: 'DISK' });
  await settle();
  assert.deepEqual(
    seen.map(({ code, message }) => [code, message]),
    [
      ['MILLRACE_ERR_CANCELLED', 'the caller does not want the answer any more'],
      ['DISK', 'full'],
    ],
  );
  assert.ok(!client.sent.join().includes('disk'));
});

test('items are checked on both ways', limit, async () => {
  const { client, server } = pair();
  const { state, numbers } = source();
  respond(server, contract, {
    ...handlers,
    async *count() {
      yield 'one' as never;
    },
    double: async function* (_, uploads) {
      yield* numbers() as AsyncGenerator<never>;
      void uploads;
    },
  });
  const api = call(client, contract);
  await assert.rejects(api.count(1).next(), { code: 'MILLRACE_ERR_BAD_OUTPUT', isRemote: false });
  await assert.rejects(api.double('x', []).next(), { code: 'MILLRACE_ERR_BAD_OUTPUT' });
  await assert.rejects(api.sum(undefined, ['x' as never]), { code: 'MILLRACE_ERR_BAD_INPUT', isRemote: true });
  await settle();
  assert.ok(state.isReturned, 'a bad item cancels the call');
  assert.deepEqual([requestStats(client).calling, requestStats(server).serving, server.holds], [0, 0, 0]);
});

test('a deadline ends a stream', limit, async (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] });
  const { client, server } = pair();
  const { state, numbers } = source();
  respond(server, contract, { ...handlers, count: numbers });
  const stream = call(client, contract).count(0, { deadlineMs: 100 });
  await settle();
  assert.deepEqual(await stream.next(), { done: false, value: 1 });
  t.mock.timers.tick(100);
  await assert.rejects(stream.next(), { code: 'MILLRACE_ERR_DEADLINE' });
  await settle();
  assert.ok(state.isReturned);
});

test('a stream that fails before anybody reads it is no unhandled rejection', limit, async () => {
  const { client } = pair();
  const stream = call(client, contract).count(0);
  client.abort();
  await settle();
  await assert.rejects(stream.next(), { code: 'MILLRACE_ERR_CALL_CLOSED' });
});

test('the death of a session returns all sources', limit, async () => {
  const { client, server } = pair();
  const [up, down] = [source(), source()];
  respond(server, contract, { ...handlers, count: down.numbers });
  const api = call(client, contract);
  const stream = api.count(0);
  const answer = assert.rejects(api.sum(undefined, up.numbers()), { code: 'MILLRACE_ERR_CALL_CLOSED' });
  await stream.next();
  await settle();
  server.abort();
  await answer;
  await settle();
  assert.ok(up.state.isReturned && down.state.isReturned);
  assert.equal(server.holds, 0);
});

test('what a handler gives must be iterable', limit, async () => {
  const { client, server } = pair();
  const seen: unknown[] = [];
  respond(server, contract, { ...handlers, count: () => 5 as never }, { onError: (error) => void seen.push(error) });
  await assert.rejects(call(client, contract).count(1).next(), { code: 'MILLRACE_ERR_INTERNAL' });
  assert.ok(seen[0] instanceof TypeError);
});
