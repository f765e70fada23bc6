import assert from 'node:assert/strict';
import test from 'node:test';
import { engine } from 'millrace';
import type { ClosingReason, ServerLimits, Session, SessionLimits } from 'millrace/session';
import { leakGuard, type Stage } from '../support/net.ts';
import { ManualClock } from './support/clock.ts';
import { dialling, limit, type RawPeer, raw, type Serving, serving, settled, turns, until } from './support/serving.ts';

await leakGuard();

const none: ServerLimits = { firstByteMs: 0, handshakeMs: 0, frameMs: 0, idleMs: 0, writeMs: 0, lingerMs: 0 };

interface Rig {
  readonly clock: ManualClock;
  readonly serves: Serving<string, string>;
  readonly peer: RawPeer;
  readonly session: Session<string>;
  /** The peer sends, and the session has got it. */
  says(bytes: string): Promise<void>;
  /** Time passes, and nothing comes of it. */
  lives(ms: number): Promise<void>;
  /** Time passes, and that is the end. */
  dies(ms: number, reason: ClosingReason): Promise<void>;
}

async function rig(
  t: Stage,
  limits: ServerLimits,
  handler: (session: Session<string>) => Promise<void> = async (session) => {
    for await (const _ of session);
  },
): Promise<Rig> {
  const clock = new ManualClock();
  const serves = await serving<string>(t, handler, { clock, limits: { ...none, ...limits } });
  const peer = await raw(t, serves);
  await until(() => serves.sessions.length === 1, 'a session');
  const session = serves.sessions[0] as Session<string>;
  let sentBytes = 0;
  return {
    ...{ clock, serves, peer, session },
    async says(bytes) {
      peer.socket.write(bytes, 'latin1');
      sentBytes += bytes.length;
      await until(() => session.bytesRead === sentBytes, 'received');
      await turns(1);
    },
    async lives(ms) {
      clock.advance(ms);
      await turns(3);
      assert.deepEqual(serves.reasons, []);
    },
    async dies(ms, expected) {
      clock.advance(ms);
      const { reason } = await serves.closed();
      assert.equal(reason, expected);
      assert.equal(serves.server.metrics().closed[expected], 1);
    },
  };
}

test('a peer that says nothing', limit, async (t) => {
  const { lives, dies, peer } = await rig(t, { firstByteMs: 10_000 });
  await lives(9_999);
  await dies(501, 'FIRST_BYTE_TIMEOUT');
  await until(() => peer.events.includes('close'), 'closed');
  assert.deepEqual(peer.events, ['reset', 'close']);
});

test('a first byte in time is enough for that', limit, async (t) => {
  const { says, lives } = await rig(t, { firstByteMs: 10_000 });
  await lives(9_000);
  await says('x');
  await lives(100_000);
});

test('a handshake of one byte now and then', limit, async (t) => {
  const { says, lives, dies } = await rig(t, { handshakeMs: 5_000 });
  await lives(4_000);
  await says('x');
  await lives(999);
  await dies(501, 'HANDSHAKE_TIMEOUT');
});

test('the handshake is over with the first frame', limit, async (t) => {
  const { says, lives } = await rig(t, { handshakeMs: 5_000 });
  await says('hello\n');
  await lives(100_000);
});

test('the handshake is over when the handler says so', limit, async (t) => {
  const until: SessionLimits = { handshakeMs: 5_000, handshakeUntil: 'ready' };
  const login = async (session: Session<string>): Promise<void> => {
    for await (const message of session) if (message === 'secret') session.ready();
  };
  const good = await rig(t, until, login);
  await good.says('hello\nsecret\n');
  await good.lives(100_000);
  const bad = await rig(t, until, login);
  await bad.says('hello\nhello\n');
  await bad.lives(4_999);
  await bad.dies(501, 'HANDSHAKE_TIMEOUT');
});

test('a frame that comes byte by byte', limit, async (t) => {
  const { says, lives, dies } = await rig(t, { frameMs: 3_000 });
  await says('one\nt');
  for (let i = 0; i < 3; i++) {
    await lives(950);
    await says('x');
  }
  await dies(900, 'FRAME_TIMEOUT');
});

