/** Peers that reset or vanish, handlers that throw, a process without descriptors. */
import assert from 'node:assert/strict';
import net from 'node:net';
import test from 'node:test';
import { engine } from 'millrace';
import type { Connection, Handlers } from 'millrace/direct';
import { run } from '../support/child.ts';
import { close, collect, dialling, keep, leakGuard, limit, once, turns, until } from '../support/net.ts';
import { Book, dial, peer, serve } from './support/direct.ts';

await leakGuard();

test('a reset by the peer is an error, and the reason', limit, async (t) => {
  const book = new Book();
  const server = await serve(t, book.handlers());
  const socket = await peer(t, server);
  await book.connection();
  socket.resetAndDestroy();
  const reason = await book.closed();
  assert.equal(reason.kind, 'reset');
  assert.deepEqual(book.lines, ['open', 'error', 'close:reset']);
  const [error] = book.errors as NodeJS.ErrnoException[];
  assert.deepEqual([error?.code, error?.syscall, error?.message], ['ECONNRESET', 'read', 'read ECONNRESET']);
  assert.equal(reason.kind === 'reset' && reason.error, error);
});

test('a reset in the middle of a transfer closes once, and disturbs nobody else', limit, async (t) => {
  const book = new Book();
  const server = await serve(t, book.handlers({ data: (c, view) => void c.write(view) }));
  const bystander = await peer(t, server);
  const answer = collect(bystander);
  bystander.write('before ');
  for (let round = 0; round < 10; round++) {
    const socket = await peer(t, server, { paused: true });
    await until(() => book.connections.length === round + 2, 'the connection');
    const c = book.connections.at(-1) as Connection;
    for (let i = 0; i < 8; i++) c.write(Buffer.alloc(1024 * 1024));
    socket.write(Buffer.alloc(100_000 * (round % 3) + 1));
    await turns(round);
    socket.resetAndDestroy();
    await until(() => c.isClosed, 'the end');
    assert.equal(book.reasons.at(-1)?.kind, 'reset');
  }
  bystander.end('and after');
  assert.equal((await answer).toString(), 'before and after');
});

test('writes that the peer will never read end in a reset', limit, async (t) => {
  const book = new Book();
  const server = await serve(t, Object.assign(book.handlers(), { allowHalfOpen: true }));
  const socket = await peer(t, server);
  const c = await book.connection();
  socket.destroy();
  await book.until('end');
  c.write('into the void');
  await turns(20);
  c.write('again');
  assert.equal((await book.closed()).kind, 'reset');
});

for (const where of ['open', 'data', 'drain', 'end', 'timeout'] as const) {
  test(`what \`${where}\` throws comes to \`error\`, and closes the connection with a reset`, limit, async (t) => {
    const book = new Book();
    const problem = new Error(where);
    const fail = (): never => {
      book.lines.push(where);
      throw problem;
    };
    const handlers: Handlers = { ...book.handlers(), ...{ [where]: fail } };
    const idle = where === 'timeout' ? { readMs: 1 } : {};
    const server = await serve(t, Object.assign(handlers, { limits: { highWaterMark: 0 }, idle }));
    const socket = keep(t, net.connect(server.port as number, '127.0.0.1')).on('error', () => {});
    socket.resume();
    if (where === 'drain') (await book.connection()).write('x');
    else if (where !== 'timeout') socket.end('x');
    assert.deepEqual(await book.closed(), { kind: 'handler', error: problem });
    assert.deepEqual(book.errors, [problem]);
    assert.deepEqual(book.lines.slice(-3), [where, 'error', 'close:handler']);
    await close(socket);
    await turns(5);
    assert.equal(book.reasons.length, 1);
  });
}

test(
  'without `error` what a handler throws is an uncaught exception, and everybody else is served',
  limit,
  async (t) => {
    const child = run(
      t,
      `const { listen } = await import('millrace/direct');
    process.on('uncaughtException', (error) => say('uncaught ' + error.message));
    const server = await listen({ port: 0, hostname: '127.0.0.1',
      data(c, view) { if (String(view) === 'bad') throw new Error('thrown'); c.write(view); },
      close(c, { kind, error }) { say('close ' + kind + ' ' + error?.message); if (kind === 'handler') throw new Error('another'); } });
    say(String(server.port));
    heard(() => process.exit());`,
    );
    const to = { port: Number(await child.line()), host: '127.0.0.1' };
    const [good, bad] = [dialling(t, to), dialling(t, to).on('error', () => {})];
    good.write('1');
    await once(good, 'data');
    bad.write('bad');
    assert.deepEqual([await child.line(), await child.line(), await child.line()].sort(), [
      'close handler thrown',
      'uncaught another',
      'uncaught thrown',
    ]);
    good.write('2');
    assert.equal(String((await once(good, 'data'))[0]), '2');
    child.say('stop');
    assert.equal((await child.exit).code, 0);
  },
);

test('an exception nobody catches ends the process, as with any listener', limit, async (t) => {
  const child = run(
    t,
    `const { listen } = await import('millrace/direct');
    const server = await listen({ port: 0, hostname: '127.0.0.1', open() { throw new Error('at once'); } });
    say(String(server.port));`,
  );
  dialling(t, { port: Number(await child.line()), host: '127.0.0.1' }).on('error', () => {});
  const { code, stderr } = await child.exit;
  assert.notEqual(code, 0);
  assert.match(stderr, /Error: at once/);
});

