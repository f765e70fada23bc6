/**
 * Memory that the kernel reads and writes is shared by all connections of a thread, and reused without being erased: what
 * was encrypted on the way never lies there in the clear.
 */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import test from 'node:test';
import net from 'millrace';
import { choice } from '#src/engine/engine.ts';
import type { Turn } from '#src/engine/turn.ts';
import { encrypted } from '#src/tls/native.ts';
import { giveBuffer, takeBuffer } from '#src/tls/records.ts';
import { keep, leakGuard, once, portOf, take } from '../support/net.ts';
import { needsOwn, secure, secured } from '../support/tls.ts';

await leakGuard();

const SIZES = [64, 2_000, 30_000, 400_000, 3_000_000];

/** The places of a text in memory that the kernel reads from and writes to, and in buffers for records that go round. */
function findings(text: string): string[] {
  const turn = choice.turn as Turn;
  const places: [string, Buffer][] = [
    ['receive buffers', turn.buffers.memory],
    ['send arena', turn.arena.memory],
    ['output of handshakes', encrypted],
  ];
  for (let id = 0; turn.large?.at(id) !== undefined; id++) places.push(['large receive buffers', turn.large.at(id)]);
  const free = Array.from({ length: 64 }, takeBuffer);
  for (const buffer of free) places.push(['buffers for records', buffer]);
  const found = places.filter(([, memory]) => memory.includes(text)).map(([place]) => place);
  for (const buffer of free) giveBuffer(buffer);
  return [...new Set(found)];
}

const filled = (text: string, size: number): Buffer => Buffer.alloc(size, text);

test('the control: what goes over a plain connection is found', needsOwn, async (t) => {
  const text = randomBytes(16).toString('hex');
  const server = keep(
    t,
    net.createServer((socket) => socket.on('data', (chunk) => socket.write(chunk))),
  );
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const client = keep(t, net.connect(portOf(server), '127.0.0.1'));
  for (const size of SIZES) {
    const back = take(client, size);
    client.write(filled(text, size));
    await back;
  }
  const found = findings(text);
  for (const place of ['receive buffers', 'send arena']) assert.ok(found.includes(place), place);
});

for (const version of ['TLSv1.2', 'TLSv1.3'] as const) {
  test(`${version}: what goes over a TLS connection is not found`, needsOwn, async (t) => {
    const [text, early] = [randomBytes(16).toString('hex'), randomBytes(16).toString('hex')];
    const server = await secure(t, { maxVersion: version }, (socket) =>
      socket.on('data', (chunk) => socket.write(chunk)),
    );
    const client = await secured(t, server);
    for (const size of SIZES) {
      const back = take(client, size);
      client.write(filled(text, size));
      assert.ok((await back).includes(text));
    }
    for (let i = 0; i < 100; i++) client.write(early); // small ones of one tick, as texts
    await take(client, 3200);
    assert.deepEqual(findings(text), []);
    assert.deepEqual(findings(early), []);
  });
}
