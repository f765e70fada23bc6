/**
 * Sessions, requests and clients that come back, over real connections through a relay that cuts bytes anywhere and dies
 * at any moment: no message that was acknowledged is lost, none is doubled or out of order, what waits has a bound, and
 * every promise is settled once.
 *
 * support/holds.ts tells how long it runs, and how a run is repeated.
 */
import assert from 'node:assert/strict';
import test from 'node:test';
import fc from 'fast-check';
import { lengthPrefixed, lines, type StandardSchemaV1 } from 'millrace/framing';
import {
  call,
  defineContract,
  dial,
  isGoodEnd,
  MemoryBudget,
  RpcError,
  respond,
  type SessionCloseReason,
  SessionError,
  serve,
} from 'millrace/session';
import { engineState, leakGuard, turns, until, within } from '../support/net.ts';
import { holds, SECONDS, SHRINK_MS } from './support/holds.ts';
import { relay, type Weather, weather } from './support/relay.ts';

await leakGuard();

const WAIT_MS = 15_000;
const limit = { timeout: SECONDS * 1000 + SHRINK_MS + 2 * WAIT_MS };
const host = '127.0.0.1';

async function isEngineEmpty(): Promise<boolean> {
  return Object.values((await engineState()) ?? {}).every((count) => count === 0);
}

/** A property of which, besides, nothing is left in the engine behind any story. */
const leavesNothing: typeof holds = (arbitrary, run) =>
  holds(arbitrary, run, {
    runs: 10,
    behind: async () => {
      await until(() => true, 'a turn');
      for (let i = 0; i < 200 && !(await isEngineEmpty()); i++) await turns(1);
      assert.ok(await isEngineEmpty(), 'nothing is left in the engine');
    },
  });

/** Counts the promises that aren't settled. */
class Pending {
  count = 0;

  track<T>(promise: Promise<T>): Promise<T> {
    this.count++;
    const settle = (): void => {
      this.count--;
    };
    promise.then(settle, settle);
    return promise;
  }
}

type Message = { from: number; number: number; padding: string };
const codecs = {
  lines: lines().json() as never,
  prefixed: lengthPrefixed({ lengthFieldLength: 3 }).json() as never,
};
const sizes = fc.array(fc.oneof({ weight: 9, arbitrary: fc.nat(80) }, fc.nat(30_000)), { maxLength: 60 });

const HIGH_BYTES = 20_000;
/** Of one side: both marks, a message above each, and a chunk that has come and isn't decoded. */
const MOST_BYTES = 2 * (HIGH_BYTES + 31_000) + 4 * 64 * 1024;

