import assert from 'node:assert/strict';
import test from 'node:test';
import { connect, type Peer, start } from '../support/program.ts';

const LIMIT = { timeout: 120_000 };

test('cluster-chat has one room on two workers, and one owner of each name', LIMIT, async (t) => {
  const program = start(t, 'examples/cluster-chat', ['--port', '0', '--workers', '2']);
  const address = await program.address();
  const people = new Map<string, Peer[]>();
  const all: Peer[] = [];
  // Connections go to either worker by the kernel's choice.
  for (let i = 0; people.size < 2; i++) {
    assert.ok(i < 60, 'all connections reached one worker');
    const peer = await connect(t, address);
    assert.equal(await peer.line(), '* what is your name?');
    if (i > 0) {
      peer.write('p0\n');
      assert.equal(await peer.line(), '* p0 is taken');
    }
    peer.write(`p${i}\n`);
    const [, worker = ''] = /^\* hello, p\d+; you are with worker (\d)$/.exec(await peer.line()) ?? [];
    people.set(worker, [...(people.get(worker) ?? []), peer]);
    all.push(peer);
    peer.write('tea here\n');
    for (const each of all) assert.equal(await each.line(), `tea, p${i}: here`);
  }

  // A name is free again when whoever had it is gone: asked until the news has come around.
  const [first] = all as [Peer];
  first.socket.end();
  await first.rest();
  const next = await connect(t, address);
  let answer = await next.line();
  do {
    next.write('p0\n');
    answer = await next.line();
  } while (answer === '* p0 is taken');
  assert.match(answer, /^\* hello, p0; you are with worker \d$/);
  program.child.kill('SIGTERM');
  assert.deepEqual(await program.ended, { code: 0, signal: null });
  assert.equal(program.stderr, '');
});
