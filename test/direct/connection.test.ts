import assert from 'node:assert/strict';
import net from 'node:net';
import { join } from 'node:path';
import test from 'node:test';
import { runInNewContext } from 'node:vm';
import type { Connection, WriteStatus } from 'millrace/direct';
import { close, collect, folder, keep, leakGuard, limit, once, settled, take, turns, until } from '../support/net.ts';
import { Book, dial, peer, serve } from './support/direct.ts';

await leakGuard();

test('what a peer sends comes to `data`, and what is written comes to the peer', limit, async (t) => {
  const book = new Book();
  const server = await serve(t, book.handlers({ data: (c, view) => void c.write(view) }));
  const socket = await peer(t, server);
  socket.write('hello');
  assert.equal((await take(socket, 5)).toString(), 'hello');
  assert.deepEqual(book.lines, ['open', 'data']);
  const c = await book.connection();
  assert.deepEqual([c.bytesRead, c.bytesWritten, c.bufferedBytes], [5, 5, 0]);
});

test('the peer ends: our side ends when `end` has returned, and the connection is closed', limit, async (t) => {
  const book = new Book();
  const server = await serve(t, book.handlers({ end: (c) => void c.write('bye') }));
  const socket = await peer(t, server);
  socket.end('hello');
  assert.equal((await collect(socket)).toString(), 'bye');
  assert.deepEqual(await book.closed(), { kind: 'ended' });
  assert.deepEqual(book.lines, ['open', 'data', 'end', 'close:ended']);
  assert.equal(book.text, 'hello');
});

test('with allowHalfOpen our side stays open when the peer has ended', limit, async (t) => {
  const book = new Book();
  const server = await serve(t, Object.assign(book.handlers(), { allowHalfOpen: true }));
  const socket = await peer(t, server);
  socket.end();
  await book.until('end');
  const c = await book.connection();
  await turns(5);
  assert.equal(c.isWritable, true);
  assert.equal(c.write('still here'), 'sent');
  c.end(' and gone');
  assert.equal((await collect(socket)).toString(), 'still here and gone');
  assert.deepEqual(await book.closed(), { kind: 'ended' });
});

test(
  'our side ends first: the peer can still send, and the connection is closed when it ends, too',
  limit,
  async (t) => {
    const book = new Book();
    const server = await serve(t, book.handlers({ open: (c) => c.end('greeting') }));
    const socket = await peer(t, server);
    assert.equal((await collect(socket)).toString(), 'greeting');
    const c = await book.connection();
    assert.equal(c.isWritable, false);
    assert.equal(c.write('late'), 'dropped');
    socket.end('an answer');
    assert.deepEqual(await book.closed(), { kind: 'ended' });
    assert.equal(book.text, 'an answer');
    assert.deepEqual(book.lines, ['open', 'data', 'end', 'close:ended']);
  },
);

test('a large write before the end arrives whole', limit, async (t) => {
  const bytes = Buffer.alloc(10 * 1024 * 1024, 'abcdefghijk');
  const book = new Book();
  const server = await serve(t, book.handlers({ open: (c) => c.end(bytes) }));
  const socket = await peer(t, server);
  socket.end();
  assert.ok((await collect(socket)).equals(bytes));
  assert.deepEqual(await book.closed(), { kind: 'ended' });
  assert.equal((await book.connection()).bytesWritten, bytes.length);
});

test('writes of every size and form arrive in order', limit, async (t) => {
  const sizes = [0, 1, 3, 64, 500, 1365, 1366, 4095, 4096, 4097, 8192, 20_000, 65_536, 300_000];
  const sent: Buffer[] = [];
  const book = new Book();
  const server = await serve(t, book.handlers());
  const socket = await peer(t, server);
  const received = collect(socket);
  const c = await book.connection();
  for (let round = 0; round < 3; round++) {
    for (const [i, size] of sizes.entries()) {
      const bytes = Buffer.alloc(size, `${round}${i}-é`);
      const text = bytes.toString('latin1');
      sent.push(bytes, Buffer.from(text, 'utf8'), Buffer.from(text, 'utf16le'), bytes);
      c.write(bytes);
      c.write(text);
      c.write(text, 'utf16le');
      c.write(bytes.toString('base64'), 'base64');
      if (round === 1) await turns(1);
    }
  }
  c.write('zz', 'hex'); // no hex: no bytes
  c.end();
  socket.end();
  assert.ok((await received).equals(Buffer.concat(sent)));
  assert.deepEqual(await book.closed(), { kind: 'ended' });
});