test('frames that are complete in time may follow each other for ever', limit, async (t) => {
  const { says, lives, session } = await rig(t, { frameMs: 3_000 });
  await says('one\nt');
  for (let i = 0; i < 10; i++) {
    await lives(2_500);
    await says('wo\nt');
  }
  await says('wo\n');
  await lives(100_000);
  assert.equal(session.framesRead, 12);
});

test('a frame that comes too slowly', limit, async (t) => {
  const { says, lives, dies } = await rig(t, { minRate: { bytesPerSecond: 10, graceMs: 2_000 } });
  await lives(60_000);
  await says('x'.repeat(50));
  await lives(4_750);
  await dies(1_000, 'SLOW_PEER');
});

test('a frame that comes fast enough', limit, async (t) => {
  const { says, lives } = await rig(t, { minRate: { bytesPerSecond: 10, graceMs: 2_000 } });
  for (let i = 0; i < 20; i++) {
    await says('x'.repeat(11));
    await lives(1_000);
  }
});

test('nothing received and nothing sent', limit, async (t) => {
  const { says, lives, dies, session, peer } = await rig(t, { idleMs: 1_000 });
  await lives(900);
  await says('x');
  await lives(900);
  await session.send('y');
  await peer.has('y\n');
  await lives(900);
  await dies(600, 'IDLE_TIMEOUT');
});

test('a consumer that takes its time is no fault of the peer', limit, async (t) => {
  const go = new AbortController();
  const { says, lives, session, dies } = await rig(
    t,
    { idleMs: 1_000, frameMs: 1_000, readBuffer: { highFrames: 2 } },
    async (session) => {
      await new Promise((resolve) => go.signal.addEventListener('abort', resolve));
      for await (const _ of session);
    },
  );
  await says('1\n2\n3\n4');
  assert.equal(session.unreadFrames, 2);
  await lives(100_000);
  go.abort();
  await turns(3);
  assert.equal(session.framesRead, 3);
  await lives(900);
  await dies(900, 'FRAME_TIMEOUT');
});

test('a peer that takes nothing', limit, async (t) => {
  const { clock, lives, dies, session, peer } = await rig(t, { writeMs: 2_000, writeBuffer: { maxBytes: 64e6 } });
  peer.socket.pause();
  await lives(10_000);
  while (session.bufferedBytes < 8e6) session.trySend('x'.repeat(100_000));
  await settled(() => session.bufferedBytes);
  assert.ok(session.bufferedBytes > 0);
  clock.advance(250);
  await lives(1_750);
  await dies(500, 'PEER_NOT_READING');
  assert.ok((await session.closed).unsentBytes > 0);
});

test('what is sent after a silence has its time, too', limit, async (t) => {
  const { clock, lives, session, peer } = await rig(t, { writeMs: 2_000 });
  for (let i = 0; i < 3; i++) {
    await lives(30_000);
    // Still here when the tick comes: the kernel is given it at the end of the turn.
    session.trySend(`message ${i}`);
    clock.advance(250);
    await peer.has(`message ${i}\n`);
  }
  await lives(30_000);
});

test('what our own loop holds up is not held against the peer', limit, async (t) => {
  const { clock, session, peer } = await rig(t, { writeMs: 2_000 });
  // On engine node, nobody can tell.
  if (engine === 'node') return;
  session.trySend('message');
  clock.advance(30_000); // while the turn goes on
  await peer.has('message\n');
});

test('a peer that takes a little now and then', limit, async (t) => {
  const { lives, session, peer } = await rig(t, { writeMs: 2_000, idleMs: 2_000 });
  peer.socket.pause();
  while (session.bufferedBytes < 8e6) session.trySend('x'.repeat(100_000));
  await settled(() => session.bufferedBytes);
  for (let i = 0; i < 4 && session.bufferedBytes > 0; i++) {
    const before = session.bytesWritten;
    peer.socket.resume();
    await until(() => session.bytesWritten > before, 'some is taken');
    peer.socket.pause();
    await lives(1_700);
  }
});

