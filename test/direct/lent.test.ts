/** Views of lent memory: what becomes of one that was kept. */
import assert from 'node:assert/strict';
import test from 'node:test';
import { engine } from 'millrace';
import { run } from '../support/child.ts';
import { dialling, leakGuard, limit, take, turns, until } from '../support/net.ts';
import { peer, serve } from './support/direct.ts';

await leakGuard();

test('a copy of the view keeps its bytes', limit, async (t) => {
  const kept: Buffer[] = [];
  const server = await serve(t, { data: (_, view) => void kept.push(Buffer.from(view)) });
  const socket = await peer(t, server);
  for (let i = 0; i < 500; i++) {
    socket.write(`${i % 10}`.repeat(100));
    if (i % 7 === 0) await turns(1);
  }
  await until(() => Buffer.concat(kept).length === 50_000, 'all');
  assert.equal(Buffer.concat(kept).toString(), Array.from({ length: 500 }, (_, i) => `${i % 10}`.repeat(100)).join(''));
});

test(
  'MILLRACE_DEBUG_VIEWS=1 overwrites a view when the handler has returned, and nothing that was written',
  limit,
  async (t) => {
    const child = run(
      t,
      `const { listen } = await import('millrace/direct');
    const views = [];
    const server = await listen({ port: 0, hostname: '127.0.0.1',
      data(c, view) { views.push(view); c.write(view); } });
    say(String(server.port));
    heard(() => { say(String(views.every((view) => view.every((byte) => byte === 0xdb)))); process.exit(); });`,
      { env: { MILLRACE_DEBUG_VIEWS: '1' } },
    );
    const socket = dialling(t, { port: Number(await child.line()), host: '127.0.0.1' });
    const bytes = Buffer.from(Array.from({ length: 500_000 }, (_, i) => i % 200));
    for (const size of [1, 100, 5000, 500_000]) {
      const back = take(socket, size);
      socket.write(bytes.subarray(0, size));
      assert.ok((await back).equals(bytes.subarray(0, size)), `${size} bytes`);
    }
    child.say('?');
    assert.equal(await child.line(), 'true');
    await child.exit;
  },
);

test('a transfer of receive memory leaves it where it is', { ...limit, skip: engine === 'node' }, async (t) => {
  const lengths: number[] = [];
  const server = await serve(t, {
    data: (c, view) => {
      try {
        structuredClone(view, { transfer: [view.buffer as ArrayBuffer] });
      } catch (error) {
        assert.equal((error as Error).name, 'DataCloneError'); // Node 20 copies
      }
      lengths.push(view.length);
      c.write(view);
    },
  });
  const socket = await peer(t, server);
  for (let i = 0; i < 3; i++) {
    const back = take(socket, 5);
    socket.write('hello');
    assert.equal((await back).toString(), 'hello');
  }
  assert.deepEqual(lengths, [5, 5, 5]);
});
