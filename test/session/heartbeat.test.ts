import assert from 'node:assert/strict';
import test from 'node:test';
import type { Heartbeat, Session } from 'millrace/session';
import { leakGuard, type Stage } from '../support/net.ts';
import { ManualClock } from './support/clock.ts';
import { dialling, limit, raw, serving, settled, turns, until } from './support/serving.ts';

await leakGuard();

const heartbeat: Heartbeat<string> = {
  intervalMs: 10_000,
  timeoutMs: 5_000,
  ping: 'PING',
  isPong: (message) => message === 'PONG',
  answer: (message) => (message === 'PING' ? 'PONG' : undefined),
};

async function rig(t: Stage, options: Partial<Heartbeat<string>> = {}) {
  const clock = new ManualClock();
  const got: string[] = [];
  const serves = await serving(
    t,
    async (session) => {
      for await (const message of session) got.push(message);
    },
    {
      clock,
      heartbeat: { ...heartbeat, ...options },
      limits: { firstByteMs: 0, handshakeMs: 0, idleMs: 0, writeMs: 0, writeBuffer: { maxBytes: 64e6 } },
    },
  );
  const peer = await raw(t, serves);
  await until(() => serves.sessions.length === 1, 'a session');
  const session = serves.sessions[0] as Session<string>;
  return { clock, serves, peer, session, got };
}

test('a peer that answers lives, and the consumer does not see the answers', limit, async (t) => {
  const { clock, serves, peer, session, got } = await rig(t);
  for (let i = 1; i <= 3; i++) {
    clock.advance(10_500);
    await peer.has('PING\n'.repeat(i));
    peer.socket.write('PONG\n');
    await until(() => session.framesRead === i, 'answered');
    clock.advance(4_000);
    await turns(2);
  }
  peer.socket.end('message\n');
  assert.equal((await serves.closed()).reason, 'ENDED');
  assert.deepEqual(got, ['message']);
});

test('a peer that talks is not asked', limit, async (t) => {
  const { clock, serves, peer, session } = await rig(t);
  for (let i = 1; i <= 10; i++) {
    clock.advance(9_000);
    peer.socket.write('x\n');
    await until(() => session.framesRead === i, 'received');
  }
  assert.equal(peer.received(), '');
  assert.deepEqual(serves.reasons, []);
});

test('any byte is a sign of life', limit, async (t) => {
  const { clock, serves, peer, session } = await rig(t);
  clock.advance(10_500);
  await peer.has('PING\n');
  peer.socket.write('h');
  await until(() => session.bytesRead === 1, 'received');
  clock.advance(9_000);
  await turns(2);
  assert.deepEqual(serves.reasons, []);
});

test('a silent peer is closed as such', limit, async (t) => {
  const { clock, serves, peer } = await rig(t);
  clock.advance(10_500);
  await peer.has('PING\n');
  clock.advance(4_900);
  await turns(2);
  assert.deepEqual(serves.reasons, []);
  clock.advance(600);
  assert.equal((await serves.closed()).reason, 'PEER_SILENT');
});

test('a full pipe is closed as such', limit, async (t) => {
  const { clock, serves, peer, session } = await rig(t);
  peer.socket.pause();
  while (session.bufferedBytes < 16e6) session.trySend('x'.repeat(100_000));
  await settled(() => session.bufferedBytes);
  const frames = session.framesWritten;
  clock.advance(10_500);
  await turns(2);
  assert.equal(session.framesWritten, frames, 'no question on top of what waits');
  clock.advance(5_500);
  assert.equal((await serves.closed()).reason, 'PEER_NOT_READING');
});

test('a peer that reads slowly and says nothing is alive', limit, async (t) => {
  const { clock, serves, peer, session } = await rig(t);
  peer.socket.pause();
  while (session.bufferedBytes < 16e6) session.trySend('x'.repeat(100_000));
  await settled(() => session.bufferedBytes);
  clock.advance(10_500);
  for (let i = 0; i < 3 && session.bufferedBytes > 0; i++) {
    const before = session.bytesWritten;
    peer.socket.resume();
    await until(() => session.bytesWritten > before, 'some is taken');
    peer.socket.pause();
    clock.advance(4_900);
    await turns(2);
    assert.deepEqual(serves.reasons, []);
  }
});

test('our own blocked event loop closes nobody', limit, async (t) => {
  const { clock, serves, peer } = await rig(t);
  clock.advance(10_500);
  await peer.has('PING\n');
  clock.block(600_000);
  await turns(2);
  assert.deepEqual(serves.reasons, []);
  assert.equal(serves.server.metrics().loop.lateTicks, 1);
  peer.socket.write('PONG\n');
  await until(() => serves.sessions[0]?.framesRead === 1, 'answered');
  clock.advance(9_000);
  await turns(2);
  assert.deepEqual(serves.reasons, []);
});

test('a consumer that does not read makes nobody silent', limit, async (t) => {
  const clock = new ManualClock();
  const serves = await serving(t, async (session) => void (await session.closed), {
    ...{ clock, heartbeat },
    limits: { firstByteMs: 0, handshakeMs: 0, idleMs: 0, readBuffer: { highFrames: 1 } },
  });
  const peer = await raw(t, serves);
  peer.socket.write('1\n2\n3\n');
  await until(() => serves.sessions[0]?.unreadFrames === 1, 'received');
  clock.advance(100_000);
  await turns(2);
  assert.deepEqual([serves.reasons, peer.received()], [[], '']);
});

test('both sides ask, and answer each other', limit, async (t) => {
  const clock = new ManualClock();
  const got: string[] = [];
  const serves = await serving(
    t,
    async (session) => {
      for await (const message of session) got.push(message);
    },
    { clock, heartbeat },
  );
  const client = await dialling(t, serves, { clock, heartbeat: { ...heartbeat, intervalMs: 4_000 } });
  for (let i = 1; i <= 5; i++) {
    clock.advance(4_500);
    await until(() => client.framesRead === i, 'answered');
  }
  assert.deepEqual([got, client.unreadFrames, serves.reasons], [[], 0, []]);
});

test('a peer that asks for ever and does not read gets no more answers than fit', limit, async (t) => {
  const { session, peer } = await rig(t);
  peer.socket.pause();
  while (session.bufferedBytes < 1e6 || (await settled(() => session.bufferedBytes, 20)) < 1e6) {
    session.trySend('x'.repeat(1_000_000));
  }
  const before = session.bufferedBytes;
  peer.socket.write('PING\n'.repeat(1_000));
  await until(() => session.framesRead === 1_000, 'asked');
  assert.ok(session.bufferedBytes <= before);
});

test('the question may be a callback; what it throws is an error, and nothing else', limit, async (t) => {
  let asked = 0;
  const problem = new Error('no question');
  const { clock, serves, peer } = await rig(t, {
    ping: () => {
      if (++asked === 1) throw problem;
      return `PING ${asked}`;
    },
  });
  clock.advance(10_500);
  assert.deepEqual([asked, serves.errors], [1, [problem]]);
  peer.socket.write('x\n');
  await until(() => serves.sessions[0]?.framesRead === 1, 'alive');
  clock.advance(10_500);
  await peer.has('PING 2\n');
});
