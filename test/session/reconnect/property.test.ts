/**
 * Whatever happens between a client and its servers, what is promised holds: with ids nothing is lost, and each
 * connection sees what isn't acknowledged in order; without ids nothing is doubled or reordered, and only what a dying
 * connection had is lost. Never are there two connections.
 *
 * `MILLRACE_PROPERTY_SECONDS` says how long (about; default 3), `MILLRACE_PROPERTY_SEED` repeats a run.
 */
import assert from 'node:assert/strict';
import test from 'node:test';
import fc from 'fast-check';
import { Network } from '../support/network.ts';
import { type MemorySession, settle } from '../support/pair.ts';

const SEED = process.env['MILLRACE_PROPERTY_SEED'];
const RUNS = 50 * Number(process.env['MILLRACE_PROPERTY_SECONDS'] ?? 3);
const settings = { numRuns: RUNS, includeErrorInReport: true, ...(SEED === undefined ? {} : { seed: Number(SEED) }) };
const limit = { timeout: 30_000 + 200 * RUNS };

interface Message {
  n: number;
  id?: number;
}

type Action =
  | { does: 'send'; count: number }
  | { does: 'accept' | 'refuse' | 'kill' | 'end' | 'acknowledge' | 'fill' }
  | { does: 'read'; count: number }
  | { does: 'wait'; ms: number };

const action: fc.Arbitrary<Action> = fc.oneof(
  { weight: 4, arbitrary: fc.record({ does: fc.constant('send' as const), count: fc.integer({ min: 1, max: 6 }) }) },
  { weight: 3, arbitrary: fc.constant({ does: 'accept' as const }) },
  { weight: 1, arbitrary: fc.constant({ does: 'refuse' as const }) },
  { weight: 2, arbitrary: fc.constantFrom<Action>({ does: 'kill' }, { does: 'end' }) },
  { weight: 2, arbitrary: fc.record({ does: fc.constant('read' as const), count: fc.integer({ min: 1, max: 5 }) }) },
  { weight: 2, arbitrary: fc.constant({ does: 'acknowledge' as const }) },
  { weight: 1, arbitrary: fc.constant({ does: 'fill' as const }) },
  { weight: 3, arbitrary: fc.record({ does: fc.constant('wait' as const), ms: fc.integer({ min: 0, max: 2000 }) }) },
);

/** Plays a script, then lets everything come through. */
async function play(script: readonly Action[], hasIds: boolean) {
  const network = new Network();
  const outbox = hasIds ? { maxMessages: 4, idOf: ({ id }: Message) => id } : { maxMessages: 4 };
  const { client } = network.client({ stableMs: 500, outbox, connectTimeoutMs: 1_000_000 });
  const sessions: { client: MemorySession; server: MemorySession; got: number[] }[] = [];
  const taken: number[] = [];
  const sends: Promise<unknown>[] = [];
  let sent = 0;
  const accept = async (): Promise<void> => {
    if (network.attempts.length === 0 || network.last.isSettled) return;
    const server = await network.last.accept();
    sessions.push({ client: server.peer, server, got: [] });
  };
  const read = async (count: number): Promise<void> => {
    const last = sessions.at(-1);
    for (let i = 0; i < count && last !== undefined && last.server.unread > 0; i++) {
      last.got.push(((await last.server.receive()) as Message).n);
      await settle();
    }
  };
  const acknowledge = (): void => {
    const n = sessions.at(-1)?.got.at(-1);
    if (hasIds && n !== undefined) client.acked(n);
  };
  for (const step of script) {
    const last = sessions.at(-1);
    if (step.does === 'send') {
      for (let i = 0; i < step.count; i++) {
        const n = ++sent;
        sends.push(client.send(hasIds ? { n, id: n } : { n }).then(() => taken.push(n)));
      }
    } else if (step.does === 'accept') await accept();
    else if (step.does === 'refuse' && network.attempts.length > 0 && !network.last.isSettled)
      await network.last.refuse();
    else if (step.does === 'kill') last?.client.abort();
    else if (step.does === 'end') await last?.server.close();
    else if (step.does === 'read') await read(step.count);
    else if (step.does === 'acknowledge') acknowledge();
    else if (step.does === 'fill' && last !== undefined) last.client.highFrames = 2;
    else if (step.does === 'wait') await network.clock.advance(step.ms);
    await settle();
    assert.ok(client.bufferedMessages <= 4, 'the outbox has a bound');
    assert.ok(network.mostLive <= 1, 'never two connections');
  }
  // All is well from now on.
  for (
    let i = 0;
    (client.bufferedMessages > 0 || taken.length < sent || (sessions.at(-1)?.server.unread ?? 0) > 0) && i < 500;
    i++
  ) {
    await network.clock.advance(30_000);
    await accept();
    await read(10);
    if (hasIds) for (const n of sessions.at(-1)?.got ?? []) client.acked(n);
    await settle();
  }
  await Promise.all(sends);
  assert.equal(taken.length, sent);
  assert.equal(client.bufferedMessages, 0);
  const closing = client.close();
  if (!network.last.isSettled) await network.last.refuse();
  await closing;
  assert.equal(network.clock.pending, 0);
  assert.equal(network.open, 0);
  return {
    sessions,
    sent,
    lostWith: new Set(
      sessions.flatMap(({ client: { sent: texts }, got }) =>
        texts.map((text) => (JSON.parse(text) as Message).n).filter((n) => !got.includes(n)),
      ),
    ),
  };
}

