import assert from 'node:assert/strict';
import test from 'node:test';
import { connect, start } from '../support/program.ts';

const LIMIT = { timeout: 60_000 };

test('cluster-echo serves one port from several processes, and replaces one that dies', LIMIT, async (t) => {
  const program = start(t, 'examples/cluster-echo', ['--port', '0', '--workers', '2']);
  const address = await program.address();
  const peers = await Promise.all(Array.from({ length: 40 }, () => connect(t, address)));
  const pids = new Set<number>();
  for (const [i, peer] of peers.entries()) {
    const [, pid] = /^you reached process (\d+)$/.exec(await peer.line()) ?? [];
    pids.add(Number(pid));
    peer.write(`echo ${i}\n`);
    assert.equal(await peer.line(), `echo ${i}`);
  }
  assert.ok(pids.size > 1, `all of 40 connections reached process ${[...pids]}`);
  assert.ok(!pids.has(program.child.pid!), 'the primary serves nobody');

  const [victim] = pids;
  process.kill(victim!, 'SIGKILL');
  await program.line(new RegExp(`^worker ${victim} ended \\(SIGKILL\\)$`));
  await program.line(/^worker \d+ is ready$/);
  const peer = await connect(t, address);
  assert.match(await peer.line(), /^you reached process \d+$/);
  peer.socket.end('goodbye\n');
  assert.equal(await peer.rest(), 'goodbye\n');

  // Connections that end, and so does the group.
  for (const { socket } of peers) socket.end();
  assert.deepEqual(await program.stop('SIGTERM'), { code: 0, signal: null });
});
