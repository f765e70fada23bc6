/** Connections by the thousand: over every limit there is, while a server drains, and with a full descriptor table. */
import assert from 'node:assert/strict';
import { setMaxListeners } from 'node:events';
import test from 'node:test';
import { ManualClock } from '../session/support/clock.ts';
import { run } from '../support/child.ts';
import { leakGuard, limit, type Stage, until, within } from '../support/net.ts';
import { type Attacker, attack, siege } from './support/siege.ts';

await leakGuard();
setMaxListeners(0);

/** Of the whole suite of soak/hostile.ts there are ten thousand. */
const CROWD = 1_000;
const AT_ONCE = 100;

/** So many, a part at a time. */
async function inWaves(count: number, one: (index: number) => Promise<void>): Promise<void> {
  for (let first = 0; first < count; first += AT_ONCE) {
    await Promise.all(Array.from({ length: Math.min(AT_ONCE, count - first) }, (_, i) => one(first + i)));
  }
}

test('a thousand connects, each of which goes at once in its own way', { timeout: 30_000 }, async (t) => {
  const { attack, server, isServed, refusals } = await siege(t, {
    limits: { acceptRate: { perSecond: 1e6 }, perAddress: CROWD },
  });
  const ways: ((attacker: Attacker) => void)[] = [
    ({ socket }) => void socket.destroy(),
    (attacker) => attacker.reset(),
    ({ socket }) => void socket.end(),
    ({ socket }) => void socket.end('hello\n'),
    ({ socket }) => void socket.end('hel'),
  ];
  await inWaves(CROWD, async (index) => {
    const attacker = await attack({ from: `127.0.1.${index % 200}` });
    ways[index % ways.length]?.(attacker);
    if (index % AT_ONCE === 0) await isServed();
  });
  await until(() => server.sessionCount === 1 && server.metrics().openConnections === 1, 'all are gone');
  const { sessions, closed } = server.metrics();
  // Who resets before it is accepted never becomes a session.
  const gone = refusals.filter(({ reason }) => reason === 'PEER_GONE').length;
  assert.equal(refusals.length, gone);
  assert.ok(sessions - 1 + gone <= CROWD);
  assert.equal((closed.ENDED ?? 0) + (closed.RESET ?? 0), sessions - 1);
  assert.ok((closed.ENDED ?? 0) >= (CROWD * 3) / 5, `${closed.ENDED} have ended`);
  await isServed();
});

test('a thousand that stay, over the limit of connections', { timeout: 30_000 }, async (t) => {
  const { attack, attacked, refused, server, isServed } = await siege(t, {
    limits: { connections: 200, acceptRate: { perSecond: 1e6 } },
  });
  const attackers: Attacker[] = [];
  await inWaves(CROWD, async () => void attackers.push(await attack()));
  await refused('TOO_MANY_CONNECTIONS', CROWD - 199);
  assert.equal(attacked.length, 199);
  await until(() => attackers.filter(({ events }) => events.includes('close')).length === CROWD - 199, 'all were told');
  assert.ok(
    attackers.every(({ events }) => events.length === 0 || events[0] === 'reset'),
    'by a reset',
  );
  for (const { socket } of attackers) socket.destroy();
  await until(() => server.sessionCount === 1, 'room again');
  const late = await attack();
  late.says('hello\n');
  await late.has('hello\n');
  await isServed();
});

test('one address has its limit, and costs the others nothing', limit, async (t) => {
  const { attack, refused, attacked } = await siege(t, {
    limits: { perAddress: 5, acceptRate: { perSecond: 1, burst: 40 } },
    clock: new ManualClock(),
  });
  const tries: Attacker[] = [];
  for (let i = 0; i < 100; i++) tries.push(await attack({ from: '127.0.0.66' }));
  await refused('TOO_MANY_FROM_ADDRESS', 95);
  assert.equal(attacked.length, 5);
  for (const from of ['127.0.0.67', '127.0.0.68', '127.0.0.69']) {
    const other = await attack({ from });
    other.says(`hello from ${from}\n`);
    await other.has(`hello from ${from}\n`);
  }
  tries.find(({ events }) => events.length === 0)?.socket.destroy();
  await until(() => attacked.length === 8 && attacked.some(({ isWritable }) => !isWritable), 'one is gone');
  const next = await attack({ from: '127.0.0.66' });
  next.says('in its place\n');
  await next.has('in its place\n');
});

