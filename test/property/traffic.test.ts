/**
 * Whatever two ends of a connection do, the bytes of each arrive in order at the other one, complete if nobody destroyed
 * anything, and the events of each come in a legal order.
 */
import assert from 'node:assert/strict';
import type { Socket } from 'node:net';
import { join } from 'node:path';
import test from 'node:test';
import fc from 'fast-check';
import { close, folder, leakGuard, type PairOptions, pair, type Stage, turns, until } from '../support/net.ts';

await leakGuard();

type Side = 'client' | 'peer';
type Action =
  | { does: 'write' | 'writeText'; size: number }
  | { does: 'corked'; sizes: number[] }
  | { does: 'turns'; count: number }
  | { does: 'pause' | 'resume' | 'end' | 'destroy' | 'reset' };

const size = fc.oneof(
  { weight: 6, arbitrary: fc.integer({ min: 0, max: 100 }) },
  { weight: 4, arbitrary: fc.integer({ min: 1000, max: 70_000 }) },
  { weight: 1, arbitrary: fc.constantFrom(65_535, 65_536, 65_537, 262_144, 1_000_003) },
);

const calm: fc.Arbitrary<Action> = fc.oneof(
  { weight: 6, arbitrary: fc.record({ does: fc.constantFrom('write' as const, 'writeText' as const), size }) },
  {
    weight: 2,
    arbitrary: fc.record({
      does: fc.constant('corked' as const),
      sizes: fc.array(size, { minLength: 1, maxLength: 6 }),
    }),
  },
  { weight: 3, arbitrary: fc.record({ does: fc.constant('turns' as const), count: fc.integer({ min: 1, max: 5 }) }) },
  { weight: 2, arbitrary: fc.record({ does: fc.constantFrom('pause' as const, 'resume' as const) }) },
  { weight: 1, arbitrary: fc.record({ does: fc.constant('end' as const) }) },
);
const violent: fc.Arbitrary<Action> = fc.oneof(
  { weight: 12, arbitrary: calm },
  { weight: 1, arbitrary: fc.record({ does: fc.constantFrom('destroy' as const, 'reset' as const) }) },
);
const steps = (action: fc.Arbitrary<Action>): fc.Arbitrary<[Side, Action][]> =>
  fc.array(fc.tuple(fc.constantFrom<Side>('client', 'peer'), action), { maxLength: 40 });

/** Byte `i` of everything a side ever sends: no part looks like another one for 16 million bytes. */
const byteAt = (i: number, seed: number): number => (Math.imul(i + seed, 2654435761) >>> 24) & 0xff;

/** One end of the connection, what it sent, and what it saw. */
class End {
  readonly socket: Socket;
  readonly name: Side;
  readonly seed: number;
  readonly events: string[] = [];
  sent = 0;
  received = 0;
  writes = 0;
  called = 0;
  needsDrain = false;
  /** The first byte that was not what it should be. */
  wrongAt = -1;

  constructor(name: Side, socket: Socket, seed: number, seedOfOther: number) {
    this.name = name;
    this.socket = socket;
    this.seed = seed;
    socket.on('data', (chunk: Buffer) => {
      for (let i = 0; i < chunk.length && this.wrongAt < 0; i++)
        if (chunk[i] !== byteAt(this.received + i, seedOfOther)) this.wrongAt = this.received + i;
      this.received += chunk.length;
      if (this.events.at(-1) !== 'data') this.events.push('data');
    });
    for (const event of ['end', 'finish', 'error', 'close']) socket.on(event, () => this.events.push(event));
    socket.on('drain', () => {
      this.events.push('drain');
      if (!this.needsDrain) this.events.push('drain without need');
      this.needsDrain = false;
    });
  }

  write(length: number, asText: boolean): void {
    if (this.socket.writableEnded || this.socket.destroyed) return;
    const bytes = Buffer.allocUnsafe(length);
    for (let i = 0; i < length; i++) bytes[i] = byteAt(this.sent + i, this.seed);
    this.sent += length;
    const number = this.writes++;
    const callback = (): void => {
      if (this.called++ !== number) this.events.push(`callback ${number} out of order`);
    };
    const goesOn = asText
      ? this.socket.write(bytes.toString('latin1'), 'latin1', callback)
      : this.socket.write(bytes, callback);
    if (!goesOn) this.needsDrain = true;
  }

  async act(action: Action): Promise<void> {
    const { socket } = this;
    switch (action.does) {
      case 'write':
        return this.write(action.size, false);
      case 'writeText':
        return this.write(action.size, true);
      case 'corked':
        socket.cork();
        for (const [i, length] of action.sizes.entries()) this.write(length, i % 2 === 0);
        return socket.uncork();
      case 'turns':
        return turns(action.count);
      case 'pause':
        return void socket.pause();
      case 'resume':
        return void socket.resume();
      case 'end':
        return void (socket.destroyed || socket.end());
      case 'destroy':
        return void socket.destroy();
      case 'reset':
        // Not between end() and its FIN: node:net then emits EINVAL of 'reset', never closes, and keeps the descriptor.
        return void (
          socket.destroyed ||
          (socket.writableEnded && !socket.writableFinished) ||
          socket.resetAndDestroy()
        );
    }
  }
}

