/**
 * Calls of all sorts, answered in any order, cancelled on either side, on a session that may die at any moment: each
 * settles exactly once, with its own answer, and nothing is left. And whatever a peer puts on the wire, the worst that
 * comes of it is the end of the session.
 *
 * `MILLRACE_PROPERTY_SECONDS` says how long (about; default 3), `MILLRACE_PROPERTY_SEED` repeats a run.
 */
import assert from 'node:assert/strict';
import test from 'node:test';
import fc from 'fast-check';
import { call, defineContract, RpcError, requestStats, respond } from 'millrace/session';
import { pair, settle } from '../support/pair.ts';
import { number } from '../support/schemas.ts';

const SEED = process.env['MILLRACE_PROPERTY_SEED'];
const RUNS = 50 * Number(process.env['MILLRACE_PROPERTY_SECONDS'] ?? 3);
const settings = { numRuns: RUNS, includeErrorInReport: true, ...(SEED === undefined ? {} : { seed: Number(SEED) }) };
const limit = { timeout: 30_000 + 200 * RUNS };

const contract = defineContract({
  ask: { kind: 'request', input: number, output: number },
  list: { kind: 'stream', input: number, items: number },
  sum: { kind: 'upload', input: number, uploads: number, output: number },
  relay: { kind: 'duplex', input: number, uploads: number, items: number },
});

type Step =
  | { does: 'call'; kind: keyof typeof contract; side: 'client' | 'server' }
  | { does: 'answer' | 'throw' | 'cancel'; which: number }
  | { does: 'leave' | 'goodbye' | 'die' | 'end' | 'holdUp' | 'letGo' | 'turn'; side: 'client' | 'server' };

const side = fc.constantFrom('client' as const, 'server' as const);
const which = fc.integer({ min: 0, max: 30 });
const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      does: fc.constant('call' as const),
      kind: fc.constantFrom('ask', 'list', 'sum', 'relay'),
      side,
    }) as fc.Arbitrary<Step>,
  },
  {
    weight: 6,
    arbitrary: fc.record({ does: fc.constantFrom('answer', 'throw', 'cancel'), which }) as fc.Arbitrary<Step>,
  },
  { weight: 5, arbitrary: fc.record({ does: fc.constantFrom('turn', 'holdUp', 'letGo'), side }) as fc.Arbitrary<Step> },
);
const death = fc.option(fc.record({ does: fc.constantFrom('die', 'end', 'goodbye'), side }) as fc.Arbitrary<Step>);

/** A handler that waits for the test, or its signal. */
interface Gate {
  open(): void;
  fail(): void;
}

