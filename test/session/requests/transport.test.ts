/** Requests over real connections. What doesn't depend on them is tested in memory, in the files beside this one. */
import assert from 'node:assert/strict';
import test from 'node:test';
import v8 from 'node:v8';
import { lengthPrefixed } from 'millrace/framing';
import {
  call,
  defineContract,
  type RpcError,
  requestStats,
  requestsGoodbye,
  respond,
  unchecked,
} from 'millrace/session';
import { leakGuard, type Stage } from '../../support/net.ts';
import { deferred } from '../support/pair.ts';
import { number, numbers, text } from '../support/schemas.ts';
import { dialling, limit, raw, type Serving, serving, until } from '../support/serving.ts';

await leakGuard();

const codec = lengthPrefixed({ lengthFieldLength: 4 }).json();

const contract = defineContract({
  add: { kind: 'request', input: numbers, output: number },
  wait: { kind: 'request', output: number },
  big: { kind: 'request', input: number, output: text },
  count: { kind: 'stream', input: number, items: number },
  sum: { kind: 'upload', uploads: number, output: number },
  double: { kind: 'duplex', uploads: number, items: number },
});

const handlers = {
  add: ({ a, b }: { a: number; b: number }) => a + b,
  wait: () => new Promise<number>(() => {}),
  big: (bytes: number) => 'x'.repeat(bytes),
  async *count(most: number) {
    for (let i = 1; i <= most; i++) yield i;
  },
  async sum(_: undefined, uploads: AsyncIterable<number>) {
    let sum = 0;
    for await (const n of uploads) sum += n;
    return sum;
  },
  async *double(_: undefined, uploads: AsyncIterable<number>) {
    for await (const n of uploads) yield 2 * n;
  },
};

function answering(t: Stage, more: Partial<typeof handlers> = {}): Promise<Serving<unknown, unknown>> {
  return serving<unknown>(t, (session) => respond(session, contract, { ...handlers, ...more }).done, { codec });
}

test('many large calls, answers and items at once wait for each other', limit, async (t) => {
  const large = defineContract({
    put: { kind: 'request', input: text, output: text },
    items: { kind: 'stream', items: text },
  });
  const cap = { limits: { writeBuffer: { maxBytes: 1024 * 1024 } } };
  const serves = await serving<unknown>(
    t,
    (session) =>
      respond(session, large, {
        put: (input) => input,
        async *items() {
          for (let i = 0; i < 4; i++) yield 'y'.repeat(100_000);
        },
      }).done,
    { codec, ...cap },
  );
  const session = await dialling<unknown>(t, serves, { codec, ...cap });
  const api = call(session, large);
  const puts = Array.from({ length: 100 }, (_, i) => api.put(String(i).padEnd(100_000, 'x')));
  const streams = Array.from({ length: 30 }, async () => {
    let length = 0;
    for await (const part of api.items()) length += part.length;
    return length;
  });
  const answers = await Promise.all(puts);
  for (const [i, answer] of answers.entries()) assert.ok(answer.startsWith(`${i}x`) || i > 9, answer.slice(0, 9));
  assert.deepEqual(new Set(answers.map((answer) => answer.length)), new Set([100_000]));
  assert.deepEqual(new Set(await Promise.all(streams)), new Set([400_000]));
});

test('calls and streams in both directions, at once, on one connection', limit, async (t) => {
  const serves = await answering(t);
  const session = await dialling<unknown>(t, serves, { codec });
  const api = call(session, contract);
  respond(session, defineContract({ mine: { kind: 'stream', items: number } }), {
    async *mine() {
      for (let i = 0; i < 500; i++) yield i;
    },
  });
  await until(() => serves.sessions.length > 0, 'accepted');
  const server = serves.sessions[0] as (typeof serves.sessions)[0];
  const back = call(server, defineContract({ mine: { kind: 'stream', items: number } }));
  const sums = Promise.all(Array.from({ length: 1000 }, (_, i) => api.add({ a: i, b: 1 })));
  const counted = (async () => {
    let last = 0;
    for await (const n of api.count(5000)) {
      assert.equal(n, last + 1);
      last = n;
    }
    return last;
  })();
  const uploaded = api.sum(
    undefined,
    Array.from({ length: 3000 }, () => 2),
  );
  const doubled = (async () => {
    let sum = 0;
    for await (const n of api.double(undefined, [1, 2, 3])) sum += n;
    return sum;
  })();
  let mine = 0;
  for await (const _ of back.mine()) mine += 1;
  assert.deepEqual(
    await sums,
    Array.from({ length: 1000 }, (_, i) => i + 1),
  );
  assert.deepEqual([await counted, await uploaded, await doubled, mine], [5000, 6000, 12, 500]);
  assert.deepEqual(requestStats(session), { calling: 0, serving: 0, lateMessages: 0, droppedOneways: 0 });
  assert.equal((await session.close()).reason, 'CLOSED');
  assert.equal((await serves.closed()).reason, 'ENDED');
});

