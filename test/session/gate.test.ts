import assert from 'node:assert/strict';
import test from 'node:test';
import { leakGuard } from '../support/net.ts';
import { ManualClock } from './support/clock.ts';
import { limit, raw, serving, turns, until } from './support/serving.ts';

const gatePath = '#src/session/gate.ts';
const { Gate } = (await import(gatePath)) as typeof import('../../src/session/gate.ts');

await leakGuard();

const none = Number.POSITIVE_INFINITY;
const rules = { connections: none, perAddress: none, perNetwork: none, acceptPerSecond: none, acceptBurst: none };

test('connections of a /64 of IPv6 are counted together, and those of an address', () => {
  const gate = new Gate({ ...rules, perAddress: 2, perNetwork: 3 }, new ManualClock());
  assert.equal(gate.enter('2001:db8::1'), undefined);
  assert.equal(gate.enter('2001:db8::1'), undefined);
  assert.equal(gate.enter('2001:db8::1'), 'TOO_MANY_FROM_ADDRESS');
  assert.equal(gate.enter('2001:db8:0:0:ffff::2'), undefined);
  assert.equal(gate.enter('2001:db8::3'), 'TOO_MANY_FROM_NETWORK');
  assert.equal(gate.enter('2001:db8:0:1::3'), undefined);
  gate.leave('2001:db8::1');
  assert.equal(gate.enter('2001:db8::3'), undefined);
  assert.equal(gate.enter(undefined), undefined);
});

test('the bucket of tokens fills with time, up to the burst', () => {
  const clock = new ManualClock();
  const gate = new Gate({ ...rules, acceptPerSecond: 10, acceptBurst: 3 }, clock);
  const arrive = () => [1, 2, 3, 4].map(() => gate.arrive());
  assert.deepEqual(arrive(), [undefined, undefined, undefined, 'ACCEPT_RATE']);
  clock.advance(200);
  assert.deepEqual(arrive(), [undefined, undefined, 'ACCEPT_RATE', 'ACCEPT_RATE']);
  clock.advance(60_000);
  assert.deepEqual(arrive(), [undefined, undefined, undefined, 'ACCEPT_RATE']);
  assert.equal(gate.open, 8);
});

test('one connection too many is reset, with a reason; when one goes, there is room', limit, async (t) => {
  const serves = await serving(t, async (session) => void (await session.receive()), { limits: { connections: 2 } });
  const first = await raw(t, serves);
  await raw(t, serves);
  await until(() => serves.sessions.length === 2, 'two sessions');
  const third = await raw(t, serves);
  await until(() => third.events.includes('close'), 'refused');
  assert.deepEqual(third.events, ['reset', 'close']);
  assert.equal(serves.refusals.length, 1);
  const [refusal] = serves.refusals;
  assert.deepEqual([refusal?.reason, refusal?.address], ['TOO_MANY_CONNECTIONS', '127.0.0.1']);
  assert.equal(typeof refusal?.port, 'number');
  first.socket.end();
  await serves.closed();
  await raw(t, serves);
  await until(() => serves.sessions.length === 3, 'room again');
  assert.equal(serves.server.metrics().refused.TOO_MANY_CONNECTIONS, 1);
});

test('an address may have so many connections', limit, async (t) => {
  const serves = await serving(t, async (session) => void (await session.receive()), { limits: { perAddress: 1 } });
  const first = await raw(t, serves);
  await until(() => serves.sessions.length === 1, 'a session');
  const second = await raw(t, serves);
  await until(() => second.events.includes('close'), 'refused');
  assert.deepEqual(
    serves.refusals.map(({ reason }) => reason),
    ['TOO_MANY_FROM_ADDRESS'],
  );
  first.socket.end();
  await serves.closed();
  await raw(t, serves);
  await until(() => serves.sessions.length === 2, 'room again');
});

test('connections that come too fast are reset', limit, async (t) => {
  const clock = new ManualClock();
  const serves = await serving(t, async (session) => void (await session.receive()), {
    clock,
    limits: { acceptRate: { perSecond: 1, burst: 2 } },
  });
  for (let i = 0; i < 3; i++) await raw(t, serves);
  await until(() => serves.refusals.length === 1 && serves.sessions.length === 2, 'one is refused');
  assert.equal(serves.refusals[0]?.reason, 'ACCEPT_RATE');
  clock.advance(1_000);
  await raw(t, serves);
  await until(() => serves.sessions.length === 3, 'one more a second later');
  await turns(2);
  assert.equal(serves.server.metrics().openConnections, 3);
});
