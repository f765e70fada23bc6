import assert from 'node:assert/strict';
import type { Socket } from 'node:net';
import { join } from 'node:path';
import test from 'node:test';
import net from 'millrace';
import {
  close,
  collect,
  dial,
  dialling,
  folder,
  keep,
  leakGuard,
  limit,
  once,
  pair,
  REFUSED_PORT,
  serve,
  trace,
  turns,
  until,
} from '../support/net.ts';

await leakGuard();

const EVENTS = ['data', 'end', 'finish', 'error', 'close'] as const;

for (const [name, isUnix] of [
  ['TCP', false],
  ['a unix socket', true],
] as const) {
  const listen = async (t: test.TestContext): Promise<object> =>
    isUnix ? { listen: { path: join(await folder(t), 's') } } : {};

  test(`the end of one side ends the other, over ${name}`, limit, async (t) => {
    const { client, peer } = await pair(t, await listen(t));
    const log: string[] = [];
    trace(client, EVENTS, log, 'client ');
    const peerLog = trace(peer, EVENTS);
    client.end('bye');
    await Promise.all([close(client), close(peer)]);
    assert.deepEqual(log, ['client finish', 'client end', 'client close:false']);
    assert.deepEqual(peerLog, ['data:bye', 'end', 'finish', 'close:false']);
  });

  test(`with allowHalfOpen on the server, it can answer after the end, over ${name}`, limit, async (t) => {
    const server = await serve(
      t,
      (socket) => {
        let got = '';
        socket.on('data', (chunk) => (got += chunk));
        socket.on('end', () => {
          assert.equal(socket.readyState, 'writeOnly');
          setImmediate(() => {
            socket.write(`got ${got}, `);
            setImmediate(() => socket.end('and out'));
          });
        });
      },
      { server: { allowHalfOpen: true }, ...(await listen(t)) },
    );
    const client = await dial(t, server);
    client.end('over');
    assert.equal((await collect(client)).toString(), 'got over, and out');
    await close(client);
  });

  test(`with allowHalfOpen on the client, it can write after the end, over ${name}`, limit, async (t) => {
    const { client, peer } = await pair(t, { client: { allowHalfOpen: true }, ...(await listen(t)) });
    client.resume();
    const received = collect(peer);
    peer.end();
    await once(client, 'end');
    await turns(20);
    assert.equal(client.destroyed, false);
    assert.equal(client.writable, true);
    assert.equal(client.readyState, 'writeOnly');
    client.write('still ');
    await turns(5);
    client.end('here');
    assert.equal((await received).toString(), 'still here');
    await Promise.all([close(client), close(peer)]);
  });

  test(`destroy() of one side ends the other without an error, over ${name}`, limit, async (t) => {
    const { client, peer } = await pair(t, await listen(t));
    const log = trace(peer, EVENTS);
    client.destroy();
    await Promise.all([close(client), close(peer)]);
    assert.deepEqual(log, ['end', 'finish', 'close:false']);
  });
}

test("'finish' of end() comes when all is written, before 'end' of the other side is here", limit, async (t) => {
  const { client, peer } = await pair(t, { server: { allowHalfOpen: true } });
  peer.resume();
  const log = trace(client.resume(), ['finish', 'end', 'close']);
  client.end('x', () => log.push('callback'));
  await until(() => log.includes('finish'), "'finish'");
  assert.equal(client.writableFinished, true);
  assert.equal(client.destroyed, false);
  await turns(10);
  assert.ok(!log.includes('end'));
  peer.end();
  await close(client);
  assert.deepEqual([...log].sort(), ['callback', 'close:false', 'end', 'finish']);
  assert.deepEqual(log.slice(2), ['end', 'close:false']);
});

test('end() twice is one end; its second callback tells so', limit, async (t) => {
  const { client, peer } = await pair(t);
  peer.resume();
  const log = trace(client.resume(), ['finish', 'error', 'close']);
  client.end();
  client.end((error?: NodeJS.ErrnoException | null) => log.push(`second:${error?.code}`));
  await close(client);
  assert.deepEqual(
    log.filter((entry) => entry !== 'second:undefined' && entry !== 'second:ERR_STREAM_ALREADY_FINISHED'),
    ['finish', 'close:false'],
  );
});

test('end() returns the socket', limit, async (t) => {
  const { client } = await pair(t);
  assert.equal(client.end(), client);
  assert.equal(client.destroy(), client);
});

