import assert from 'node:assert/strict';
import test from 'node:test';
import { MemoryBudget, processMemory, type Session } from 'millrace/session';
import { leakGuard } from '../support/net.ts';
import { limit, raw, serving, settled, until } from './support/serving.ts';

await leakGuard();

test('the fattest goes first, until the budget is kept', () => {
  const budget = new MemoryBudget(1_000);
  const gone: string[] = [];
  const holder = (name: string, bytes: number) => ({
    bytes,
    footprint() {
      return this.bytes;
    },
    evict(budgetBytes: number) {
      assert.equal(budgetBytes, 1_000);
      gone.push(name);
      this.bytes = 0;
    },
  });
  const all = [holder('small', 100), holder('fat', 400), holder('fatter', 450)];
  for (const each of all) budget.add(each);
  assert.equal(budget.heldBytes, 950);
  budget.pass(1_000);
  assert.deepEqual(gone, []);
  budget.pass(1);
  assert.deepEqual(gone, [], '950 are within the budget');
  (all[0] as { bytes: number }).bytes = 600;
  budget.pass(51);
  assert.deepEqual(gone, ['small'], 'what was small is the fattest now');
  (all[0] as { bytes: number }).bytes = 600;
  budget.maxBytes = 1_000;
  assert.deepEqual(gone, ['small', 'small']);
  for (const each of all) budget.delete(each);
  assert.equal(budget.heldBytes, 0);
});

test('it is measured again when a 64th has passed, not for each message', () => {
  const budget = new MemoryBudget(6_400);
  let measured = 0;
  budget.add({
    footprint() {
      measured++;
      return 6_400;
    },
    evict: () => assert.fail('the budget is kept'),
  });
  for (let i = 0; i < 6_401; i++) budget.pass(1);
  assert.equal(measured, 1);
  for (let i = 0; i < 1_010; i++) budget.pass(1);
  assert.equal(measured, 11);
});

test('a budget makes sense', () => {
  for (const bytes of [0, -1, Number.NaN, '5' as never]) {
    assert.throws(() => new MemoryBudget(bytes), { code: 'MILLRACE_ERR_BAD_OPTION' });
    assert.throws(() => (processMemory.maxBytes = bytes), { code: 'MILLRACE_ERR_BAD_OPTION' });
  }
  assert.equal(processMemory.maxBytes, 512 * 1024 * 1024);
});

test('the session that holds most is closed, and the others live on', limit, async (t) => {
  const serves = await serving(
    t,
    async (session) => {
      if ((await session.receive()) === 'flood') {
        while (session.isWritable) await Promise.race([session.send('x'.repeat(50_000)), session.closed]);
      }
      for await (const message of session) await session.send(message);
    },
    { limits: { memory: 200_000, writeBuffer: { highBytes: 400_000 } } },
  );
  const modest = await raw(t, serves);
  modest.socket.write('hello\none\n');
  await modest.has('one\n');
  const fat = await raw(t, serves, { reads: false });
  fat.socket.pause();
  fat.socket.write('flood\n');
  const reason = await serves.closed();
  assert.deepEqual([reason.reason, reason.limit], ['MEMORY_BUDGET', 200_000]);
  assert.ok(reason.unsentBytes > 100_000, `${reason.unsentBytes}`);
  modest.socket.write('two\n');
  await modest.has('two\n');
  assert.equal(serves.server.metrics().closed.MEMORY_BUDGET, 1);
  assert.deepEqual(serves.errors, []);
});

test('messages nobody reads count, too', limit, async (t) => {
  const serves = await serving(t, async (session) => void (await session.closed), {
    limits: { memory: 100_000, readBuffer: { highBytes: 1_000_000, highFrames: 1_000_000 } },
  });
  const peer = await raw(t, serves);
  peer.socket.write('123456789\n'.repeat(20_000));
  await until(() => serves.reasons.length === 1, 'closed');
  assert.equal(serves.reasons[0]?.reason, 'MEMORY_BUDGET');
  await settled(() => serves.sessions[0]?.unreadFrames ?? 0, 5);
  assert.equal(serves.sessions[0]?.unreadFrames, 0);
});

test('work under way counts, and no longer when it is over', limit, async (t) => {
  const budget = new MemoryBudget(1_000_000);
  const serves = await serving(t, async (session) => void (await session.closed), { limits: { memory: budget } });
  const [modest, busy] = [await raw(t, serves), await raw(t, serves)];
  await until(() => serves.sessions.length === 2, 'two sessions');
  const [one, other] = serves.sessions as [Session<string>, Session<string>];
  const holds = Array.from({ length: 100 }, () => one.hold());
  assert.equal(budget.heldBytes, 100 * 4096);
  for (const hold of holds.slice(10)) hold.release();
  assert.equal(budget.heldBytes, 10 * 4096);
  for (let i = 0; i < 300; i++) other.hold();
  assert.equal((await serves.closed()).reason, 'MEMORY_BUDGET');
  await until(() => busy.events.includes('close'), 'the busy one is closed');
  assert.deepEqual([modest.events, one.isWritable, budget.heldBytes], [[], true, 10 * 4096]);
});
