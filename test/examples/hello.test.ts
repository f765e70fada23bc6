import assert from 'node:assert/strict';
import { once } from 'node:events';
import net from 'node:net';
import test from 'node:test';
import { connect, start } from '../support/program.ts';

const LIMIT = { timeout: 30_000 };

test('hello-server greets, prints what it receives, answers, and notices the end', LIMIT, async (t) => {
  const program = start(t, 'examples/hello-server', ['--port', '0']);
  const peer = await connect(t, await program.address());
  const who = `127.0.0.1:${peer.socket.localPort}`;

  assert.equal(await peer.line(), 'Hello! Say something.');
  await program.line(new RegExp(`^${who} connected$`));
  peer.write('good morning\n');
  assert.equal(await peer.line(), 'You said: good morning');
  await program.line(new RegExp(`^${who} says 'good morning\\\\n'$`));
  peer.socket.end();
  assert.equal(await peer.rest(), '');
  await program.line(new RegExp(`^${who} ended$`));
  await program.line(new RegExp(`^${who} closed$`));
  assert.deepEqual(await program.stop(), { code: null, signal: 'SIGTERM' });
  assert.equal(program.stderr, '');
});

test('hello-server does not let a peer write escape sequences to the terminal', LIMIT, async (t) => {
  const program = start(t, 'examples/hello-server', ['--port', '0']);
  const peer = await connect(t, await program.address());
  peer.write('\u001b[2J\u009b31m\u0007\n');
  await program.line(/says '\\x1B\[2J\\x9B31m\\x07\\n'$/);
});

test('hello-server lives on when a peer resets its connection', LIMIT, async (t) => {
  const program = start(t, 'examples/hello-server', ['--port', '0']);
  const address = await program.address();
  const killed = await connect(t, address);
  await killed.line();
  killed.socket.resetAndDestroy();
  await program.line(/failed: read ECONNRESET$/);
  await program.line(/closed$/);
  assert.equal(await (await connect(t, address)).line(), 'Hello! Say something.');
});

test('hello-server says in one line that its port is taken', LIMIT, async (t) => {
  const taken = net.createServer().listen(0, '127.0.0.1');
  t.after(() => taken.close());
  await once(taken, 'listening');
  const { port } = taken.address() as net.AddressInfo;
  const program = start(t, 'examples/hello-server', ['--port', String(port)]);
  assert.deepEqual(await program.ended, { code: 1, signal: null });
  assert.equal(program.stderr, `listen EADDRINUSE: address already in use 127.0.0.1:${port}\n`);
});

test('hello-client writes, ends its side, and still prints the answer', LIMIT, async (t) => {
  const received: Buffer[] = [];
  const server = net.createServer({ allowHalfOpen: true }, (socket) => {
    socket.on('data', (chunk) => received.push(chunk as Buffer));
    socket.on('end', () => socket.end('an answer after your end\n'));
  });
  t.after(() => server.close());
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as net.AddressInfo;

  const program = start(t, 'examples/hello-client', ['--port', String(port), 'good', 'evening']);
  assert.deepEqual(await program.ended, { code: 0, signal: null });
  assert.equal(Buffer.concat(received).toString(), 'good evening\n');
  assert.equal(
    program.stdout,
    `connected to 127.0.0.1:${port}\nan answer after your end\nthe server ended the connection\n`,
  );
  assert.equal(program.stderr, '');
});

test('hello-client says in a sentence that nobody listens, and exits with 1', LIMIT, async (t) => {
  const closed = net.createServer().listen(0, '127.0.0.1');
  await once(closed, 'listening');
  const { port } = closed.address() as net.AddressInfo;
  closed.close();
  await once(closed, 'close');

  for (const host of ['127.0.0.1', 'localhost']) {
    const program = start(t, 'examples/hello-client', ['--port', String(port), '--host', host]);
    assert.deepEqual(await program.ended, { code: 1, signal: null });
    assert.equal(program.stderr, `nobody listens on ${host}:${port}: is the server running?\n`);
    assert.equal(program.stdout, '');
  }
});

test('hello-client reports a reset by the server', LIMIT, async (t) => {
  const server = net.createServer((socket) => socket.on('data', () => socket.resetAndDestroy()));
  t.after(() => server.close());
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as net.AddressInfo;
  const program = start(t, 'examples/hello-client', ['--port', String(port)]);
  assert.deepEqual(await program.ended, { code: 1, signal: null });
  assert.equal(program.stderr, 'read ECONNRESET\n');
});
