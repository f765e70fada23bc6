/** The connections of a server: as a loop over them, and closing them when the server shuts down. */
import assert from 'node:assert/strict';
import nodeNet from 'node:net';
import test from 'node:test';
import net from 'millrace';
import { close, dial, keep, leakGuard, limit, once, portOf, serve, take, turns, until } from '../support/net.ts';

await leakGuard();

/** A server of ours, by its type. */
const open = async (t: test.TestContext, onConnection?: (socket: net.Socket) => void): Promise<net.Server> =>
  (await serve(t, onConnection as never)) as net.Server;

// ---- for await ----

test('a loop over a server has every connection, also those that come meanwhile', limit, async (t) => {
  const server = await open(t);
  const seen: net.Socket[] = [];
  const clients: Promise<unknown>[] = [];
  const iterator = server[Symbol.asyncIterator]();
  for (let i = 0; i < 5; i++) clients.push(dial(t, server));
  await Promise.all(clients);
  for await (const socket of iterator) {
    assert.ok(socket instanceof net.Socket);
    seen.push(socket);
    if (seen.length === 1) for (let i = 0; i < 5; i++) await dial(t, server); // while the body runs
    if (seen.length === 10) break;
  }
  assert.equal(new Set(seen).size, 10);
  assert.equal(server.listening, true, 'leaving the loop leaves the server');
  assert.equal(server.listenerCount('connection') + server.listenerCount('error'), 1, 'of the tests themselves');
});

test('a loop ends when the server is closed', limit, async () => {
  const server = net.createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  process.nextTick(() => server.close());
  for await (const _ of server) assert.fail('nobody connects');
});

test('a loop throws what the server emits as error, after the connections before it', limit, async (t) => {
  const server = await open(t);
  const iterator = server[Symbol.asyncIterator]();
  await dial(t, server);
  await until(() => (server as unknown as { _connections: number })._connections === 1, 'a connection');
  server.emit('error', new Error('of the listener'));
  assert.equal((await iterator.next()).done, false);
  await assert.rejects(iterator.next(), { message: 'of the listener' });
});

// ---- closing them ----

test('closeAllConnections ends every connection, also after close', limit, async (t) => {
  const server = await open(t, (socket) => void socket.on('error', () => {}));
  const clients = await Promise.all([dial(t, server), dial(t, server), dial(t, server)]);
  for (const client of clients) client.resume();
  await until(() => (server as unknown as { _connections: number })._connections === 3, 'three connections');
  const closed = once(server, 'close');
  server.close();
  server.closeAllConnections();
  await closed;
  await Promise.all(clients.map(close));
  server.closeAllConnections();
});

test('closeIdleConnections leaves what is under way', limit, async (t) => {
  const server = await open(t);
  const connect = async (): Promise<{ client: net.Socket; peer: net.Socket }> => {
    const accepted = once(server, 'connection');
    const client = (await dial(t, server)) as net.Socket;
    const [peer] = await accepted;
    client.on('error', () => {});
    peer.on('error', () => {});
    return { client, peer };
  };
  const idle = await connect();
  idle.peer.resume();
  idle.client.write('read already');
  await until(() => idle.peer.bytesRead === 12, 'what the idle one was told');

  const unread = await connect();
  unread.client.write('in the stream');
  unread.peer.once('readable', () => {});
  await until(() => unread.peer.readableLength > 0, 'bytes in the stream');

  const queued = await connect();
  queued.client.pause();
  queued.peer.write(Buffer.alloc(8_000_000));
  await turns(5);

  const corked = await connect();
  corked.peer.resume();
  corked.peer.cork();

  server.closeIdleConnections();
  assert.deepEqual(
    [idle, unread, queued, corked].map(({ peer }) => peer.destroyed),
    [true, false, false, false],
  );
  // Each is closed as soon as it is idle.
  assert.equal(String(unread.peer.read()), 'in the stream');
  corked.peer.uncork();
  const all = take(queued.client, 8_000_000);
  await all;
  await until(() => queued.peer.writableLength === 0, 'all sent');
  server.closeIdleConnections();
  assert.deepEqual(
    [unread, queued, corked].map(({ peer }) => peer.destroyed),
    [true, true, true],
  );
});

test('closeIdleConnections sees what waits in the kernel', limit, async (t) => {
  const server = keep(t, net.createServer({ pauseOnConnect: true })) as net.Server;
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const accepted = once(server, 'connection');
  const client = nodeNet.connect(portOf(server), '127.0.0.1');
  keep(t, client);
  const [peer] = await accepted;
  await new Promise<void>((resolve) => client.write('not looked at', () => resolve()));
  server.closeIdleConnections();
  assert.equal(peer.destroyed, false);
  assert.equal((await take(peer, 13)).toString(), 'not looked at');
  server.closeIdleConnections();
  assert.equal(peer.destroyed, true);
});

test('a graceful shutdown: close, the idle ones, and the others in the end', limit, async (t) => {
  const server = await open(t, (socket) => {
    socket.on('error', () => {});
    socket.on('data', () => {
      socket.cork(); // an answer is being made
      server.emit('asked');
      setImmediate(() => {
        socket.end('answer');
        socket.uncork();
      });
    });
  });
  const lazy = await dial(t, server);
  lazy.resume();
  const busy = await dial(t, server);
  const asked = once(server, 'asked');
  busy.write('question');
  await asked;
  const closed = once(server, 'close');
  server.close();
  server.closeIdleConnections();
  const answer = await take(busy, 6);
  assert.equal(answer.toString(), 'answer');
  await close(lazy);
  await closed;
});
