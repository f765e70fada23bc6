import assert from 'node:assert/strict';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import nodeNet from 'node:net';
import { join } from 'node:path';
import test from 'node:test';
import { folder, leakGuard } from '../support/net.ts';
import { anyPort, Client, kinds, limit, needsOurs, reach, reachAll, refused, TestedGroup } from './support/group.ts';

await leakGuard();

/** On engine `node` a connection that is on its way to a worker that dies is forgotten by node:cluster, and hangs. */
test('a worker that is killed under load loses only its own connections, and is replaced', needsOurs, async (t) => {
  const group = await TestedGroup.start(t, { data: { listen: [anyPort] } });
  const [port] = (await group.ports()) as [number];
  await group.next('online');
  await group.next('online');
  const [first, second] = (await reachAll(t, port)) as [Client, Client];

  // Clients come all the time, and each wants an answer.
  let isOver = false;
  let served = 0;
  const lost: (number | undefined)[] = [];
  const comeAndGo = async (): Promise<void> => {
    while (!isOver) {
      const socket = nodeNet.connect({ port, host: '127.0.0.1' });
      await once(socket, 'connect'); // refused: the test fails
      const client = new Client(t, socket);
      const greeting = await client.line();
      if (greeting !== undefined) client.learn(greeting);
      if (greeting === undefined || (await client.ask('there?')) !== 'there?')
        lost.push(greeting === undefined ? undefined : client.pid);
      else served++;
      socket.destroy();
    }
  };
  const load = [comeAndGo(), comeAndGo(), comeAndGo()];
  const until = async (count: number): Promise<void> => {
    for (const enough = served + count; served < enough; ) assert.ok(await (await reach(t, port)).ask('more'));
  };
  await until(20);
  process.kill(first.pid, 'SIGKILL');
  const { worker, signal } = await group.next('exit');
  assert.deepEqual([worker.slot, signal], [0, 'SIGKILL']);
  assert.equal((await group.next('online'))['worker'].slot, 0);
  await until(20);
  isOver = true;
  await Promise.all(load);

  // Whoever had no greeting yet was on the way to it; nobody else's connection was touched.
  assert.deepEqual(
    lost.filter((pid) => pid !== undefined && pid !== first.pid),
    [],
  );
  assert.ok(lost.length <= 3, `${lost.length} connections were lost to one worker of whom each client had one at most`);
  assert.equal(await first.ask('there?'), undefined);
  assert.equal(await second.ask('there?'), 'there?');
  const [replaced] = (await reachAll(t, port)) as [Client, Client];
  assert.notEqual(replaced.pid, first.pid);
  const { workers } = await group.info();
  assert.deepEqual(
    workers.map((each: { restarts: number }) => each.restarts),
    [1, 0],
  );
  await group.close();
});

for (const kind of kinds) {
  test(`the last error of a worker is told, and it is replaced: ${kind}`, limit, async (t) => {
    const group = await TestedGroup.start(t, { kind, data: { listen: [anyPort] } });
    const [port] = (await group.ports()) as [number];
    const [client, other] = (await reachAll(t, port)) as [Client, Client];
    client.socket.write('crash\n');
    const { worker, error } = await group.next('exit');
    assert.deepEqual([worker.slot, error.message, error.code], [0, 'told to crash', 'E_CRASH']);
    assert.equal(await client.line(), undefined);
    await group.next(({ is, worker }) => is === 'online' && worker.id === 3);
    const [replaced] = (await reachAll(t, port)) as [Client, Client];
    assert.notEqual(replaced.who, client.who);
    assert.equal(await other.ask('there?'), 'there?');
    await group.close();
  });
}

test("a group whose workers can't start fails with their error", limit, async (t) => {
  const brokenBy = join(await folder(t), 'broken');
  writeFileSync(brokenBy, 'not like this');
  const group = new TestedGroup(t, { data: { listen: [anyPort], brokenBy } });
  const { error } = await group.next('failed');
  assert.deepEqual([error.message, error.code], ['not like this', 'E_BROKEN']);
  await group.child.exit;
});

test('a worker that dies again and again is given up, and with the last one the group', limit, async (t) => {
  const brokenBy = join(await folder(t), 'broken');
  const restart = { minDelayMs: 1, maxFailures: 3 };
  const group = await TestedGroup.start(t, { restart, data: { listen: [anyPort], brokenBy } });
  const [port] = (await group.ports()) as [number];
  const [first, second] = (await reachAll(t, port)) as [Client, Client];
  writeFileSync(brokenBy, 'broken now');
  first.socket.write('crash\n');
  const gaveUp = await group.next('gaveUp');
  assert.deepEqual([gaveUp['worker'], gaveUp['error'].message], [{ slot: 0, state: 'gaveUp' }, 'broken now']);

  // The other one has the port, and all connections.
  for (let i = 0; i < 20; i++) assert.equal((await reach(t, port)).pid, second.pid);
  second.socket.write('crash\n');
  assert.equal((await group.next('gaveUp'))['worker'].slot, 1);
  const failed = await group.next('failed');
  assert.deepEqual([failed['error'].code, failed['cause'].message], ['MILLRACE_ERR_ALL_GAVE_UP', 'broken now']);
  await group.child.exit;
  await refused(port);
});

test('a worker that is not ready in time is ended', limit, async (t) => {
  const path = join(await folder(t), 'stuck.mjs');
  writeFileSync(path, 'setInterval(() => {}, 1000); await new Promise(() => {});');
  const group = new TestedGroup(t, { entry: path, startMs: 1_500, workers: 1 });
  const { error } = await group.next('failed');
  assert.equal(error.code, 'MILLRACE_ERR_START_TIMEOUT');
  await group.child.exit;
});

test('workers whose primary is killed drain and end', limit, async (t) => {
  const group = await TestedGroup.start(t, { drainMs: 60_000, data: { listen: [anyPort] } });
  const [port] = (await group.ports()) as [number];
  const clients = await reachAll(t, port);
  for (const client of clients) assert.equal(await client.ask('hold'), 'held');
  group.child.process.kill('SIGKILL');
  for (const client of clients) assert.equal(await client.line(), 'done');
  await refused(port);
  // They hold the standard output of the primary: it ends with them.
  await group.child.exit;
});
