/** async_hooks and diagnostics_channel: what monitors see. Asserted is what holds for node:net as well. */
import assert from 'node:assert/strict';
import { createHook, executionAsyncId, triggerAsyncId } from 'node:async_hooks';
import { channel, tracingChannel } from 'node:diagnostics_channel';
import type { Server, Socket } from 'node:net';
import { join } from 'node:path';
import test from 'node:test';
import net from 'millrace';
import { close, dial, folder, keep, leakGuard, limit, once, portOf, serve, until, where } from '../support/net.ts';

await leakGuard();

const WRAP = /^(TCP|PIPE)(SERVER)?WRAP$/;

/** What a hook sees while `work` runs, until everything it saw begin is destroyed. */
async function watch(work: (at: (event: string) => void) => Promise<void>) {
  const types = new Map<number, string>();
  const triggers = new Map<number, number>();
  const depth = new Map<number, number>();
  const alive = new Set<number>();
  const events: string[] = [];
  let isBalanced = true;
  const hook = createHook({
    init(id, type, trigger) {
      types.set(id, type);
      triggers.set(id, trigger);
      if (WRAP.test(type)) alive.add(id);
    },
    before: (id) => void depth.set(id, (depth.get(id) ?? 0) + 1),
    after(id) {
      const left = (depth.get(id) ?? 0) - 1;
      if (left < 0 && types.has(id)) isBalanced = false;
      depth.set(id, left);
    },
    destroy: (id) => void alive.delete(id),
  }).enable();
  await work((event) => events.push(`${event} in ${types.get(executionAsyncId())} by ${types.get(triggerAsyncId())}`));
  await until(() => alive.size === 0, 'everything is destroyed');
  hook.disable();
  const begun = [...types].filter(([, type]) => WRAP.test(type));
  return {
    events,
    isBalanced,
    inits: begun.map(([id, type]) => `${type} by ${types.get(triggers.get(id) as number)}`),
    types: begun.map(([, type]) => type),
  };
}

for (const kind of ['TCP', 'PIPE'] as const) {
  test(
    `a ${kind} server and its connections are resources of Node's types, each destroyed in the end`,
    limit,
    async (t) => {
      const path = kind === 'PIPE' ? join(await folder(t), 'hooks') : undefined;
      const { inits, types, events, isBalanced } = await watch(async (at) => {
        const server = net.createServer((socket) => {
          at('connection');
          socket.on('data', () => at('server data')).on('end', () => socket.end('bye'));
        });
        if (path === undefined) server.listen(0, '127.0.0.1');
        else server.listen(path);
        await once(server, 'listening');
        const client = net.connect(where(server) as never);
        client.on('data', () => at('client data'));
        client.end('hello');
        await once(client, 'close');
        server.close();
        await once(server, 'close');
      });
      assert.deepEqual([...types].sort(), [`${kind}SERVERWRAP`, `${kind}WRAP`, `${kind}WRAP`]);
      assert.ok(inits.includes(`${kind}WRAP by ${kind}SERVERWRAP`), inits.join(', '));
      assert.ok(isBalanced);
      const places = events.map((event) => event.replace(/ by .*/, ''));
      assert.deepEqual([...places].sort(), [
        `client data in ${kind}WRAP`,
        `connection in ${kind}SERVERWRAP`,
        `server data in ${kind}WRAP`,
      ]);
      assert.ok(events.includes(`server data in ${kind}WRAP by ${kind}SERVERWRAP`), events.join(', '));
    },
  );
}

test("a socket's handle says its async id, in which its data comes", limit, async (t) => {
  const server = await serve(t, (socket) => socket.end('x'));
  const client = net.connect(portOf(server), '127.0.0.1');
  await once(client, 'connect');
  const { _handle: handle } = client as unknown as { _handle: { getAsyncId(): number } };
  const id = handle.getAsyncId();
  let seen = 0;
  client.on('data', () => (seen = executionAsyncId()));
  await once(client, 'close');
  assert.equal(seen, id);
});

test('diagnostics channels publish each client and each accepted socket', limit, async (t) => {
  const seen: [string, Socket][] = [];
  const subscribe = (name: string): void => {
    const listener = (message: unknown): void => void seen.push([name, (message as { socket: Socket }).socket]);
    channel(name).subscribe(listener);
    t.after(() => void channel(name).unsubscribe(listener));
  };
  subscribe('net.client.socket');
  subscribe('net.server.socket');
  const server = await serve(t);
  const accepted = once(server, 'connection');
  const client = keep(t, net.connect(portOf(server), '127.0.0.1'));
  assert.deepEqual(seen, [['net.client.socket', client]], 'before it is connected');
  const [peer] = await accepted;
  await until(() => seen.length === 2, 'the server side');
  assert.equal(seen[1]?.[0], 'net.server.socket');
  assert.equal(seen[1]?.[1], peer);
  client.destroy();
  await close(client);
});

test('the tracing channel of listen tells start, end and error', limit, async (t) => {
  const seen: [string, Server][] = [];
  const tell = (name: string) => (message: object) => void seen.push([name, (message as { server: Server }).server]);
  const listeners = { asyncStart: tell('asyncStart'), asyncEnd: tell('asyncEnd'), error: tell('error') };
  const listen = tracingChannel('net.server.listen');
  listen.subscribe(listeners as never);
  t.after(() => void listen.unsubscribe(listeners as never));
  const server = await serve(t);
  assert.deepEqual(seen, [
    ['asyncStart', server],
    ['asyncEnd', server],
  ]);
  const second = net.createServer().listen(portOf(server), '127.0.0.1');
  await once(second, 'error');
  assert.deepEqual(seen.slice(2), [
    ['asyncStart', second],
    ['error', second],
  ]);
});

test('what keeps the process alive is among its active resources, by the names of Node', limit, async (t) => {
  const names = (): string[] =>
    process.getActiveResourcesInfo().filter((name) => /^TCP(Server|Socket)Wrap$/.test(name));
  await until(() => names().length === 0, 'those of earlier tests are gone');
  const server = await serve(t);
  assert.deepEqual(names(), ['TCPServerWrap']);
  const client = await dial(t, server);
  await until(() => names().length === 3, 'both ends');
  assert.deepEqual(names().sort(), ['TCPServerWrap', 'TCPSocketWrap', 'TCPSocketWrap']);
  client.unref();
  assert.equal(names().length, 2);
  client.ref();
  client.destroy();
  await close(client);
  await until(() => names().length === 1, 'the connection is gone');
  server.close();
  await until(() => names().length === 0, 'the server is gone');
});
