/** Peers of secure connections that mean no good, or are broken: nothing opens, nothing hangs, and the server lives. */
import assert from 'node:assert/strict';
import type { Socket } from 'node:net';
import test from 'node:test';
import type { Server } from 'millrace/direct';
import {
  dialling,
  leakGuard,
  once,
  portOf,
  type Stage,
  serve as serveRaw,
  take,
  turns,
  until,
} from '../support/net.ts';
import { needsOpenssl, needsOwn } from '../support/tls.ts';
import { Book, peer } from './support/direct.ts';
import { dialTls, nodeServer, peered, peerTls, serveTls } from './support/tls.ts';

await leakGuard();

const limit = { ...needsOpenssl, timeout: 30_000 };
const codeOf = (error: unknown): string | undefined => (error as NodeJS.ErrnoException).code;

async function isAlive(t: Stage, server: Server): Promise<void> {
  const socket = await peered(t, server);
  socket.write('ping');
  assert.equal(String(await take(socket, 4)), 'ping');
  socket.destroy();
}

const echo = new Book().handlers({ data: (c, view) => void c.write(view) });

/** Something between a client and the server that changes what passes. */
async function relay(
  t: Stage,
  to: number,
  onData: (chunk: Buffer, far: Socket, near: Socket) => void,
): Promise<number> {
  const listener = await serveRaw(t, (near) => {
    const far = dialling(t, { port: to, host: '127.0.0.1' }).on('error', () => {});
    far.pipe(near.on('error', () => {}));
    near.on('data', (chunk: Buffer) => onData(chunk, far, near));
    near.on('close', () => far.destroy());
  });
  return portOf(listener);
}

/** The first flight of a client, as it goes over the wire. */
async function helloOf(t: Stage): Promise<Buffer> {
  const listener = await serveRaw(t);
  const accepted = once(listener, 'connection');
  const client = peerTls(t, {} as Server, { port: portOf(listener) }).on('error', () => {});
  const [socket] = (await accepted) as [Socket];
  const head = await take(socket, 5);
  const hello = Buffer.concat([head, await take(socket, head.readUInt16BE(3))]);
  client.destroy();
  return hello;
}

for (const [what, bytes] of [
  ['garbage', Buffer.alloc(200, 0xee)],
  ['plain HTTP', Buffer.from('GET / HTTP/1.1\r\nHost: x\r\n\r\n')],
  ['a record that is too long', Buffer.from('160301ffff', 'hex')],
  ['an alert', Buffer.from('15030300020228', 'hex')],
  ['data before the handshake', Buffer.from('1703030010000102030405060708090a0b0c0d0e0f', 'hex')],
  ['an end', Buffer.alloc(0)],
] as const) {
  test(`${what} in place of a hello is an error of that client`, limit, async (t) => {
    const book = new Book();
    const { server, errors } = await serveTls(t, book.handlers(echo));
    (await peer(t, server)).end(bytes);
    await until(() => errors.length === 1 && server.handshakeCount === 0, 'the error');
    assert.match(`${codeOf(errors[0])}`, /^ERR_SSL_|^ECONNRESET$/);
    assert.deepEqual(book.lines, []);
    await isAlive(t, server);
  });
}

test('a hello that is cut is an error of that client', limit, async (t) => {
  const { server, errors } = await serveTls(t, echo);
  const hello = await helloOf(t);
  let cut = 0;
  for (let length = 1; length < hello.length; length += 7) {
    (await peer(t, server)).end(hello.subarray(0, length));
    cut++;
  }
  await until(() => errors.length === cut, `an error for each of ${cut} hellos`);
  assert.equal(server.handshakeCount, 0);
  await isAlive(t, server);
});

test('a hello that comes byte by byte is answered', limit, async (t) => {
  const { server } = await serveTls(t, echo);
  const hello = await helloOf(t);
  const socket = await peer(t, server);
  for (const byte of hello) {
    socket.write(Buffer.of(byte));
    await turns(1);
  }
  assert.equal((await take(socket, 1))[0], 0x16, 'a handshake record');
});

test('a peer that stops in the handshake is given up, and so is one whose hello drips', limit, async (t) => {
  const { server, errors } = await serveTls(t, echo, { handshakeTimeoutMs: 1 });
  const hello = await helloOf(t);
  const [silent, dripping] = [await peer(t, server), await peer(t, server)];
  let sent = 0;
  const drip = setInterval(() => sent < hello.length - 1 && dripping.write(hello.subarray(sent, ++sent)), 10);
  t.after(() => clearInterval(drip));
  silent.write(hello.subarray(0, 50));
  await until(() => errors.length === 2, 'both errors');
  assert.deepEqual(errors.map(codeOf), ['ERR_TLS_HANDSHAKE_TIMEOUT', 'ERR_TLS_HANDSHAKE_TIMEOUT']);
  assert.ok(sent < hello.length - 1);
});