test('each call settles exactly once, with its own answer', limit, () =>
  fc.assert(
    fc.asyncProperty(
      fc.array(step, { maxLength: 30 }),
      death,
      fc.array(step, { maxLength: 10 }),
      async (before, end, after) => {
        const sessions = pair();
        const gates: Gate[] = [];
        const returned: boolean[] = [];
        const wait = (signal: AbortSignal): Promise<void> =>
          new Promise((open, fail) => {
            gates.push({ open, fail: () => fail(new RpcError('NO', 'no')) });
            signal.addEventListener('abort', () => fail(signal.reason as Error), { once: true });
            if (signal.aborted) fail(signal.reason as Error);
          });
        const handlers = {
          async ask(n: number, { signal }: { signal: AbortSignal }) {
            await wait(signal);
            return n * 2;
          },
          async *list(n: number, { signal }: { signal: AbortSignal }) {
            const at = returned.push(false) - 1;
            try {
              for (let i = 0; i < 3; i++) yield n;
              await wait(signal);
              for (let i = 0; i < 50; i++) yield n;
            } finally {
              returned[at] = true;
            }
          },
          async sum(n: number, uploads: AsyncIterable<number>, { signal }: { signal: AbortSignal }) {
            let sum = n;
            for await (const item of uploads) sum += item;
            await wait(signal);
            return sum;
          },
          async *relay(n: number, uploads: AsyncIterable<number>) {
            for await (const item of uploads) yield item + n;
          },
        };
        const problems: unknown[] = [];
        const onError = (error: unknown): void => void problems.push(error);
        const responders = [sessions.client, sessions.server].map((session) =>
          respond(session, contract, handlers, { maxRequests: 4, maxStreams: 3, window: 2, onError }),
        );
        const options = { maxRequests: 5, maxStreams: 4, maxQueued: 3, window: 2 };
        const apis = {
          client: call(sessions.client, contract, options),
          server: call(sessions.server, contract, options),
        };
        const outcomes: string[] = [];
        const calls: { cancel: () => void; promise: Promise<void> }[] = [];
        const source = (n: number): AsyncGenerator<number> => {
          const at = returned.length;
          return (async function* () {
            returned[at] = false;
            try {
              for (let i = 0; i < 5; i++) yield n;
            } finally {
              returned[at] = true;
            }
          })();
        };
        const all = async (stream: AsyncIterable<number>, expected: number): Promise<void> => {
          for await (const item of stream) assert.equal(item, expected);
        };
        const make = (kind: keyof typeof contract, from: 'client' | 'server'): void => {
          const n = calls.length + 1;
          const controller = new AbortController();
          const { signal } = controller;
          const api = apis[from];
          const promise = {
            ask: () => api.ask(n, { signal }).then((answer) => assert.equal(answer, 2 * n)),
            list: () => all(api.list(n, { signal }), n),
            sum: () => api.sum(n, source(n), { signal }).then((answer) => assert.equal(answer, 6 * n)),
            relay: () => all(api.relay(n, source(n), { signal }), 2 * n),
          }[kind]();
          calls.push({
            cancel: () => controller.abort(new RpcError('STOP', 'by the test')),
            promise: promise.then(
              () => void outcomes.push(`${n} answered`),
              (error) => {
                if (!(error instanceof RpcError)) throw error;
                outcomes.push(`${n} ${error.code}`);
              },
            ),
          });
        };
        const run = async (script: readonly Step[]): Promise<void> => {
          for (const action of script) {
            if (action.does === 'call') make(action.kind, action.side);
            else if (action.does === 'answer') gates[action.which]?.open();
            else if (action.does === 'throw') gates[action.which]?.fail();
            else if (action.does === 'cancel') calls[action.which]?.cancel();
            else if (action.does === 'die') sessions[action.side].abort();
            else if (action.does === 'end') sessions[action.side].end();
            else if (action.does === 'goodbye') void responders[action.side === 'client' ? 0 : 1]?.drain();
            else if (action.does === 'holdUp') sessions[action.side].holdUp();
            else if (action.does === 'letGo') sessions[action.side].letGo();
            else await settle();
          }
        };
        await run(before);
        if (end !== null) await run([end]);
        await run(after);
        sessions.client.letGo();
        sessions.server.letGo();
        // Whatever waits for the test goes on; what is queued behind it comes then.
        let isSettled = false;
        const done = Promise.all(calls.map(({ promise }) => promise)).then(() => {
          isSettled = true;
        });
        for (let i = 0; !isSettled && i < 500; i++) {
          for (const gate of gates) gate.open();
          await settle();
        }
        assert.ok(isSettled, `${outcomes.length} of ${calls.length} settled: ${outcomes}`);
        await done;
        await settle();
        for (const gate of gates) gate.open();
        await settle();
        assert.equal(outcomes.length, calls.length);
        assert.deepEqual(problems, [], 'the handlers throw nothing that is not meant');
        for (const responder of responders) assert.equal(responder.running, 0);
        for (const session of [sessions.client, sessions.server]) {
          const { calling, serving } = requestStats(session);
          assert.deepEqual([calling, serving, session.holds], [0, 0, 0]);
        }
        assert.ok(returned.every(Boolean), 'all sources have ended');
        if (end?.does !== 'die') assert.ok(!sessions.client.signal.aborted, 'nobody broke the protocol');
      },
    ),
    settings,
  ),
);

test('whatever a peer sends, the worst is the end of the session', limit, () => {
  const id = fc.oneof(fc.integer({ min: -4, max: 8 }), fc.jsonValue());
  const name = fc.constantFrom('ask', 'list', 'sum', 'relay', 'nothing', '__proto__');
  const count = fc.integer({ min: 0, max: 40 });
  const message = fc.oneof(
    fc.tuple(fc.constant(1), fc.integer({ min: 1, max: 60 }), name, count, count, fc.jsonValue()),
    fc.tuple(fc.constantFrom(2, 3, 4, 5, 6), id, fc.oneof(count, fc.jsonValue()), fc.jsonValue(), fc.jsonValue()),
    fc.tuple(fc.constant(0), fc.oneof(name, fc.jsonValue()), fc.jsonValue()),
    fc.constant([7]),
    fc.jsonValue(),
  );
  return fc.assert(
    fc.asyncProperty(fc.array(message, { maxLength: 40 }), async (messages) => {
      const { client, server } = pair();
      void client;
      const responder = respond(
        server,
        contract,
        {
          ask: (n) => n,
          async *list(n) {
            yield n;
          },
          async sum(n, uploads) {
            for await (const item of uploads) if (item === n) break;
            return n;
          },
          async *relay(_, uploads) {
            yield* uploads;
          },
        },
        { onError: () => {} },
      );
      const api = call(server, contract, { window: 2 });
      const pending = [api.ask(1), api.sum(1, [1, 2, 3]), api.list(1).next()].map((promise) => promise.catch(() => {}));
      let last = 0;
      for (const next of messages) {
        // Ids that follow, so that not each script ends at its first call.
        if (Array.isArray(next) && next[0] === 1) next[1] = ++last;
        server.put(JSON.stringify(next));
        if (last % 3 === 0) await settle();
      }
      await settle();
      server.abort();
      await Promise.all(pending);
      await settle();
      assert.equal(responder.running, 0);
      assert.equal(server.holds, 0);
    }),
    settings,
  );
});
