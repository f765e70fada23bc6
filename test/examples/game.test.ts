import assert from 'node:assert/strict';
import test from 'node:test';
import { connect, connectDeaf, Peer, start } from '../support/program.ts';

const LIMIT = { timeout: 60_000 };

interface State {
  tick: number;
  ms: number;
  players: { id: number; x: number; y: number; direction: string }[];
}
const state = async (peer: Peer): Promise<State> => JSON.parse(await peer.line()) as State;

test('game sends all players to all players, moves them, and forgets who left', LIMIT, async (t) => {
  const program = start(t, 'examples/game', ['--port', '0']);
  const address = await program.address();
  const ann = await connect(t, address);
  assert.deepEqual(JSON.parse(await ann.line()), { you: 1, tickMs: 50, world: { width: 80, height: 24 } });
  const bob = await connect(t, address);
  assert.equal(JSON.parse(await bob.line()).you, 2);

  bob.write('le');
  bob.write('ft\nnonsense\n__proto__\n');
  let seen = await state(ann);
  while (seen.players[1]?.direction !== 'left') seen = await state(ann);
  const next = await state(ann);
  const ticks = next.tick - seen.tick;
  assert.deepEqual(next.players, [
    seen.players[0],
    { id: 2, x: (seen.players[1].x - ticks + 80) % 80, y: 2, direction: 'left' },
  ]);

  bob.socket.resetAndDestroy();
  while ((await state(ann)).players.length > 1);
  assert.equal(program.stderr, '');
});

test('the tick of game does not drift', LIMIT, async (t) => {
  const address = await start(t, 'examples/game', ['--port', '0']).address();
  const peer = await connect(t, address);
  await peer.line();
  const states: State[] = [];
  while (states.length < 60) states.push(await state(peer));

  const lateMs = states.map(({ tick, ms }) => ms - tick * 50);
  assert.ok(
    lateMs.every((ms) => ms >= 0),
    `before its time: ${lateMs}`,
  );
  // A setInterval of 50 ms would be 30 to 60 ms late by now; the best of ten is free of a busy machine's hiccups.
  assert.ok(Math.min(...lateMs.slice(-10)) < 20, `late by ${lateMs}`);
  for (let i = 1; i < states.length; i++) assert.ok(states[i]!.tick > states[i - 1]!.tick);
});

test('game gives a slow client the newest state instead of a queue', LIMIT, async (t) => {
  // 20,000 bots make a state of 1 MB, so the kernel's buffers are soon full.
  const address = await start(t, 'examples/game', ['--port', '0', '--bots', '20000']).address();
  const deaf = await connectDeaf(t, address);
  const quick = await connect(t, address);
  await quick.line();
  let ticks = 0;
  let newest = 0;
  while (ticks < 40) {
    newest = tickOf(await quick.line());
    ticks++;
  }
  const slow = new Peer(deaf);
  await slow.line();
  const seen: number[] = [];
  while ((seen.at(-1) ?? 0) <= newest) seen.push(tickOf(await slow.line()));
  const missed = seen.at(-1)! - seen[0]! + 1 - seen.length;
  assert.ok(missed >= 10, `${missed} states were left out of ${seen}`);
});

function tickOf(line: string): number {
  return Number(/^\{"tick":(\d+),/.exec(line)?.[1]);
}