test('a write of nothing keeps nothing from leaving', limit, async (t) => {
  const server = await serve(t, {
    data: (c, view) => {
      if (!c.isWritable) return;
      for (const nothing of ['', new Uint8Array(0)]) assert.equal(c.write(nothing), 'sent');
      c.write(view);
      c.write('zz', 'hex');
      setImmediate(() => {
        c.write(new Uint8Array(0));
        c.write('zz', 'hex');
        c.end('');
      });
    },
  });
  const socket = await peer(t, server);
  socket.end(Buffer.alloc(300_000, 'n'));
  assert.equal((await collect(socket)).subarray(0, 3).toString(), 'nnn');
});

test('a write of up to 4 KiB is copied: its memory can be used again at once', limit, async (t) => {
  const book = new Book();
  const server = await serve(t, book.handlers());
  const socket = await peer(t, server, { paused: true });
  const c = await book.connection();
  const bytes = Buffer.alloc(4096);
  const wanted: Buffer[] = [];
  for (let i = 0; i < 600; i++) {
    bytes.fill(i);
    c.write(bytes);
    wanted.push(Buffer.from(bytes));
    bytes.fill(255);
    if (i % 3 === 0) await turns(1);
  }
  assert.ok(c.bytesWritten < 600 * 4096 || c.bufferedBytes === 0);
  c.end();
  assert.ok((await collect(socket.resume())).equals(Buffer.concat(wanted)));
  socket.end();
  await book.closed();
});

test('the view can be written back, to this and other connections, whatever its size', limit, async (t) => {
  const book = new Book();
  const server = await serve(
    t,
    book.handlers({
      data: (_, view) => {
        for (const each of server.connections()) each.write(view);
      },
    }),
  );
  const [one, two] = [await peer(t, server), await peer(t, server)];
  await until(() => server.connectionCount === 2, 'both');
  const bytes = Buffer.from(Array.from({ length: 1_000_000 }, (_, i) => i ^ (i >> 8)));
  const both = [take(one, bytes.length), take(two, bytes.length)];
  one.write(bytes);
  for (const each of await Promise.all(both)) assert.ok(each.equals(bytes));
});

test('a view written several times, to fast peers and slow ones, arrives as it was each time', limit, async (t) => {
  const server = await serve(t, {
    data: (c, view) => {
      for (const each of server.connections()) for (let i = 0; i < 2; i++) each.write(view);
      c.write(view.subarray(view.length >> 1));
    },
  });
  const sockets = await Promise.all([0, 1, 2].map(() => peer(t, server)));
  await until(() => server.connectionCount === 3, 'all');
  const [sender, fast, slow] = sockets as [net.Socket, net.Socket, net.Socket];
  sender.resume();
  const total = 3_000_000;
  const got: Buffer[][] = [[], []];
  for (const [i, socket] of [fast, slow].entries()) socket.on('data', (chunk: Buffer) => got[i]?.push(chunk));
  slow.pause();
  // Each byte tells its place, and the chunks' borders are found by the repetition.
  for (let at = 0; at < total; at += 20_000) {
    sender.write(Buffer.alloc(20_000, at / 20_000));
    await turns(1);
  }
  await until(() => Buffer.concat(got[0] as Buffer[]).length === 2 * total, 'the fast one');
  slow.resume();
  await until(() => Buffer.concat(got[1] as Buffer[]).length === 2 * total, 'the slow one');
  const counts = (chunks: Buffer[]): number[] => {
    const seen = new Array<number>(150).fill(0);
    for (const byte of Buffer.concat(chunks)) seen[byte] = (seen[byte] as number) + 1;
    return seen;
  };
  for (const chunks of got) assert.deepEqual(counts(chunks), new Array<number>(150).fill(40_000));
});