test('a session that is old says goodbye, and ends when it is not busy', limit, async (t) => {
  const clock = new ManualClock();
  let finish: (() => void) | undefined;
  const log: string[] = [];
  const serves = await serving(
    t,
    async (session) => {
      for await (const message of session) {
        log.push(message);
        await new Promise<void>((resolve) => (finish = resolve));
        await session.send(`done ${message}`);
      }
      log.push(String(session.isLeaving));
    },
    { clock, goodbye: 'goodbye', limits: { ...none, lingerMs: 1_000, maxAgeMs: 60_000, maxAgeJitter: 0 } },
  );
  const peer = await raw(t, serves);
  peer.socket.write('one\n');
  await until(() => finish !== undefined, 'busy');
  clock.advance(59_999);
  await turns(2);
  assert.equal(serves.sessions[0]?.isLeaving, false);
  clock.advance(501);
  await peer.has('goodbye\n');
  clock.advance(10_000);
  await turns(2);
  assert.deepEqual(serves.reasons, []);
  finish?.();
  assert.equal(await peer.over(), 'goodbye\ndone one\n');
  peer.socket.end();
  assert.equal((await serves.closed()).reason, 'MAX_AGE');
  assert.deepEqual(log, ['one', 'true']);
});

test('sessions of one moment grow old at different times', limit, async (t) => {
  const clock = new ManualClock();
  const serves = await serving(t, async (session) => void (await session.receive()), {
    clock,
    limits: { ...none, lingerMs: 1, maxAgeMs: 100_000, maxAgeJitter: 0.5 },
  });
  for (let i = 0; i < 20; i++) await raw(t, serves);
  await until(() => serves.sessions.length === 20, 'twenty sessions');
  clock.advance(50_000);
  assert.deepEqual(
    serves.sessions.filter(({ isLeaving }) => isLeaving),
    [],
  );
  clock.advance(25_000);
  const left = serves.sessions.filter(({ isLeaving }) => isLeaving).length;
  assert.ok(left > 0 && left < 20, `${left} of 20 after three quarters of the time`);
  clock.advance(25_500);
  assert.ok(serves.sessions.every(({ isLeaving }) => isLeaving));
});

test('a peer that does not end after us', limit, async (t) => {
  const { clock, lives, dies, session, peer } = await rig(t, { lingerMs: 5_000 });
  const closed = session.close();
  await peer.over();
  clock.advance(250);
  await lives(4_900);
  await dies(500, 'LINGER_TIMEOUT');
  assert.equal((await closed).reason, 'LINGER_TIMEOUT');
});

test('a peer that has ended is not waited for, however late we hear that it is over', limit, async (t) => {
  const clock = new ManualClock();
  const serves = await serving(
    t,
    async (session) => {
      for await (const _ of session);
      void session.close();
      clock.advance(60_000);
    },
    { clock, limits: { ...none, lingerMs: 1_000 } },
  );
  const peer = await raw(t, serves);
  peer.socket.end('one\n');
  const { reason, message } = await serves.closed();
  assert.equal(reason, 'ENDED', message);
});

test('lingering begins when everything is sent', limit, async (t) => {
  const { clock, lives, session, peer, dies } = await rig(t, { lingerMs: 2_000, writeMs: 60_000 });
  peer.socket.pause();
  while (session.bufferedBytes < 8e6) session.trySend('x'.repeat(100_000));
  void session.close();
  await settled(() => session.bufferedBytes);
  await lives(50_000);
  peer.socket.resume();
  await peer.over();
  clock.advance(250);
  await lives(1_900);
  await dies(500, 'LINGER_TIMEOUT');
});

test('our own blocked event loop is held against nobody', limit, async (t) => {
  const { clock, says, lives, dies, serves } = await rig(t, { idleMs: 10_000, frameMs: 10_000 });
  await says('x');
  clock.block(3_600_000);
  await turns(2);
  assert.deepEqual(serves.reasons, []);
  assert.deepEqual(serves.server.metrics().loop, { lateTicks: 1, lateMs: 3_599_750 });
  await lives(9_000);
  await dies(1_500, 'FRAME_TIMEOUT');
});

test('a client has no idle limit unless it wants one', limit, async (t) => {
  const clock = new ManualClock();
  const serves = await serving(t, async (session) => void (await session.receive()), { limits: none });
  const patient = await dialling(t, serves, { clock });
  const hasty = await dialling(t, serves, { clock, limits: { idleMs: 1_000 } });
  clock.advance(100_000);
  assert.equal((await hasty.closed).reason, 'IDLE_TIMEOUT');
  await turns(3);
  assert.ok(patient.isWritable);
});
