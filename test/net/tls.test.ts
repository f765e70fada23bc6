/** Node's own tls on our sockets: slow is fine here, wrong is not. */
import assert from 'node:assert/strict';
import test from 'node:test';
import tls from 'node:tls';
import net from 'millrace';
import { certificate } from '../support/certificate.ts';
import { run } from '../support/child.ts';
import { close, dial, kernelSocket, leakGuard, limit, once, portOf, serve, until } from '../support/net.ts';

await leakGuard();

const pair = certificate();
const options = { ...limit, skip: pair === undefined && 'no openssl here' };

for (const ending of ['end', 'destroy'] as const) {
  test(`TLS connections are closed on both sides when a client calls ${ending}()`, options, async (t) => {
    const secure = tls.createServer({ ...pair }, (socket) => {
      socket.on('error', () => {});
      socket.on('data', (chunk) => socket.write(chunk));
    });
    const server = await serve(
      t,
      (socket) =>
        void secure.emit(
          'connection',
          socket.on('error', () => {}),
        ),
    );
    let closed = 0;
    for (let i = 0; i < 5; i++) {
      const socket = net.connect(portOf(server), '127.0.0.1').on('error', () => {});
      const client = tls.connect({ socket, rejectUnauthorized: false }, () => client.write('to you and back'));
      client.on('error', () => {});
      client.on('data', () => client[ending]());
      client.on('close', () => closed++);
    }
    await until(() => closed === 5, 'every client is closed');
    await until(
      () => (server as unknown as { _connections: number })._connections === 0,
      'the server has no connection left',
    );
  });
}

for (const event of ['secureConnection', 'data']) {
  test(`an exception in a '${event}' listener of a TLS server ends the process`, options, async (t) => {
    const source = `
      import tls from 'node:tls';
      const fail = () => { throw new Error('thrown on purpose'); };
      const secure = tls.createServer(${JSON.stringify({ key: String(pair?.key), cert: String(pair?.cert) })});
      secure.on('secureConnection', (socket) => ${event === 'data' ? "socket.on('data', fail)" : 'fail()'});
      const server = net.createServer((socket) => secure.emit('connection', socket)).listen(0, '127.0.0.1', () => {
        const client = tls.connect({ port: server.address().port, rejectUnauthorized: false }, () => client.write('x'));
      });`;
    const { code, stderr } = await run(t, source).exit;
    assert.match(stderr, /thrown on purpose/);
    assert.equal(code, 1);
  });
}

test('an answer that is still being sent when the client ends its side arrives whole', options, async (t) => {
  const size = 3_000_000;
  const secure = tls.createServer({ ...pair }, (socket) => {
    socket.on('error', () => {});
    socket.once('data', () => socket.end(Buffer.alloc(size, 7)));
  });
  const server = await serve(
    t,
    (socket) =>
      void secure.emit(
        'connection',
        socket.on('error', () => {}),
      ),
  );
  const socket = net.connect(portOf(server), '127.0.0.1');
  const client = tls.connect({ socket, rejectUnauthorized: false, allowHalfOpen: true } as tls.ConnectionOptions, () =>
    client.end('all of it'),
  );
  let got = 0;
  client.on('data', (chunk: Buffer) => {
    got += chunk.length;
  });
  await new Promise((resolve) => client.on('close', resolve));
  assert.equal(got, size);
});

test('a TLS socket around one of ours has its addresses, and hands its options on', options, async (t) => {
  const secure = tls.createServer({ ...pair }, (socket) => {
    socket.on('error', () => {});
    socket.end(`${socket.remoteAddress} ${socket.remotePort} ${socket.localPort}`);
  });
  const server = await serve(
    t,
    (socket) =>
      void secure.emit(
        'connection',
        socket.on('error', () => {}),
      ),
  );
  const socket = await dial(t, server);
  const client = tls.connect({ socket, rejectUnauthorized: false });
  client.setKeepAlive(true, 60_000);
  const seen = once(client, 'data');
  await once(client, 'secureConnect');
  const { localPort = 0, remotePort = 0 } = socket;
  assert.deepEqual(
    [client.remoteAddress, client.remotePort, client.remoteFamily, client.localAddress, client.localPort],
    ['127.0.0.1', portOf(server), 'IPv4', '127.0.0.1', localPort],
  );
  assert.deepEqual(client.address(), { address: '127.0.0.1', family: 'IPv4', port: localPort });
  // proc(5): 02 is the keep-alive timer.
  if (process.platform === 'linux') assert.match(kernelSocket(localPort, remotePort)?.timer ?? '', /^02:/);
  assert.equal(String((await seen)[0]), `127.0.0.1 ${localPort} ${portOf(server)}`);
  client.destroy();
  await close(socket);
});

test('unref() of a TLS socket around one of ours lets the process go, and ref() keeps it', options, async (t) => {
  const secure = tls.createServer({ ...pair }, (socket) => {
    socket.on('error', () => {}).write('hello');
  });
  const server = await serve(
    t,
    (socket) =>
      void secure.emit(
        'connection',
        socket.on('error', () => {}),
      ),
  );
  for (const [calls, code] of [
    ['client.unref()', 0],
    ['client.unref().ref(); setTimeout(() => process.exit(7), 50).unref()', 7],
  ] as const) {
    const child = run(
      t,
      `const { default: tls } = await import('node:tls');
      const socket = net.connect(${portOf(server)}, '127.0.0.1');
      const client = tls.connect({ socket, rejectUnauthorized: false });
      client.on('data', () => { ${calls}; });`,
      { stdio: ['ignore', 'pipe', 'pipe'] },
    );
    assert.equal((await child.exit).code, code, calls);
  }
});
