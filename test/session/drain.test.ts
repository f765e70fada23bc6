import assert from 'node:assert/strict';
import test from 'node:test';
import type { Hold, ServeOptions, Session } from 'millrace/session';
import { leakGuard, type Stage } from '../support/net.ts';
import { ManualClock } from './support/clock.ts';
import { dialling, limit, raw, serving, turns, until, within } from './support/serving.ts';

await leakGuard();

type Peer = Awaited<ReturnType<typeof raw>>;

const LONG_MS = 30_000;

/** Each message is work until `finish` is called. */
async function rig(t: Stage, options: Partial<ServeOptions<string, string>> = {}) {
  const clock = new ManualClock();
  const work: { message: string; finish(): void }[] = [];
  const serves = await serving(
    t,
    async (session) => {
      for await (const message of session) {
        await new Promise<void>((resolve) => work.push({ message, finish: resolve }));
        await session.send(`done ${message}`);
      }
    },
    { clock, ...options },
  );
  const finish = (message: string) => work.find((each) => each.message === message)?.finish();
  const connect = async (count: number) => {
    const peers = [];
    for (let i = 0; i < count; i++) peers.push(await raw(t, serves));
    await until(() => serves.sessions.length === count, 'sessions');
    return peers;
  };
  return { clock, serves, work, finish, connect };
}

test('it says goodbye, waits for work, and closes those without at once', limit, async (t) => {
  const { serves, work, finish, connect } = await rig(t);
  const [busy, idle] = (await connect(2)) as [Awaited<ReturnType<typeof raw>>, Awaited<ReturnType<typeof raw>>];
  busy.socket.write('one\ntwo\n');
  await until(() => work.length === 1, 'busy');
  const drained = serves.server.drain({ goodbye: 'goodbye', graceMs: 0 });
  assert.equal(await idle.over(), 'goodbye\n');
  idle.socket.end();
  await busy.has('goodbye\n');
  await assert.rejects(dialling(t, serves), { code: 'ECONNREFUSED' });
  finish('one');
  await until(() => work.length === 2, 'what had come is still done');
  finish('two');
  assert.equal(await busy.over(), 'goodbye\ndone one\ndone two\n');
  busy.socket.end();
  assert.deepEqual(await within(drained, 'drained'), { closed: 2, cut: [] });
  assert.deepEqual(
    serves.reasons.map(({ reason }) => reason),
    ['DRAINED', 'DRAINED'],
  );
  assert.deepEqual(serves.errors, []);
});

test('what is not done by the deadline is cut, and told', limit, async (t) => {
  const { clock, serves, work, connect } = await rig(t, { limits: { lingerMs: 0 } });
  const [busy, idle] = (await connect(2)) as [Awaited<ReturnType<typeof raw>>, Awaited<ReturnType<typeof raw>>];
  busy.socket.write('one\n');
  await until(() => work.length === 1, 'busy');
  const drained = serves.server.drain({ deadlineMs: 10_000 });
  // It has got our end, and doesn't end itself.
  await idle.over();
  clock.advance(9_999);
  await turns(3);
  assert.deepEqual(serves.reasons, []);
  clock.advance(251);
  const { closed, cut } = await within(drained, 'drained');
  assert.equal(closed, 0);
  assert.deepEqual(
    cut.map(({ session, wasBusy, unsentBytes }) => [
      serves.sessions.indexOf(session as Session<string>),
      wasBusy,
      unsentBytes,
    ]),
    [
      [0, true, 0],
      [1, false, 0],
    ],
  );
  assert.deepEqual(
    serves.reasons.map(({ reason }) => reason),
    ['DRAIN_DEADLINE', 'DRAIN_DEADLINE'],
  );
  await until(() => busy.events.includes('close'), 'closed');
  assert.deepEqual(busy.events, ['reset', 'close']);
});

test('the deadline is real time, even if our event loop is blocked', limit, async (t) => {
  const { clock, serves, work, connect } = await rig(t);
  const [busy] = await connect(1);
  busy?.socket.write('one\n');
  await until(() => work.length === 1, 'busy');
  const drained = serves.server.drain({ deadlineMs: 10_000 });
  clock.block(60_000);
  clock.advance(250);
  assert.equal((await within(drained, 'drained')).cut.length, 1);
});