test('an SNICallback that never answers is given up', limit, async (t) => {
  const { server, errors } = await serveTls(t, {}, { handshakeTimeoutMs: 1, SNICallback() {} });
  peerTls(t, server).on('error', () => {});
  await until(() => errors.length === 1, 'the error');
  assert.equal(codeOf(errors[0]), 'ERR_TLS_HANDSHAKE_TIMEOUT');
  assert.equal(server.handshakeCount, 0);
});

test('hundreds of half-done handshakes leave nothing behind', limit, async (t) => {
  const { server, errors } = await serveTls(t, echo);
  const hello = await helloOf(t);
  const sockets: Socket[] = [];
  for (let i = 0; i < 300; i++) {
    const socket = await peer(t, server);
    socket.write(hello);
    sockets.push(socket);
  }
  await until(() => server.handshakeCount === 300, 'all of them');
  await isAlive(t, server);
  for (const socket of sockets) socket.destroy();
  await until(() => errors.length === 300, 'an error for each');
  assert.equal(server.handshakeCount, 0);
});

test('a server that is no TLS server, or leaves in the handshake, is an error of connect', limit, async (t) => {
  for (const [answer, code] of [
    ['220 smtp.example\r\n', /^ERR_SSL_/],
    ['', /^ECONNRESET$/],
  ] as const) {
    const listener = await serveRaw(t, (socket) => {
      socket.on('error', () => {});
      socket.once('data', () => socket.end(answer));
    });
    await assert.rejects(dialTls(t, portOf(listener)), (error) => code.test(`${codeOf(error)}`));
  }
});

test('a FIN without a close_notify is no orderly end', { ...needsOwn, timeout: 30_000 }, async (t) => {
  for (const allowTruncation of [false, true]) {
    const book = new Book();
    const { server } = await serveTls(t, book.handlers(), { allowTruncation });
    let far: Socket | undefined;
    const port = await relay(t, server.port as number, (chunk, to) => {
      far = to;
      to.write(chunk);
    });
    const socket = await peered(t, server, { port });
    socket.write('half a');
    await until(() => book.text === 'half a', 'the bytes');
    far?.end();
    const reason = await book.closed();
    if (allowTruncation) {
      assert.deepEqual(reason, { kind: 'ended' });
      assert.deepEqual(book.lines, ['open', 'data', 'end', 'close:ended']);
    } else {
      assert.equal(reason.kind, 'tls');
      assert.equal(codeOf((reason as { error: Error }).error), 'MILLRACE_ERR_TLS_TRUNCATED');
      assert.deepEqual(book.lines, ['open', 'data', 'error', 'close:tls']);
    }
  }
});

test('bytes that are changed on the way are an error, and none of them is seen', limit, async (t) => {
  const book = new Book();
  const { server } = await serveTls(t, book.handlers());
  let changes = false;
  const port = await relay(t, server.port as number, (chunk, far) => {
    if (changes) chunk.writeUInt8(chunk.readUInt8(chunk.length - 1) ^ 1, chunk.length - 1);
    far.write(chunk);
  });
  const socket = await peered(t, server, { port });
  socket.write('good');
  await until(() => book.text === 'good', 'what was not changed');
  changes = true;
  socket.write('bad');
  const reason = await book.closed();
  assert.equal(reason.kind, 'tls');
  assert.equal(codeOf((reason as { error: Error }).error), 'ERR_SSL_DECRYPTION_FAILED_OR_BAD_RECORD_MAC');
  assert.equal(book.text, 'good');
});

test('good records before a bad one are shown first', { ...needsOwn, timeout: 30_000 }, async (t) => {
  const book = new Book();
  const { server } = await serveTls(t, book.handlers());
  let isTampering = false;
  const port = await relay(t, server.port as number, (chunk, far) =>
    far.write(
      isTampering ? Buffer.concat([chunk, Buffer.from('170303001100112233445566778899aabbccddeeff00', 'hex')]) : chunk,
    ),
  );
  const socket = await peered(t, server, { port });
  await book.connection();
  isTampering = true;
  socket.write('good');
  assert.equal((await book.closed()).kind, 'tls');
  assert.equal(book.text, 'good');
  assert.deepEqual(book.lines, ['open', 'data', 'error', 'close:tls']);
});

test('a peer that is gone in the middle of much is a reset, and what waits is given back', limit, async (t) => {
  const book = new Book();
  const { server } = await serveTls(t, book.handlers({ open: (c) => void c.write(Buffer.alloc(8 * 1024 * 1024)) }));
  const socket = await peered(t, server);
  await take(socket, 100_000);
  socket.destroy();
  assert.equal((await book.closed()).kind, 'reset');
});

test('a client is told behind the handshake that its certificate is refused (TLS 1.3)', limit, async (t) => {
  const port = await nodeServer(t, { requestCert: true });
  const book = new Book();
  await dialTls(t, port, {}, book.handlers()).catch(() => {});
  if (book.lines.length === 0) return; // it was heard of in time
  const reason = await book.closed();
  assert.ok(reason.kind === 'tls' || reason.kind === 'reset', reason.kind);
});
