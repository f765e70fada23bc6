/** AsyncLocalStorage: which store is current in which event. Asserted is what node:net does. */
import assert from 'node:assert/strict';
import { AsyncLocalStorage } from 'node:async_hooks';
import type { Server, Socket } from 'node:net';
import test from 'node:test';
import net from 'millrace';
import {
  close,
  dial,
  keep,
  leakGuard,
  limit,
  once,
  portOf,
  REFUSED_PORT,
  serve,
  turns,
  until,
} from '../support/net.ts';

await leakGuard();

const EVENTS = ['connect', 'ready', 'data', 'end', 'finish', 'drain', 'timeout', 'error', 'close'];

/** Collects `event=store` for the events of a socket. */
function watch(als: AsyncLocalStorage<string>, socket: Socket, seen: Map<string, unknown>): Socket {
  for (const event of EVENTS) socket.on(event, () => seen.set(event, als.getStore()));
  return socket;
}

test('the events of a client see the store in which it was connected', limit, async (t) => {
  const als = new AsyncLocalStorage<string>();
  const server = await serve(t, (socket) => socket.end('x'));
  const seen = new Map<string, unknown>();
  const client = als.run('client', () => watch(als, keep(t, net.connect(portOf(server), '127.0.0.1')), seen));
  await close(client);
  assert.deepEqual(Object.fromEntries(seen), {
    connect: 'client',
    ready: 'client',
    data: 'client',
    end: 'client',
    finish: 'client',
    close: 'client',
  });
});

test('every data event of a client sees its store, in turn with other clients', limit, async (t) => {
  const als = new AsyncLocalStorage<number>();
  const server = await serve(t, (socket) => void socket.pipe(socket));
  const clients = Array.from({ length: 20 }, (_, i) =>
    als.run(i, () => keep(t, net.connect(portOf(server), '127.0.0.1'))),
  );
  let checked = 0;
  for (const [i, client] of clients.entries())
    client.on('data', () => {
      assert.equal(als.getStore(), i);
      process.nextTick(() => assert.equal(als.getStore(), i));
      void Promise.resolve().then(() => {
        assert.equal(als.getStore(), i);
        checked++;
      });
    });
  for (let round = 1; round <= 5; round++) {
    for (const client of clients) client.write('x');
    await until(() => checked === round * clients.length, `round ${round}`);
  }
});

test('the store of a listener does not leak into the event of another socket', limit, async (t) => {
  const als = new AsyncLocalStorage<string>();
  const server = await serve(t, (socket) => void socket.pipe(socket));
  const clients = await Promise.all([dial(t, server), dial(t, server), dial(t, server)]);
  const seen: unknown[] = [];
  for (const client of clients) {
    client.on('data', () => {
      seen.push(als.getStore());
      als.enterWith('left behind');
    });
  }
  // Once each: later events of the same socket see the entered store on Node 20 and 22, and do not on 24.
  for (const client of clients) client.write('x');
  await until(() => seen.length === clients.length, 'the data of each');
  assert.deepEqual(seen, [undefined, undefined, undefined]);
});

test("'connection' sees the store of listen, the events of accepted sockets see none", limit, async (t) => {
  const als = new AsyncLocalStorage<string>();
  const seen = new Map<string, unknown>();
  let atConnection: unknown = 'not called';
  let peer: Socket | undefined;
  const server = keep(
    t,
    als.run('create', () =>
      net.createServer((socket) => {
        atConnection = als.getStore();
        peer = watch(als, socket, seen);
      }),
    ),
  );
  als.run('listen', () => server.listen(0, '127.0.0.1'));
  await once(server, 'listening');
  const client = als.run('client', () => keep(t, net.connect(portOf(server), '127.0.0.1')));
  client.end('x');
  client.resume();
  await close(client);
  await until(() => seen.has('close'), "'close'");
  assert.equal(atConnection, 'listen');
  // Node makes the handle of an accepted socket before any JavaScript runs, so outside of every store.
  assert.deepEqual(Object.fromEntries(seen), { data: undefined, end: undefined, finish: undefined, close: undefined });
  assert.ok(peer);
});