test('a handler of errors that throws is an uncaught exception of its own', limit, async (t) => {
  const child = run(
    t,
    `const { listen } = await import('millrace/direct');
    process.on('uncaughtException', (error) => say('uncaught ' + error.message));
    const server = await listen({ port: 0, hostname: '127.0.0.1',
      open() { throw new Error('first'); },
      error(c, error) { throw new Error('not ' + error.message); },
      close(c, { kind, error }) { say('close ' + kind + ' ' + error.message); } });
    say(String(server.port));
    heard(() => process.exit());`,
  );
  dialling(t, { port: Number(await child.line()), host: '127.0.0.1' }).on('error', () => {});
  assert.deepEqual([await child.line(), await child.line()].sort(), ['close handler first', 'uncaught not first']);
  child.say('stop');
  await child.exit;
});

test('whatever is thrown is told, also undefined', limit, async (t) => {
  const book = new Book();
  const thrower = (): never => {
    // biome-ignore lint/style/useThrowOnlyError: that is what is tested
    throw undefined;
  };
  const server = await serve(t, book.handlers({ open: thrower }));
  keep(t, net.connect(server.port as number, '127.0.0.1')).on('error', () => {});
  assert.deepEqual(await book.closed(), { kind: 'handler', error: undefined });
  assert.deepEqual(book.errors, [undefined]);
});

test('a half-close in the middle of a transfer ends one direction only', limit, async (t) => {
  const bytes = Buffer.alloc(8 * 1024 * 1024, 'half');
  const book = new Book();
  const server = await serve(t, book.handlers({ open: (c) => void c.write(bytes) }));
  const ours = new Book();
  const c = await dial(t, server, Object.assign(ours.handlers(), { allowHalfOpen: true }));
  c.end('enough');
  assert.deepEqual(await ours.closed(), { kind: 'ended' });
  assert.deepEqual(await book.closed(), { kind: 'ended' });
  assert.ok(Buffer.concat(ours.received).equals(bytes));
  assert.equal(book.text, 'enough');
});

test('a connection in which nobody minds the end is closed by its own end', limit, async (t) => {
  const book = new Book();
  const server = await serve(t, Object.assign(book.handlers(), { allowHalfOpen: true }));
  const socket = await peer(t, server);
  const c = await book.connection();
  socket.end();
  await book.until('end');
  assert.equal(c.isClosed, false);
  c.end();
  c.end('twice');
  assert.deepEqual(await book.closed(), { kind: 'ended' });
});

test('a server without descriptors serves those it has, warns once, and accepts again later', {
  ...limit,
  skip: engine === 'node' ? "Node's own" : false,
}, async (t) => {
  const child = run(
    t,
    `const { listen } = await import('millrace/direct');
      let warnings = 0;
      process.on('warning', ({ code }) => { if (code === 'MILLRACE_WARN_ACCEPT') warnings++; });
      const server = await listen({ port: 0, hostname: '127.0.0.1', data: (c, view) => c.write(view) });
      say(String(server.port));
      heard((text) => { if (text === 'stop') process.exit(); say(warnings + ' ' + Math.round(process.cpuUsage().user / 1000)); });`,
    { maxDescriptors: 64 },
  );
  const to = { port: Number(await child.line()), host: '127.0.0.1' };
  const first = dialling(t, to);
  first.write('1');
  await once(first, 'data');
  const crowd = Array.from({ length: 100 }, () => dialling(t, to).on('error', () => {}));
  await Promise.all(crowd.map((client) => (client.connecting ? once(client, 'connect').catch(() => []) : [])));
  first.write('2');
  assert.equal(String((await once(first, 'data'))[0]), '2');
  const ask = async (): Promise<[number, number]> => {
    child.say('?');
    return (await child.line()).split(' ').map(Number) as [number, number];
  };
  await until(() => true, 'a turn');
  const [, before] = await ask();
  const start = performance.now();
  await until(() => performance.now() - start > 300, 'a while');
  const [warnings, after] = await ask();
  assert.equal(warnings, 1);
  assert.ok(after - before < 200, `${after - before} ms of CPU in 300 ms`);
  for (const client of crowd) client.destroy();
  await Promise.all(crowd.map((client) => close(client)));
  let answer = '';
  for (let attempt = 0; answer === '' && attempt < 50; attempt++) {
    const client = dialling(t, to).on('error', () => {});
    client.on('data', (chunk) => {
      answer += chunk;
      client.destroy();
    });
    client.write('3');
    await close(client);
  }
  assert.equal(answer, '3');
  child.say('stop');
  await child.exit;
});

for (const moment of ['before', 'in'] as const) {
  test(`what is written ${moment} an 'exit' listener is sent`, { ...limit, skip: engine === 'node' }, async (t) => {
    const write = moment === 'before' ? "c.write('last')" : "process.once('exit', () => c.write('last'))";
    const child = run(
      t,
      `const { listen } = await import('millrace/direct');
      const server = await listen({ port: 0, hostname: '127.0.0.1', data(c) { ${write}; process.exit(); } });
      say(String(server.port));`,
    );
    const socket = dialling(t, { port: Number(await child.line()), host: '127.0.0.1' });
    socket.write('x');
    const chunks: Buffer[] = [];
    socket.on('data', (chunk: Buffer) => chunks.push(chunk)).on('error', () => {});
    await close(socket);
    assert.equal(Buffer.concat(chunks).toString(), 'last');
  });
}