test('goodbyes are spread over time', limit, async (t) => {
  const { clock, serves, connect } = await rig(t, { goodbye: 'bye' });
  const peers = await connect(5);
  const told = () => serves.sessions.map((session) => session.isLeaving);
  const drained = serves.server.drain({ spreadMs: 8_000, graceMs: 0 });
  assert.deepEqual(told(), [true, false, false, false, false]);
  clock.advance(1_999);
  assert.deepEqual(told(), [true, false, false, false, false]);
  clock.advance(251);
  assert.deepEqual(told(), [true, true, false, false, false]);
  clock.advance(2_000);
  assert.deepEqual(told(), [true, true, true, false, false]);
  // One goes before it is told.
  peers[4]?.socket.end();
  await until(() => serves.reasons.length === 1, 'gone');
  clock.advance(4_000);
  assert.deepEqual(told(), [true, true, true, true, false]);
  for (const peer of peers.slice(0, 4)) {
    assert.equal(await peer.over(), 'bye\n');
    peer.socket.end();
  }
  assert.deepEqual(await within(drained, 'drained'), { closed: 5, cut: [] });
});

test(
  'what a peer sent before it knew is answered: a session is heard for a while after its goodbye',
  limit,
  async (t) => {
    const { clock, serves, work, finish, connect } = await rig(t, { goodbye: 'bye' });
    const [late, ends, silent] = (await connect(3)) as [Peer, Peer, Peer];
    const drained = serves.server.drain();
    await Promise.all([late, ends, silent].map((peer) => peer.has('bye\n')));
    // This was on its way.
    late.socket.write('one\n');
    ends.socket.end();
    assert.equal(await ends.over(), 'bye\n');
    await until(() => work.length === 1, 'the message is heard');
    clock.advance(750);
    await turns(3);
    assert.deepEqual([serves.reasons.length, silent.received()], [1, 'bye\n']);
    clock.advance(250);
    assert.equal(await silent.over(), 'bye\n');
    finish('one');
    assert.equal(await late.over(), 'bye\ndone one\n');
    late.socket.end();
    silent.socket.end();
    assert.deepEqual(await within(drained, 'drained'), { closed: 3, cut: [] });
  },
);

test('a thousand sessions in every state: what is in flight is answered, nobody is let in, the deadline holds', {
  timeout: 60_000,
}, async (t) => {
  const clock = new ManualClock();
  let open = (): void => {};
  const gate = new Promise<void>((resolve) => {
    open = resolve;
  });
  const holds: Hold[] = [];
  let taken = 0;
  const serves = await serving(
    t,
    async (session) => {
      for await (const message of session) {
        taken++;
        if (message === 'stuck')
          await new Promise<void>((resolve) => session.signal.addEventListener('abort', () => resolve()));
        else if (message === 'hold') holds.push(session.hold());
        else if (message !== 'quick') await gate;
        if (!session.signal.aborted) await session.send(`done ${message}`);
      }
    },
    { clock, goodbye: 'bye', limits: { perAddress: 2_000, acceptRate: { perSecond: 1e6 } } },
  );
  /** What a peer has said when the drain begins, what it says when it is told goodbye, and what it has heard at the end. */
  const states = [
    { said: '', answers: 'bye\n' },
    { said: 'work\n', answers: 'bye\ndone work\n' },
    { said: 'one\ntwo\n', answers: 'bye\ndone one\ndone two\n' },
    { said: 'hal', says: 'f\n', answers: 'bye\ndone half\n' },
    { said: 'quick\n', says: 'late\n', answers: 'done quick\nbye\ndone late\n' },
    { said: 'last\n', ends: true, answers: 'bye\ndone last\n' },
    { said: 'hold\n', answers: 'done hold\nbye\n' },
    { said: 'stuck\n', answers: 'bye\n', isCut: true },
  ] as const;
  const all = Array.from({ length: 125 }, () => states).flat();
  const peers = await Promise.all(
    all.map(async (state) => {
      const peer = await raw(t, serves);
      if (state.said !== '') peer.socket.write(state.said);
      if ('ends' in state) peer.socket.end();
      return { state, peer };
    }),
  );
  await until(() => serves.sessions.length === 1_000 && taken === 6 * 125, 'all are in, and have been heard', LONG_MS);
  await Promise.all(
    peers.map(({ state, peer }) => ('isCut' in state ? undefined : peer.has(state.answers.split('bye')[0] as string))),
  );

  const drained = serves.server.drain({ deadlineMs: 10_000 });
  await Promise.all(peers.map(({ peer }) => peer.has('bye\n')));
  for (const { state, peer } of peers) if ('says' in state) peer.socket.write(state.says);
  await until(() => taken === 8 * 125, 'what was on its way is heard', LONG_MS);
  await assert.rejects(dialling(t, serves), { code: 'ECONNREFUSED' });
  open();
  for (const hold of holds) hold.release();
  clock.advance(1_000);
  await until(
    () => peers.every(({ state, peer }) => 'isCut' in state || peer.events.includes('end')),
    'the others have ended',
    LONG_MS,
  );
  for (const { state, peer } of peers) if (!('isCut' in state)) peer.socket.end();
  await until(() => serves.reasons.length === 875, 'and are closed', LONG_MS);
  clock.advance(9_000);
  const { closed, cut } = await within(drained, 'drained by the deadline');
  await until(() => peers.every(({ peer }) => peer.events.includes('close')), 'all are over', LONG_MS);
  assert.deepEqual([closed, cut.length], [875, 125]);
  assert.ok(cut.every(({ wasBusy, unsentBytes }) => wasBusy && unsentBytes === 0));
  for (const { state, peer } of peers) assert.equal(peer.received(), state.answers);
  assert.deepEqual(serves.errors, []);
});