test('everything written in one turn leaves together, also after an await', limit, async (t) => {
  const answer = async (c: Connection): Promise<void> => {
    c.write('a');
    c.write('b');
    await undefined;
    c.write('c');
    await Promise.resolve();
    c.write('d');
  };
  const server = await serve(t, { data: (c) => void answer(c) });
  const socket = await peer(t, server);
  const chunks: string[] = [];
  socket.on('data', (chunk: Buffer) => chunks.push(chunk.toString()));
  for (let round = 0; round < 5; round++) {
    socket.write('go');
    await until(() => chunks.join('').length === 4 * (round + 1), 'the answer');
  }
  assert.deepEqual(chunks, ['abcd', 'abcd', 'abcd', 'abcd', 'abcd']);
});

test('`write` says queued above the high mark, and `drain` comes at the low mark', limit, async (t) => {
  const book = new Book();
  const limits = { highWaterMark: 100_000, lowWaterMark: 10_000 };
  const seen: number[] = [];
  const server = await serve(t, Object.assign(book.handlers({ drain: (c) => seen.push(c.bufferedBytes) }), { limits }));
  const socket = await peer(t, server, { paused: true });
  const c = await book.connection();
  const chunk = Buffer.alloc(10_000, 'x');
  let status: WriteStatus = 'sent';
  let count = 0;
  for (; status === 'sent' && count < 10_000; count++) {
    status = c.write(chunk);
    await turns(1);
  }
  assert.equal(status, 'queued');
  assert.ok(c.bufferedBytes > 100_000, `${c.bufferedBytes}`);
  assert.ok(c.bufferedBytes <= 110_000, `${c.bufferedBytes}`);
  await turns(20);
  assert.ok(!book.lines.includes('drain'));
  socket.resume();
  await book.until('drain');
  assert.ok(seen.length === 1 && (seen[0] as number) <= 10_000, `${seen}`);
  await until(() => c.bytesWritten === count * 10_000, 'all of it');
  assert.deepEqual(book.lines, ['open', 'drain']);
});

test('pause stops `data` and closes the window of the peer; resume brings the rest', limit, async (t) => {
  const book = new Book();
  const server = await serve(t, book.handlers({ open: (c) => c.pause() }));
  const socket = await peer(t, server);
  const c = await book.connection();
  assert.equal(c.isPaused, true);
  const bytes = Buffer.alloc(16 * 1024 * 1024, '0123456789');
  socket.write(bytes);
  await settled(() => socket.writableLength);
  assert.equal(book.bytes, 0);
  c.resume();
  await until(() => book.bytes > 100_000, 'some');
  c.pause();
  const now = await settled(() => book.bytes);
  assert.ok(now < bytes.length, 'the rest waits');
  c.resume();
  c.resume();
  await until(() => book.bytes === bytes.length, 'all');
  assert.ok(Buffer.concat(book.received).equals(bytes));
});

test('a connection that is paused in each `data` gets every byte', limit, async (t) => {
  const book = new Book();
  const server = await serve(
    t,
    book.handlers({
      data: (c) => {
        c.pause();
        setImmediate(() => c.resume());
      },
    }),
  );
  const socket = await peer(t, server);
  const bytes = Buffer.from(Array.from({ length: 2_000_000 }, (_, i) => i % 251));
  socket.end(bytes);
  await book.closed();
  assert.ok(Buffer.concat(book.received).equals(bytes));
  assert.deepEqual(book.lines, ['open', 'data', 'end', 'close:ended']);
});

test('terminate resets the connection and throws away what waits', limit, async (t) => {
  const book = new Book();
  const server = await serve(t, book.handlers());
  const socket = await peer(t, server);
  const c = await book.connection();
  const failed = once(socket, 'error');
  c.write(Buffer.alloc(15_000_000));
  c.terminate();
  c.terminate();
  assert.deepEqual([c.isWritable, c.isClosed, c.write('x')], [false, false, 'dropped']);
  c.end('x');
  c.pause();
  c.resume();
  assert.deepEqual(book.lines, ['open'], 'close comes in a turn of its own');
  assert.deepEqual(await book.closed(), { kind: 'terminated' });
  assert.equal(c.isClosed, true);
  const [error] = await failed.catch((reason) => [reason]);
  assert.equal((error as NodeJS.ErrnoException).code, 'ECONNRESET');
  await turns(5);
  assert.deepEqual(book.lines, ['open', 'close:terminated']);
});

