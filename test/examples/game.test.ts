import assert from 'node:assert/strict';
import test, { type TestContext } from 'node:test';
import fc from 'fast-check';
import { startTicks } from '../../examples/game/ticks.ts';
import { type Direction, World } from '../../examples/game/world.ts';
import { connect, connectDeaf, Peer, start } from '../support/program.ts';

const LIMIT = { timeout: 60_000 };

interface State {
  readonly tick: number;
  readonly seq: number;
  readonly moved: readonly [id: number, x: number, y: number][];
  readonly gone: readonly number[];
}
const state = async (peer: Peer): Promise<State> => JSON.parse(await peer.line()) as State;
const say = (peer: Peer, input: object): void => peer.write(`${JSON.stringify(input)}\n`);

/** Ticks of 50 ms on a clock that the test moves. */
function ticking(t: TestContext, stepMs = 0) {
  t.mock.timers.enable({ apis: ['setTimeout'] });
  const seen = { nowMs: 1_000, steps: 0, published: [] as number[], lateMs: [] as number[] };
  const stop = startTicks(
    50,
    {
      step: () => {
        seen.steps++;
        seen.nowMs += stepMs;
      },
      publish: (tick) => {
        seen.published.push(tick);
        seen.lateMs.push(seen.nowMs - 1_000 - tick * 50);
      },
    },
    () => seen.nowMs,
  );
  t.after(stop);
  const pass = (ms: number): void => {
    seen.nowMs += ms;
    t.mock.timers.tick(ms);
  };
  return { seen, pass };
}

test('ten minutes are 12,000 ticks, with late timers and slow steps', LIMIT, (t) => {
  const { seen, pass } = ticking(t, 0.5);
  // Timers fire up to 6 ms late, and each step takes half a millisecond: with setInterval or its like, minutes would be lost.
  while (seen.nowMs < 601_030) pass(7);
  assert.equal(seen.steps, 12_000);
  assert.deepEqual(
    seen.published,
    Array.from({ length: 12_000 }, (_, i) => i + 1),
  );
  assert.ok(
    seen.lateMs.every((ms) => ms >= 0 && ms < 8),
    `late by ${Math.max(...seen.lateMs)} ms, early by ${Math.min(...seen.lateMs)} ms`,
  );
});

test(
  'after a pause the world catches up a little, the wire once, and the ticks are where they would have been',
  LIMIT,
  (t) => {
    const { seen, pass } = ticking(t);
    pass(50);
    seen.nowMs += 170; // three ticks without a timer, and a bit
    pass(0);
    pass(50);
    assert.deepEqual([seen.steps, seen.published], [5, [1, 5]]);
    seen.nowMs += 60_000;
    pass(50);
    assert.deepEqual([seen.steps, seen.published.at(-1)], [15, 1_206]);
  },
);

test('a tick whose time has come while the last one ran is not asked for in the past', LIMIT, (t) => {
  const asked: { run: () => void; delayMs: number }[] = [];
  t.mock.method(globalThis, 'setTimeout', (run: () => void, delayMs: number) => asked.push({ run, delayMs }));
  let nowMs = 1_000;
  const step = (): void => {
    nowMs += 60;
  };
  startTicks(50, { step, publish: () => {} }, () => nowMs);
  nowMs += 55;
  asked[0]?.run();
  assert.deepEqual(
    asked.map(({ delayMs }) => delayMs),
    [50, 1],
  );
});

test('a delta leads from whatever a client knew to now', LIMIT, () => {
  const directions: Direction[] = ['up', 'down', 'left', 'right', 'stop'];
  const move = fc.tuple(
    fc.constantFrom('join', 'leave', 'turn', 'step', 'tell'),
    fc.nat(9),
    fc.constantFrom(...directions),
  );
  fc.assert(
    fc.property(fc.array(move, { maxLength: 60 }), (moves) => {
      const world = new World();
      const known = new Map<number, number>();
      const places = new Map<number, [number, number]>();
      for (const [what, which, direction] of [...moves, ['tell', 0, 'stop'] as const]) {
        const player = [...world.players.values()][which];
        if (what === 'join') world.join();
        else if (what === 'step') world.step();
        else if (what === 'leave' && player !== undefined) world.players.delete(player.id);
        else if (what === 'turn' && player !== undefined) player.direction = direction;
        else if (what === 'tell') {
          const { moved, gone } = world.delta(known);
          for (const [id, x, y] of moved) assert.notDeepEqual(places.get(id), [x, y]);
          for (const [id, x, y] of moved) places.set(id, [x, y]);
          for (const id of gone) assert.ok(places.delete(id));
        }
      }
      const now = [...world.players.values()].map(({ id, x, y }) => [id, [x, y]] as const);
      assert.deepEqual(places, new Map(now));
      assert.deepEqual(world.delta(known), { moved: [], gone: [] });
    }),
  );
});

