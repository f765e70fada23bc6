import assert from 'node:assert/strict';
import test, { type TestContext } from 'node:test';
import { connect, type Peer, start } from '../support/program.ts';

const LIMIT = { timeout: 60_000 };

/** Writes the parts so that each arrives in a read of its own: a round trip of another connection lies between any two. */
async function writeApart(peer: Peer, other: Peer, parts: Buffer[]): Promise<void> {
  for (const part of parts) {
    peer.write(part);
    other.write('.\n');
    assert.equal(await other.line(), '1 .');
  }
}

async function startLines(t: TestContext, args: string[] = []) {
  const program = start(t, 'examples/lines', ['--port', '0', ...args]);
  const address = await program.address();
  return { program, address, peer: await connect(t, address), other: await connect(t, address) };
}

test('lines finds ten lines wherever TCP cuts them, also within a character', LIMIT, async (t) => {
  const { peer, other } = await startLines(t);
  const lines = ['one', '', 'grün', '€uro', '𝄞', 'crlf\r', 'zwölf Boxkämpfer', '日本語', ' spaces ', 'ten'];
  const answers = [
    '3 one',
    '0 ',
    '4 grün',
    '4 €uro',
    '1 𝄞',
    '4 crlf',
    '16 zwölf Boxkämpfer',
    '3 日本語',
    '8  spaces ',
    '3 ten',
  ];
  const bytes = Buffer.from(`${lines.join('\n')}\n`);

  for (let cut = 0; cut <= bytes.length; cut++) {
    await writeApart(
      peer,
      other,
      [bytes.subarray(0, cut), bytes.subarray(cut)].filter((part) => part.length > 0),
    );
    assert.deepEqual(await peer.lines(10), answers, `cut at ${cut}`);
  }
  await writeApart(
    peer,
    other,
    Array.from(bytes, (byte) => Buffer.of(byte)),
  );
  assert.deepEqual(await peer.lines(10), answers, 'byte by byte');
  peer.write(Buffer.concat(Array(1_000).fill(bytes)));
  for (let i = 0; i < 1_000; i++) assert.deepEqual(await peer.lines(10), answers);
});

test('lines answers a last line without a newline when the peer ends', LIMIT, async (t) => {
  const { peer } = await startLines(t);
  peer.socket.end('first\nlast wörd');
  assert.equal(await peer.rest(), '5 first\n9 last wörd\n');
});

test('lines refuses a line over the limit, says so and closes, and takes one that just fits', LIMIT, async (t) => {
  const { program, peer, address } = await startLines(t, ['--max-line-bytes', '100']);
  peer.write(`${'x'.repeat(100)}\n`);
  assert.equal(await peer.line(), `100 ${'x'.repeat(100)}`);
  // It is refused as soon as it is too long, not when it is complete.
  peer.write('y'.repeat(101));
  assert.equal(await peer.rest(), 'error: a frame is longer than 100 bytes\n');
  await program.line(/^refused: a frame is longer than 100 bytes$/);

  const flood = await connect(t, address);
  flood.socket.end(Buffer.alloc(1024 * 1024, 'z'));
  assert.equal(await flood.rest(), 'error: a frame is longer than 100 bytes\n');
});

test('lines survives a peer that resets in the middle of a line', LIMIT, async (t) => {
  const { program, peer, other } = await startLines(t);
  await writeApart(peer, other, [Buffer.from('half a li')]);
  peer.socket.resetAndDestroy();
  await program.line(/^a connection failed: read ECONNRESET$/);
  other.write('alive\n');
  assert.equal(await other.line(), '5 alive');
  assert.equal(program.stderr, '');
});
