/** Peers that never read, read a little, or reset while bytes are on their way. */
import assert from 'node:assert/strict';
import test from 'node:test';
import { lines } from 'millrace/framing';
import { MemoryBudget, type SendStatus, type Session, type SessionError } from 'millrace/session';
import { ManualClock } from '../session/support/clock.ts';
import { run } from '../support/child.ts';
import { leakGuard, limit, settled, turns, until } from '../support/net.ts';
import { type Attacker, attack, siege } from './support/siege.ts';

await leakGuard();

const KB = 1024;
const MB = 1024 * KB;

test('fifty that never read: each costs its high mark, and the others go on', limit, async (t) => {
  const memory = new MemoryBudget(64 * MB);
  const message = 'x'.repeat(10_000);
  let sent = 0;
  const { attack, attacked, isServed, server } = await siege(t, { limits: { memory } }, async (session) => {
    for (;;) {
      await session.send(message);
      sent++;
    }
  });
  const attackers = await Promise.all(Array.from({ length: 50 }, () => attack({ reads: false })));
  await until(() => attacked.length === 50, 'all are in');
  await settled(() => sent, 200);
  await isServed();
  for (const session of attacked) {
    assert.ok(session.bufferedBytes > 0 && session.bufferedBytes < 64 * KB + 10_001, `${session.bufferedBytes}`);
  }
  assert.ok(memory.heldBytes < 51 * 75 * KB, `${memory.heldBytes} bytes are held`);
  assert.equal(server.metrics().bufferedBytes, memory.heldBytes);
  for (const attacker of attackers) attacker.reset();
  await until(() => server.sessionCount === 1, 'all are gone');
  assert.equal(memory.heldBytes, 0);
  assert.deepEqual(server.metrics().closed, { RESET: 50 });
  await isServed();
});

for (const [onOverflow, status] of [
  ['close', 'dropped'],
  ['dropNewest', 'dropped'],
  ['dropOldest', 'queued'],
] as const) {
  test(`at the cap of one that never reads: ${onOverflow}`, limit, async (t) => {
    const { attack, attacked, isServed, ends, reasons } = await siege(
      t,
      { limits: { writeBuffer: { maxBytes: MB, onOverflow } } },
      (session) => session.closed as Promise<unknown> as Promise<void>,
    );
    const attacker = await attack({ reads: false });
    await until(() => attacked.length === 1, 'a session');
    const session = attacked[0] as Session<string>;
    let last: SendStatus = 'sent';
    for (let i = 0; i < 20_000 && session.isWritable; i++) {
      last = session.trySend(`${i} ${'x'.repeat(1_000)}`);
      assert.ok(session.bufferedBytes <= MB);
      if (i % 1_000 === 0) await turns(1);
    }
    assert.equal(last, status);
    await isServed();
    if (onOverflow === 'close') {
      await ends('WRITE_OVERFLOW');
      assert.equal(reasons[0]?.limit, MB);
      assert.ok((reasons[0]?.unsentBytes ?? 0) > 0);
      return;
    }
    assert.ok(session.framesDropped > 10_000, `${session.framesDropped} were dropped`);
    // It reads after all: what it gets is whole messages, in order.
    let bytes = '';
    attacker.socket.on('data', (chunk) => (bytes += String(chunk))).resume();
    session.end();
    await until(() => attacker.events.includes('end'), 'the end');
    attacker.socket.end();
    const numbers = bytes
      .trimEnd()
      .split('\n')
      .map((line) => Number(/^(\d+) x{1000}$/.exec(line)?.[1]));
    assert.ok(
      numbers.every((number, i) => i === 0 || number > (numbers[i - 1] as number)),
      'in order',
    );
    assert.equal(numbers.length, 20_000 - session.framesDropped);
    if (onOverflow === 'dropOldest') assert.equal(numbers.at(-1), 19_999);
    else assert.equal(numbers[0], 0);
    await ends('ENDED');
  });
}

// A sanitizer keeps what was freed for a while.
const isSanitized = process.env['LD_PRELOAD']?.includes('asan') === true;
const bounded = { timeout: 30_000, skip: isSanitized };

test('the memory of the process stays bounded, whatever small messages wait', bounded, async (t) => {
  const child = run(
    t,
    `import { serve } from 'millrace/session';
    import { lines } from 'millrace/framing';
    import { setImmediate as turn } from 'node:timers/promises';
    const statuses = {};
    const server = await serve({ port: 0, host: '127.0.0.1', codec: lines().utf8(), limits: { writeBuffer: { onOverflow: 'dropNewest' } } },
      async (session) => {
        for await (const line of session) {
          if (line !== 'flood') { await session.send(line); continue; }
          for (let i = 0; i < 100_000; i++) { session.trySend('ab'); if (i % 5_000 === 0) await turn(); }
          say('flooded ' + process.memoryUsage().rss);
        }
      });
    say(String(server.port));
    const start = process.memoryUsage().rss;
    heard((text) => { if (text === 'rss') say(String(process.memoryUsage().rss - start)); else process.exit(0); });`,
  );
  const port = Number(await child.line());
  const attackers: Attacker[] = [];
  for (let i = 0; i < 3; i++) attackers.push(await attack(t, port, { reads: false }));
  const bystander = await attack(t, port);
  // 100,000 more than the kernel takes, for each: the first few rounds fill its buffers.
  for (let round = 0; round < 10; round++) {
    for (const attacker of attackers) {
      attacker.says('flood\n');
      await child.line();
    }
    bystander.says(`${round}\n`);
    await bystander.has(`${round}\n`);
  }
  child.say('rss');
  const grown = Number(await child.line());
  assert.ok(grown < 150 * MB, `${Math.round(grown / MB)} MB more`);
});

