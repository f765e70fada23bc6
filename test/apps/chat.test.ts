// The chat as its users meet it: a process, and clients of node:net.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import net from 'node:net';
import test, { type TestContext } from 'node:test';
import { connect, connectDeaf, type Peer, type Program, start } from '../support/program.ts';

const LIMIT = { timeout: 60_000 };
const WELCOME = '* Welcome to the millrace chat. What is your name?';

interface Chat {
  program: Program;
  address: { host: string; port: number };
  /** A client that has said its name and read its hello. */
  join(name: string): Promise<Peer>;
}

async function startChat(t: TestContext, args: string[] = []): Promise<Chat> {
  const program = start(t, 'apps/chat/main', ['--port', '0', ...args]);
  const [, host, port] = await program.line(/^ {2}address {2}([\d.]+):(\d+)$/);
  const address = { host: host!, port: Number(port) };
  const join = async (name: string): Promise<Peer> => {
    const peer = await connect(t, address);
    assert.equal(await peer.line(), WELCOME);
    peer.write(`${name}\n`);
    while (!(await peer.line()).startsWith(`* Hello, ${name}. `));
    return peer;
  };
  return { program, address, join };
}

test('the chat says at its start what it runs on, where, and how to join', LIMIT, async (t) => {
  const { program, address } = await startChat(t);
  await program.line(new RegExp(`^  join     nc 127\\.0\\.0\\.1 ${address.port}$`));
  const [title, engine] = program.stdout.split('\n');
  assert.equal(title, 'millrace chat');
  assert.match(engine!, /^ {2}engine {3}(io_uring|epoll|node) \(.+\)$/);
  if (process.env['MILLRACE_ENGINE'])
    assert.ok(engine!.includes(process.env['MILLRACE_ENGINE']) || /placeholder/.test(engine!));
});

test('people join, talk, look around, take other names and leave', LIMIT, async (t) => {
  const { program, address, join } = await startChat(t);
  const ann = await connect(t, address);
  assert.equal(await ann.line(), WELCOME);
  ann.write('ann\r\n');
  assert.equal(await ann.line(), '* Hello, ann. Nobody else is here. /help lists what you can do.');
  const bob = await connect(t, address);
  bob.write('/nick bob\n');
  assert.deepEqual(await bob.lines(2), [WELCOME, '* Hello, bob. One other is here. /help lists what you can do.']);
  assert.equal(await ann.line(), '* bob joined');

  ann.write('good morning\nand welcome\n');
  assert.deepEqual(await bob.lines(2), ['ann: good morning', 'ann: and welcome']);
  bob.write('  hi\tann \r\n\n   \n');
  assert.equal(await ann.line(), 'bob: hi ann');

  const cy = await connect(t, address);
  cy.write('cy\n');
  assert.deepEqual(await cy.lines(6), [
    WELCOME,
    '* The last that was said:',
    'ann: good morning',
    'ann: and welcome',
    'bob: hi ann',
    '* Hello, cy. 2 others are here. /help lists what you can do.',
  ]);
  cy.write('/who\n/nick cyd\n/dance\n/HELP\n');
  assert.deepEqual(await cy.lines(7), [
    '* 3 here: ann, bob, cy',
    '* cy is now cyd',
    '* There is no /dance. /help lists what there is.',
    '* /who        who is here',
    '* /nick NAME  take a name, or another one',
    '* /help       this list',
    '* /quit       leave',
  ]);
  assert.deepEqual(await ann.lines(2), ['* cy joined', '* cy is now cyd']);

  cy.write('/quit\nnobody hears this\n');
  assert.equal(await cy.rest(), '* Goodbye, cyd.\n');
  assert.equal(await ann.line(), '* cyd left');
  // `printf 'bye' | nc`: a last line without a newline, and the end
  bob.socket.end('bye');
  assert.equal(await bob.rest().then((rest) => rest.split('\n').at(-2)), '* Goodbye, bob.');
  assert.deepEqual(await ann.lines(2), ['bob: bye', '* bob left']);

  // A name is free again when its owner has left; one who is killed leaves too.
  const again = await join('bob');
  assert.equal(await ann.line(), '* bob joined');
  again.socket.resetAndDestroy();
  assert.equal(await ann.line(), '* bob lost the connection');
  ann.write('/who\n');
  assert.equal(await ann.line(), '* 1 here: ann');
  assert.equal(program.stderr, '');
});