test(
  'messages of several clients, through any weather, arrive once and in order; acknowledged ones are not lost',
  limit,
  () =>
    leavesNothing(
      fc.record({
        codec: fc.constantFrom<keyof typeof codecs>('lines', 'prefixed'),
        decodeAhead: fc.boolean(),
        clients: fc.array(fc.record({ sizes, weather, pace: fc.array(fc.nat(2), { minLength: 1, maxLength: 4 }) }), {
          minLength: 1,
          maxLength: 4,
        }),
        highFrames: fc.constantFrom(1, 3, 256),
        end: fc.constantFrom('client', 'drain', 'server'),
        endAfter: fc.nat(200),
      }),
      async ({ codec, decodeAhead, clients, highFrames, end, endAfter }, stage) => {
        const memory = new MemoryBudget(2 ** 40);
        const marks = { highBytes: HIGH_BYTES, highFrames };
        const common = { codec: codecs[codec], decodeAhead, limits: { memory, readBuffer: marks, writeBuffer: marks } };
        const arrived: number[][] = clients.map(() => []);
        const reasons: SessionCloseReason[] = [];
        const pending = new Pending();
        const server = await serve<Message, Message>(
          { ...common, port: 0, host, onClosed: (_, reason) => reasons.push(reason), onError: () => {} },
          async (session) => {
            void pending.track(session.closed);
            for await (const message of session) {
              (arrived[message.from] as number[]).push(message.number);
              await session.send({ ...message, padding: '' });
            }
          },
        );
        stage.after(() => server.close());
        let isOver = false;
        const watching = (async () => {
          for (; !isOver; await turns(1)) {
            const bytes = memory.heldBytes;
            assert.ok(bytes <= 2 * clients.length * MOST_BYTES, `${bytes} bytes are held`);
          }
        })();
        const story = async ({ sizes, weather: one, pace }: (typeof clients)[0], from: number): Promise<void> => {
          const port = await relay(stage, server.port as number, [one]);
          const client = await dial<Message, Message>({ ...common, port, host });
          stage.after(() => client.abort());
          void pending.track(client.closed);
          const answered: number[] = [];
          const resolved: number[] = [];
          const sending = (async () => {
            for (const [number, size] of sizes.entries()) {
              await turns(pace[number % pace.length] as number);
              await pending.track(client.send({ from, number, padding: 'x'.repeat(size) }));
              resolved.push(number);
            }
            client.end();
          })();
          const reading = (async () => {
            for await (const { from: whose, number } of client) {
              assert.equal(whose, from, 'connections do not mix');
              answered.push(number);
            }
          })();
          const [, read] = await within(Promise.allSettled([sending, reading]), 'both directions are over', WAIT_MS);
          if (read.status === 'rejected') assert.ok(read.reason instanceof SessionError, String(read.reason));
          const over = await within(client.close(), 'the client is over', WAIT_MS);
          const got = arrived[from] as number[];
          assert.deepEqual(got, [...got.keys()], 'what arrived is a beginning, once and in order');
          assert.deepEqual(answered, [...answered.keys()], 'so are the answers');
          assert.ok(answered.length <= got.length, 'what was answered had arrived');
          if (isGoodEnd(over.reason)) assert.equal(over.unsentBytes, 0);
          if (one.death === undefined && end === 'client') {
            assert.equal(over.reason, 'ENDED');
            assert.deepEqual(
              [got.length, answered.length, resolved.length],
              [sizes.length, sizes.length, sizes.length],
            );
          }
        };
        const ending = (async () => {
          await turns(endAfter);
          if (end === 'server') await server.close();
          if (end === 'drain') await server.drain({ deadlineMs: 5_000 });
        })();
        await Promise.all(clients.map(story)).finally(() => {
          isOver = true;
        });
        await Promise.all([watching, within(ending, 'the end of the server', WAIT_MS)]);
        await until(() => server.sessionCount === 0, 'all sessions are over', WAIT_MS);
        await turns(1);
        assert.equal(pending.count, 0, 'each promise is settled');
        assert.equal(memory.heldBytes, 0);
        const { unsentBytes } = server.metrics();
        for (const { reason, unsentBytes } of reasons) if (isGoodEnd(reason)) assert.equal(unsentBytes, 0);
        assert.equal(
          unsentBytes,
          reasons.reduce((sum, each) => sum + each.unsentBytes, 0),
        );
      },
    ),
);

const any: StandardSchemaV1<unknown> = {
  '~standard': { version: 1, vendor: 'test', validate: (value) => ({ value }) },
};
const contract = defineContract({
  once: { kind: 'request', input: any, output: any },
  count: { kind: 'stream', input: any, items: any },
});