/** What must hold of the events of one end, whatever happened. */
function assertLegal(end: End, isCalm: boolean): void {
  const events = end.events.filter((entry) => isCalm || !entry.endsWith('out of order'));
  const at = (event: string): number => events.indexOf(event);
  const count = (event: string): number => events.filter((entry) => entry === event).length;
  const story = `${end.name}: ${events.join(' ')}`;
  assert.equal(end.wrongAt, -1, `${end.name} received a wrong byte`);
  assert.equal(count('close'), 1, story);
  assert.equal(events.at(-1), 'close', story);
  for (const event of ['end', 'finish', 'error']) assert.ok(count(event) <= 1, story);
  if (at('end') >= 0) assert.ok(events.lastIndexOf('data') < at('end'), story);
  if (at('error') >= 0) assert.equal(at('error'), events.length - 2, story);
  // The callbacks of writes that an error or destroy() cut off come in any order: that is node's stream, not net.
  if (isCalm) assert.ok(!events.some((entry) => entry.endsWith('out of order')), story);
  assert.ok(!events.includes('drain without need'), story);
  assert.equal(end.called, end.writes, `${end.name}: every callback is called, once`);
  assert.equal(end.socket.bytesRead >= end.received, true);
}

async function play(options: PairOptions, script: [Side, Action][]): Promise<{ client: End; peer: End }> {
  const afters: (() => void | Promise<void>)[] = [];
  const stage: Stage = { after: (fn) => void afters.push(fn) };
  try {
    const sockets = await pair(stage, options);
    const client = new End('client', sockets.client, 1, 1_000_003);
    const peer = new End('peer', sockets.peer, 1_000_003, 1);
    for (const [side, action] of script) await (side === 'client' ? client : peer).act(action);
    for (const { socket } of [client, peer]) {
      if (!socket.destroyed) socket.end();
      socket.resume();
    }
    await Promise.all([close(client.socket), close(peer.socket)]);
    for (const end of [client, peer])
      await until(() => end.called === end.writes, `the callbacks of ${end.name}`, 1000).catch(() => {});
    const isCalm = script.every(([, action]) => action.does !== 'destroy' && action.does !== 'reset');
    for (const end of [client, peer]) assertLegal(end, isCalm && options.server?.allowHalfOpen === true);
    return { client, peer };
  } finally {
    for (const fn of afters) await fn();
  }
}

const halfOpen: PairOptions = { server: { allowHalfOpen: true }, client: { allowHalfOpen: true } };
const runs = (numRuns: number): fc.Parameters<unknown> => ({
  numRuns,
  timeout: 6_000,
  endOnFailure: true,
  includeErrorInReport: true,
});

test('whatever two half-open ends write, pause and end, all bytes arrive', { timeout: 20_000 }, async () => {
  await fc.assert(
    fc.asyncProperty(steps(calm), async (script) => {
      const { client, peer } = await play(halfOpen, script);
      for (const [from, to] of [
        [client, peer],
        [peer, client],
      ] as const) {
        assert.equal(to.received, from.sent);
        assert.equal(from.socket.bytesWritten, from.sent);
        assert.equal(to.socket.bytesRead, from.sent);
        assert.ok(
          to.events.includes('end') && to.events.includes('finish') && !to.events.includes('error'),
          to.events.join(' '),
        );
      }
    }),
    runs(250),
  );
});

test('the same over a unix socket', { timeout: 20_000 }, async (t) => {
  const base = await folder(t);
  let count = 0;
  await fc.assert(
    fc.asyncProperty(steps(calm), async (script) => {
      const { client, peer } = await play({ ...halfOpen, listen: { path: join(base, `${count++}`) } }, script);
      assert.deepEqual([peer.received, client.received], [client.sent, peer.sent]);
    }),
    runs(120),
  );
});

test('whatever one end writes before its end, all of it arrives at one that is not half-open', {
  timeout: 20_000,
}, async () => {
  await fc.assert(
    fc.asyncProperty(steps(calm), async (script) => {
      const { client, peer } = await play(
        {},
        script.filter(
          ([side, action]) =>
            side === 'client' || action.does === 'pause' || action.does === 'resume' || action.does === 'turns',
        ),
      );
      assert.equal(peer.received, client.sent);
    }),
    runs(120),
  );
});

test('whoever destroys or resets, what arrives is the beginning of what was sent', { timeout: 20_000 }, async () => {
  await fc.assert(
    fc.asyncProperty(steps(violent), fc.boolean(), async (script, isHalfOpen) => {
      const { client, peer } = await play(isHalfOpen ? halfOpen : {}, script);
      assert.ok(peer.received <= client.sent);
      assert.ok(client.received <= peer.sent);
    }),
    runs(250),
  );
});

test('connections that live at the same time do not mix', { timeout: 20_000 }, async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.tuple(steps(violent), fc.boolean()), { minLength: 2, maxLength: 12 }),
      async (stories) => {
        await Promise.all(
          stories.map(async ([script, isHalfOpen]) => {
            const { client, peer } = await play(isHalfOpen ? halfOpen : {}, script);
            assert.ok(peer.received <= client.sent);
            assert.ok(client.received <= peer.sent);
          }),
        );
      },
    ),
    runs(100),
  );
});