test('connects that come too fast are refused, until there is time for them', limit, async (t) => {
  const clock = new ManualClock();
  const { attack, refused, attacked } = await siege(t, {
    limits: { acceptRate: { perSecond: 10, burst: 21 } },
    clock,
  });
  for (let i = 0; i < 50; i++) await attack();
  await refused('ACCEPT_RATE', 30);
  assert.equal(attacked.length, 20);
  clock.advance(500);
  for (let i = 0; i < 10; i++) await attack();
  await refused('ACCEPT_RATE', 5);
  assert.equal(attacked.length, 25);
});

test('a server that drains is not held up by those who still come, or stay', limit, async (t) => {
  const clock = new ManualClock();
  const besieged = await siege(t, { clock, limits: { acceptRate: { perSecond: 1e6 } } });
  const { server, attacked, bystander } = besieged;
  const stubborn = await Promise.all(Array.from({ length: 50 }, () => besieged.attack()));
  await until(() => attacked.length === 50, '50 sessions');
  let isOver = false;
  const drained = server.drain({ deadlineMs: 3_000, goodbye: 'bye', graceMs: 0 }).finally(() => {
    isOver = true;
  });
  const churn = async (): Promise<number> => {
    let tries = 0;
    for (; !isOver && tries < 500; tries++) {
      const attacker = await attack(t, besieged.port);
      attacker.socket.destroy();
    }
    return tries;
  };
  const churning = [churn(), churn(), churn()];
  assert.equal(await bystander.receive(), 'bye');
  assert.equal(await bystander.receive(), undefined);
  await until(() => server.sessionCount === 50, 'the bystander has ended');
  await Promise.all(stubborn.map((attacker) => attacker.has('bye\n')));
  for (let second = 0; second < 4; second++) {
    await until(() => stubborn.every(({ events }) => events.length > 0), 'all were told the end');
    clock.advance(1_000);
  }
  const { closed, cut } = await within(drained, 'drained by the deadline');
  await Promise.all(churning);
  assert.equal(cut.length, 50, 'those who do not end are cut');
  assert.equal(closed, 1, 'the bystander ended of its own');
  assert.equal(server.metrics().closed.DRAIN_DEADLINE, 50);
  assert.ok(cut.every(({ wasBusy, unsentBytes }) => !wasBusy && unsentBytes === 0));
  assert.equal(server.metrics().openConnections, 0);
});

test('a full descriptor table: those who are in are served, and the others later', limit, async (t) => {
  const child = run(
    t,
    `import { serve } from 'millrace/session';
    import { lines } from 'millrace/framing';
    const server = await serve({ port: 0, host: '127.0.0.1', codec: lines().utf8(), limits: { acceptRate: { perSecond: 1e6 } } },
      async (session) => { for await (const line of session) await session.send(line); });
    say(String(server.port));
    heard((text) => { if (text === 'count') say(String(server.sessionCount)); else process.exit(0); });`,
    { maxDescriptors: 128 }, // Node.js opens all modules at once
  );
  const port = Number(await child.line());
  const first = await attack(t as Stage, port);
  const asks = async (attacker: Attacker, text: string): Promise<void> => {
    attacker.says(`${text}\n`);
    await attacker.has(`${text}\n`);
  };
  await asks(first, 'one');
  const crowd = await Promise.all(Array.from({ length: 220 }, () => attack(t, port)));
  await asks(first, 'two');
  child.say('count');
  assert.ok(Number(await child.line()) < 128);
  for (const { socket } of crowd) socket.destroy();
  await asks(first, 'three');
  await asks(await attack(t, port), 'four');
  child.say('stop');
  assert.equal((await child.exit).code, 0);
});
