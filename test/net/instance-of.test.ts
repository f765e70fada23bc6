/** Who is an instance of whom, between Node's net and ours; and that Node's own modules take a socket of ours as a stream. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import http from 'node:http';
import http2 from 'node:http2';
import nodeNet from 'node:net';
import test from 'node:test';
import tls, { TLSSocket } from 'node:tls';
import { runInThisContext } from 'node:vm';
import net, { engine } from 'millrace';
import { certificate } from '../support/certificate.ts';
import { close, collect, dial, leakGuard, limit, once, portOf, serve } from '../support/net.ts';

await leakGuard();

const pair = certificate();
const needsOpenssl = { ...limit, skip: pair === undefined && 'no openssl here' };
const ownOnly = { ...limit, skip: engine === 'node' && "Node's own sockets are taken whole" };

test("a socket and a server are instances of Node's classes and of millrace's", limit, () => {
  for (const Socket of [net.Socket, nodeNet.Socket]) {
    assert.ok(new net.Socket() instanceof Socket);
    assert.ok(new nodeNet.Socket() instanceof Socket);
    assert.ok(new TLSSocket(new nodeNet.Socket()) instanceof Socket);
    for (const other of [{}, null, undefined, 1, 'socket', net.Socket, Symbol('socket')])
      assert.equal((other as object) instanceof Socket, false);
  }
  for (const Server of [net.Server, nodeNet.Server]) {
    assert.ok(net.createServer() instanceof Server);
    assert.ok(nodeNet.createServer() instanceof Server);
    assert.ok(http.createServer() instanceof Server);
    assert.equal((new net.Socket() as object) instanceof Server, false);
  }
});

test('subclasses have their own instances only', limit, () => {
  class Ours extends net.Socket {}
  class Nodes extends nodeNet.Socket {}
  assert.ok(new Ours() instanceof Ours);
  assert.ok(new Ours() instanceof nodeNet.Socket);
  assert.ok(new Nodes() instanceof net.Socket);
  assert.equal(new net.Socket() instanceof Ours, false);
  assert.equal(new net.Socket() instanceof Nodes, false);
  assert.equal(new nodeNet.Socket() instanceof Ours, false);
  assert.equal(new net.Socket() instanceof TLSSocket, false);
  assert.equal(net.createServer() instanceof http.Server, false);
});

test('it holds for code that was compiled at run time, and from a native function', limit, () => {
  const socket = new net.Socket();
  const ask = runInThisContext('(socket, Socket) => socket instanceof Socket', { filename: '' });
  assert.equal(ask(socket, nodeNet.Socket), true);
  const { [Symbol.hasInstance]: hasInstance } = nodeNet.Socket;
  assert.deepEqual([socket].filter(hasInstance, nodeNet.Socket), [socket]);
});

test("the program's own stack settings neither matter nor change", limit, () => {
  const socket = new net.Socket();
  const { stackTraceLimit } = Error;
  const prepare = Object.getOwnPropertyDescriptor(Error, 'prepareStackTrace');
  try {
    for (const limited of [0, 1, 'none', Number.POSITIVE_INFINITY]) {
      Error.stackTraceLimit = limited as number;
      assert.ok(socket instanceof nodeNet.Socket);
      assert.equal(Error.stackTraceLimit, limited);
    }
    const own = (): string => 'prepared';
    Error.stackTraceLimit = 10;
    Error.prepareStackTrace = own;
    assert.ok(socket instanceof nodeNet.Socket);
    assert.equal(Error.prepareStackTrace, own);
    assert.equal(new Error('x').stack, 'prepared');
  } finally {
    Error.stackTraceLimit = stackTraceLimit;
    if (prepare === undefined) Reflect.deleteProperty(Error, 'prepareStackTrace');
    else Object.defineProperty(Error, 'prepareStackTrace', prepare);
  }
  assert.deepEqual(Object.getOwnPropertyDescriptor(Error, 'prepareStackTrace'), prepare);
});

test('tls.connect({ socket }) and new TLSSocket(socket) take it as a stream', needsOpenssl, async (t) => {
  const server = await serve(t, (socket) => {
    const secure = new TLSSocket(socket, { isServer: true, ...pair! });
    secure.on('data', (chunk) => secure.end(`${chunk} and back`));
  });
  const client = tls.connect({ socket: await dial(t, server), rejectUnauthorized: false });
  client.write('there');
  assert.equal(String(await collect(client)), 'there and back');
});

test('tls.connect takes a socket that is still connecting', needsOpenssl, async (t) => {
  const secure = tls.createServer({ ...pair }, (socket) => socket.end('secret'));
  const server = await serve(t, (socket) => void secure.emit('connection', socket));
  const socket = net.connect(portOf(server), '127.0.0.1');
  t.after(() => void socket.destroy());
  const client = tls.connect({ socket, rejectUnauthorized: false });
  assert.equal(String(await collect(client)), 'secret');
});

test('http takes it on both sides', limit, async (t) => {
  const web = http.createServer((request, response) => response.end(`you asked for ${request.url}`));
  const server = await serve(t, (socket) => void web.emit('connection', socket));
  const request = http.get({
    path: '/page',
    createConnection: () => net.connect(portOf(server), '127.0.0.1'),
    headers: { connection: 'close' },
  });
  const [response] = await once(request, 'response');
  assert.equal(String(await collect(response)), 'you asked for /page');
});

test('http2 takes it on both sides', limit, async (t) => {
  const web = http2.createServer((request, response) => response.end(`you asked for ${request.url}`));
  const server = await serve(t, (socket) => void web.emit('connection', socket));
  const client = http2.connect('http://localhost', {
    createConnection: () => net.connect(portOf(server), '127.0.0.1'),
  });
  t.after(() => client.destroy());
  const stream = client.request({ ':path': '/page' });
  assert.equal(String(await collect(stream as never)), 'you asked for /page');
  client.close();
  await once(client, 'close');
});

test('child.send refuses it with an error', ownOnly, async (t) => {
  const child = spawn(process.execPath, ['-e', 'process.on("message", () => {})'], {
    stdio: ['ignore', 'ignore', 'ignore', 'ipc'],
  });
  t.after(() => void child.kill('SIGKILL'));
  const server = await serve(t);
  const socket = await dial(t, server);
  assert.throws(() => child.send('take', socket), { code: 'ERR_INVALID_HANDLE_TYPE' });
  assert.throws(() => child.send('take', server), { code: 'ERR_INVALID_HANDLE_TYPE' });
  const exited = once(child, 'exit');
  child.kill('SIGKILL');
  await exited;
});

test('spawn takes it as a standard stream of a child', limit, async (t) => {
  const server = await serve(t);
  const accepted = once(server, 'connection');
  const socket = await dial(t, server);
  const [peer] = await accepted;
  const received = collect(peer);
  const child = spawn(process.execPath, ['-e', 'process.stdout.write("from the child")'], {
    stdio: ['ignore', socket, 'ignore'],
  });
  await once(child, 'exit');
  socket.end();
  assert.equal(String(await received), 'from the child');
});

test('a standard stream of a worker thread pipes into it and out of it', limit, async (t) => {
  const { Worker } = await import('node:worker_threads');
  const server = await serve(t, (socket) => void socket.pipe(socket));
  const socket = await dial(t, server);
  const worker = new Worker('process.stdin.pipe(process.stdout)', { eval: true, stdin: true, stdout: true });
  const received = collect(worker.stdout as never);
  const exited = once(worker, 'exit');
  socket.pipe(worker.stdin!);
  socket.end('through the thread');
  assert.equal(String(await received), 'through the thread');
  await exited;
  await close(socket);
});
