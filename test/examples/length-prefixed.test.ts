import assert from 'node:assert/strict';
import test, { type TestContext } from 'node:test';
import { connect, type Peer, start } from '../support/program.ts';

const LIMIT = { timeout: 60_000 };
const hex = (text: string): Buffer => Buffer.from(text.replaceAll(' ', ''), 'hex');

async function startFrames(t: TestContext, args: string[] = []) {
  const program = start(t, 'examples/length-prefixed', ['--port', '0', ...args]);
  const address = await program.address();
  return { program, address, peer: await connect(t, address), other: await connect(t, address) };
}

/** Writes the parts so that each arrives in a read of its own: a round trip of another connection lies between any two. */
async function writeApart(peer: Peer, other: Peer, parts: Buffer[]): Promise<void> {
  for (const part of parts) {
    peer.write(part);
    other.write(hex('00000001 61'));
    assert.deepEqual(await other.bytes(5), hex('00000001 41'));
  }
}

test(
  'length-prefixed finds the frames wherever TCP cuts them, also within a length and a character',
  LIMIT,
  async (t) => {
    const { peer, other } = await startFrames(t);
    // "hello", an empty frame, "grün €", one of 300 bytes (a length with two bytes that are not 0)
    const sent = Buffer.concat([
      hex('00000005 68656c6c6f'),
      hex('00000000'),
      hex('00000009 6772c3bc6e20e282ac'),
      hex('0000012c'),
      Buffer.alloc(300, 'x'),
    ]);
    const answer = Buffer.concat([
      hex('00000005 48454c4c4f'),
      hex('00000000'),
      hex('00000009 4752c39c4e20e282ac'),
      hex('0000012c'),
      Buffer.alloc(300, 'X'),
    ]);

    for (let cut = 0; cut <= 40; cut++) {
      await writeApart(
        peer,
        other,
        [sent.subarray(0, cut), sent.subarray(cut)].filter((part) => part.length > 0),
      );
      assert.deepEqual(await peer.bytes(answer.length), answer, `cut at ${cut}`);
    }
    await writeApart(
      peer,
      other,
      Array.from(sent.subarray(0, 60), (byte) => Buffer.of(byte)),
    );
    peer.write(sent.subarray(60));
    assert.deepEqual(await peer.bytes(answer.length), answer, 'byte by byte');
    peer.write(Buffer.concat(Array(1_000).fill(sent)));
    for (let i = 0; i < 1_000; i++) assert.deepEqual(await peer.bytes(answer.length), answer);
  },
);

test('length-prefixed refuses a declared length over the limit before its bytes come', LIMIT, async (t) => {
  const { program, peer, address } = await startFrames(t, ['--max-frame-bytes', '1000']);
  peer.write(Buffer.concat([hex('000003e8'), Buffer.alloc(1_000, 'a')]));
  assert.deepEqual(await peer.bytes(1_004), Buffer.concat([hex('000003e8'), Buffer.alloc(1_000, 'A')]));
  peer.write(hex('000003e9'));
  assert.equal(await peer.rest(), '\0\0\0\x36error: a frame of 1001 bytes is over the limit of 1000');
  await program.line(/^refused: a frame of 1001 bytes is over the limit of 1000$/);

  const large = await connect(t, address);
  large.write(hex('ffffffff'));
  assert.match(await large.rest(), /error: a frame of 4294967295 bytes is over the limit of 1000$/);
});

test('length-prefixed notices a peer that ends, or resets, in the middle of a frame', LIMIT, async (t) => {
  const { program, peer, other, address } = await startFrames(t);
  peer.socket.end(hex('0000000a 6162'));
  assert.equal(await peer.rest(), '');
  await program.line(/^a peer ended in the middle of a frame$/);
  const killed = await connect(t, address);
  // First a whole frame: libuv reports a reset that comes together with the first bytes as an end.
  killed.write(hex('00000000'));
  await killed.bytes(4);
  await writeApart(killed, other, [hex('0000')]);
  killed.socket.resetAndDestroy();
  await program.line(/^a connection failed: read ECONNRESET$/);
  await writeApart(other, await connect(t, address), [hex('00000000')]);
  assert.equal(program.stderr, '');
});
