/** listen(handle): the listening socket that somebody has already. */
import assert from 'node:assert/strict';
import { closeSync, openSync } from 'node:fs';
import nodeNet, { type Server } from 'node:net';
import { devNull } from 'node:os';
import { join } from 'node:path';
import test from 'node:test';
import net from 'millrace';
import { collect, dial, folder, keep, leakGuard, limit, once, pair, portOf, serve, until } from '../support/net.ts';

await leakGuard();

/** Node itself leaves an open handle behind in these, so its own can't be the control. */
const leaksInNode = { ...limit, skip: net.engine === 'node' ? 'Node leaves a handle open' : false };

type Listen = { listen(handle: unknown): Server };
const handleOf = (owner: unknown): { fd: number } => (owner as { _handle: { fd: number } })._handle;

for (const [form, give] of [
  ['listen(server)', (server: Server) => server],
  ['listen({ _handle })', (server: Server) => ({ _handle: handleOf(server) })],
  ['listen({ handle })', (server: Server) => ({ handle: handleOf(server) })],
] as const)
  for (const [whose, module] of [
    ['ours', net],
    ["Node's", nodeNet],
  ] as const)
    test(`another server takes the listening socket over: ${form}, ${whose}`, limit, async (t) => {
      const first = await serve(t, (socket) => socket.end('first'), { net: module });
      const port = portOf(first);
      const second = keep(
        t,
        net.createServer((socket) => socket.end('second')),
      );
      (second as Listen).listen(give(first));
      await once(second, 'listening');
      assert.equal(portOf(second), port);
      assert.equal((await collect(await dial(t, { port, host: '127.0.0.1' }))).toString(), 'second');
      second.close();
      await once(second, 'close');
      await assert.rejects(dial(t, { port, host: '127.0.0.1' }), { code: 'ECONNREFUSED' });
    });

test('a server that does not listen is no handle', limit, () => {
  const { listen } = net.createServer() as unknown as Listen;
  for (const nothing of [
    net.createServer(),
    new net.Socket(),
    { handle: null },
    { handle: {} },
    { fd: -1 },
    { fd: '3' },
  ])
    assert.throws(() => listen.call(net.createServer(), nothing), {
      code: 'ERR_INVALID_ARG_VALUE',
      message: /must have the property "port" or "path"/,
    });
});

test('a connected socket does not listen', leaksInNode, async (t) => {
  const { client } = await pair(t);
  const server = keep(t, net.createServer());
  (server as Listen).listen(client);
  const [error] = await once(server, 'error');
  assert.equal(error.message, 'listen EINVAL: invalid argument');
  assert.equal(server.listening, false);
});

test('a descriptor that this process listens on already is refused', leaksInNode, async (t) => {
  const first = await serve(t, (socket) => socket.end('first'));
  const second = keep(t, net.createServer());
  second.listen({ fd: handleOf(first).fd } as never);
  const [error] = await once(second, 'error');
  assert.equal(error.message, 'listen EEXIST: file already exists');
  assert.equal((await collect(await dial(t, first))).toString(), 'first');
});

test('a descriptor that is no listening socket is an error', limit, async (t) => {
  const file = openSync(devNull, 'r');
  t.after(() => closeSync(file));
  for (const fd of [file, 1_000_000, 3.5, 2 ** 31]) {
    const server = keep(t, net.createServer());
    assert.equal(server.listen({ fd } as never), server);
    const [error] = await once(server, 'error');
    assert.equal(error.message, 'listen EINVAL: invalid argument');
    assert.equal(server.listening, false);
  }
});

test('a server whose handle was taken gets no connection any more', limit, async (t) => {
  let first = 0;
  const old = await serve(t, () => first++);
  const server = await new Promise<Server>((resolve) => {
    const taker = keep(t, net.createServer());
    (taker as Listen).listen(old);
    taker.once('listening', () => resolve(taker));
  });
  let second = 0;
  server.on('connection', () => second++);
  for (let i = 0; i < 5; i++) await dial(t, server);
  await until(() => second === 5, 'five connections');
  assert.equal(first, 0);
});

test('a unix server is not taken over', leaksInNode, async (t) => {
  const first = await serve(t, undefined, { listen: { path: join(await folder(t), 's') } });
  const second = keep(t, net.createServer());
  (second as Listen).listen(first);
  await assert.rejects(once(second, 'listening'), { code: 'EEXIST' });
  assert.equal(first.listening, true);
});
