import assert from 'node:assert/strict';
import test from 'node:test';
import { leakGuard } from '../support/net.ts';
import { anyPort, type Client, connect, needsOurs, reach, TestedGroup } from './support/group.ts';

await leakGuard();

test('least connections: each worker gets the same number', needsOurs, async (t) => {
  const data = { listen: [anyPort] };
  const group = await TestedGroup.start(t, { kind: 'threads', workers: 3, balance: 'least-connections', data });
  const [port] = (await group.ports(3)) as [number];
  const counts = [0, 0, 0];
  const clients = await Promise.all(Array.from({ length: 60 }, () => reach(t, port)));
  for (const { slot } of clients) counts[slot] = (counts[slot] as number) + 1;
  assert.deepEqual(counts, [20, 20, 20]);
  await group.close();
});

test('a worker with no room passes connections on, and nobody is dropped', needsOurs, async (t) => {
  const data = { listen: [anyPort], maxConnections: 3 };
  const group = await TestedGroup.start(t, { balance: 'least-connections', data });
  const [port] = (await group.ports()) as [number];
  const clients = await Promise.all(Array.from({ length: 6 }, () => reach(t, port)));
  const waiting = await connect(t, port);
  const greeting = waiting.line();
  const [leaving] = clients as [Client];
  leaving.socket.end();
  waiting.learn(await greeting); // as soon as one has room
  assert.equal(waiting.slot, leaving.slot);
  await group.close();
});

test('a worker without a descriptor left loses who comes, and is handed connections again', needsOurs, async (t) => {
  const data = { listen: [anyPort] };
  const group = await TestedGroup.start(t, { workers: 1, balance: 'least-connections', maxDescriptors: 256, data });
  const [port] = (await group.ports(1)) as [number];
  const first = await reach(t, port);
  assert.equal(await first.ask('fill'), 'done');
  assert.equal(await (await connect(t, port)).line(), undefined);
  assert.equal(await first.ask('free'), 'done');
  assert.equal((await reach(t, port)).who, first.who);
  await group.close();
});

test('many long heads at once reach the worker', needsOurs, async (t) => {
  const data = { listen: [anyPort], isSilent: true };
  const group = await TestedGroup.start(t, { workers: 1, keyLength: 65_536, data });
  const [port] = (await group.ports(1)) as [number];
  const clients = await Promise.all(Array.from({ length: 260 }, () => connect(t, port)));
  const text = 'x'.repeat(60_000);
  const write = (what: string) =>
    Promise.all(clients.map(({ socket }) => new Promise((resolve) => socket.write(what, resolve))));
  await write(text);
  // The ends of all keys come in one turn of the primary.
  process.kill(group.child.process.pid as number, 'SIGSTOP');
  await write('\n');
  process.kill(group.child.process.pid as number, 'SIGCONT');
  for (const client of clients) assert.equal(await client.line(), text);
  for (const { socket } of clients) socket.destroy();
  // And there is room again.
  assert.equal(await (await connect(t, port)).ask('hello'), 'hello');
  await group.close();
});

for (const kind of ['processes', 'threads'] as const) {
  test(`by key: the same one reaches the same worker, also when another has died: ${kind}`, needsOurs, async (t) => {
    const data = { listen: [anyPort], isSilent: true };
    const group = await TestedGroup.start(t, { kind, workers: 3, keyLength: 64, data });
    const [port] = (await group.ports(3)) as [number];
    /** Its first line in two pieces, and a question behind it. */
    const device = async (key: string): Promise<Client> => {
      const client = await connect(t, port);
      client.socket.setNoDelay(true).write(key.slice(0, 3));
      client.socket.write(`${key.slice(3)}\nwho\n`);
      assert.equal(await client.line(), key);
      return client.greeted();
    };
    const keys = Array.from({ length: 20 }, (_, i) => `device-${i}`);
    const homes = new Map<string, Client>();
    for (const key of keys) homes.set(key, await device(key));
    for (const key of keys) assert.equal((await device(key)).slot, homes.get(key)?.slot);
    assert.equal(new Set([...homes.values()].map(({ slot }) => slot)).size, 3);

    (homes.get('device-0') as Client).socket.write('crash\n');
    const { worker } = await group.next('exit');
    await group.next(({ is, worker }) => is === 'online' && worker.id === 4);
    for (const [key, { slot, who }] of homes) {
      const now = await device(key);
      assert.equal(now.slot, slot, key);
      assert.equal(now.who === who, slot !== worker.slot);
    }

    // Without a key within its bytes, a connection reaches anybody, whole.
    const text = 'x'.repeat(100_000);
    assert.equal(await (await connect(t, port)).ask(text), text);
    const ended = await connect(t, port);
    ended.socket.end('no key'); // and its end is told as well
    assert.equal(await ended.line(), undefined);
    assert.equal(ended.hasFailed, undefined);
    await group.close();
  });
}
