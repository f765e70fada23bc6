/** Records that no library would send, behind a handshake that was good: refused as Node refuses them, in bounded memory. */
import assert from 'node:assert/strict';
import test from 'node:test';
import nodeTls, { type TLSSocket } from 'node:tls';
import tls from 'millrace/tls';
import { leakGuard, once, settled, take, until } from '../support/net.ts';
import { needsOpenssl, needsOwn, secure, secured, type Tls } from '../support/tls.ts';
import { RECORD, type RecordPeer, recordPeer } from '../support/tls-records.ts';

await leakGuard();

const own = tls as never as Tls;

/** What the server's socket says of what the peer sends. */
async function refusal(t: test.TestContext, module: Tls, send: (peer: RecordPeer) => Buffer[]): Promise<string> {
  const seen: Buffer[] = [];
  const server = await secure(t, {}, undefined, module);
  const accepted = once(server, 'secureConnection');
  const peer = await recordPeer(t, server);
  const [socket] = (await accepted) as [TLSSocket];
  socket.on('data', (chunk: Buffer) => seen.push(chunk));
  const failed = once(socket, 'error');
  for (const bytes of send(peer)) peer.plain.write(bytes);
  const [error] = await failed;
  assert.equal(Buffer.concat(seen).length, 0, 'nothing was seen');
  await secured(t, server); // the server lives
  return error.code;
}

const hostile: [title: string, send: (peer: RecordPeer) => Buffer[]][] = [
  ['a header that promises 65,535 bytes', () => [Buffer.of(RECORD.DATA, 3, 3, 255, 255)]],
  ['a record of one byte more than there may be', (peer) => [peer.seal(RECORD.DATA, Buffer.alloc(16_385, 1))]],
  ['a record without a type', (peer) => [peer.seal(0, Buffer.alloc(100))]],
  ['a record of an unknown type', (peer) => [peer.seal(99, Buffer.alloc(100, 1))]],
  ['a plain record', () => [Buffer.of(RECORD.ALERT, 3, 3, 0, 2, 1, 0)]],
  ['a ticket of a client', (peer) => [peer.seal(RECORD.HANDSHAKE, Buffer.of(4, 0, 0, 0))]],
  ['a second hello', (peer) => [peer.seal(RECORD.HANDSHAKE, Buffer.of(1, 0, 0, 1, 0))]],
  ['a key update of a megabyte', (peer) => [peer.seal(RECORD.HANDSHAKE, Buffer.of(24, 16, 0, 0, 1))]],
  ['two key updates in one record', (peer) => [peer.seal(RECORD.HANDSHAKE, Buffer.of(24, 0, 0, 1, 1, 24, 0, 0, 1, 1))]],
  ['an alert that ends it', (peer) => [peer.seal(RECORD.ALERT, Buffer.of(2, 40))]],
  [
    'a record of another key',
    (peer) => [peer.seal(RECORD.DATA, Buffer.of(1)), peer.seal(RECORD.DATA, Buffer.of(2))].slice(1),
  ],
  ['empty records without end', (peer) => Array.from({ length: 200 }, () => peer.seal(RECORD.DATA, Buffer.alloc(0)))],
];

for (const [title, send] of hostile) {
  test(`${title} is refused as Node refuses it`, needsOpenssl, async (t) => {
    assert.equal(await refusal(t, own, send), await refusal(t, nodeTls, send));
  });
}

test('a record that is cut by the end is not seen, and the end is one', needsOpenssl, async (t) => {
  const server = await secure(t);
  const accepted = once(server, 'secureConnection');
  const peer = await recordPeer(t, server);
  const [socket] = (await accepted) as [TLSSocket];
  const seen: string[] = [];
  socket.on('data', (chunk) => seen.push(String(chunk)));
  const ended = once(socket, 'end');
  peer.plain.write(peer.seal(RECORD.DATA, Buffer.from('whole')));
  peer.plain.end(peer.seal(RECORD.DATA, Buffer.from('half')).subarray(0, -1));
  await ended;
  assert.deepEqual(seen, ['whole']);
});

test('who asks for new keys and does not read the answers is not read any more', {
  ...needsOwn,
  timeout: 170_000,
}, async (t) => {
  const server = await secure(t);
  const accepted = once(server, 'secureConnection');
  const peer = await recordPeer(t, server);
  const [socket] = (await accepted) as [TLSSocket];
  const { raw } = (socket as unknown as { _handle: { raw: { bytesRead: number } } })._handle;
  socket.resume();
  // So much that neither kernel has room for an answer.
  socket.write(Buffer.alloc(24 << 20));
  assert.ok((await settled(() => socket.writableLength)) > 0, 'both kernels are full');
  const before = raw.bytesRead;
  const COUNT = 34_000; // of 27 bytes: more than may wait, with what is in flight before them
  let sent = 0;
  for (let i = 0; i < COUNT; i += 1000) {
    const records = Buffer.concat(Array.from({ length: 1000 }, () => peer.keyUpdate()));
    sent += records.length;
    peer.plain.write(records);
    await new Promise(setImmediate);
  }
  const read = (await settled(() => raw.bytesRead)) - before;
  assert.ok(read < sent, `${read} bytes of ${sent} were read`);
  peer.plain.resume(); // now it reads
  await until(() => raw.bytesRead - before === sent, 'the rest', 100_000);
  const arrived = take(socket, 5);
  peer.plain.write(peer.seal(RECORD.DATA, Buffer.from('after')));
  assert.equal(String(await arrived), 'after');
});
