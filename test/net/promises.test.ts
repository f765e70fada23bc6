/** net.promises, and millrace/promises: connect and listen that are awaited. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import test from 'node:test';
import net from 'millrace';
import * as promises from 'millrace/promises';
import { collect, folder, keep, leakGuard, limit, once, portOf, REFUSED_PORT, serve, until } from '../support/net.ts';

await leakGuard();

const aborted = { name: 'AbortError' };

test('millrace/promises is net.promises', limit, () => {
  assert.equal(promises.default, net.promises);
  assert.equal(promises.connect, net.promises.connect);
  assert.equal(promises.isIPv6, net.isIPv6);
  assert.equal(promises.BlockList, net.BlockList);
});

test('connect gives a socket that is connected, in all forms', limit, async (t) => {
  const server = await serve(t, (socket) => socket.end('hello'));
  const path = join(await folder(t), 's');
  await serve(t, (socket) => socket.end('hello'), { listen: { path } });
  const port = portOf(server);
  for (const socket of [
    await promises.connect({ port, host: '127.0.0.1' }),
    await promises.connect(port, '127.0.0.1'),
    await promises.connect(path),
    await promises.connect({ path }),
  ]) {
    keep(t, socket);
    assert.equal(socket.readyState, 'open');
    assert.ok(socket instanceof net.Socket);
    assert.equal((await collect(socket)).toString(), 'hello');
  }
});

test('connect rejects with what the socket would have said', limit, async () => {
  await assert.rejects(promises.connect(REFUSED_PORT, '127.0.0.1'), { code: 'ECONNREFUSED', syscall: 'connect' });
  // Node itself leaves a handle open here.
  if (net.engine !== 'node') await assert.rejects(promises.connect({ port: 70_000 }), { code: 'ERR_SOCKET_BAD_PORT' });
  await assert.rejects(promises.connect({} as never), { code: 'ERR_MISSING_ARGS' });
  await assert.rejects(promises.connect({ port: 1, signal: 5 } as never), { code: 'ERR_INVALID_ARG_TYPE' });
});

test('an abort before the connection stands rejects and destroys', limit, async (t) => {
  const controller = new AbortController();
  // Nobody answers: the lookup never calls back.
  let asked = 0;
  const lookup = (): void => void asked++;
  const connecting = promises.connect({ port: 1, host: 'some.name', lookup, signal: controller.signal } as never);
  assert.equal(asked, 1);
  controller.abort();
  await assert.rejects(connecting, aborted);
  const reason = new Error('no more');
  await assert.rejects(promises.connect({ port: 1, signal: AbortSignal.abort(reason) } as never), reason);
  // And a later one has no effect.
  const server = await serve(t);
  const late = new AbortController();
  const socket = keep(
    t,
    await promises.connect({ port: portOf(server), host: '127.0.0.1', signal: late.signal } as never),
  );
  late.abort();
  assert.equal(socket.destroyed, false);
});

test('listen gives a server that listens, without options on a free port', limit, async (t) => {
  const server = keep(t, await promises.listen()) as net.Server;
  assert.equal(server.listening, true);
  assert.ok(portOf(server) > 0);
  const accepted: string[] = [];
  const other = keep(
    t,
    await promises.listen({
      host: '127.0.0.1',
      port: 0,
      allowHalfOpen: true,
      connectionListener: () => accepted.push('x'),
    }),
  );
  keep(t, await promises.connect(portOf(other), '127.0.0.1'));
  await until(() => accepted.length === 1, 'the listener');
});

test('listen rejects when it fails, and the server is closed', limit, async (t) => {
  const taken = await serve(t);
  await assert.rejects(promises.listen({ port: portOf(taken), host: '127.0.0.1' }), {
    code: 'EADDRINUSE',
    syscall: 'listen',
  });
  await assert.rejects(promises.listen(5 as never), { code: 'ERR_INVALID_ARG_TYPE' });
  await assert.rejects(promises.listen({ signal: AbortSignal.abort() }), aborted);
});

test("listen's signal closes the server, early or late", limit, async () => {
  const early = new AbortController();
  const listening = promises.listen({ host: 'localhost', port: 0, signal: early.signal });
  early.abort();
  await assert.rejects(listening, aborted);
  const late = new AbortController();
  const server = await promises.listen({ host: '127.0.0.1', port: 0, signal: late.signal });
  const closed = once(server, 'close');
  late.abort();
  await closed;
  assert.equal(server.listening, false);
});
