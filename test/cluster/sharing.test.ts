import assert from 'node:assert/strict';
import { once } from 'node:events';
import nodeNet from 'node:net';
import { join } from 'node:path';
import test from 'node:test';
import nodeTls from 'node:tls';
import { certificate } from '../support/certificate.ts';
import { folder, leakGuard } from '../support/net.ts';
import { anyPort, Client, kinds, limit, reachAll, TestedGroup } from './support/group.ts';

await leakGuard();
const made = certificate();

for (const kind of kinds) {
  test(`servers of every tier share their ports: ${kind}`, {
    ...limit,
    skip: made === undefined && 'no openssl',
  }, async (t) => {
    const tiers = { key: String(made?.key), cert: String(made?.cert) };
    const group = await TestedGroup.start(t, { kind, data: { tiers, listen: [anyPort] } });
    const ports = (await group.ports()) as number[];
    assert.equal(new Set(ports).size, 5, 'each server has a port of its own');
    const secure = ports.pop() as number;
    for (const port of ports) {
      const clients = await reachAll(t, port);
      for (const client of clients) assert.equal(await client.ask('hello'), 'hello');
      assert.equal(new Set(clients.map(({ who }) => who)).size, 2);
      for (const { socket } of clients) socket.destroy();
    }
    const slots = new Set<number>();
    for (let i = 0; slots.size < 2; i++) {
      assert.ok(i < 200, 'one worker only has TLS connections');
      const socket = nodeTls.connect({ port: secure, host: '127.0.0.1', rejectUnauthorized: false });
      await once(socket, 'secureConnect');
      const client = await new Client(t, socket).greeted();
      assert.equal(await client.ask('secret'), 'secret');
      slots.add(client.slot);
      socket.destroy();
    }
    await group.close();
  });
}

for (const kind of kinds) {
  test(`workers have the options of the program, and the environment they are given: ${kind}`, limit, async (t) => {
    const flags = ['--max-old-space-size=512', '--expose-gc'];
    const group = await TestedGroup.start(t, { kind, flags, env: { GIVEN: 'yes' }, data: { listen: [anyPort] } });
    const [port] = (await group.ports()) as [number];
    for (const client of await reachAll(t, port)) assert.equal(await client.ask('env GIVEN'), 'yes');
    await group.close();
  });
}

test('workers share the path of a unix socket, which goes with the group', limit, async (t) => {
  const path = join(await folder(t), 'socket');
  const group = await TestedGroup.start(t, { data: { listen: [{ path }] } });
  await reachAll(t, path);
  await group.close();
  await assert.rejects(once(nodeNet.connect({ path }), 'connect'), { code: 'ENOENT' });
});

test('an address that somebody else has is what run() fails with', limit, async (t) => {
  const other = nodeNet.createServer().listen(0, '127.0.0.1');
  t.after(() => void other.close());
  await once(other, 'listening');
  const { port } = other.address() as nodeNet.AddressInfo;
  const group = new TestedGroup(t, { data: { listen: [{ port, host: '127.0.0.1' }] } });
  const { error } = await group.next('failed');
  assert.equal(error.code, 'EADDRINUSE');
  await group.child.exit;
});
