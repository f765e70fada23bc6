import assert from 'node:assert/strict';
import test, { type TestContext } from 'node:test';
import { connect, connectDeaf, type Peer, start } from '../support/program.ts';

const LIMIT = { timeout: 60_000 };
const WHO = '* what is your name?';

async function startChat(t: TestContext) {
  const program = start(t, 'examples/chat/server', ['--port', '0']);
  const address = await program.address();
  const join = async (name: string): Promise<Peer> => {
    const peer = await connect(t, address);
    assert.equal(await peer.line(), WHO);
    peer.write(`${name}\n`);
    return peer;
  };
  return { program, address, join };
}

test('chat has names and rooms, and newcomers get the last lines of theirs', LIMIT, async (t) => {
  const { program, join } = await startChat(t);
  const ann = await join('ann');
  assert.equal(await ann.line(), '* you are in lobby, with 0 others; /help');
  for (let i = 0; i < 25; i++) ann.write(`line ${i}\n`);
  ann.write('/who\n');
  assert.equal(await ann.line(), '* here: ann');

  const bob = await join('ann');
  assert.equal(await bob.line(), '* ann is taken');
  bob.write('../..\nbob\n');
  assert.equal(await bob.line(), '* 1 to 20 letters, digits, - or _');
  const history = Array.from({ length: 20 }, (_, i) => `ann: line ${i + 5}`);
  assert.deepEqual(await bob.lines(21), [...history, '* you are in lobby, with 1 others; /help']);
  assert.equal(await ann.line(), '* bob is here');

  bob.write('grüße');
  bob.write(' \u001b[31mred\r\n');
  assert.equal(await ann.line(), 'bob: grüße [31mred');
  bob.write('/join tea\nonly here\n/rooms\n');
  assert.equal(await ann.line(), '* bob has left');
  assert.deepEqual(await bob.lines(2), ['* you are in tea, with 0 others; /help', '* rooms: lobby, tea']);
  ann.write('nobody in tea hears this\n/join tea\n');
  assert.deepEqual(await ann.lines(2), ['bob: only here', '* you are in tea, with 1 others; /help']);
  assert.equal(await bob.line(), '* ann is here');
  ann.write('/rooms\n/join no/room\n');
  assert.deepEqual(await ann.lines(2), ['* rooms: tea', '* /join ROOM, /rooms, /who, /quit']);

  bob.write('/quit\nunheard\n');
  assert.equal(await bob.rest(), '* goodbye, bob\n');
  assert.equal(await ann.line(), '* bob has left');
  const again = await join('bob');
  assert.deepEqual(await again.lines(1), ['* you are in lobby, with 0 others; /help']);
  again.socket.resetAndDestroy();
  await program.line(/the peer has reset the connection$/);
  assert.equal(program.stderr, '');
});

test('a line that is too long, or no text, is the end of its sender alone', LIMIT, async (t) => {
  const { program, join } = await startChat(t);
  const ann = await join('ann');
  await ann.line();
  const long = await join('long');
  long.write('x'.repeat(5_000));
  await long.ended;
  await program.line(/a frame is longer than 4096 bytes$/);
  const bad = await join('bad');
  bad.write(Buffer.from('ff0a', 'hex'));
  await bad.ended;
  await program.line(/a frame of 1 bytes is not UTF-8$/);
  const presence = ['* long is here', '* long has left', '* bad is here', '* bad has left'];
  assert.deepEqual(await ann.lines(4), presence);
  ann.write(`${'x'.repeat(501)}\n/who\n`);
  assert.deepEqual(await ann.lines(2), ['* at most 500 characters', '* here: ann']);
});

test('chat drops a client that does not read, and no other', LIMIT, async (t) => {
  const { program, address, join } = await startChat(t);
  const ann = await join('ann');
  const bob = await join('bob');
  await ann.lines(2);
  await bob.line();
  const deaf = await connectDeaf(t, address);
  deaf.write('deaf\n');
  assert.equal(await bob.line(), '* deaf is here');

  let isDropped = false;
  void program.line(/ bytes wait to be sent, and may not be more than 262144$/).then(() => (isDropped = true));
  const line = 'x'.repeat(490);
  while (!isDropped) {
    ann.write(`${line}\n`.repeat(100));
    for (let got = 0; got < 100; ) if ((await bob.line()) === `ann: ${line}`) got++;
  }
  ann.write('after\n');
  while ((await bob.line()) !== 'ann: after');
  assert.equal(program.stderr, '');
});

test(
  'the client of chat says what is typed, prints what comes, and is told goodbye by the server',
  LIMIT,
  async (t) => {
    const { program, address, join } = await startChat(t);
    const args = ['--port', String(address.port), '--name', 'cy'];
    const client = start(t, 'examples/chat/client', args, {}, 'pipe');
    client.child.stdin!.write('/who\n'); // before it is connected: `echo … | client.js` is no less welcome
    await client.line(/^\* you are in lobby, with 0 others; \/help$/);
    await client.line(/^\* here: cy$/);
    const ann = await join('ann');
    await ann.line();
    client.child.stdin!.write('hello\n');
    assert.equal(await ann.line(), 'cy: hello');
    ann.write('hi cy\n');
    await client.line(/^ann: hi cy$/);

    assert.deepEqual(await program.stop('SIGTERM'), { code: 0, signal: null });
    assert.deepEqual(await client.ended, { code: 0, signal: null });
    assert.match(client.stdout, /\* the server is closing\n$/);
    assert.equal(await ann.rest(), '* the server is closing\n');

    const alone = start(t, 'examples/chat/client', args);
    assert.deepEqual(await alone.ended, { code: 1, signal: null });
    assert.match(alone.stderr, /^connect ECONNREFUSED 127\.0\.0\.1:\d+\n$/);
  },
);
