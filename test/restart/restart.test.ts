/** A restart refuses nobody, loses nothing, and if the next version fails, nothing has happened. */
import assert from 'node:assert/strict';
import { existsSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { engine } from 'millrace';
import type { Stage } from '../support/net.ts';
import { Client, limit, stand } from './support/run.ts';

const options = { ...limit, skip: engine === 'node' && 'engine node hands nothing over' };

/** Clients that connect, ask a few times and end, again and again until told to stop. */
function load(t: Stage, port: number) {
  const answered = new Map<string, number>();
  const failures: string[] = [];
  let isOver = false;
  const one = async (): Promise<void> => {
    while (!isOver) {
      const client = new Client(t, { port });
      try {
        for (let i = 1; i <= 5; i++) {
          const [version = '', count] = (await client.ask('x')).split(' ');
          answered.set(version, (answered.get(version) ?? 0) + 1);
          if (count !== String(i)) failures.push(`answer ${count} in place of ${i}`);
        }
        await client.end();
      } catch (error) {
        failures.push(String(error));
      }
    }
  };
  const all = Array.from({ length: 4 }, one);
  return {
    answered,
    failures,
    stop: async () => {
      isOver = true;
      await Promise.all(all);
    },
  };
}

test('the next version takes over under load, by signal and again, and nobody is refused', options, async (t) => {
  const service = await stand(t);
  const first = service.start();
  const [, , port, pid] = await first.heard('A ready');
  const clients = load(t, Number(port));
  const old = new Client(t, { port: Number(port) });
  assert.equal(await old.ask('before'), 'A 1 before');
  service.configure({ version: 'B' });
  process.kill(Number(pid), 'SIGHUP');
  await first.heard('B ready');
  assert.equal(await old.ask('after'), 'A 2 after', 'who was connected stays where he is');
  const fresh = new Client(t, { port: Number(port) });
  while (!(await fresh.ask('who')).startsWith('B')) assert.fail('a new connection is the next version’s');
  await old.end();
  await first.heard('A drained');
  assert.equal(await first.exited, 0);

  service.configure({ version: 'C' });
  const control = new Client(t, { port: Number(port) });
  assert.equal(await control.ask('restart'), 'done');
  await control.end();
  await first.heard('C ready');
  while ((clients.answered.get('C') ?? 0) < 50) await new Promise((resolve) => setImmediate(resolve));
  await clients.stop();
  await fresh.end();
  await first.heard('B drained');
  assert.deepEqual(clients.failures, []);
  assert.ok((clients.answered.get('A') ?? 0) > 0);
});

const fates = {
  'that fails': [
    ['throws', /^MILLRACE_ERR_(FAILED .*RestartError: a bad day|EXITED)/],
    ['late rejection', /^MILLRACE_ERR_(FAILED .*Error: no database|EXITED)/],
    ['exits', /^MILLRACE_ERR_EXITED .* with code 7 /],
  ],
  'that is never ready': [
    ['hangs', /^MILLRACE_ERR_READY_TIMEOUT .* 700 ms/],
    ['silent', /^MILLRACE_ERR_READY_TIMEOUT .* 700 ms/],
  ],
} as const;
for (const [what, cases] of Object.entries(fates))
  test(`a version ${what} leaves the old one serving, which says why`, options, async (t) => {
    const service = await stand(t, what === 'that fails' ? {} : { options: { readyMs: 700 } });
    const child = service.start();
    const [, , port] = await child.heard('A ready');
    const client = new Client(t, { port: Number(port) });
    const before = await client.ask('fds');
    for (const [fate, expected] of cases) {
      service.configure({ version: 'B', fate });
      assert.match(await client.ask('restart'), expected);
      const other = new Client(t, { port: Number(port) });
      assert.equal(await other.ask('who'), 'A 1 who');
      await other.end();
    }
    while ((await client.ask('fds')) !== before) await new Promise((resolve) => setImmediate(resolve));
  });

test('established connections go over with what was not read yet, and with what they are about', options, async (t) => {
  const service = await stand(t, { handsOver: true });
  const child = service.start();
  const [, , port] = await child.heard('A ready');
  const clients = Array.from({ length: 20 }, () => new Client(t, { port: Number(port) }));
  for (const client of clients) await client.ask('one');
  const [half] = clients as [Client];
  const long = 'x'.repeat(300_000); // more than the socket between the two processes holds at once
  for (const client of clients.slice(10)) client.socket.write(long);
  half.socket.write('tw'); // half a line: in the program’s hands
  assert.equal(await (clients[1] as Client).ask('stop'), 'A 2 stop'); // does not read any more
  const unread = (clients[1] as Client).ask('unread');
  service.configure({ version: 'B' });
  const control = new Client(t, { port: Number(port) });
  process.kill(Number(await control.ask('pid')), 'SIGHUP');
  await child.heard('B ready');
  assert.deepEqual(await child.heard('A drained'), ['A', 'drained', '0', '0'], 'none was left here');
  half.socket.write('o\n');
  assert.equal(await half.ask('three'), 'B 2 two');
  assert.equal(await unread, 'B 3 unread');
  for (const client of clients.slice(2, 10)) assert.equal(await client.ask('two'), 'B 2 two');
  for (const client of clients.slice(10)) assert.equal(await client.ask(''), `B 2 ${long}`);
  // They count as connections of the next one, which hands them on as well.
  service.configure({ version: 'C' });
  process.kill(Number(await control.ask('pid')), 'SIGHUP');
  await child.heard('C ready');
  assert.equal(await (clients[5] as Client).ask('three'), 'C 3 three');
});

test('the path of a unix socket goes over and stays, and a deadline ends what does not', options, async (t) => {
  const service = await stand(t, { options: { drainMs: 100 } });
  const path = join(service.folder, 'server');
  service.configure({ unixPath: path });
  const child = service.start();
  await child.heard('A ready');
  service.configure({ version: 'B' });
  assert.equal(await new Client(t, { path }).ask('restart'), 'done');
  await child.heard('B ready');
  assert.deepEqual(await child.heard('A drained'), ['A', 'drained', '0', '1']);
  assert.equal(await child.exited, 0);
  assert.ok(existsSync(path));
  assert.equal(await new Client(t, { path }).ask('who'), 'B 1 who');
});

test('a process that somebody else starts takes over at a path, which only we may open', options, async (t) => {
  const service = await stand(t);
  const path = join(service.folder, 'restart');
  service.configure({ options: { path } });
  const first = service.start();
  const [, , port] = await first.heard('A ready');
  assert.equal(statSync(path).mode & 0o777, 0o600);
  service.configure({ version: 'B' });
  const second = service.start();
  const [, , sameAsBefore] = await second.heard('B ready');
  assert.equal(sameAsBefore, port);
  assert.equal(await first.exited, 0);
  assert.equal(statSync(path).mode & 0o777, 0o600, 'the next one waits there now');
  assert.equal(await new Client(t, { port: Number(port) }).ask('who'), 'B 1 who');
  service.configure({ version: 'C', fate: 'exits' });
  assert.equal(await service.start().exited, 7);
  assert.deepEqual(await second.heard('B error'), ['B', 'error', 'MILLRACE_ERR_PEER_LOST']);
  service.configure({ version: 'D', fate: 'hangs' });
  const hanging = service.start();
  await hanging.heard('D hangs');
  service.configure({ version: 'E', fate: 'throws' });
  const refused = service.start();
  assert.equal(await refused.exited, 3);
  await refused.heard('E refused MILLRACE_ERR_REFUSED');
  hanging.process.kill('SIGKILL');
  await second.heard('B error MILLRACE_ERR_PEER_LOST');
  assert.equal(await new Client(t, { port: Number(port) }).ask('who'), 'B 1 who');
});