test('hostile names are refused with a reason, and a good one is still welcome', LIMIT, async (t) => {
  const { address, join } = await startChat(t);
  await join('Ann');
  const peer = await connect(t, address);
  await peer.line();
  const rule = '* A name is 1 to 20 letters, digits, _ - or . and begins with a letter or a digit. Which is yours?';
  for (const name of ['a b', '*', '-rf', '.', 'ann:', 'x'.repeat(21), '<b>', 'a\u202ebc d', '"', '~\u001b']) {
    peer.write(`${name}\n`);
    assert.equal(await peer.line(), rule, JSON.stringify(name));
  }
  peer.write('/nick\n');
  assert.equal(await peer.line(), rule);
  for (const name of ['Ann', 'ann', 'ANN', 'ａｎｎ', '\u001b[31mann\u001b[0m']) {
    peer.write(`${name}\n`);
    assert.match(await peer.line(), /^\* The name \S+ is taken\. Which other would you like\?$/, JSON.stringify(name));
  }
  peer.write('__proto__\nconstructor\n');
  assert.equal(await peer.line(), rule); // it begins with _
  assert.match(await peer.line(), /^\* Hello, constructor\. /);
  peer.write('/nick Zoë_9\n');
  assert.equal(await peer.line(), '* constructor is now Zoë_9');
});

test('what a client sends can not harm the terminals of the others', LIMIT, async (t) => {
  const { join } = await startChat(t);
  const ann = await join('ann');
  const bob = await join('bob');
  const sent: [Buffer | string, string][] = [
    ['\u001b[2J\u001b[1;31mred\u001b[0m\n', 'red'],
    ['\u001b]0;title\u0007after\n', 'after'],
    ['\u009b31mC1 \u0007bell \bback\u007f\n', 'C1 bell back'],
    ['fake\rann: line\n', 'fakeann: line'],
    ['\u202eturned\u2028\u2029\n', 'turned'],
    [Buffer.from('610062000a', 'hex'), 'ab'],
    ['👩‍👩‍👧 and नमस्ते stay\n', '👩‍👩‍👧 and नमस्ते stay'],
  ];
  for (const [bytes, seen] of sent) {
    bob.write(bytes);
    let line = await ann.line();
    if (line === '* bob joined') line = await ann.line();
    assert.equal(line, `bob: ${seen}`);
  }
});

test('a line may come in any pieces, also within a character', LIMIT, async (t) => {
  const { join } = await startChat(t);
  const ann = await join('ann');
  const bob = await join('bob');
  assert.equal(await ann.line(), '* bob joined');
  const bytes = Buffer.from('grüße €𝄞\n');
  for (let cut = 1; cut < bytes.length; cut++) {
    bob.write(bytes.subarray(0, cut));
    // A round trip of the other connection lies between the pieces, so that they come in reads of their own.
    ann.write('/who\n');
    assert.equal(await ann.line(), '* 2 here: ann, bob');
    bob.write(bytes.subarray(cut));
    assert.equal(await ann.line(), 'bob: grüße €𝄞', `cut at ${cut}`);
  }
});

test('a line that is too long is skipped with a word to its sender, and the next is good again', LIMIT, async (t) => {
  const { join } = await startChat(t);
  const ann = await join('ann');
  const bob = await join('bob');
  assert.equal(await ann.line(), '* bob joined');
  bob.write(`${'x'.repeat(2_000)}\n${'y'.repeat(2_001)}\n${'z'.repeat(300_000)}\nshort\n`);
  assert.equal(await ann.line(), `bob: ${'x'.repeat(2_000)}`);
  assert.equal(await ann.line(), 'bob: short');
  const notice = '* That line is longer than 2000 bytes, so nobody has seen it.';
  assert.deepEqual(await bob.lines(2), [notice, notice]);
});

test('a line that is no UTF-8 is left out with a word to its sender, and the next is good again', LIMIT, async (t) => {
  const { join } = await startChat(t);
  const ann = await join('ann');
  const bob = await join('bob');
  assert.equal(await ann.line(), '* bob joined');
  bob.write(Buffer.concat([Buffer.from('c328fffe0a', 'hex'), Buffer.from('grüße\n', 'latin1'), Buffer.from('good\n')]));
  assert.equal(await ann.line(), 'bob: good');
  const notice = '* That line is not UTF-8, so nobody has seen it.';
  assert.deepEqual(await bob.lines(2), [notice, notice]);
});

test('who talks too fast is slowed down, and every line still arrives in order', LIMIT, async (t) => {
  const { join } = await startChat(t, ['--lines-per-second', '100']);
  const ann = await join('ann');
  const bob = await join('bob');
  assert.equal(await ann.line(), '* bob joined');
  const started = performance.now();
  const lines = Array.from({ length: 500 }, (_, i) => `line ${i}`);
  bob.socket.end(lines.join('\n'));
  assert.deepEqual(
    await ann.lines(500),
    lines.map((line) => `bob: ${line}`),
  );
  // 400 at once, 100 with the time of one second
  assert.ok(performance.now() - started > 900);
  assert.equal(await ann.line(), '* bob left');
});

test('a client that does not read is dropped, and the others hear of it', LIMIT, async (t) => {
  const { program, address, join } = await startChat(t, ['--lines-per-second', '1000000']);
  const ann = await join('ann');
  const bob = await join('bob');
  const deaf = await connectDeaf(t, address);
  deaf.write('deaf\n');
  assert.equal(await bob.line(), '* deaf joined');
  assert.deepEqual(await ann.lines(2), ['* bob joined', '* deaf joined']);

  let dropped = false;
  while (!dropped) {
    ann.write(`${'x'.repeat(1_900)}\n`.repeat(100));
    for (let got = 0; got < 100; ) {
      const line = await bob.line();
      if (line === '* deaf was dropped: it did not read what was said') dropped = true;
      else {
        assert.equal(line.length, 'ann: '.length + 1_900);
        got++;
      }
    }
  }
  await program.line(/^127\.0\.0\.1:\d+ \(deaf\): \d+ bytes wait to be sent, and may not be more than 1048576$/);
  ann.write('/who\n');
  while ((await ann.line()) !== '* 2 here: ann, bob');
  assert.equal(program.stderr, '');
});

