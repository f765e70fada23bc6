import assert from 'node:assert/strict';
import test from 'node:test';
import { Worker } from 'node:worker_threads';
import { connect } from 'millrace/direct';
import { leakGuard, limit, once, until } from '../support/net.ts';
import { Book } from './support/direct.ts';

await leakGuard();

const program = `
const { parentPort } = require('node:worker_threads');
import('millrace/direct').then(async ({ listen }) => {
  const server = await listen({ port: 0, hostname: '127.0.0.1', data: (c, view) => void c.write(view) });
  parentPort.postMessage(server.port);
});`;

test('each thread has its own servers, and what it held is closed when it is terminated', limit, async (t) => {
  const workers = [new Worker(program, { eval: true }), new Worker(program, { eval: true })];
  t.after(async () => void (await Promise.all(workers.map((worker) => worker.terminate()))));
  const ports = await Promise.all(workers.map(async (worker) => (await once(worker, 'message'))[0] as number));
  const books = [new Book(), new Book()] as const;
  for (const [i, port] of ports.entries()) {
    const c = await connect({ port, hostname: '127.0.0.1', ...books[i]?.handlers() });
    c.write(`to thread ${i}`);
  }
  await until(() => books.every((book, i) => book.text === `to thread ${i}`), 'both answers');
  await workers[0]?.terminate();
  assert.notEqual((await books[0].closed()).kind, 'terminated');
  assert.deepEqual(books[1].reasons, []);
  await workers[1]?.terminate();
  await books[1].closed();
  await assert.rejects(connect({ port: ports[0], hostname: '127.0.0.1' }), { code: 'ECONNREFUSED' });
});
