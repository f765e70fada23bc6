import assert from 'node:assert/strict';
import { existsSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'node:test';
import { folder, leakGuard } from '../support/net.ts';
import { anyPort, type Client, kinds, limit, reach, reachAll, refused, TestedGroup } from './support/group.ts';

await leakGuard();

for (const kind of kinds) {
  test(`SIGTERM: what is in flight is answered, and nobody new is accepted: ${kind}`, limit, async (t) => {
    const group = await TestedGroup.start(t, { kind, drainMs: 60_000, data: { listen: [anyPort] } });
    const [port] = (await group.ports()) as [number];
    const clients = await reachAll(t, port);
    for (const client of clients) assert.equal(await client.ask('hold'), 'held');
    const [last] = clients as [Client];
    group.child.process.kill('SIGTERM');
    for (const client of clients) {
      assert.equal(await client.line(), 'done');
      if (client !== last) client.socket.end();
    }
    await refused(port); // while one connection still isn't closed
    last.socket.end();
    const { code, signal } = await group.child.exit;
    assert.deepEqual([code, signal], [0, null]);
  });
}

test('a drain ends at its deadline, and says who was cut', limit, async (t) => {
  const group = await TestedGroup.start(t, { drainMs: 300, data: { listen: [anyPort] } });
  const [port] = (await group.ports()) as [number];
  const [staying, leaving] = (await reachAll(t, port)) as [Client, Client];
  assert.equal(await leaving.ask('hold'), 'held');
  group.say('close');
  assert.equal(await leaving.line(), 'done');
  assert.equal(await leaving.line(), undefined);
  assert.equal(await staying.line(), undefined);
  const { drained } = await group.next('closed');
  // Others that are closed here may not have been yet, there.
  assert.ok(drained.closed + drained.cut >= 2 && drained.cut >= 1, JSON.stringify(drained));
  await group.child.exit;
});

test('a reload refuses nobody: new workers are ready before the old ones drain', limit, async (t) => {
  const group = await TestedGroup.start(t, { drainMs: 60_000, data: { listen: [anyPort] } });
  const [port] = (await group.ports()) as [number];
  const [old] = (await reachAll(t, port)) as [Client, Client];
  let isOver = false;
  const comeAndGo = async (): Promise<void> => {
    while (!isOver) {
      const client = await reach(t, port);
      assert.equal(await client.ask('there?'), 'there?');
      client.socket.destroy();
    }
  };
  const load = [comeAndGo(), comeAndGo()];
  group.say('reload');
  assert.equal((await group.next('reload'))['error'], undefined);
  for (let i = 0; i < 20; i++) {
    // An old one may have accepted it just before it was told.
    const client = await reach(t, port);
    assert.ok(client.generation === 0 || client.generation === 1);
    client.socket.destroy();
  }
  while ((await reach(t, port)).generation === 0);
  isOver = true;
  await Promise.all(load);
  assert.equal(await old.ask('there?'), 'there?'); // drained, and not cut
  old.socket.end();
  await group.next(({ is, worker, error }) => is === 'exit' && worker.slot === 0 && error === undefined);
  const { workers } = await group.info();
  assert.deepEqual(
    workers.map(({ generation, state }: Record<string, unknown>) => [generation, state]),
    [
      [1, 'ready'],
      [1, 'ready'],
    ],
  );
  group.child.process.kill('SIGKILL');
});

test('a reload with broken code leaves the old workers serving, and says why', limit, async (t) => {
  const brokenBy = join(await folder(t), 'broken');
  const group = await TestedGroup.start(t, { data: { listen: [anyPort], brokenBy } });
  const [port] = (await group.ports()) as [number];
  const clients = await reachAll(t, port);
  writeFileSync(brokenBy, 'does not even start');
  group.say('reload');
  const { error } = await group.next('reload');
  assert.deepEqual([error.message, error.code], ['does not even start', 'E_BROKEN']);
  for (const client of clients) assert.equal(await client.ask('there?'), 'there?');
  for (const client of await reachAll(t, port)) assert.equal(client.generation, 0);
  rmSync(brokenBy);
  assert.ok(!existsSync(brokenBy));
  group.child.process.kill('SIGHUP');
  assert.equal((await group.next('reload'))['error'], undefined);
  await group.close();
});