test('destroy(error) emits it, then close(true)', limit, async (t) => {
  const { client } = await pair(t);
  const log = trace(client, EVENTS);
  const failure = Object.assign(new Error('enough'), { code: 'ENOUGH' });
  client.destroy(failure);
  assert.equal(client.destroyed, true);
  assert.equal(client.errored, failure);
  assert.deepEqual(log, [], 'in a later tick');
  await close(client);
  assert.deepEqual(log, ['error:ENOUGH', 'close:true']);
});

test('destroy() twice is one close, and the second error is dropped', limit, async (t) => {
  const { client } = await pair(t);
  const log = trace(client, EVENTS);
  client.destroy();
  client.destroy(new Error('too late'));
  await close(client);
  await turns(10);
  assert.deepEqual(log, ['close:false']);
});

test('nothing comes after close', limit, async (t) => {
  const { client, peer } = await pair(t);
  const log = trace(client, ['data', 'end', 'drain', 'finish', 'timeout', 'error', 'close']);
  peer.on('error', () => {});
  peer.write(Buffer.alloc(100_000));
  client.destroy();
  await close(client);
  peer.write('more');
  await turns(30);
  assert.deepEqual(log, ['close:false']);
});

test('destroy() in the data listener stops all further data', limit, async (t) => {
  const { client, peer } = await pair(t);
  peer.on('error', () => {});
  const log = trace(client, ['end', 'error', 'close']);
  let pieces = 0;
  client.on('data', () => {
    pieces++;
    client.destroy();
  });
  peer.write(Buffer.alloc(1024 * 1024));
  await close(client);
  assert.equal(pieces, 1);
  assert.deepEqual(log, ['close:false']);
});

const stages: [string, (socket: Socket, at: () => void) => void][] = [
  ["its 'connect' listener", (socket, at) => socket.on('connect', at)],
  ["its 'ready' listener", (socket, at) => socket.on('ready', at)],
  ["its 'data' listener", (socket, at) => socket.on('data', at)],
  ["its 'end' listener", (socket, at) => socket.on('data', () => {}).on('end', at)],
  ["its 'finish' listener", (socket, at) => socket.end().on('finish', at)],
  ['the callback of a write', (socket, at) => socket.write('x', at)],
  ['the tick after connect()', (_socket, at) => process.nextTick(at)],
  ['the turn after connect()', (_socket, at) => setImmediate(at)],
];
for (const [name, when] of stages) {
  test(`destroy() in ${name} ends with one close without an error`, limit, async (t) => {
    const server = await serve(t, (socket) => socket.on('error', () => {}).end('hello'));
    const client = dialling(t, server);
    const log = trace(client, ['error', 'close']);
    let after: string[] = [];
    when(client, () => {
      client.destroy();
      after = trace(client, ['connect', 'ready', 'data', 'end', 'drain', 'timeout']);
    });
    await close(client);
    await turns(10);
    assert.deepEqual(log, ['close:false']);
    // 'ready' is emitted in the same breath as 'connect'; 'end' may follow what was read before.
    assert.deepEqual(
      after.filter((entry) => entry !== 'ready'),
      [],
    );
  });
}

test('destroy() right after connect() never connects', limit, async (t) => {
  const server = await serve(t);
  const client = dialling(t, server);
  const log = trace(client, ['connect', 'error', 'close']);
  client.destroy();
  assert.equal(client.connecting, false);
  await close(client);
  await turns(10);
  assert.deepEqual(log, ['close:false']);
});

test('callbacks of writes that were not done are called when the socket is destroyed, in order', limit, async (t) => {
  const { client, peer } = await pair(t);
  peer.pause();
  const results: (string | undefined)[] = [];
  const order: number[] = [];
  for (let i = 0; i < 3; i++) {
    client.write(Buffer.alloc(24 * 1024 * 1024), (error) => {
      results.push((error as NodeJS.ErrnoException | null)?.code);
      order.push(i);
    });
  }
  await turns(20);
  client.destroy();
  await close(client);
  await until(() => results.length === 3, 'three callbacks');
  assert.deepEqual(order, [0, 1, 2]);
  // Node 22 and later: 'write ECANCELED' for all. Node 20: null for the one in flight, then ERR_STREAM_DESTROYED.
  assert.ok(
    results.slice(1).every((code) => code === 'ECANCELED' || code === 'ERR_STREAM_DESTROYED'),
    results.join(),
  );
});

