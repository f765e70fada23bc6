import assert from 'node:assert/strict';
import type { Server, Socket } from 'node:net';
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
  portOf,
  serve,
  trace,
  turns,
  until,
  where,
} from '../support/net.ts';

await leakGuard();

test('a server echoes what a client sends', limit, async (t) => {
  const server = await serve(t, (socket) => void socket.pipe(socket));
  const client = await dial(t, server);
  client.end('hello');
  assert.equal((await collect(client)).toString(), 'hello');
});

test('createServer and Server work with and without new, and keep their listener', limit, () => {
  const listener = (): void => {};
  const plain = net.Server as unknown as (options?: unknown, listener?: unknown) => Server;
  for (const server of [
    net.createServer(listener),
    new net.Server(listener),
    plain(listener),
    net.createServer({}, listener),
    plain({}, listener),
  ]) {
    assert.ok(server instanceof net.Server);
    assert.deepEqual(server.listeners('connection'), [listener]);
    assert.equal(server.listening, false);
    assert.equal(server.address(), null);
  }
});

test('the listener gets the accepted socket, whose server is the server', limit, async (t) => {
  const { client, peer, server } = await pair(t);
  assert.ok(peer instanceof net.Socket);
  assert.equal((peer as Socket & { server: Server }).server, server);
  assert.equal((client as Socket & { server: Server | null }).server, null);
  assert.equal(peer.connecting, false);
  assert.equal(peer.readyState, 'open');
});

test("'listening' comes in a later tick, and the callback of listen is its listener", limit, async (t) => {
  const server = keep(t, net.createServer());
  const log: string[] = [];
  server.listen(0, '127.0.0.1', () => log.push('callback'));
  server.on('listening', () => log.push('event'));
  log.push('after listen');
  assert.equal(server.listenerCount('listening'), 2);
  await once(server, 'listening');
  assert.deepEqual(log, ['after listen', 'callback', 'event']);
  assert.equal(server.listenerCount('listening'), 1, 'the callback is a once listener');
});

test('listening and address() are true at once after listen on an address', limit, async (t) => {
  const server = keep(t, net.createServer());
  assert.equal(server.listening, false);
  assert.equal(server.listen({ port: 0 }), server);
  assert.equal(server.listening, true);
  assert.ok(portOf(server) > 0);
  await once(server, 'listening');
  server.close();
  assert.equal(server.listening, false);
  assert.equal(server.address(), null);
});

test("close ends with 'close' in a later tick when there are no connections", limit, async (t) => {
  const server = await serve(t);
  const log: string[] = [];
  server.on('close', () => log.push('event'));
  assert.equal(
    server.close((error) => log.push(`callback:${error}`)),
    server,
  );
  log.push('after close');
  await until(() => log.length === 3, 'both');
  assert.deepEqual(log, ['after close', 'event', 'callback:undefined']);
});

test("a closing server accepts nothing new but waits for its connections before 'close'", limit, async (t) => {
  const { client, peer, server } = await pair(t);
  const port = portOf(server);
  let isClosed = false;
  server.close(() => (isClosed = true));
  const late = dialling(t, { port, host: '127.0.0.1' });
  const [error] = await once(late, 'error');
  assert.equal(error.code, 'ECONNREFUSED');
  assert.equal(isClosed, false);
  client.write('still here');
  const [text] = await once(peer, 'data');
  assert.equal(text.toString(), 'still here');
  assert.equal(isClosed, false);
  client.end();
  await once(server, 'close');
  assert.equal(isClosed, true);
});

test(
  "'close' of the server comes a tick after its last connection is destroyed, before 'close' of that one",
  limit,
  async (t) => {
    const { client, peer, server } = await pair(t);
    const log: string[] = [];
    peer.on('close', () => log.push('peer'));
    server.on('close', () => log.push('server'));
    server.close();
    client.on('close', () => log.push('client'));
    peer.destroy();
    process.nextTick(() => log.push('tick'));
    client.resume();
    await close(client);
    assert.deepEqual(log, ['server', 'tick', 'peer', 'client']);
  },
);

test('a server that does not run says so when it is closed', limit, async (t) => {
  const server = keep(t, net.createServer());
  const error = await new Promise<NodeJS.ErrnoException | undefined>((resolve) => void server.close(resolve));
  assert.ok(error instanceof Error);
  assert.equal(error.code, 'ERR_SERVER_NOT_RUNNING');
  assert.equal(error.message, 'Server is not running.');
});