test('when the memory of all is spent, those who hold most go first', limit, async (t) => {
  const memory = new MemoryBudget(4 * MB);
  const { attack, attacked, isServed, server, reasons } = await siege(
    t,
    { limits: { memory, writeBuffer: { maxBytes: 3 * MB } } },
    (session) => session.closed as Promise<unknown> as Promise<void>,
  );
  await Promise.all(Array.from({ length: 8 }, () => attack({ reads: false })));
  await until(() => attacked.length === 8, 'all are in');
  // The last hoards least, so it stays longest.
  for (let round = 0; round < 4_000 && reasons.length < 4; round++) {
    for (const [i, session] of attacked.entries()) session.trySend('x'.repeat(10_000 - 1_000 * i));
    assert.ok(memory.heldBytes <= 4 * MB + (4 * MB) / 64 + 80_000, `${memory.heldBytes} bytes are held`);
    if (round % 10 === 0) await turns(1);
  }
  assert.equal(reasons.length, 4);
  assert.deepEqual(server.metrics().closed, { MEMORY_BUDGET: 4 });
  assert.equal(reasons[0]?.limit, 4 * MB);
  await isServed();
});

test('messages that nobody takes stop their sender, and have a bound', limit, async (t) => {
  const memory = new MemoryBudget(64 * MB);
  // A handler that never takes anything, and never returns.
  const { attack, attacked, isServed, server } = await siege(t, { limits: { memory } }, () => new Promise(() => {}));
  const attackers = await Promise.all(Array.from({ length: 20 }, () => attack()));
  const flood = Buffer.alloc(64 * KB, 'x\n');
  await until(() => attacked.length === 20, 'all are in');
  for (let round = 0; round < 200; round++) {
    for (const { socket } of attackers) if (socket.writableLength === 0) socket.write(flood);
    await turns(1);
  }
  for (const session of attacked) assert.ok(session.unreadFrames <= 256, `${session.unreadFrames} messages wait`);
  assert.ok(memory.heldBytes < 20 * 300 * KB, `${memory.heldBytes} bytes are held`);
  await isServed();
  // A handler that never returns does not hold up the end of the server.
  for (const attacker of attackers) attacker.reset();
  const cut = await server.drain({ deadlineMs: 300 });
  assert.ok(cut.cut.length <= 20);
  assert.equal(server.metrics().openConnections, 0);
  assert.equal(memory.heldBytes, 0);
});

test('a peer that takes a little now and then lives, within its bound, until the drain', limit, async (t) => {
  const clock = new ManualClock();
  const { attack, attacked, isServed, server, reasons } = await siege(
    t,
    { clock, limits: { writeMs: 5_000 } },
    async (session) => {
      for (;;) await session.send('x'.repeat(10_000));
    },
  );
  const attacker = await attack({ reads: false });
  await until(() => attacked.length === 1, 'a session');
  const session = attacked[0] as Session<string>;
  await settled(() => session.bytesWritten, 100);
  for (let second = 0; second < 12; second++) {
    const before = session.bytesWritten;
    // As little as makes the kernel take more.
    await until(() => {
      attacker.socket.read(64 * KB);
      return session.bytesWritten > before;
    }, 'some are taken');
    clock.advance(1_000);
    await isServed();
    assert.ok(session.bufferedBytes < 75 * KB);
  }
  assert.equal(reasons.length, 0);
  const drained = server.drain({ deadlineMs: 2_000 });
  await turns(5);
  clock.advance(2_000);
  assert.equal((await drained).cut.length, 1);
  assert.ok((reasons.find((each) => each.reason === 'DRAIN_DEADLINE')?.unsentBytes ?? 0) > 0);
});

test('resets while a message is under way: its send is told once, and nothing is left', limit, async (t) => {
  const outcomes: string[] = [];
  let settledTwice = 0;
  const codec = lines({ maxFrameBytes: 32 * MB }).utf8();
  const { attack, isServed, server, reasons } = await siege(t, { codec }, async (session) => {
    for await (const _ of session) {
      let isSettled = false;
      const once = (what: string): void => {
        if (isSettled) settledTwice++;
        isSettled = true;
        outcomes.push(what);
      };
      session.send('x'.repeat(32 * MB)).then(
        () => once('sent'),
        (error: SessionError) => once(error.code),
      );
    }
  });
  // More than the kernel's buffers of both sides take.
  for (let round = 0; round < 8; round++) {
    const attacker = await attack({ reads: round % 2 === 0 });
    attacker.says('go\n');
    if (round % 2 === 0) await until(() => attacker.received().length > 100 * round, 'some of it');
    else await until(() => outcomes.length + server.sessionCount > 1, 'under way');
    attacker.reset();
    await until(() => server.sessionCount === 1, 'the session is over');
  }
  await until(() => reasons.length === 8, 'all are over');
  assert.deepEqual([...new Set(reasons.map(({ reason }) => reason))], ['RESET']);
  assert.ok(
    outcomes.every((outcome) => outcome === 'MILLRACE_ERR_RESET'),
    JSON.stringify(outcomes),
  );
  assert.equal(settledTwice, 0);
  await isServed();
});
