/** Peers that take their time: a byte a second, heartbeats answered late, ends that are only half. */
import assert from 'node:assert/strict';
import test from 'node:test';
import { lengthPrefixed } from 'millrace/framing';
import type { ClosingReason, ServerLimits } from 'millrace/session';
import { ManualClock } from '../session/support/clock.ts';
import { leakGuard, limit, type Stage, settled, turns, until } from '../support/net.ts';
import { type Attacker, type Siege, type SiegeOptions, siege } from './support/siege.ts';

await leakGuard();

/** As short as they may be told apart; the bystander speaks once a second. */
const short: ServerLimits = { firstByteMs: 4_000, handshakeMs: 8_000, frameMs: 5_000, idleMs: 20_000, lingerMs: 3_000 };

interface Slow extends Siege<string, string> {
  readonly clock: ManualClock;
  /** Seconds pass, in each of which the attacker does something, until its session is over. @returns how many */
  secondsUntil(reason: ClosingReason, act?: (second: number) => void): Promise<number>;
}

async function slowly(
  t: Stage,
  limits: ServerLimits,
  options: SiegeOptions<string, string> = {},
  handler?: Parameters<typeof siege<string, string>>[2],
): Promise<Slow> {
  const clock = new ManualClock();
  const besieged = await siege<string>(t, { clock, limits, ...options }, handler);
  return Object.assign(besieged, {
    clock,
    async secondsUntil(reason: ClosingReason, act?: (second: number) => void) {
      const count = besieged.reasons.length;
      for (let second = 1; second <= 100; second++) {
        act?.(second);
        await turns(3);
        clock.advance(1_000);
        await besieged.isServed();
        if (besieged.reasons.length === count) continue;
        await besieged.ends(reason);
        return second;
      }
      throw new Error('100 seconds were not enough');
    },
  });
}

const silent = (): void => {};

for (const [what, limits, act, reason, seconds] of [
  ['says nothing', short, () => silent, 'FIRST_BYTE_TIMEOUT', 4],
  ['begins a first frame, a byte a second', short, (a: Attacker) => () => a.says('x'), 'FRAME_TIMEOUT', 6],
  [
    'never ends its first frame, with a limit for the handshake alone',
    { ...short, frameMs: 0 },
    (a: Attacker) => () => a.says('x'),
    'HANDSHAKE_TIMEOUT',
    8,
  ],
  [
    'sends a frame, then a byte a second',
    short,
    (a: Attacker) => (second: number) => a.says(second === 1 ? 'hello\nx' : 'x'),
    'FRAME_TIMEOUT',
    5,
  ],
  [
    'sends bytes just too slowly',
    { ...short, frameMs: 0, handshakeMs: 0, minRate: { bytesPerSecond: 100, graceMs: 3_000 } },
    (a: Attacker) => () => a.says('x'.repeat(90)),
    'SLOW_PEER',
    4,
  ],
  [
    'says hello, and no more',
    short,
    (a: Attacker) => (second: number) => (second === 1 ? a.says('hello\n') : undefined),
    'IDLE_TIMEOUT',
    21,
  ],
] as const) {
  test(`a peer that ${what}`, limit, async (t) => {
    const slow = await slowly(t, limits);
    const attacker = await slow.attack();
    await until(() => slow.attacked.length === 1, 'a session');
    const took = await slow.secondsUntil(reason as ClosingReason, act(attacker));
    assert.ok(Math.abs(took - seconds) <= 1, `${took} s instead of about ${seconds}`);
    assert.equal(await attacker.out(), 'reset');
    assert.equal(slow.reasons.at(-1)?.unsentBytes, 0);
  });
}

test('a hundred of them at once, each with its own reason', limit, async (t) => {
  const slow = await slowly(t, short);
  const attackers = await Promise.all(Array.from({ length: 100 }, () => slow.attack()));
  await until(() => slow.attacked.length === 100, '100 sessions');
  const acts = [silent, (a: Attacker) => a.says('x'), (a: Attacker) => a.says('hello\n')] as const;
  for (let second = 0; second < 10; second++) {
    attackers.forEach((attacker, i) => {
      if (attacker.events.length === 0) acts[i % 3]?.(attacker);
    });
    await turns(3);
    slow.clock.advance(1_000);
    await slow.isServed();
  }
  const { closed } = slow.server.metrics();
  assert.deepEqual(closed, { FIRST_BYTE_TIMEOUT: 34, FRAME_TIMEOUT: 33 });
  assert.equal(slow.server.sessionCount, 1 + 33, 'who speaks stays');
});

// ---------------------------------------------------------------------------------------------------------- heartbeats

test('a heartbeat that is answered late', limit, async (t) => {
  const heartbeat = {
    intervalMs: 3_000,
    timeoutMs: 2_000,
    ping: 'ping',
    isPong: (message: string) => message === 'pong',
  };
  const slow = await slowly(t, {}, { heartbeat });
  const inTime = await slow.attack();
  await until(() => slow.attacked.length === 1, 'a session');
  let answered = 0;
  for (let second = 0; second < 20; second++) {
    const pings = inTime.received().split('ping\n').length - 1;
    for (; answered < pings; answered++) inTime.says('pong\n');
    await turns(3);
    slow.clock.advance(1_000);
    await slow.isServed();
  }
  assert.ok(answered >= 3, `${answered} answers`);
  assert.deepEqual(slow.reasons, []);
  const late = await slow.attack();
  await until(() => slow.attacked.length === 2, 'another session');
  // One that floods with answers nobody asked for is no better when it is asked.
  late.says('pong\n'.repeat(10_000));
  await until(() => slow.attacked[1]?.bytesRead === 50_000, 'received');
  assert.equal(slow.attacked[1]?.unreadFrames, 0);
  const seconds = await slow.secondsUntil('PEER_SILENT', () => {
    const pings = inTime.received().split('ping\n').length - 1;
    for (; answered < pings; answered++) inTime.says('pong\n');
  });
  assert.ok(seconds >= 4 && seconds <= 7, `${seconds} s`);
  assert.equal(late.received(), 'ping\n');
  assert.equal(await late.out(), 'reset');
  late.says('pong\n');
});