test('callbacks of writes before the connection get an error when it is destroyed', limit, async (t) => {
  const server = await serve(t);
  const client = dialling(t, server);
  const log = trace(client, ['connect', 'error', 'close']);
  const called = new Promise<any>((resolve) => void client.write('never', resolve));
  client.destroy();
  const error = await called;
  assert.equal(error.code, 'ERR_SOCKET_CLOSED_BEFORE_CONNECTION');
  await close(client);
  assert.deepEqual(log, ['close:false']);
});

test('callbacks of writes before a refused connection are told that it never opened', limit, async (t) => {
  const client = dialling(t, { port: REFUSED_PORT, host: '127.0.0.1' });
  const called = new Promise<any>((resolve) => void client.write('never', resolve));
  const [error] = await once(client, 'error');
  assert.equal(error.code, 'ECONNREFUSED');
  assert.equal((await called).code, 'ERR_SOCKET_CLOSED_BEFORE_CONNECTION');
});

test('resetAndDestroy() resets: the other side sees ECONNRESET', limit, async (t) => {
  const { client, peer } = await pair(t);
  const log: string[] = [];
  trace(client, EVENTS, log, 'client ');
  const peerLog = trace(peer, EVENTS);
  assert.equal(client.resetAndDestroy(), client);
  assert.equal(client.destroyed, true);
  await Promise.all([close(client), close(peer)]);
  assert.deepEqual(log, ['client close:false']);
  assert.deepEqual(peerLog, ['error:ECONNRESET', 'close:true']);
});

test('resetAndDestroy() while connecting resets once connected', limit, async (t) => {
  const server = await serve(t);
  const client = dialling(t, server);
  const log = trace(client, ['connect', 'error', 'close']);
  client.resetAndDestroy();
  const [peer] = (await once(server, 'connection')) as [Socket];
  const [error] = await once(peer, 'error');
  assert.equal(error.code, 'ECONNRESET');
  await close(client);
  assert.deepEqual(log, ['connect', 'close:false']);
});

test('resetAndDestroy() of a socket without a connection is an error', limit, async (t) => {
  const client = keep(t, new net.Socket());
  const failed = once(client, 'error');
  client.resetAndDestroy();
  const [error] = await failed;
  assert.equal(error.code, 'ERR_SOCKET_CLOSED');
  assert.equal(client.destroyed, true);
});

test('resetAndDestroy() of a unix socket throws', limit, async (t) => {
  const { client } = await pair(t, { listen: { path: join(await folder(t), 's') } });
  assert.throws(() => client.resetAndDestroy(), { name: 'TypeError', code: 'ERR_INVALID_HANDLE_TYPE' });
});

test('unread bytes are thrown away by a reset', limit, async (t) => {
  const { client, peer } = await pair(t);
  client.pause();
  peer.write('never read');
  await turns(10);
  peer.resetAndDestroy();
  const log = trace(client, ['end', 'error', 'close']);
  client.resume();
  await close(client);
  assert.deepEqual(log, ['error:ECONNRESET', 'close:true']);
});

test('a socket that is closed with unread bytes resets its peer', limit, async (t) => {
  // tcp(7): closing with bytes in the receive queue sends RST instead of FIN.
  const { client, peer } = await pair(t);
  client.pause();
  for (let i = 0; i < 16; i++) peer.write(Buffer.alloc(1024 * 1024));
  await turns(50);
  const failed = once(peer, 'error');
  client.destroy();
  const [error] = await failed;
  assert.match(error.code, /^(ECONNRESET|EPIPE)$/);
  await close(peer);
});

test('Symbol.asyncDispose closes a socket', limit, async (t) => {
  const { client } = await pair(t);
  const dispose = (client as unknown as Record<symbol, () => Promise<void>>)[
    Symbol.asyncDispose
  ] as () => Promise<void>;
  client.on('error', () => {});
  await dispose.call(client).catch(() => {});
  assert.equal(client.destroyed, true);
  await close(client);
});

test('autoDestroy: both ends over, the socket is destroyed', limit, async (t) => {
  const { client, peer } = await pair(t);
  client.resume();
  peer.resume();
  client.end();
  await Promise.all([close(client), close(peer)]);
  for (const socket of [client, peer]) {
    assert.equal(socket.destroyed, true);
    assert.equal(socket.readableEnded, true);
    assert.equal(socket.writableFinished, true);
  }
});
