/**
 * Whoever publishes, asks, pauses or dies, and whenever: what a worker gets from another is what that one was told it was
 * given, in order and once; no more waits than may; and every promise is settled.
 *
 * `MILLRACE_PROPERTY_SECONDS` is the time (default 2), `MILLRACE_PROPERTY_SEED` repeats a run.
 */
import assert from 'node:assert/strict';
import test from 'node:test';
import fc from 'fast-check';
import type { Link } from '#src/cluster/link.ts';
import { Bus, type Published } from '#src/cluster/messages/index.ts';
import { within } from '../support/net.ts';

const SECONDS = Number(process.env['MILLRACE_PROPERTY_SECONDS'] ?? 2);
const SEED = process.env['MILLRACE_PROPERTY_SEED'];

const rules = {
  highMessages: 8,
  lowMessages: 2,
  maxMessages: 24,
  highBytes: 2000,
  lowBytes: 500,
  maxBytes: 6000,
  maxAsks: 5,
};
const MOST_CONTROL = 2 * rules.maxAsks + 4;

/** One direction of a link: holds what was posted while its reader is paused. */
class Pipe {
  readonly held: unknown[] = [];
  isPaused = false;
  reader: Link | undefined;
  writer: Link | undefined;

  post(message: unknown, transfer: readonly unknown[] = []): boolean {
    this.held.push(structuredClone(message, { transfer: [...transfer] as ArrayBuffer[] }));
    setImmediate(() => this.deliver());
    return this.held.length < 3;
  }

  deliver(): void {
    if (this.isPaused || this.held.length === 0) return;
    const message = this.held.shift(); // before '?.', which would skip it
    this.reader?.onMessage(message);
    if (this.held.length === 1) this.writer?.onDrain();
    setImmediate(() => this.deliver());
  }
}

function linkOf(out: Pipe, into: Pipe): Link {
  const ignore = (): void => {};
  const link: Link = {
    post: (message, transfer) => out.post(message, transfer),
    onMessage: ignore,
    onDrain: ignore,
    onClosed: ignore,
    close() {
      out.writer = into.reader = undefined;
    },
  };
  out.writer = link;
  into.reader = link;
  return link;
}