async function startGame(t: TestContext) {
  const program = start(t, 'examples/game/server', ['--port', '0']);
  const address = await program.address();
  const join = async (): Promise<{ peer: Peer; id: number }> => {
    const peer = await connect(t, address);
    return { peer, id: JSON.parse(await peer.line()).you };
  };
  return { program, address, join };
}

test('inputs count by their numbers, and all clients see the same world', LIMIT, async (t) => {
  const { program, join } = await startGame(t);
  const ann = await join();
  assert.deepEqual((await state(ann.peer)).moved, [[1, 1, 1]]);
  const bob = await join();
  assert.deepEqual((await state(bob.peer)).moved, [
    [1, 1, 1],
    [2, 2, 2],
  ]);
  const joined = await state(ann.peer);
  assert.deepEqual(joined.moved, [[2, 2, 2]]);

  // 7 comes before 6, and 7 once more: the newest counts, once.
  for (const [seq, move] of [
    [7, 'left'],
    [6, 'up'],
    [7, 'down'],
  ] as const)
    say(bob.peer, { seen: joined.tick, seq, move });
  let seen = await state(ann.peer);
  const first = seen;
  for (let i = 1; i <= 100; i++) {
    const ticks = seen.tick - first.tick;
    assert.deepEqual(seen.moved, [[2, (first.moved[0]![1] - ticks + 160) % 80, 2]]);
    say(ann.peer, { seen: seen.tick });
    const own = await state(bob.peer);
    assert.equal(own.seq, 7);
    say(bob.peer, { seen: own.tick });
    seen = await state(ann.peer);
  }
  bob.peer.socket.resetAndDestroy();
  for (; seen.gone.length === 0; seen = await state(ann.peer)) say(ann.peer, { seen: seen.tick });
  assert.deepEqual(seen.gone, [2]);
  assert.equal(program.stderr, '');
});

test('a client that does not read gets four states, and then the newest', LIMIT, async (t) => {
  const { address, join } = await startGame(t);
  const ann = await join();
  say(ann.peer, { seen: 0, seq: 1, move: 'right' });
  const socket = await connectDeaf(t, address);
  let newest = await state(ann.peer);
  // Bob joins when the deaf one has been let in, and sees it.
  while (newest.moved.every(([id]) => id !== 2)) {
    say(ann.peer, { seen: newest.tick });
    newest = await state(ann.peer);
  }
  for (let i = 0; i < 60; i++) {
    say(ann.peer, { seen: newest.tick });
    newest = await state(ann.peer);
  }
  const deaf = new Peer(socket);
  assert.deepEqual(JSON.parse(await deaf.line()), { you: 2 });
  const old: State[] = [];
  while (old.length < 4) old.push(await state(deaf));
  assert.ok(old[3]!.tick < newest.tick - 50, 'these are old');
  say(deaf, { seen: old[3]!.tick });
  const next = await state(deaf);
  assert.ok(next.tick >= newest.tick, `${next.tick} is not newer than ${newest.tick}`);
  // Where ann is now, and nothing of where she has been.
  const ticks = next.tick - newest.tick;
  assert.deepEqual(next.moved, [[1, (newest.moved[0]![1] + ticks) % 80, 1]]);
});

test('who speaks another protocol is let go', LIMIT, async (t) => {
  const { program, join } = await startGame(t);
  for (const nonsense of [
    '[]',
    'null',
    '{"seen":"1"}',
    '{"seen":1,"move":"__proto__"}',
    '{"seen":1,"seq":"2","move":"up"}',
    'x',
  ]) {
    const { peer } = await join();
    peer.write(`${nonsense}\n`);
    await peer.ended;
  }
  await join();
  assert.equal(program.stderr, '');
});

test('the client of game plays', LIMIT, async (t) => {
  const { program, address } = await startGame(t);
  const client = start(t, 'examples/game/client', ['--port', String(address.port)], {}, 'pipe');
  client.child.stdin!.write('jump\nright\n'); // before it is connected
  await client.line(/^you are player 1$/);
  await client.line(/^up, down, left, right or stop$/);
  await client.line(/^tick \d+, input 1: 1@(?!1,)\d+,1$/);
  assert.deepEqual(await program.stop('SIGTERM'), { code: 0, signal: null });
  assert.deepEqual(await client.ended, { code: 0, signal: null });
  assert.equal(program.stderr + client.stderr, '');
});