test('work that is held is waited for, once each', limit, async (t) => {
  const holds: Hold[] = [];
  const serves = await serving(t, async (session) => {
    for await (const _ of session) holds.push(session.hold());
  });
  const peer = await raw(t, serves);
  peer.socket.write('one\ntwo\n');
  await until(() => holds.length === 2, 'held');
  const drained = serves.server.drain();
  await turns(3);
  holds[0]?.release();
  holds[0]?.release();
  holds[0]?.[Symbol.dispose]();
  await turns(3);
  assert.ok(serves.sessions[0]?.isWritable);
  holds[1]?.[Symbol.dispose]();
  assert.equal(serves.sessions[0]?.isWritable, false);
  await peer.over();
  peer.socket.end();
  assert.deepEqual(await within(drained, 'drained'), { closed: 1, cut: [] });
});

test('a signal cuts the drain short', limit, async (t) => {
  const { serves, work, connect } = await rig(t);
  const [busy] = await connect(1);
  busy?.socket.write('one\n');
  await until(() => work.length === 1, 'busy');
  const now = new AbortController();
  const drained = serves.server.drain({ signal: now.signal });
  await turns(3);
  now.abort();
  assert.equal((await within(drained, 'drained')).cut.length, 1);
  const { serves: other, connect: connectOther } = await rig(t);
  await connectOther(1);
  assert.equal((await other.server.drain({ signal: AbortSignal.abort() })).cut.length, 1);
});

test('the goodbye may be made for each; what that throws is an error, and the drain goes on', limit, async (t) => {
  const { serves, connect } = await rig(t);
  const peers = await connect(2);
  const problem = new Error('no goodbye');
  const drained = serves.server.drain({
    graceMs: 0,
    goodbye: (session) => {
      if (session === serves.sessions[0]) throw problem;
      return `bye ${session.peer.port}`;
    },
  });
  assert.equal(await peers[0]?.over(), '');
  assert.equal(await peers[1]?.over(), `bye ${peers[1]?.socket.localPort}\n`);
  for (const peer of peers) peer.socket.end();
  assert.deepEqual(await within(drained, 'drained'), { closed: 2, cut: [] });
  assert.deepEqual(serves.errors, [problem]);
});

test('a server without sessions is drained at once, and options that make no sense are refused', limit, async (t) => {
  const { serves } = await rig(t);
  await assert.rejects(serves.server.drain({ deadlineMs: -1 }), { code: 'MILLRACE_ERR_BAD_OPTION' });
  await assert.rejects(serves.server.drain({ deadlineMs: 5, spreadMs: 6 }), { code: 'MILLRACE_ERR_BAD_OPTION' });
  await assert.rejects(serves.server.drain({ deadlineMs: 5, spreadMs: 3, graceMs: 3 }), {
    code: 'MILLRACE_ERR_BAD_OPTION',
  });
  assert.deepEqual(await serves.server.drain(), { closed: 0, cut: [] });
  assert.deepEqual(await serves.server.drain(), { closed: 0, cut: [] });
  await serves.server.close();
});