test('a stream that nobody reads holds a window, and nobody up', limit, async (t) => {
  let given = 0;
  const serves = await answering(t, {
    async *count() {
      while (true) yield ++given;
    },
  });
  const session = await dialling<unknown>(t, serves, { codec });
  const api = call(session, contract, { window: 16 });
  const slow = api.count(0);
  assert.equal((await api.big(900_000)).length, 900_000);
  assert.equal(given, 16);
  assert.equal((await slow.next()).value, 1);
  assert.equal((await api.big(900_000)).length, 900_000);
  assert.equal(given, 16);
  await slow.return?.();
  await until(() => requestStats(serves.sessions[0] as never).serving === 0, 'cancelled');
});

test('the reset of a connection rejects what is under way, with its reason', limit, async (t) => {
  const aborted = deferred<unknown>();
  const serves = await answering(t, {
    wait: (...parameters: unknown[]) => {
      const { signal } = parameters[1] as { signal: AbortSignal };
      signal.addEventListener('abort', () => aborted.resolve(signal.reason));
      return new Promise<number>(() => {});
    },
  });
  const session = await dialling<unknown>(t, serves, { codec });
  const api = call(session, contract);
  const lost = api.wait().catch((error: RpcError) => error);
  const stream = api.count(1000);
  await stream.next();
  await until(() => requestStats(serves.sessions[0] as never).serving === 2, 'both run');
  session.abort(new Error('enough'));
  const error = (await lost) as RpcError;
  assert.deepEqual([error.code, error.mayHaveRun], ['MILLRACE_ERR_CALL_CLOSED', true]);
  assert.equal((error.cause as { reason: string }).reason, 'ABORTED');
  const reason = (await aborted.promise) as RpcError;
  assert.equal(reason.code, 'MILLRACE_ERR_CALL_CLOSED');
  assert.equal((reason.cause as { reason: string }).reason, 'RESET');
});

test('drain says goodbye, waits for calls, and cuts nothing', limit, async (t) => {
  const gate = deferred<number>();
  const serves = await answering(t, { wait: () => gate.promise });
  const session = await dialling<unknown>(t, serves, { codec });
  const api = call(session, contract);
  const answer = api.wait();
  await until(() => requestStats((serves.sessions[0] ?? {}) as never).serving === 1, 'it runs');
  const drained = serves.server.drain({ goodbye: requestsGoodbye });
  const refused = async (): Promise<boolean> =>
    api.add({ a: 1, b: 2 }).then(
      () => false,
      (error: RpcError) => error.code === 'MILLRACE_ERR_DRAINING' && !error.mayHaveRun,
    );
  while (!(await refused()));
  gate.resolve(7);
  assert.equal(await answer, 7);
  const { closed, cut } = await drained;
  assert.deepEqual([closed, cut.length], [1, 0]);
});

