import assert from 'node:assert/strict';
import test from 'node:test';
import { connect, connectDeaf, start } from '../support/program.ts';

const LIMIT = { timeout: 60_000 };

test('chat carries every line to all others, and tells who comes and goes', LIMIT, async (t) => {
  const address = await start(t, 'examples/chat', ['--port', '0']).address();
  const ann = await connect(t, address);
  const annName = `guest-${ann.socket.localPort}`;
  assert.equal(await ann.line(), `* you are ${annName}, with 0 others`);
  const bob = await connect(t, address);
  const bobName = `guest-${bob.socket.localPort}`;
  assert.equal(await bob.line(), `* you are ${bobName}, with 1 others`);
  assert.equal(await ann.line(), `* ${bobName} joined`);

  ann.write('grüße\nand more\n');
  assert.deepEqual(await bob.lines(2), [`${annName}: grüße`, `${annName}: and more`]);
  bob.write('hello');
  bob.write(' back\r\n');
  assert.equal(await ann.line(), `${bobName}: hello back`);

  bob.socket.resetAndDestroy();
  assert.equal(await ann.line(), `* ${bobName} left`);
});

test('chat drops a client that does not read, and no other', LIMIT, async (t) => {
  const program = start(t, 'examples/chat', ['--port', '0']);
  const address = await program.address();
  const ann = await connect(t, address);
  const bob = await connect(t, address);
  await ann.lines(2);
  await bob.lines(1);
  const deaf = await connectDeaf(t, address);
  const deafName = `guest-${deaf.localPort}`;
  assert.equal(await bob.line(), `* ${deafName} joined`);

  // Bob reads everything; what the kernel and our megabyte can't hold of it for the deaf one is the end of that one.
  const line = 'x'.repeat(4_000);
  const isDropped = program.line(new RegExp(`^${deafName} failed: reads too slowly$`));
  let dropped = false;
  void isDropped.then(() => (dropped = true));
  while (!dropped) {
    ann.write(`${line}\n`.repeat(100));
    for (const got of await bob.lines(100))
      if (!got.startsWith('*')) assert.equal(got.length, `guest-${ann.socket.localPort}: `.length + 4_000);
  }
  await isDropped;
  ann.write('after\n');
  for (;;) if ((await bob.line()).endsWith(': after')) break;
  assert.equal(program.stderr, '');
});
