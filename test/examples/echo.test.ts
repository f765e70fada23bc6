import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import test from 'node:test';
import { connect, connectDeaf, type Peer, start } from '../support/program.ts';

const MiB = 1024 * 1024;

test('echo answers 1,000 clients at once, each with its own bytes', { timeout: 60_000 }, async (t) => {
  const program = start(t, 'examples/echo', ['--port', '0']);
  const address = await program.address();
  const peers: Peer[] = [];
  while (peers.length < 1_000)
    peers.push(...(await Promise.all(Array.from({ length: 100 }, () => connect(t, address)))));

  for (let round = 0; round < 3; round++) {
    for (const [i, peer] of peers.entries()) peer.write(`round ${round} of client ${i}\n`);
    const answers = await Promise.all(peers.map((peer) => peer.line()));
    assert.deepEqual(
      answers,
      peers.map((_, i) => `round ${round} of client ${i}`),
    );
  }
  for (const peer of peers) peer.socket.end();
  assert.deepEqual(new Set(await Promise.all(peers.map((peer) => peer.rest()))), new Set(['']));
  assert.equal(program.stderr, '');
});

test('echo does not read from a client that does not read, and loses nothing', { timeout: 60_000 }, async (t) => {
  const program = start(t, 'examples/echo', ['--port', '0']);
  const address = await program.address();
  const other = await connect(t, address);
  const deaf = await connectDeaf(t, address);
  const before = program.residentBytes();

  // One MiB at a time, the next when the kernel has taken the last: `sent` stands still when echo has stopped reading.
  const block = randomBytes(MiB);
  const total = 128;
  const sentHash = createHash('sha256');
  let sent = 0;
  const send = (): void => {
    if (sent === total) return void deaf.end();
    sentHash.update(block);
    deaf.write(block, () => {
      sent++;
      send();
    });
  };
  send();
  for (let still = 0, last = -1; still < 50; still = sent === last ? still + 1 : 0) {
    last = sent;
    other.write('ping\n');
    assert.equal(await other.line(), 'ping');
  }
  assert.ok(sent < total / 2, `${sent} MiB were taken from a client that reads nothing`);
  if (before)
    assert.ok(program.residentBytes() - before < 48 * MiB, `grew by ${(program.residentBytes() - before) / MiB} MiB`);

  const gotHash = createHash('sha256');
  let got = 0;
  deaf.on('data', (chunk) => {
    got += chunk.length;
    gotHash.update(chunk);
  });
  await once(deaf, 'end');
  assert.equal(got, total * MiB);
  assert.equal(gotHash.digest('hex'), sentHash.digest('hex'));
});

test('echo survives peers that reset their connections in the middle of everything', { timeout: 30_000 }, async (t) => {
  const program = start(t, 'examples/echo', ['--port', '0']);
  const address = await program.address();
  const killed = await Promise.all(Array.from({ length: 20 }, () => connectDeaf(t, address)));
  for (const [i, socket] of killed.entries()) {
    if (i % 2) socket.write(Buffer.alloc(4 * MiB));
    socket.resetAndDestroy();
  }
  const peer = await connect(t, address);
  peer.write('alive\n');
  assert.equal(await peer.line(), 'alive');
  peer.socket.end('the last words\n');
  assert.equal(await peer.rest(), 'the last words\n');
  assert.deepEqual(await program.stop(), { code: null, signal: 'SIGTERM' });
  assert.equal(program.stderr, '');
});