test('calls under way count in the memory of the limits', limit, async (t) => {
  let aborted = 0;
  const wait = async (_: undefined, { signal }: { signal: AbortSignal }): Promise<number> => {
    await new Promise((resolve) => signal.addEventListener('abort', resolve));
    return ++aborted;
  };
  const serves = await serving<unknown>(
    t,
    (session) => respond(session, contract, { ...handlers, wait } as typeof handlers).done,
    { codec, limits: { memory: 50 * 4096 } },
  );
  const session = await dialling<unknown>(t, serves, { codec });
  const api = call(session, contract);
  const answers = Array.from({ length: 60 }, () => api.wait());
  const results = await Promise.allSettled(answers);
  assert.ok(results.every(({ status }) => status === 'rejected'));
  assert.equal((await serves.closed()).reason, 'MEMORY_BUDGET');
  await until(() => serves.server.metrics().openConnections === 0, 'closed');
  assert.ok(aborted > 45 && aborted <= 60, `${aborted} handlers were ended`);
  assert.equal(requestStats(serves.sessions[0] as never).serving, 0);
});

test('any codec that carries values will do', limit, async (t) => {
  const binary = lengthPrefixed({ lengthFieldLength: 4 }).withPayload<unknown, unknown>({
    read: (bytes, start, end) => v8.deserialize(bytes.subarray(start, end)),
    write: (value) => v8.serialize(value),
  });
  const echo = defineContract({
    echo: { kind: 'request', input: unchecked<Map<string, Buffer>>(), output: unchecked<Map<string, Buffer>>() },
  });
  const serves = await serving<unknown>(t, (session) => respond(session, echo, { echo: (value) => value }).done, {
    codec: binary,
  });
  const session = await dialling<unknown>(t, serves, { codec: binary });
  const answer = await call(session, echo).echo(new Map([['a', Buffer.from([0, 255])]]));
  assert.deepEqual([...(answer.get('a') as Buffer)], [0, 255]);
});

test('an answer larger than frames may be is an error of its call', limit, async (t) => {
  const small = lengthPrefixed({ lengthFieldLength: 4, maxFrameBytes: 1000 }).json();
  const seen: unknown[] = [];
  const onError = (error: unknown): void => void seen.push(error);
  const serves = await serving<unknown>(t, (session) => respond(session, contract, handlers, { onError }).done, {
    codec: small,
  });
  const session = await dialling<unknown>(t, serves, { codec: small });
  const api = call(session, contract);
  await assert.rejects(api.big(2000), { code: 'MILLRACE_ERR_INTERNAL' });
  assert.equal((seen[0] as { code: string }).code, 'MILLRACE_ERR_FRAME_TOO_LARGE');
  assert.equal((await api.big(500)).length, 500);
});

test('a peer that does not keep to the protocol is reset, with the reason', limit, async (t) => {
  const serves = await answering(t);
  const peer = await raw(t, serves);
  peer.socket.write(codec.encode([4, -1, 'an answer to nothing']));
  const reason = await serves.closed();
  assert.equal(reason.reason, 'ABORTED');
  assert.equal((reason.cause as RpcError).code, 'MILLRACE_ERR_PROTOCOL');
  await until(() => peer.events.includes('reset') || peer.events.includes('close'), 'reset');
});

test('calls and answers on the wire are as documented', limit, async (t) => {
  const serves = await answering(t);
  const peer = await raw(t, serves);
  peer.socket.write('\0\0\0\x1a[1,1,"add",0,0,{"a":1,"b":2}]'.replace('\x1a', '\x1d'));
  await peer.has('\0\0\0\x08[4,-1,3]');
  peer.socket.write('\0\0\0\x11[1,2,"count",0,2,3]'.replace('\x11', '\x13'));
  await peer.has('[2,-2,1]\0\0\0\x08[2,-2,2]');
  peer.socket.write('\0\0\0\x07[3,2,9]');
  await peer.has('[2,-2,3]\0\0\0\x06[4,-2]');
  peer.socket.end();
  await peer.over();
  assert.equal((await serves.closed()).reason, 'ENDED');
});

test('an answered call leaves no timer behind', limit, async (t) => {
  const serves = await answering(t);
  const session = await dialling<unknown>(t, serves, { codec });
  const api = call(session, contract);
  const timers = (): number => process.getActiveResourcesInfo().filter((name) => name === 'Timeout').length;
  const before = timers();
  for (let i = 0; i < 20; i++) await api.add({ a: i, b: 1 }, { deadlineMs: 1_000_000 });
  for await (const _ of api.count(3, { deadlineMs: 1_000_000 }));
  assert.ok(timers() <= before, `${timers()} timers, and ${before} before`);
});
