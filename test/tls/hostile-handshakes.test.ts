/** Handshakes that never end, or are too large: each is an error of its peer alone, and memory has a bound. */
import assert from 'node:assert/strict';
import nodeNet, { type AddressInfo } from 'node:net';
import test from 'node:test';
import nodeTls, { type Server } from 'node:tls';
import tls from 'millrace/tls';
import { descriptors, leakGuard, once, until } from '../support/net.ts';
import { certificates, helloOf, needsOpenssl, secure, secured, securing } from '../support/tls.ts';

await leakGuard();

const isSanitized = (process.env['LD_PRELOAD'] ?? '').includes('asan');
const slow = { ...needsOpenssl, timeout: 60_000 };

async function raw(t: test.TestContext, server: Server): Promise<nodeNet.Socket> {
  const socket = nodeNet.connect((server.address() as AddressInfo).port, '127.0.0.1').on('error', () => {});
  t.after(() => void socket.destroy());
  await once(socket, 'connect');
  return socket;
}

test('1,000 half-done handshakes cost bounded memory and leave nothing behind', slow, async (t) => {
  const COUNT = 1000;
  const server = await secure(t);
  let errors = 0;
  server.on('tlsClientError', () => errors++);
  const hello = await helloOf(t);
  const before = { memory: process.memoryUsage.rss(), descriptors: descriptors().length };
  const sockets: nodeNet.Socket[] = [];
  let answered = 0;
  for (let i = 0; i < COUNT; i += 100) {
    const some = await Promise.all(Array.from({ length: 100 }, () => raw(t, server)));
    for (const socket of some) {
      socket.once('data', () => answered++);
      socket.write(hello);
    }
    sockets.push(...some);
  }
  await until(() => answered === COUNT, 'the answers', 40_000);
  const bytes = (process.memoryUsage.rss() - before.memory) / COUNT;
  if (!isSanitized) assert.ok(bytes < 200_000, `${Math.round(bytes)} bytes for each, with both ends in this process`);
  await secured(t, server); // somebody else is served meanwhile
  for (const socket of sockets) socket.destroy();
  await until(() => errors === COUNT, 'an error for each', 40_000);
  await secured(t, server);
  // Two for the clients of this test, which are there until its end.
  await until(() => descriptors().length <= before.descriptors + 4, 'the descriptors are closed');
});

/** A handshake message of that length by its header, in records with as much of it as there is. */
function message(type: number, length: number, body: Buffer = Buffer.alloc(0)): Buffer {
  const all = Buffer.concat([Buffer.of(type, length >> 16, (length >> 8) & 255, length & 255), body]);
  const records: Buffer[] = [];
  for (let at = 0; at < all.length; at += 16_384) {
    const part = all.subarray(at, at + 16_384);
    records.push(Buffer.of(22, 3, 1, part.length >> 8, part.length & 255), part);
  }
  return Buffer.concat(records);
}

test('a hello of more bytes than OpenSSL takes is refused by its header', needsOpenssl, async (t) => {
  const server = await secure(t);
  const failed = once(server, 'tlsClientError');
  (await raw(t, server)).write(message(1, 0x30_000));
  assert.equal((await failed)[0].code, 'ERR_SSL_EXCESSIVE_MESSAGE_SIZE');
  await secured(t, server);
});

test('a hello of 60 KB in many records is answered', needsOpenssl, async (t) => {
  const server = await secure(t);
  const hello = (await helloOf(t)).subarray(9); // behind the headers of record and message
  // RFC 8446, 4.1.2: version, random, session id, cipher suites, compression methods, extensions
  let at = 34;
  at += 1 + hello.readUInt8(at);
  at += 2 + hello.readUInt16BE(at);
  at += 1 + hello.readUInt8(at);
  const unknown = Buffer.concat([Buffer.of(0xfa, 0xfa, 60_000 >> 8, 60_000 & 255), Buffer.alloc(60_000)]);
  const extensions = Buffer.concat([unknown, hello.subarray(at + 2)]);
  const length = Buffer.of(extensions.length >> 8, extensions.length & 255);
  const large = Buffer.concat([hello.subarray(0, at), length, extensions]);
  const peer = await raw(t, server);
  const answer = once(peer, 'data');
  peer.write(message(1, large.length, large));
  assert.equal((await answer)[0][0], 22, 'a handshake record');
});

/** More than SSL_MAX_CERT_LIST_DEFAULT, 100 KB. */
const longChain = (): Buffer => Buffer.concat([certificates.server.cert, ...Array(400).fill(certificates.ca)]);

for (const version of ['TLSv1.2', 'TLSv1.3'] as const) {
  const versions = { minVersion: version, maxVersion: version };

  test(`${version}: a client's chain of certificates that is too long is refused`, needsOpenssl, async (t) => {
    const server = await secure(t, { requestCert: true, rejectUnauthorized: false, ca: certificates.ca, ...versions });
    const failed = once(server, 'tlsClientError');
    securing(t, server, { ...certificates.server, cert: longChain() }, nodeTls).on('error', () => {});
    assert.equal((await failed)[0].code, 'ERR_SSL_EXCESSIVE_MESSAGE_SIZE');
    await secured(t, server);
  });

  test(`${version}: a server's chain of certificates that is too long is refused`, needsOpenssl, async (t) => {
    const server = await secure(t, { cert: longChain(), ...versions }, undefined, nodeTls);
    server.on('tlsClientError', () => {});
    const [error] = await once(securing(t, server, {}, tls as never), 'error');
    assert.equal(error.code, 'ERR_SSL_EXCESSIVE_MESSAGE_SIZE');
  });
}