test('questions that come in a flood, from one who does not read, are not all answered', limit, async (t) => {
  const answer = (message: string): string | undefined => (message === 'ping' ? 'p'.repeat(1_000) : undefined);
  const { attack, attacked, isServed } = await slowly(
    t,
    {},
    {
      heartbeat: { intervalMs: 60_000, timeoutMs: 60_000, ping: 'ping', answer },
    },
  );
  const attacker = await attack({ reads: false });
  for (let same = 0, before = -1; same < 20; ) {
    attacker.says('ping\n'.repeat(1_000));
    await turns(5);
    const written = attacked[0]?.bytesWritten ?? 0;
    same = written === before && written > 0 ? same + 1 : 0;
    before = written;
  }
  const buffered = attacked[0]?.bufferedBytes ?? 0;
  assert.ok(buffered > 0 && buffered < 68 * 1024, `${buffered} bytes wait`);
  await isServed();
});

// -------------------------------------------------------------------------------------------------------- half an end

test('a peer that ends, and reads on', limit, async (t) => {
  const { attack, ends } = await slowly(t, short);
  const attacker = await attack();
  attacker.says('one\ntwo\n');
  attacker.socket.end();
  await attacker.has('one\ntwo\n');
  assert.equal(await attacker.out(), 'end');
  await ends('ENDED');
});

test('a peer that ends at once', limit, async (t) => {
  const { attack, ends } = await slowly(t, short);
  const attacker = await attack();
  attacker.socket.end();
  assert.equal(await attacker.out(), 'end');
  await ends('ENDED');
});

test('a peer that ends within a frame', limit, async (t) => {
  const { attack, ends, attacked } = await slowly(t, short, { codec: lengthPrefixed().utf8() });
  const attacker = await attack();
  attacker.says('\0\0\0\x02');
  await until(() => attacked[0]?.bytesRead === 4, 'received');
  attacker.socket.end();
  assert.equal(await attacker.out(), 'reset');
  await ends('TRUNCATED');
});

test('a peer that does not end after us is cut, whatever it still sends', limit, async (t) => {
  const slow = await slowly(t, short, {}, async (session) => void (await session.receive()));
  const attacker = await slow.attack();
  attacker.says('one\n');
  assert.equal(await attacker.out(), 'end');
  const seconds = await slow.secondsUntil('LINGER_TIMEOUT', () => attacker.says('more\n'.repeat(10_000)));
  assert.ok(seconds >= 3 && seconds <= 5, `${seconds} s`);
  // Whoever was told the end finds out when it writes.
  await until(() => {
    attacker.says('x');
    return attacker.events.includes('reset');
  }, 'reset');
});

test('a peer that ends, while our answer is under way, and never reads it', limit, async (t) => {
  const slow = await slowly(t, { ...short, writeMs: 6_000 }, {}, async (session) => {
    for await (const _ of session) await session.send('x'.repeat(1024 * 1024));
  });
  const attacker = await slow.attack({ reads: false });
  attacker.says('more\n'.repeat(20));
  attacker.socket.end();
  await until(() => (slow.attacked[0]?.bufferedBytes ?? 0) > 0, 'the pipe is full');
  await settled(() => slow.attacked[0]?.bytesWritten ?? 0, 100);
  // The kernel's buffers may still grow: then it is later, never earlier.
  const seconds = await slow.secondsUntil('PEER_NOT_READING');
  assert.ok(seconds >= 6, `${seconds} s`);
  assert.ok((slow.reasons.at(-1)?.unsentBytes ?? 0) > 0);
});

test('ends and resets in every order, a hundred times', limit, async (t) => {
  const { attack, server, isServed } = await slowly(t, short);
  const orders: ((attacker: Attacker) => void)[] = [
    ({ socket }) => void socket.end(),
    ({ socket }) => void socket.end('x\n'),
    ({ socket }) => void socket.destroy(),
    (attacker) => attacker.reset(),
    ({ socket }) => void socket.end('x\n').destroy(),
    (attacker) => {
      attacker.says('x\nhalf');
      attacker.socket.end(() => attacker.reset());
    },
  ];
  for (let round = 0; round < 100; round += orders.length) {
    await Promise.all(orders.map(async (order) => order(await attack())));
  }
  await until(() => server.sessionCount === 1, 'only the bystander is left');
  const { closed, sessions } = server.metrics();
  const known = (closed.ENDED ?? 0) + (closed.RESET ?? 0);
  assert.equal(
    Object.keys(closed).filter((reason) => !['ENDED', 'RESET'].includes(reason)).length,
    0,
    JSON.stringify(closed),
  );
  assert.equal(known, sessions - 1);
  await isServed();
});