test(
  'over the limit of connections there is a sentence and an end, and a place again when one has left',
  LIMIT,
  async (t) => {
    const { address, join } = await startChat(t, ['--max-connections', '2']);
    await join('ann');
    const bob = await join('bob');
    const refused = await connect(t, address);
    assert.equal(await refused.rest(), '* All 2 places are taken. Try again later.\n');
    bob.write('/quit\n');
    await bob.rest();
    bob.socket.destroy();
    for (;;) {
      const peer = await connect(t, address);
      if ((await peer.line()) === WELCOME) break;
    }
  },
);

test('killed clients, half a line from each, leave the chat as it was', LIMIT, async (t) => {
  const { program, address, join } = await startChat(t);
  const ann = await join('ann');
  const killed = await Promise.all(Array.from({ length: 50 }, () => connectDeaf(t, address)));
  for (const [i, socket] of killed.entries()) {
    socket.write(`victim-${i}\nhalf a li`);
    if (i % 2) await once(socket, 'readable'); // some are named by now, some are not
    socket.resetAndDestroy();
  }
  ann.write('/who\n');
  for (;;) {
    const line = await ann.line();
    if (line === '* 1 here: ann') break;
    if (/ here: ann, /.test(line)) ann.write('/who\n');
  }
  assert.equal(program.stderr, '');
});

for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  test(`on ${signal} the chat says goodbye to all and ends within a second`, LIMIT, async (t) => {
    const { program, address, join } = await startChat(t);
    const ann = await join('ann');
    const unnamed = await connect(t, address);
    await unnamed.line();
    const ended = performance.now();
    const exit = program.stop(signal);
    assert.equal(await ann.rest(), '* The server is closing. Goodbye!\n');
    assert.equal(await unnamed.rest(), '* The server is closing. Goodbye!\n');
    assert.deepEqual(await exit, { code: 0, signal: null });
    assert.ok(performance.now() - ended < 1_000);
    assert.match(program.stdout, /\ngoodbye\n$/);
    assert.equal(program.stderr, '');
  });
}

test(
  'the chat ends within a second also with clients that never read, and one that keeps its side open',
  LIMIT,
  async (t) => {
    const { program, address, join } = await startChat(t, ['--lines-per-second', '1000000']);
    const deaf = await connectDeaf(t, address);
    deaf.write('deaf\n');
    const ann = await join('ann');
    const bob = await join('bob');
    // As much as the kernel takes for the deaf one, and then some that waits in the chat.
    ann.write(`${'x'.repeat(1_900)}\n`.repeat(500));
    for (let i = 0; i < 500; i++) await bob.line();
    const open = net.connect({ ...address, allowHalfOpen: true });
    t.after(() => open.destroy());
    await once(open, 'data');

    const ended = performance.now();
    assert.deepEqual(await program.stop('SIGINT'), { code: 0, signal: null });
    assert.ok(performance.now() - ended < 1_000, `${performance.now() - ended} ms`);
  },
);

test('a taken port is one sentence and exit code 1', LIMIT, async (t) => {
  const taken = net.createServer().listen(0, '127.0.0.1');
  t.after(() => taken.close());
  await once(taken, 'listening');
  const { port } = taken.address() as net.AddressInfo;
  const program = start(t, 'apps/chat/main', ['--port', String(port)]);
  assert.deepEqual(await program.ended, { code: 1, signal: null });
  assert.equal(program.stderr, `Port ${port} on 127.0.0.1 is taken by another program; choose another with --port.\n`);
  assert.equal(program.stdout, '');

  const elsewhere = start(t, 'apps/chat/main', ['--port', '0', '--host', '192.0.2.1']);
  assert.deepEqual(await elsewhere.ended, { code: 1, signal: null });
  assert.equal(elsewhere.stderr, '192.0.2.1 is no address of this machine; choose another with --host.\n');
});

test(
  'a command line that makes no sense is one sentence and exit code 2, and --help is exit code 0',
  LIMIT,
  async (t) => {
    const bad = start(t, 'apps/chat/main', ['--port', '70000']);
    assert.deepEqual(await bad.ended, { code: 2, signal: null });
    assert.equal(
      bad.stderr,
      "--port is '70000', where a whole number from 0 to 65535 should be; --help lists the options.\n",
    );
    const help = start(t, 'apps/chat/main', ['--help']);
    assert.deepEqual(await help.ended, { code: 0, signal: null });
    assert.match(help.stdout, /^A chat over TCP\. /);
  },
);