test('a second close gets ERR_SERVER_NOT_RUNNING, the first gets nothing', limit, async (t) => {
  const server = await serve(t);
  const first = new Promise<unknown>((resolve) => void server.close(resolve));
  const second = new Promise<any>((resolve) => void server.close(resolve));
  assert.equal(await first, undefined);
  assert.equal((await second).code, 'ERR_SERVER_NOT_RUNNING');
});

test('a server that listens cannot listen again', limit, async (t) => {
  const server = await serve(t);
  assert.throws(() => server.listen(0), {
    name: 'Error',
    code: 'ERR_SERVER_ALREADY_LISTEN',
    message: 'Listen method has been called more than once without closing.',
  });
});

test('a closed server can listen again', limit, async (t) => {
  const server = await serve(t, (socket) => socket.end('again'));
  server.close();
  await once(server, 'close');
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const client = await dial(t, server);
  assert.equal((await collect(client)).toString(), 'again');
});

test('a server whose port was taken can listen on another one', limit, async (t) => {
  const taken = await serve(t);
  const server = keep(
    t,
    net.createServer((socket) => socket.end('moved')),
  );
  server.listen(portOf(taken), '127.0.0.1');
  const [error] = await once(server, 'error');
  assert.equal(error.code, 'EADDRINUSE');
  assert.equal(server.listening, false);
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  assert.equal((await collect(await dial(t, server))).toString(), 'moved');
});

test("close in the tick of listen gives 'close', and whether 'listening' came is as in Node", limit, async (t) => {
  const server = keep(t, net.createServer());
  const log = trace(server, ['listening', 'close', 'error']);
  server.listen(0, '127.0.0.1');
  server.close();
  await once(server, 'close');
  await turns(3);
  // defaultTriggerAsyncIdScope(nextTick(emitListeningNT)): only emitted while there is a handle.
  assert.deepEqual(log, ['close']);
});

test('close by name before the name was looked up leaves no server behind', limit, async (t) => {
  const server = keep(t, net.createServer());
  server.listen(0, 'localhost');
  assert.equal(server.listening, false, 'the lookup is under way');
  await once(server, 'listening');
  assert.equal(server.listening, true);
  server.close();
  await once(server, 'close');
});

test('getConnections counts, and answers in a later tick', limit, async (t) => {
  const { client, server } = await pair(t);
  const count = (): Promise<number> =>
    new Promise((resolve, reject) => void server.getConnections((error, n) => (error ? reject(error) : resolve(n))));
  let isSync = true;
  const answered = new Promise<void>((resolve) => {
    const result = server.getConnections((error, n) => {
      assert.equal(error, null);
      assert.equal(n, 1);
      assert.equal(isSync, false);
      resolve();
    });
    assert.equal(result, server);
  });
  isSync = false;
  await answered;
  const second = await dial(t, server);
  await until(() => (server as Server & { _connections: number })._connections === 2, 'two connections');
  assert.equal(await count(), 2);
  client.destroy();
  second.destroy();
  await until(() => (server as Server & { _connections: number })._connections === 0, 'no connection');
  assert.equal(await count(), 0);
});

test("beyond maxConnections, a connection is closed and 'drop' tells whose", limit, async (t) => {
  const server = await serve(t);
  server.maxConnections = 1;
  const connections: Socket[] = [];
  server.on('connection', (socket) => connections.push(socket));
  const first = await dial(t, server);
  const dropped = once(server, 'drop');
  const second = dialling(t, server);
  const [data] = await dropped;
  assert.deepEqual(Object.keys(data).sort(), [
    'localAddress',
    'localFamily',
    'localPort',
    'remoteAddress',
    'remoteFamily',
    'remotePort',
  ]);
  assert.equal(data.localPort, portOf(server));
  assert.equal(data.localAddress, '127.0.0.1');
  assert.equal(data.localFamily, 'IPv4');
  assert.equal(data.remoteAddress, '127.0.0.1');
  assert.equal(data.remoteFamily, 'IPv4');
  second.resume();
  await once(second, 'close');
  assert.equal(connections.length, 1);

  // A place that becomes free is given away again.
  first.destroy();
  await once(connections[0] as Socket, 'close');
  await dial(t, server);
  await until(() => connections.length === 2, 'the third client is accepted');
});

test("'drop' on a unix socket has no addresses", limit, async (t) => {
  const server = await serve(t, undefined, { listen: { path: `${await folder(t)}/s` } });
  server.maxConnections = 1;
  await dial(t, server);
  const dropped = once(server, 'drop');
  dialling(t, server).resume();
  assert.deepEqual(await dropped, []);
});