test('terminate can be called in every handler, and nothing but `close` follows', limit, async (t) => {
  for (const where of ['open', 'data', 'drain', 'end', 'close'] as const) {
    const book = new Book();
    const limits = { highWaterMark: 0 };
    const server = await serve(
      t,
      Object.assign(book.handlers({ [where]: (c: Connection) => c.terminate() }), { limits, allowHalfOpen: true }),
    );
    const socket = keep(t, net.connect(server.port as number, '127.0.0.1')).on('error', () => {});
    const c = await book.connection();
    if (where === 'drain') c.write('x');
    else socket.end('x');
    if (where === 'close') c.end();
    const { kind } = await book.closed();
    await turns(5);
    assert.equal(kind, where === 'close' ? 'ended' : 'terminated', where);
    assert.equal(book.lines.at(-2), where === 'close' ? 'end' : where, `${where}: ${book.lines.join(' ')}`);
    assert.equal(book.lines.filter((line) => line.startsWith('close')).length, 1);
    await close(socket.resume());
  }
});

test('without handlers bytes are read and forgotten, and the connection ends with its peer', limit, async (t) => {
  const server = await serve(t);
  const socket = await peer(t, server);
  socket.end('nobody listens');
  assert.equal((await collect(socket)).length, 0);
  await until(() => server.connectionCount === 0, 'the end');
});

test('each connection has data of its own', limit, async (t) => {
  const got: number[] = [];
  let opened = 0;
  const server = await serve<{ id: number }>(t, {
    open(c) {
      assert.equal(c.data, undefined);
      c.data = { id: opened++ };
    },
    data(c) {
      got.push(c.data.id);
    },
  });
  for (let i = 0; i < 3; i++) {
    (await peer(t, server)).write('x');
    await until(() => got.length === i + 1, 'data');
  }
  assert.deepEqual(got, [0, 1, 2]);
});

test('reload replaces the handlers of one connection, in the midst of its stream', limit, async (t) => {
  const book = new Book();
  const second: string[] = [];
  const server = await serve(t, book.handlers());
  const [one, two] = [await peer(t, server), await peer(t, server)];
  await until(() => book.connections.length === 2, 'both');
  one.write('first');
  await until(() => book.text === 'first', 'the first');
  const c = book.connections[0] as Connection;
  c.reload({ data: (_, view) => void second.push(view.toString()) });
  one.write('second');
  await until(() => second.length > 0, 'the second');
  two.write('!');
  await until(() => book.text === 'first!', 'the other connection');
  assert.deepEqual(second, ['second']);
  c.terminate();
  await until(() => c.isClosed, 'the end');
  assert.deepEqual(book.reasons, [], 'a handler that is not given is none');
  assert.throws(() => c.reload({ data: 1 as never }), { code: 'MILLRACE_ERR_BAD_OPTION' });
});

test('reload of a server replaces the handlers of all connections, open ones and later ones', limit, async (t) => {
  const book = new Book();
  const second = new Book();
  const server = await serve(t, book.handlers({ data: () => server.reload(second.handlers()) }));
  const one = await peer(t, server);
  one.write('a');
  await until(() => book.text === 'a', 'the first');
  one.write('b');
  await until(() => second.text === 'b', 'the second');
  (await peer(t, server)).write('c');
  await until(() => second.text === 'bc', 'the third');
  assert.deepEqual(second.lines, ['data', 'open', 'data']);
  assert.throws(() => server.reload(null as never), { code: 'MILLRACE_ERR_BAD_OPTION' });
});