test(
  'a store entered in the connection listener is that of what the listener starts, not of the socket',
  limit,
  async (t) => {
    const als = new AsyncLocalStorage<string>();
    const seen = new Map<string, unknown>();
    let inTick: unknown;
    let inPromise: unknown;
    const server = await serve(t, (socket) => {
      als.run('request', () => {
        watch(als, socket, seen);
        process.nextTick(() => (inTick = als.getStore()));
        void turns(1).then(() => (inPromise = als.getStore()));
      });
    });
    const client = await dial(t, server);
    client.end('x');
    client.resume();
    await close(client);
    await until(() => seen.has('close') && inPromise !== undefined, "'close'");
    assert.equal(inTick, 'request');
    assert.equal(inPromise, 'request');
    assert.equal(seen.get('data'), undefined);
    assert.equal(seen.get('end'), undefined);
    assert.equal(seen.get('close'), undefined);
  },
);

test('the callback of a write sees the store of the write', limit, async (t) => {
  const als = new AsyncLocalStorage<string>();
  const server = await serve(t, (socket) => void socket.resume());
  const client = await dial(t, server);
  const seen: unknown[] = [];
  als.run('first', () => client.write('x', () => seen.push(als.getStore())));
  await until(() => seen.length === 1, 'the first callback');
  als.run('second', () => client.write('y', () => seen.push(als.getStore())));
  await until(() => seen.length === 2, 'the second callback');
  als.run('last', () => client.end('z', () => seen.push(als.getStore())));
  await until(() => seen.length === 3, 'the callback of end');
  assert.deepEqual(seen.slice(0, 2), ['first', 'second']);
});

test('the callbacks of several writes of a tick see the store of each', limit, async (t) => {
  const als = new AsyncLocalStorage<string>();
  const server = await serve(t, (socket) => void socket.resume());
  const client = await dial(t, server);
  const seen: unknown[] = [];
  for (const store of ['a', 'b', 'c']) als.run(store, () => client.write(store, () => seen.push(als.getStore())));
  await until(() => seen.length === 3, 'the callbacks');
  assert.deepEqual(seen, ['a', 'b', 'c']);
});

test("'listening' and 'close' of a server see a store", limit, async (t) => {
  const als = new AsyncLocalStorage<string>();
  const server = keep(t, net.createServer());
  const seen: Record<string, unknown> = {};
  server.on('listening', () => (seen['listening'] = als.getStore()));
  server.on('close', () => (seen['close'] = als.getStore()));
  als.run('listen', () => server.listen(0, '127.0.0.1', () => (seen['callback'] = als.getStore())));
  await once(server, 'listening');
  als.run('close', () => server.close());
  await until(() => 'close' in seen, "'close'");
  assert.equal(seen['listening'], 'listen');
  assert.equal(seen['callback'], 'listen');
  assert.equal(seen['close'], 'close');
});

test("'error' and 'close' of a refused client see the store in which it was connected", limit, async (t) => {
  const als = new AsyncLocalStorage<string>();
  const port = REFUSED_PORT;
  const seen = new Map<string, unknown>();
  const client = als.run('refused', () => watch(als, keep(t, net.connect(port, '127.0.0.1')), seen));
  await close(client);
  assert.deepEqual(Object.fromEntries(seen), { error: 'refused', close: 'refused' });
});

test("'timeout' sees the store of setTimeout", limit, async (t) => {
  const als = new AsyncLocalStorage<string>();
  const server = await serve(t);
  const client = await dial(t, server);
  let seen: unknown;
  als.run('timeout', () => client.setTimeout(20));
  client.on('timeout', () => (seen = als.getStore()));
  await once(client, 'timeout');
  assert.equal(seen, 'timeout');
});

test('a promise that waits for an event keeps the store of its function', limit, async (t) => {
  const als = new AsyncLocalStorage<string>();
  const server: Server = await serve(t, (socket) => void socket.pipe(socket));
  const ask = async (name: string): Promise<void> =>
    als.run(name, async () => {
      const client = await dial(t, server);
      assert.equal(als.getStore(), name);
      client.write(name);
      assert.equal(String((await once(client, 'data'))[0]), name);
      assert.equal(als.getStore(), name);
      client.end();
      for await (const chunk of client) assert.fail(String(chunk));
      assert.equal(als.getStore(), name);
    });
  await Promise.all(Array.from({ length: 20 }, (_, i) => ask(`client ${i}`)));
});

test('executionAsyncResource and executionAsyncId are set in events', limit, async (t) => {
  const { executionAsyncId } = await import('node:async_hooks');
  const server = await serve(t, (socket) => socket.end('x'));
  const client = await dial(t, server);
  let id = 0;
  client.on('data', () => (id = executionAsyncId()));
  await close(client);
  assert.ok(id > 0);
});