const isAscending = (numbers: readonly number[]): boolean =>
  numbers.every((n, i) => i === 0 || n > (numbers[i - 1] as number));

test('with ids, every message arrives, and each connection sees them in order', limit, () =>
  fc.assert(
    fc.asyncProperty(fc.array(action, { maxLength: 40 }), async (script) => {
      const { sessions, sent } = await play(script, true);
      const all = sessions.flatMap(({ got }) => got);
      assert.deepEqual(new Set(all), new Set(Array.from({ length: sent }, (_, i) => i + 1)));
      for (const { got } of sessions) assert.ok(isAscending(got), String(got));
      // A message is new only behind all that came before it.
      assert.ok(isAscending([...new Set(all)]), String(all));
    }),
    settings,
  ),
);

test('without ids, none arrives twice or too early, and only a dying connection loses any', limit, () =>
  fc.assert(
    fc.asyncProperty(fc.array(action, { maxLength: 40 }), async (script) => {
      const { sessions, sent, lostWith } = await play(script, false);
      const all = sessions.flatMap(({ got }) => got);
      assert.ok(isAscending(all), String(all));
      for (let n = 1; n <= sent; n++) assert.ok(all.includes(n) !== lostWith.has(n), `${n}: ${all}, ${[...lostWith]}`);
    }),
    settings,
  ),
);

test('whenever it is closed, nothing is open and nothing follows', limit, () =>
  fc.assert(
    fc.asyncProperty(
      fc.array(fc.constantFrom('accept', 'refuse', 'kill', 'wait'), { maxLength: 10 }),
      fc.integer({ min: 0, max: 10 }),
      fc.boolean(),
      async (script, at, isAbort) => {
        const network = new Network();
        const { client, log } = network.client();
        let server: MemorySession | undefined;
        const step = async (does: string): Promise<void> => {
          const isOpen = network.attempts.length > 0 && !network.last.isSettled;
          if (does === 'accept' && isOpen) server = await network.last.accept();
          else if (does === 'refuse' && isOpen) await network.last.refuse();
          else if (does === 'kill') server?.abort();
          else if (does === 'wait') await network.clock.advance(500);
        };
        for (const does of script.slice(0, at)) await step(does);
        const closing = isAbort ? client.abort() : client.close();
        for (const does of script.slice(at)) await step(does);
        await step('accept');
        await closing;
        const { length } = network.attempts;
        await network.clock.advance(100_000);
        assert.equal(network.attempts.length, length);
        assert.equal(network.open, 0);
        assert.equal(network.clock.pending, 0);
        assert.equal(log.filter((line) => line.startsWith('closed')).length, 1);
        assert.match(log.at(-1) as string, /^closed/);
        assert.ok(network.mostLive <= 1);
      },
    ),
    settings,
  ),
);