test('calls through any weather: each is settled once, and run at most once', limit, () =>
  leavesNothing(
    fc.record({
      weather,
      calls: fc.array(
        fc.record({
          size: fc.nat(3_000),
          waits: fc.nat(4),
          items: fc.option(fc.nat(30), { nil: undefined }),
          cancels: fc.boolean(),
        }),
        { maxLength: 40 },
      ),
      maxRequests: fc.constantFrom(1, 3, 256),
    }),
    async ({ weather: one, calls, maxRequests }, stage) => {
      const runs = new Map<number, number>();
      const pending = new Pending();
      let running = 0;
      const run = async <T>(id: number, waits: number, value: T): Promise<T> => {
        runs.set(id, (runs.get(id) ?? 0) + 1);
        running++;
        await turns(waits);
        running--;
        return value;
      };
      const server = await serve<unknown, unknown>({ codec: codecs.lines, port: 0, host }, async (session) => {
        await respond(session, contract, {
          once: async (input) => {
            const { id, waits } = input as { id: number; waits: number };
            return run(id, waits, id);
          },
          async *count(input) {
            const { id, waits, items } = input as { id: number; waits: number; items: number };
            await run(id, waits, undefined);
            for (let i = 0; i < items; i++) yield i;
          },
        }).done;
      });
      stage.after(() => server.close());
      const port = await relay(stage, server.port as number, [one]);
      const client = await dial<unknown, unknown>({ codec: codecs.lines, port, host });
      stage.after(() => client.abort());
      const api = call(client, contract, { maxRequests });
      const results = calls.map(({ size, waits, items, cancels }, id) => {
        const input = { id, waits, items, padding: 'x'.repeat(size) };
        const signal = cancels ? AbortSignal.timeout(1 + (size % 5)) : undefined;
        const one = async (): Promise<number | RpcError | Error> => {
          try {
            if (items === undefined) return (await api.once(input, { signal })) as number;
            let next = 0;
            for await (const item of api.count(input, { signal })) assert.equal(item, next++, 'items are in order');
            assert.equal(next, items, 'an end without an error is the end');
            return id;
          } catch (error) {
            if (error instanceof assert.AssertionError) throw error;
            return error as Error;
          }
        };
        return pending.track(one());
      });
      const settledAll = await within(Promise.all(results), 'every call is settled', WAIT_MS);
      client.abort();
      await until(() => running === 0 && server.sessionCount === 0, 'every handler is through', WAIT_MS);
      for (const [id, result] of settledAll.entries()) {
        const count = runs.get(id) ?? 0;
        assert.ok(count <= 1, `call ${id} ran ${count} times`);
        if (typeof result === 'number') assert.deepEqual([result, count], [id, 1], 'the answer is of this call');
        else if (result instanceof RpcError) {
          if (!result.mayHaveRun) assert.equal(count, 0, `${result.code} says that it has not run`);
          if (one.death === undefined) assert.fail(`${result.code} in fair weather`);
        } else assert.match(result.name, /TimeoutError|AbortError/);
      }
      assert.equal(pending.count, 0, 'each promise is settled');
    },
  ),
);

test(
  'a client that comes back through storms: what is answered was done, and everything is answered in the end',
  limit,
  () =>
    leavesNothing(
      fc.record({
        weathers: fc.array(weather, { minLength: 1, maxLength: 4 }),
        count: fc.integer({ min: 1, max: 25 }),
        waits: fc.nat(3),
      }),
      async ({ weathers, count, waits }, stage) => {
        const done = new Set<number>();
        const server = await serve<unknown, unknown>({ codec: codecs.lines, port: 0, host }, async (session) => {
          await respond(session, contract, {
            once: async (input) => {
              await turns(waits);
              done.add((input as { id: number }).id);
              return (input as { id: number }).id;
            },
            async *count() {},
          }).done;
        });
        stage.after(() => server.close());
        const fair: Weather = { pieces: [{ bytes: 65_536, waits: 0 }], death: undefined };
        const port = await relay(stage, server.port as number, [...weathers, fair]);
        const client = await dial<unknown, unknown>({
          codec: codecs.lines,
          port,
          host,
          reconnect: { baseMs: 1, maxMs: 5 },
        });
        stage.after(async () => void (await client.close()));
        const api = call(client, contract);
        const answers = await within(
          Promise.all(
            Array.from({ length: count }, async (_, id) => {
              for (;;) {
                try {
                  return await api.once({ id, padding: 'x'.repeat(id * 20) });
                } catch (error) {
                  // Lost with its connection: nobody knows whether it was done, and it may be done twice.
                  assert.ok(error instanceof RpcError && error.code === 'MILLRACE_ERR_CALL_CLOSED', String(error));
                }
              }
            }),
          ),
          'every call is answered in the end',
          WAIT_MS,
        );
        assert.deepEqual(answers, [...answers.keys()]);
        assert.equal(done.size, count);
      },
    ),
);