test('a connection knows its addresses, and its options reach the kernel', limit, async (t) => {
  const book = new Book();
  const server = await serve(t, Object.assign(book.handlers(), { keepAlive: true, keepAliveInitialDelayMs: 1500 }));
  const socket = await peer(t, server);
  const c = await book.connection();
  const { remotePort, remoteAddress, localPort } = socket;
  assert.deepEqual(c.local, { address: remoteAddress, port: remotePort, family: 'IPv4' });
  assert.deepEqual(c.remote, { address: '127.0.0.1', port: localPort, family: 'IPv4' });
  assert.equal(c.remote, c.remote);
  c.setNoDelay();
  c.setNoDelay(false);
  c.setKeepAlive(true, 60_000);
  c.setKeepAlive(false);
  c.setUserTimeout(10_000);
  assert.throws(() => c.setUserTimeout(-1), { code: 'MILLRACE_ERR_BAD_OPTION' });
  assert.throws(() => c.setTimeout({ readMs: 1.5 }), { code: 'MILLRACE_ERR_BAD_OPTION' });
  if (process.platform === 'linux') assert.equal(c.tcpInfo()?.state, 'established');
  c.terminate();
  await book.closed();
  c.setNoDelay();
  c.setKeepAlive(true);
  c.setUserTimeout(1);
  assert.equal(c.tcpInfo(), undefined);
  assert.equal(c.remote?.port, localPort, 'what was asked once is kept');
});

test('a chunk that is neither bytes nor text is refused', limit, async (t) => {
  const book = new Book();
  const server = await serve(t, book.handlers());
  const socket = await peer(t, server);
  const c = await book.connection();
  for (const chunk of [undefined, null, 5, {}, [1], new DataView(new ArrayBuffer(1))])
    assert.throws(() => c.write(chunk as never), { name: 'DirectError', code: 'MILLRACE_ERR_BAD_CHUNK' });
  assert.throws(() => c.write('x', 'utf-7' as BufferEncoding), { code: 'MILLRACE_ERR_BAD_CHUNK' });
  assert.equal(c.end(runInNewContext('new Uint8Array([111, 107])')), 'sent');
  assert.equal(c.end('more'), 'dropped');
  assert.equal((await collect(socket)).toString(), 'ok');
});

test('two connections of ours talk', limit, async (t) => {
  const book = new Book();
  const server = await serve(t, book.handlers({ data: (c, view) => void c.write(view) }));
  const ours = new Book();
  const c = await dial(t, server, ours.handlers());
  assert.deepEqual(ours.lines, ['open']);
  c.write('there and back');
  await until(() => ours.text === 'there and back', 'the answer');
  c.end();
  assert.deepEqual(await ours.closed(), { kind: 'ended' });
  assert.deepEqual(await book.closed(), { kind: 'ended' });
});

test('many connections at once, each with its own bytes', limit, async (t) => {
  const server = await serve(t, { data: (c, view) => void c.write(view) });
  const books = Array.from({ length: 300 }, () => new Book());
  const all = await Promise.all(books.map((book) => dial(t, server, book.handlers())));
  await until(() => server.connectionCount === 300, 'all of them');
  for (let round = 0; round < 5; round++) for (const [i, c] of all.entries()) c.write(`${i}:${round};`);
  const wanted = (i: number): string => Array.from({ length: 5 }, (_, round) => `${i}:${round};`).join('');
  await until(() => books.every((book, i) => book.text === wanted(i)), 'every answer');
});

test('unix sockets carry it as well, and have no addresses', limit, async (t) => {
  const book = new Book();
  const path = join(await folder(t), 'socket');
  const server = await serve(t, Object.assign(book.handlers({ data: (c, view) => void c.write(view) }), { path }));
  assert.equal(server.address, path);
  assert.equal(server.port, undefined);
  const socket = await peer(t, server);
  const bytes = Buffer.alloc(500_000, 'unix');
  const back = take(socket, bytes.length);
  socket.write(bytes);
  assert.ok((await back).equals(bytes));
  const c = await book.connection();
  assert.deepEqual([c.remote, c.local, c.tcpInfo()], [undefined, undefined, undefined]);
  c.setNoDelay();
  c.setKeepAlive(true);
  c.setUserTimeout(5);
  c.terminate();
  assert.deepEqual(await book.closed(), { kind: 'terminated' });
});