test('the sockets of a server with pauseOnConnect read nothing until they are resumed', limit, async (t) => {
  const { client, peer } = await pair(t, { server: { pauseOnConnect: true } });
  let got = '';
  peer.on('data', (chunk) => (got += chunk));
  client.write('patience');
  await turns(30);
  assert.equal(peer.isPaused(), true);
  assert.equal(peer.bytesRead, 0);
  assert.equal(got, '');
  peer.resume();
  await until(() => got === 'patience', 'the data');
});

test('highWaterMark of the server is that of its sockets', limit, async (t) => {
  const { client, peer } = await pair(t, { server: { highWaterMark: 1234 } });
  assert.equal(peer.readableHighWaterMark, 1234);
  assert.equal(peer.writableHighWaterMark, 1234);
  assert.equal(client.readableHighWaterMark, new net.Socket().readableHighWaterMark);
});

test('the options of a server are checked', limit, () => {
  for (const options of [true, 1, 'x'])
    assert.throws(() => net.createServer(options as never), { name: 'TypeError', code: 'ERR_INVALID_ARG_TYPE' });
  assert.throws(() => net.createServer({ highWaterMark: 'x' as never }), {
    name: 'TypeError',
    code: 'ERR_INVALID_ARG_TYPE',
  });
});

test('an aborted signal closes the server', limit, async (t) => {
  const controller = new AbortController();
  const server = await serve(t, undefined, { listen: { port: 0, host: '127.0.0.1', signal: controller.signal } });
  const closed = once(server, 'close');
  controller.abort();
  await closed;
  assert.equal(server.listening, false);
});

test('a signal that was aborted before closes the server at once', limit, async (t) => {
  const server = keep(t, net.createServer());
  const log = trace(server, ['listening', 'close', 'error']);
  server.listen({ port: 0, host: '127.0.0.1', signal: AbortSignal.abort() });
  await once(server, 'close');
  assert.deepEqual(log, ['close']);
});

test('Symbol.asyncDispose closes the server', limit, async (t) => {
  const server = await serve(t);
  const closed = once(server, 'close');
  await server[Symbol.asyncDispose]();
  await closed;
  assert.equal(server.listening, false);
  // Of one that does not run it is nothing.
  await server[Symbol.asyncDispose]();
});

test('a rejected async listener destroys its socket, with captureRejections', limit, async (t) => {
  const { EventEmitter } = await import('node:events');
  EventEmitter.captureRejections = true;
  t.after(() => {
    EventEmitter.captureRejections = false;
  });
  const server = keep(t, net.createServer({ captureRejections: true } as object));
  const errors: string[] = [];
  // oxlint-disable-next-line typescript/no-misused-promises -- captureRejections is for such listeners
  server.on('connection', async (socket: Socket) => {
    socket.on('error', (error) => errors.push(error.message));
    await turns(1);
    throw new Error('late refusal');
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const client = dialling(t, server).resume();
  client.on('error', () => {});
  await once(client, 'close');
  assert.deepEqual(errors, ['late refusal']);
});

test('two hundred clients at the same time each get their own answer', limit, async (t) => {
  const server = await serve(t, (socket) => void socket.pipe(socket));
  const clients = Array.from({ length: 200 }, (_, i) => {
    const client = dialling(t, server);
    client.end(`client ${i}`);
    return collect(client);
  });
  const answers = await Promise.all(clients);
  for (const [i, answer] of answers.entries()) assert.equal(answer.toString(), `client ${i}`);
});

test('a thousand connections one after the other leave nothing behind', { timeout: 20_000 }, async (t) => {
  const server = await serve(t, (socket) => socket.end('x'));
  const target = where(server) as { port: number; host: string };
  for (let i = 0; i < 1000; i++) {
    const client = net.connect(target);
    assert.equal((await collect(client)).toString(), 'x');
  }
  await until(() => (server as Server & { _connections: number })._connections === 0, 'no connection');
});

test('a server without a connection listener still accepts and counts', limit, async (t) => {
  const server = keep(t, net.createServer());
  server.removeAllListeners('connection');
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const client = await dial(t, server);
  await until(() => (server as Server as Server & { _connections: number })._connections === 1, 'one connection');
  client.destroy();
  // The accepted socket is nobody's: nothing reads it, so its end is seen only by destroying the server's side.
  server.close();
  server.unref();
});

test('a blockList keeps addresses out', limit, async (t) => {
  if (process.versions.node.startsWith('20.')) return t.skip('since Node 22.13');
  const blockList = new net.BlockList();
  blockList.addAddress('127.0.0.1');
  const server = keep(t, net.createServer({ blockList } as object));
  let accepted = 0;
  server.on('connection', () => accepted++);
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const client = dialling(t, server).resume();
  client.on('error', () => {});
  await close(client);
  assert.equal(accepted, 0);
});
