/** The direct tier, which has no limits but those it is given: each `open` has its `close`, and what waits has its cap. */
import assert from 'node:assert/strict';
import test from 'node:test';
import { type CloseReason, type Connection, type ListenOptions, listen, type Server } from 'millrace/direct';
import { leakGuard, limit, type Stage, settled, turns, until, within } from '../support/net.ts';
import { type Attacker, type AttackOptions, attack } from './support/siege.ts';

await leakGuard();

const MB = 1024 * 1024;

interface Echo {
  readonly server: Server;
  readonly connections: Connection[];
  readonly reasons: CloseReason[];
  readonly counts: { opens: number; closes: number };
  attack(options?: AttackOptions): Promise<Attacker>;
  isServed(): Promise<void>;
}

/** An echo, and a bystander who is always answered. */
async function echo(t: Stage, options: ListenOptions = {}): Promise<Echo> {
  const connections: Connection[] = [];
  const reasons: CloseReason[] = [];
  const counts = { opens: 0, closes: 0 };
  const closed = new Set<Connection>();
  const server = await listen({
    ...{ port: 0, hostname: '127.0.0.1' },
    data: (c, view) => void c.write(view),
    error() {},
    ...options,
    open(c) {
      counts.opens++;
      if (c.remote?.address !== '127.0.0.99') connections.push(c);
      options.open?.(c);
    },
    close(c, reason) {
      counts.closes++;
      assert.ok(!closed.has(c), 'one close for each open');
      closed.add(c);
      reasons.push(reason);
    },
  });
  t.after(async () => {
    server.terminateAll();
    await within(server.close(), 'the end of the server');
    assert.equal(counts.opens, counts.closes);
  });
  const { port } = server;
  const bystander = await attack(t, port as number, { from: '127.0.0.99' });
  let asked = 0;
  const isServed = async (): Promise<void> => {
    bystander.says(`<${++asked}>`);
    await bystander.has(`<${asked}>`);
  };
  await isServed();
  return { server, connections, reasons, counts, isServed, attack: (how) => attack(t, port as number, how) };
}

for (const overflow of ['close', 'dropNewest', 'dropOldest'] as const) {
  test(`ten that never read what they send for: ${overflow}`, { timeout: 20_000 }, async (t) => {
    const { attack, connections, reasons, isServed } = await echo(t, { limits: { maxBufferedBytes: MB, overflow } });
    const attackers = await Promise.all(Array.from({ length: 10 }, () => attack({ reads: false })));
    const flood = Buffer.alloc(256 * 1024, 'x');
    const isLost = (): boolean =>
      overflow === 'close' ? reasons.length === 10 : connections.every(({ bufferedBytes }) => bufferedBytes > MB / 2);
    for (let round = 0; round < 2_000 && !isLost(); round++) {
      for (const { socket } of attackers) if (socket.writableLength === 0 && !socket.destroyed) socket.write(flood);
      await turns(1);
      for (const { bufferedBytes } of connections) assert.ok(bufferedBytes <= MB, `${bufferedBytes} bytes wait`);
      if (round % 50 === 0) await isServed();
    }
    assert.ok(isLost());
    if (overflow === 'close') {
      for (const reason of reasons) {
        assert.equal(reason.kind, 'overflow');
        assert.ok(reason.kind === 'overflow' && reason.limitBytes === MB && reason.bufferedBytes > MB);
      }
    } else assert.deepEqual(reasons, []);
    await isServed();
    for (const attacker of attackers) attacker.reset();
    await until(() => reasons.length === 10, 'all are closed');
    await isServed();
  });
}

test('bytes that nobody has a handler for are thrown away', limit, async (t) => {
  const { attack, connections } = await echo(t, {
    data: (c, view) => void (String(view).startsWith('<') && c.write(view)),
  });
  const attacker = await attack();
  const before = process.memoryUsage().external;
  for (let i = 0; i < 64; i++) {
    attacker.says(Buffer.alloc(MB, 'x'));
    await until(() => attacker.socket.writableLength === 0, 'written');
  }
  await until(() => connections[0]?.bytesRead === 64 * MB, 'received');
  assert.ok(process.memoryUsage().external - before < 48 * MB);
});

test('one that is paused sends no more than the kernel takes', limit, async (t) => {
  const { attack, connections, isServed } = await echo(t, {
    open: (c) => c.remote?.address !== '127.0.0.99' && c.pause(),
  });
  const attacker = await attack();
  attacker.says(Buffer.alloc(64 * MB));
  await settled(() => attacker.socket.bytesWritten, 100);
  assert.equal(connections[0]?.bytesRead, 0);
  await isServed();
  attacker.reset();
  connections[0]?.resume();
  await until(() => connections[0]?.isClosed === true, 'closed');
});

test('resets at every moment, a hundred times: as many closes as opens', limit, async (t) => {
  const { attack, counts, reasons, isServed, server } = await echo(t);
  for (let round = 0; round < 100; round++) {
    const attacker = await attack({ reads: round % 2 === 0 });
    if (round % 4 > 0) attacker.says(Buffer.alloc((round % 10) * 100_000, 'x'));
    await turns(round % 5);
    attacker.reset();
  }
  await until(() => server.connectionCount === 1, 'all are closed');
  assert.equal(counts.opens - counts.closes, 1);
  const kinds = new Set(reasons.map(({ kind }) => kind));
  // A peer that is reset before it is read may look like one that has ended.
  for (const kind of kinds) assert.ok(kind === 'reset' || kind === 'ended', kind);
  await isServed();
});

test('half an end, on either side, in every order', limit, async (t) => {
  for (const allowHalfOpen of [false, true]) {
    const { attack, reasons, connections, isServed } = await echo(t, { allowHalfOpen });
    const ending = await attack();
    ending.socket.end('last words');
    await ending.has('last words');
    if (allowHalfOpen) {
      assert.deepEqual(ending.events, []);
      connections[0]?.end('still here');
      await ending.has('still here');
    }
    assert.equal(await ending.out(), 'end');
    await until(() => reasons.length === 1, 'closed');
    assert.deepEqual(reasons[0], { kind: 'ended' });
    const listening = await attack();
    await until(() => connections.length === 2, 'open');
    connections[1]?.end('bye');
    assert.equal(await listening.out(), 'end');
    listening.says('and I go on');
    await until(() => connections[1]?.bytesRead === 11, 'still heard');
    assert.equal(connections[1]?.write('no'), 'dropped');
    listening.socket.end();
    await until(() => reasons.length === 2, 'closed');
    assert.deepEqual(reasons[1], { kind: 'ended' });
    await isServed();
  }
});

test('connections over the limit are closed at once, and never told of', { timeout: 30_000 }, async (t) => {
  const { attack, counts, isServed, server } = await echo(t, { maxConnections: 100 });
  const attackers: Attacker[] = [];
  for (let wave = 0; wave < 10; wave++) {
    attackers.push(...(await Promise.all(Array.from({ length: 100 }, () => attack()))));
  }
  await until(() => attackers.filter(({ events }) => events.length > 0).length === 901, 'all were told');
  assert.equal(counts.opens, 100);
  assert.equal(server.connectionCount, 100);
  await isServed();
  for (const { socket } of attackers) socket.destroy();
  await until(() => server.connectionCount === 1, 'room again');
  const late = await attack();
  late.says('hello');
  await late.has('hello');
});
