/** Which AsyncLocalStorage is seen in handlers, and when promise jobs run. */
import assert from 'node:assert/strict';
import { AsyncLocalStorage } from 'node:async_hooks';
import test from 'node:test';
import { connect } from 'millrace/direct';
import { leakGuard, limit, until } from '../support/net.ts';
import { Book, peer, serve } from './support/direct.ts';

await leakGuard();

test('handlers see what was current when listen() and connect() were called', limit, async (t) => {
  const storage = new AsyncLocalStorage<string>();
  const seen = new Set<string>();
  const see = (event: string) => (): void => void seen.add(`${event} ${storage.getStore()}`);
  const handlers = (): object =>
    new Book().handlers({
      open: see('open'),
      data: see('data'),
      drain: see('drain'),
      end: see('end'),
      close: see('close'),
      error: see('error'),
    });
  const server = await storage.run('listen', () =>
    serve(t, { ...handlers(), timeout: see('timeout'), limits: { highWaterMark: 0 } }),
  );
  const c = await storage.run('connect', () =>
    connect({ port: server.port, hostname: '127.0.0.1', allowHalfOpen: true, ...handlers() }),
  );
  await until(() => server.connectionCount === 1, 'the connection');
  const [theirs] = server.connections();
  storage.run('elsewhere', () => {
    theirs?.write('x');
    theirs?.setTimeout({ readMs: 1 });
  });
  await until(() => seen.has('timeout listen'), 'the timeout');
  storage.run('elsewhere', () => {
    theirs?.setTimeout({ readMs: 0 });
    c.write('y');
    c.end();
  });
  await until(() => c.isClosed && server.connectionCount === 0, 'the end');
  const other = await peer(t, server);
  await until(() => server.connectionCount === 1, 'another');
  other.resetAndDestroy();
  await until(() => server.connectionCount === 0, 'its end');
  assert.deepEqual([...seen].sort(), [
    'close connect',
    'close listen',
    'data connect',
    'data listen',
    'drain listen',
    'end connect',
    'end listen',
    'error listen',
    'open connect',
    'open listen',
    'timeout listen',
  ]);
});

test('ticks and promise jobs of a handler run before the next handler', limit, async (t) => {
  const log: string[] = [];
  const server = await serve(t, {
    data: (_, view) => {
      const text = String(view);
      log.push(text);
      process.nextTick(() => log.push(`tick ${text}`));
      void Promise.resolve().then(() => log.push(`job ${text}`));
    },
  });
  const sockets = await Promise.all(['1', '2', '3'].map(() => peer(t, server)));
  await until(() => server.connectionCount === 3, 'all');
  for (const socket of sockets) socket.write('x');
  await until(() => log.length === 9, 'all of it');
  assert.deepEqual(log, ['x', 'tick x', 'job x', 'x', 'tick x', 'job x', 'x', 'tick x', 'job x']);
});