const worker = fc.nat(2);
const step = fc.oneof(
  {
    weight: 8,
    arbitrary: fc.record({
      do: fc.constant('publish' as const),
      from: worker,
      bytes: fc.constantFrom(1, 100, 1500, 7000),
      times: fc.constantFrom(1, 3, 30),
      waits: fc.boolean(),
    }),
  },
  {
    weight: 4,
    arbitrary: fc.record({
      do: fc.constant('ask' as const),
      from: worker,
      to: worker,
      times: fc.constantFrom(1, 4, 8),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({ do: fc.constant('pause' as const), from: worker, to: worker, is: fc.boolean() }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('flap' as const), who: worker }) },
  { weight: 3, arbitrary: fc.record({ do: fc.constant('turns' as const), count: fc.nat(6) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('part' as const), from: worker, to: worker }) },
);
type Step = typeof step extends fc.Arbitrary<infer T> ? T : never;

async function play(steps: Step[]): Promise<void> {
  const buses = [1, 2, 3].map((id) => new Bus(id, rules));
  const pipes = new Map<string, Pipe>();
  const parted = new Set<string>();
  /** What each got from each, as `from>to`. */
  const got = new Map<string, number[]>();
  const promises: Promise<unknown>[] = [];
  for (const bus of buses) {
    bus.subscribe('n', ([n]: [number], { from }) => void got.get(`${from}>${bus.id}`)?.push(n));
    bus.handle('echo', (n: number) => n);
  }
  for (const [a, b] of [
    [0, 1],
    [0, 2],
    [1, 2],
  ] as const) {
    const [there, back] = [new Pipe(), new Pipe()];
    const [first, second] = [buses[a] as Bus, buses[b] as Bus];
    pipes.set(`${first.id}>${second.id}`, there).set(`${second.id}>${first.id}`, back);
    got.set(`${first.id}>${second.id}`, []).set(`${second.id}>${first.id}`, []);
    first.connect(second.id, linkOf(there, back));
    second.connect(first.id, linkOf(back, there));
  }
  await Promise.all(buses.map((bus) => bus.flushed()));

  /** What was published, by its number, and how many got it. */
  const published = new Map<number, Map<number, Published>>();
  let n = 0;
  const bounded = (): void => {
    for (const bus of buses)
      for (const peer of bus.peers) {
        assert.ok(peer.bufferedMessages <= rules.maxMessages + MOST_CONTROL, `${peer.bufferedMessages} messages`);
        assert.ok(peer.bufferedBytes <= rules.maxBytes + 1000, `${peer.bufferedBytes} bytes`);
        assert.ok(peer.unanswered <= rules.maxAsks);
      }
    for (const { held } of pipes.values()) {
      const bytes = held.reduce((sum: number, each) => sum + ((each as [number, Uint8Array?])[1]?.length ?? 0), 0);
      assert.ok(bytes < rules.highBytes + rules.maxBytes, `${bytes} bytes in a link`);
    }
  };
  const publish = async (bus: Bus, bytes: number): Promise<void> => {
    const number = n++;
    try {
      const result = await bus.publish('n', [number, 'x'.repeat(bytes)]);
      const all = published.get(bus.id) ?? new Map<number, Published>();
      published.set(bus.id, all.set(number, result));
    } catch (error) {
      assert.equal((error as { code?: string }).code, 'MILLRACE_ERR_MESSAGE_TOO_LARGE');
      assert.ok(bytes > 5000);
    }
  };
  for (const each of steps) {
    if (each.do === 'publish') {
      for (let i = 0; i < each.times; i++) {
        const done = publish(buses[each.from] as Bus, each.bytes);
        promises.push(done);
        bounded();
        // Whoever waits while somebody is paused would wait for the end of this script.
        if (each.waits && ![...pipes.values()].some(({ isPaused }) => isPaused)) await done;
      }
    } else if (each.do === 'ask') {
      const to = each.to + 1;
      for (let i = 0; i < each.times; i++) {
        const asked = (buses[each.from] as Bus).ask<number>(to, 'echo', i);
        promises.push(
          asked.then(
            (answer) => {
              assert.equal(answer, i);
            },
            ({ code }) => assert.match(code, /QUEUE_FULL|WORKER_GONE|UNKNOWN_WORKER/),
          ),
        );
        bounded();
      }
    } else if (each.do === 'pause') {
      const pipe = pipes.get(`${each.from + 1}>${each.to + 1}`);
      if (pipe !== undefined) pipe.isPaused = each.is;
      pipe?.deliver();
    } else if (each.do === 'flap') {
      for (let i = 0; i < 20; i++) (buses[each.who] as Bus).subscribe('other', () => {}).close();
      bounded();
    } else if (each.do === 'turns') {
      for (let i = 0; i < each.count; i++) await new Promise((resolve) => setImmediate(resolve));
      bounded();
    } else {
      const [from, to] = [each.from + 1, each.to + 1];
      parted.add(`${from}>${to}`).add(`${to}>${from}`);
      buses[each.from]?.disconnect(to);
      buses[each.to]?.disconnect(from);
    }
  }
  for (const pipe of pipes.values()) {
    pipe.isPaused = false;
    pipe.deliver();
  }
  await within(Promise.all(promises), 'every promise is settled', 10_000);
  await within(Promise.all(buses.map((bus) => bus.flushed())), 'all is handled', 10_000);
  for (const bus of buses)
    for (const peer of bus.peers)
      assert.deepEqual([peer.bufferedMessages, peer.bufferedBytes, peer.unanswered], [0, 0, 0]);

  const given = new Map<number, number>();
  for (const [way, numbers] of got) {
    assert.deepEqual(
      numbers,
      [...new Set(numbers)].sort((a, b) => a - b),
      `${way}: in order and once`,
    );
    for (const number of numbers) given.set(number, (given.get(number) ?? 0) + 1);
  }
  for (const [id, all] of published) {
    const isWhole = ![...parted].some((way) => way.startsWith(`${id}>`));
    for (const [number, { workers, dropped }] of all) {
      const count = given.get(number) ?? 0;
      if (isWhole) assert.equal(count, workers, `${number} was given to ${workers} and came to ${count}`);
      else assert.ok(count <= workers);
      assert.ok(workers + dropped <= 2);
    }
  }
  for (const bus of buses) bus.close();
}

test('messages arrive in order and once, what waits is bounded, and every promise is settled', {
  timeout: SECONDS * 1000 + 60_000,
}, async () => {
  const property = fc.asyncProperty(fc.array(step, { maxLength: 40 }), play);
  const end = performance.now() + SECONDS * 1000;
  let seed = SEED === undefined ? Date.now() | 0 : Number(SEED);
  do
    await fc.assert(property, {
      seed: seed++,
      numRuns: 20,
      includeErrorInReport: true,
      interruptAfterTimeLimit: 30_000,
    });
  while (performance.now() < end);
});
