/** Peers that mean no good, or are broken: clear errors, bounded memory, and a server that lives. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import nodeNet, { type AddressInfo } from 'node:net';
import test from 'node:test';
import type { Server, TLSSocket } from 'node:tls';
import { collect, leakGuard, once, take, until } from '../support/net.ts';
import { helloOf, needsOpenssl, needsOwn, secure, secured, securing } from '../support/tls.ts';

await leakGuard();

const portOf = (server: Server): number => (server.address() as AddressInfo).port;

/** A plain socket of Node's to the server. */
async function raw(t: test.TestContext, server: Server): Promise<nodeNet.Socket> {
  const socket = nodeNet.connect(portOf(server), '127.0.0.1').on('error', () => {});
  t.after(() => socket.destroy());
  await once(socket, 'connect');
  return socket;
}

async function isAlive(t: test.TestContext, server: Server): Promise<void> {
  const client = await secured(t, server);
  client.write('ping');
  assert.equal(String(await take(client, 4)), 'ping');
  client.destroy();
}

const echo = (socket: TLSSocket): void => void socket.on('data', (chunk) => socket.write(chunk));

for (const [what, bytes] of [
  ['garbage', Buffer.alloc(200, 0xee)],
  ['plain HTTP', Buffer.from('GET / HTTP/1.1\r\nHost: x\r\n\r\n')],
  ['a record that is too long', Buffer.from('160301ffff', 'hex')],
  ['an alert', Buffer.from('15030300020228', 'hex')],
  ['data before the handshake', Buffer.from('1703030010000102030405060708090a0b0c0d0e0f', 'hex')],
  ['an empty handshake record', Buffer.from('1603030000', 'hex')],
] as const) {
  test(`${what} in place of a hello is an error of that client`, needsOpenssl, async (t) => {
    const server = await secure(t, {}, echo);
    const failed = once(server, 'tlsClientError');
    const socket = await raw(t, server);
    socket.end(bytes);
    const [error] = await failed;
    assert.ok(error instanceof Error && 'code' in error, String(error));
    await isAlive(t, server);
  });
}

test('a hello that is cut at any byte is an error of that client', { ...needsOpenssl, timeout: 60_000 }, async (t) => {
  const server = await secure(t, {}, echo);
  let errors = 0;
  server.on('tlsClientError', () => errors++);
  const hello = await helloOf(t);
  for (let length = 1; length < hello.length; length++) {
    const socket = await raw(t, server);
    socket.end(hello.subarray(0, length));
    if (length % 50 === 0) await until(() => errors === length, `an error for each of ${length} hellos`);
  }
  await until(() => errors === hello.length - 1, 'an error for each hello');
  await isAlive(t, server);
});

test('a hello that comes byte by byte is answered', needsOpenssl, async (t) => {
  const server = await secure(t, {}, echo);
  const hello = await helloOf(t);
  const socket = await raw(t, server);
  socket.setNoDelay(true);
  for (const byte of hello) await new Promise((resolve) => socket.write(Buffer.of(byte), resolve));
  const [answer] = await once(socket, 'data');
  assert.equal(answer[0], 0x16, 'a handshake record');
});

test('a peer that stops in the handshake is given up after handshakeTimeout', needsOpenssl, async (t) => {
  const server = await secure(t, { handshakeTimeout: 50 });
  const failed = once(server, 'tlsClientError');
  await raw(t, server);
  assert.equal((await failed)[0].code, 'ERR_TLS_HANDSHAKE_TIMEOUT');
});

test('a peer whose hello drips is given up after handshakeTimeout, too', needsOpenssl, async (t) => {
  const hello = await helloOf(t);
  const server = await secure(t, { handshakeTimeout: 150 });
  const peer = await raw(t, server);
  const late = once(server, 'tlsClientError');
  let sent = 0;
  const drip = setInterval(() => peer.write(hello.subarray(sent, ++sent)), 20);
  t.after(() => clearInterval(drip));
  const [error] = await late;
  assert.equal((error as NodeJS.ErrnoException).code, 'ERR_TLS_HANDSHAKE_TIMEOUT');
  assert.ok(sent < hello.length);
});

test('a connection that is cut without a close_notify ends as in Node', needsOpenssl, async (t) => {
  const server = await secure(t);
  const accepted = once(server, 'secureConnection');
  const plain = await raw(t, server);
  const client = securing(t, server, { socket: plain as never });
  await once(client, 'secureConnect');
  const [peer] = await accepted;
  const all = collect(peer);
  client.write('half a', () => plain.end());
  assert.equal(String(await all), 'half a');
});

test('bytes that are changed on the way are an error, and none of them is seen', needsOpenssl, async (t) => {
  const server = await secure(t);
  const accepted = once(server, 'secureConnection');
  let changes = false;
  const relay = nodeNet.createServer((near) => {
    const far = nodeNet.connect(portOf(server), '127.0.0.1').on('error', () => {});
    far.pipe(near.on('error', () => {}));
    near.on('data', (chunk: Buffer) => {
      if (changes) chunk.writeUInt8(chunk.readUInt8(chunk.length - 1) ^ 1, chunk.length - 1);
      far.write(chunk);
    });
    t.after(() => far.destroy());
  });
  relay.listen(0, '127.0.0.1');
  t.after(() => relay.close());
  await once(relay, 'listening');
  const client = await secured(t, relay as never);
  client.on('error', () => {});
  const [peer] = await accepted;
  peer.on('data', () => assert.fail('it was seen'));
  const failed = once(peer, 'error');
  changes = true;
  client.write('changed');
  const [error] = await failed;
  assert.equal(error.code, 'ERR_SSL_DECRYPTION_FAILED_OR_BAD_RECORD_MAC');
});

/** openssl s_client with commands: R renegotiates, K updates keys and asks for the same. */
function openssl(t: test.TestContext, server: Server, ...more: string[]) {
  const env = { ...process.env, LD_PRELOAD: '' };
  const child = spawn('openssl', ['s_client', '-connect', `127.0.0.1:${portOf(server)}`, ...more], { env });
  t.after(() => child.kill());
  let output = '';
  for (const stream of [child.stdout, child.stderr])
    stream.on('data', (chunk) => {
      output += String(chunk);
    });
  child.stdin.on('error', () => {});
  return { child, output: () => output };
}

test('renegotiation is refused', needsOwn, async (t) => {
  const server = await secure(t, {}, echo);
  const accepted = once(server, 'secureConnection');
  const { child, output } = openssl(t, server, '-tls1_2');
  await accepted;
  child.stdin.write('R\n');
  await until(() => /no renegotiation|RENEGOTIATING[\s\S]*(error|alert)/.test(output()), 'the refusal');
  await isAlive(t, server);
});

test('key updates are answered', needsOpenssl, async (t) => {
  const server = await secure(t, {}, echo);
  const accepted = once(server, 'secureConnection');
  const { child, output } = openssl(t, server, '-tls1_3');
  await accepted;
  for (let i = 0; i < 5; i++) {
    child.stdin.write('K\n');
    await until(() => output().split('KEYUPDATE').length > i + 1, 'the update');
    child.stdin.write(`after ${i}\n`);
    await until(() => output().includes(`after ${i}`), 'the echo');
  }
});
