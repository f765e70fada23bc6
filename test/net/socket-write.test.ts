import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { join } from 'node:path';
import { PassThrough, Readable, Writable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import test from 'node:test';
import net from 'millrace';
import {
  close,
  collect,
  dialling,
  folder,
  leakGuard,
  limit,
  once,
  pair,
  serve,
  settled,
  take,
  turns,
  until,
} from '../support/net.ts';

await leakGuard();

const MB = 1024 * 1024;

/** Bytes in which no part looks like another one. */
function pattern(length: number): Buffer {
  const bytes = Buffer.allocUnsafe(length);
  let state = 1;
  for (let i = 0; i + 4 <= length; i += 4) {
    state = (Math.imul(state, 1664525) + 1013904223) | 0;
    bytes.writeInt32LE(state, i);
  }
  return bytes;
}

const digest = (bytes: Buffer): string => createHash('sha256').update(bytes).digest('hex');

test('the bytes on the wire are those that were written', limit, async (t) => {
  const { client, peer } = await pair(t);
  client.write('héllo\n');
  client.write(Buffer.from([0x00, 0xff, 0x80, 0x0a]));
  client.end(new Uint8Array([1, 2, 3]).subarray(1));
  assert.equal((await collect(peer)).toString('hex'), '68c3a96c6c6f0a00ff800a0203');
});

test('a large piece leaves within write(), and its callback comes later', limit, async (t) => {
  const { client, peer } = await pair(t);
  const sent = pattern(65536);
  const received = collect(peer);
  let isCalled = false;
  const called = new Promise<void>((resolve) => {
    client.write(sent, () => {
      isCalled = true;
      resolve();
    });
  });
  assert.equal(isCalled, false);
  assert.equal(client.bytesWritten, sent.length);
  if (net.engine !== 'node') assert.equal(client.writableCorked, 0);
  await called;
  client.end();
  assert.equal(digest(await received), digest(sent));
});

test('large and small pieces of one tick arrive in the order in which they were written', limit, async (t) => {
  const { client, peer } = await pair(t);
  const large = pattern(5 * MB);
  const small = Buffer.from('small');
  const received = collect(peer);
  const pieces = [large, small, large, large.subarray(0, 65536), small, large];
  for (const piece of pieces) client.write(piece);
  await settled(() => peer.bytesRead);
  for (const piece of pieces) client.write(piece);
  client.end();
  assert.equal(digest(await received), digest(Buffer.concat([...pieces, ...pieces])));
});

for (const [encoding, text, hex] of [
  ['utf8', 'aé€😀', '61c3a9e282acf09f9880'],
  ['latin1', 'aéÿ', '61e9ff'],
  ['binary', 'ÿ', 'ff'],
  ['ascii', 'abc', '616263'],
  ['hex', '00ff10', '00ff10'],
  ['base64', 'AP8Q', '00ff10'],
  ['base64url', '-_8', 'fbff'],
  ['ucs2', 'aé', '6100e900'],
  ['utf16le', '😀', '3dd800de'],
] as const) {
  test(`a string in ${encoding} is sent as its bytes, alone, queued and as the last`, limit, async (t) => {
    const { client, peer } = await pair(t);
    client.write(text, encoding);
    client.write(text, encoding);
    client.end(text, encoding);
    const length = hex.length / 2;
    assert.equal(client.bytesWritten, 3 * length);
    assert.equal((await collect(peer)).toString('hex'), hex + hex + hex);
    client.resume();
    await close(client);
    assert.equal(client.bytesWritten, 3 * length);
  });
}

test('setDefaultEncoding is the encoding of strings', limit, async (t) => {
  const { client, peer } = await pair(t);
  client.setDefaultEncoding('latin1');
  client.end('é');
  assert.equal((await collect(peer)).toString('hex'), 'e9');
});

test('callbacks of write come in order, after their tick, before the callback of end', limit, async (t) => {
  const { client, peer } = await pair(t);
  peer.resume();
  const log: string[] = [];
  client.on('finish', () => log.push('finish'));
  client.write('a', (error) => log.push(`a:${error}`));
  client.write('b', 'utf8', (error) => log.push(`b:${error}`));
  client.write(Buffer.from('c'), () => log.push('c'));
  client.end('d', () => log.push('end'));
  log.push('sync');
  await once(client, 'close');
  assert.deepEqual(
    log.filter((entry) => entry !== 'finish'),
    ['sync', 'a:null', 'b:null', 'c', 'end'].map((entry) =>
      entry.replace('null', log.includes('a:null') ? 'null' : 'undefined'),
    ),
  );
  assert.ok(log.indexOf('finish') > log.indexOf('c'));
});

test('an empty write calls back and sends nothing', limit, async (t) => {
  const { client, peer } = await pair(t);
  await new Promise<void>((resolve) => void client.write('', () => resolve()));
  await new Promise<void>((resolve) => void client.write(Buffer.alloc(0), () => resolve()));
  client.end('x');
  assert.equal((await collect(peer)).toString(), 'x');
  assert.equal(client.bytesWritten, 1);
});

test('a thousand small writes arrive in order', limit, async (t) => {
  const { client, peer } = await pair(t);
  let expected = '';
  for (let i = 0; i < 1000; i++) {
    const text = `${i},`;
    expected += text;
    client.write(text);
  }
  client.end();
  assert.equal((await collect(peer)).toString(), expected);
});

test('small writes of many turns arrive in order', limit, async (t) => {
  const { client, peer } = await pair(t);
  const received = collect(peer);
  let expected = '';
  for (let i = 0; i < 300; i++) {
    const text = `${i},`;
    expected += text;
    client.write(text);
    if (i % 3 === 0) await turns(1);
  }
  client.end();
  assert.equal((await received).toString(), expected);
});

test('cork holds writes back until uncork, and counts', limit, async (t) => {
  const { client, peer } = await pair(t);
  let got = '';
  peer.on('data', (chunk) => (got += chunk));
  client.cork();
  client.cork();
  client.write('a');
  client.write(Buffer.from('b'));
  client.write('63', 'hex');
  await turns(20);
  assert.equal(got, '');
  // A string counts with its length until it is sent (decodeStrings is off): '63' is two.
  assert.equal(client.writableLength, 4);
  assert.equal(client.bytesWritten, 3);
  client.uncork();
  await turns(20);
  assert.equal(got, '', 'two corks need two uncorks');
  client.uncork();
  await until(() => got === 'abc', 'all of it');
  assert.equal(client.writableLength, 0);
});

test('what was corked arrives in one piece', limit, async (t) => {
  const { client, peer } = await pair(t);
  const chunks: string[] = [];
  peer.on('data', (chunk) => chunks.push(chunk.toString()));
  client.cork();
  for (const letter of 'abcdefghij') client.write(letter);
  client.uncork();
  await until(() => chunks.join('') === 'abcdefghij', 'all of it');
  assert.equal(chunks.length, 1);
});

test('what was corked is one write of the stream', limit, async (t) => {
  const { client, peer } = await pair(t);
  const stream = client as unknown as { _write: unknown; _writev: (pieces: unknown[], callback: unknown) => void };
  const writev = stream._writev;
  assert.equal(typeof writev, 'function');
  const counts: number[] = [];
  stream._writev = function (pieces, callback) {
    counts.push(pieces.length);
    writev.call(this, pieces, callback);
  };
  stream._write = () => assert.fail('a piece was written by itself');
  client.cork();
  for (const letter of 'abc') client.write(letter);
  client.uncork();
  assert.equal((await take(peer, 3)).toString(), 'abc');
  assert.deepEqual(counts, [3]);
});

test('end() uncorks', limit, async (t) => {
  const { client, peer } = await pair(t);
  client.cork();
  client.write('a');
  client.end('b');
  assert.equal((await collect(peer)).toString(), 'ab');
});

test("write() says false above the mark, and 'drain' comes once all is written", limit, async (t) => {
  const { client, peer } = await pair(t, { client: { writableHighWaterMark: 1000 } as object });
  peer.resume();
  assert.equal(client.writableHighWaterMark, 1000);
  client.cork();
  assert.equal(client.write(Buffer.alloc(999)), true);
  assert.equal(client.writableNeedDrain, false);
  assert.equal(client.write('x'), false);
  assert.equal(client.writableNeedDrain, true);
  assert.equal(client.writableLength, 1000);
  let drains = 0;
  client.on('drain', () => {
    drains++;
    assert.equal(client.writableLength, 0);
  });
  client.uncork();
  await once(client, 'drain');
  await turns(5);
  assert.equal(drains, 1);
  assert.equal(client.writableNeedDrain, false);
});

test("'drain' comes only when the other side reads", limit, async (t) => {
  const { client, peer } = await pair(t);
  peer.pause();
  let drained = false;
  client.on('drain', () => (drained = true));
  const chunk = Buffer.alloc(MB, 0x61);
  let sent = 0;
  while (sent < 48 * MB) {
    client.write(chunk);
    sent += chunk.length;
  }
  assert.equal(client.bytesWritten, sent, 'what is queued counts');
  const stuck = await settled(() => client.writableLength);
  assert.ok(stuck > 0, 'the window of a paused peer closes');
  assert.equal(drained, false);
  assert.ok(peer.bytesRead < 8 * MB, `a paused peer reads on: ${peer.bytesRead}`);
  let got = 0;
  peer.on('data', (data) => (got += data.length));
  peer.resume();
  await once(client, 'drain');
  assert.equal(client.writableLength, 0);
  client.end();
  await once(peer, 'end');
  assert.equal(got, sent);
  assert.equal(peer.bytesRead, sent);
});

test('bytesWritten includes what is queued, and stays after close', limit, async (t) => {
  const { client, peer } = await pair(t);
  assert.equal(client.bytesWritten, 0);
  client.cork();
  client.write('é');
  client.write('61', 'hex');
  client.write(Buffer.alloc(5));
  assert.equal(client.bytesWritten, 8);
  client.uncork();
  assert.equal(client.bytesWritten, 8);
  client.end('x');
  assert.equal(client.bytesWritten, 9);
  await collect(peer);
  assert.equal(peer.bytesRead, 9);
  client.resume();
  await close(client);
  await close(peer);
  assert.equal(client.bytesWritten, 9);
  assert.equal(peer.bytesRead, 9);
});

for (const [name, isUnix] of [
  ['TCP', false],
  ['a unix socket', true],
] as const) {
  test(`eight megabytes go both ways over ${name}, in odd pieces`, limit, async (t) => {
    const { client, peer } = await pair(t, {
      // Without allowHalfOpen, the side that gets the end first ends too, and never sees 'drain' again.
      server: { allowHalfOpen: true },
      client: { allowHalfOpen: true },
      ...(isUnix ? { listen: { path: join(await folder(t), 's') } } : {}),
    });
    const there = pattern(8 * MB);
    const back = Buffer.from(there).reverse();
    const send = async (socket: typeof client, bytes: Buffer): Promise<void> => {
      const sizes = [1, 7, 100, 1000, 4097, 16_383, 65_537, 300_001];
      for (let at = 0, i = 0; at < bytes.length; i++) {
        const end = at + (sizes[i % sizes.length] as number);
        if (!socket.write(bytes.subarray(at, end))) await once(socket, 'drain');
        at = end;
      }
      socket.end();
    };
    const [atPeer, atClient] = await Promise.all([
      collect(peer),
      collect(client),
      send(client, there),
      send(peer, back),
    ]);
    assert.equal(digest(atPeer), digest(there));
    assert.equal(digest(atClient), digest(back));
  });
}

test('eight megabytes in one write arrive whole', limit, async (t) => {
  const { client, peer } = await pair(t);
  const bytes = pattern(8 * MB);
  const received = collect(peer);
  const written = new Promise((resolve) => void client.write(bytes, resolve));
  client.end();
  assert.equal(digest(await received), digest(bytes));
  await written;
});

test('a large write before small ones keeps its place', limit, async (t) => {
  const { client, peer } = await pair(t);
  const bytes = pattern(4 * MB);
  const order: string[] = [];
  client.write('<', () => order.push('<'));
  client.write(bytes, () => order.push('bytes'));
  client.write('>', () => order.push('>'));
  client.write(bytes.subarray(0, 100_000), () => order.push('more'));
  client.end('!');
  const all = await collect(peer);
  assert.equal(
    digest(all),
    digest(Buffer.concat([Buffer.from('<'), bytes, Buffer.from('>'), bytes.subarray(0, 100_000), Buffer.from('!')])),
  );
  assert.deepEqual(order, ['<', 'bytes', '>', 'more']);
});

for (const [size, count] of [
  ['small', 5000],
  ['large', 2500],
] as const) {
  test(`${count} ${size} buffers in one corked write go in order`, limit, async (t) => {
    // More than IOV_MAX (1024) pieces.
    const { client, peer } = await pair(t);
    const received = collect(peer);
    client.cork();
    const parts: Buffer[] = [];
    for (let i = 0; i < count; i++) {
      const part = Buffer.from(`${i};`.padEnd(size === 'large' ? 2000 : 0, '.'));
      parts.push(part);
      client.write(part);
    }
    client.uncork();
    client.end();
    assert.ok((await received).equals(Buffer.concat(parts)));
  });
}

test('thousands of pieces of every kind in one tick arrive as they were written', limit, async (t) => {
  const { client, peer } = await pair(t);
  const received = collect(peer);
  const parts: Buffer[] = [];
  for (let i = 0; i < 1000; i++) {
    const text = `é€${i}`;
    for (const encoding of ['utf8', 'latin1', 'utf16le'] as const) {
      client.write(text, encoding);
      parts.push(Buffer.from(text, encoding));
    }
    client.write('c3a9zz', 'hex'); // ends where it is no hex any more
    client.write('w6k=\n', 'base64');
    client.write('');
    client.write(new Uint8Array([i & 0xff]));
    client.write(Buffer.from('b'));
    parts.push(Buffer.from('éé'), Buffer.from([i & 0xff]), Buffer.from('b'));
  }
  const expected = Buffer.concat(parts);
  client.end();
  assert.ok((await received).equals(expected));
  await close(client);
  // Text counts as what was sent of it, as in Node.
  assert.equal(client.bytesWritten, expected.length);
});

test('a buffer may be changed once its callback came', limit, async (t) => {
  const { client, peer } = await pair(t);
  const received = collect(peer);
  const buffer = Buffer.alloc(200_000);
  for (const letter of 'abcde') {
    buffer.fill(letter);
    await new Promise((resolve) => void client.write(buffer, resolve));
  }
  client.end();
  const all = await received;
  assert.equal(all.length, 1_000_000);
  for (const [i, letter] of [...'abcde'].entries())
    assert.ok(all.subarray(i * 200_000, (i + 1) * 200_000).every((byte) => byte === letter.charCodeAt(0)));
});

test('a small buffer may be changed once its callback came', limit, async (t) => {
  const { client, peer } = await pair(t);
  const received = collect(peer);
  const buffer = Buffer.alloc(3);
  for (const letter of 'abcde') {
    buffer.fill(letter);
    await new Promise((resolve) => void client.write(buffer, resolve));
  }
  client.end();
  assert.equal((await received).toString(), 'aaabbbcccdddeee');
});

test('answers written in the data listener arrive in order', limit, async (t) => {
  const server = await serve(t, (socket) =>
    socket.on('data', (chunk) => socket.write(chunk)).on('end', () => socket.end()),
  );
  const client = dialling(t, server);
  const received = collect(client);
  const bytes = pattern(2 * MB);
  Readable.from([bytes.subarray(0, 11), bytes.subarray(11, 100_000), bytes.subarray(100_000)]).pipe(client);
  assert.equal(digest(await received), digest(bytes));
});

test('pipe moves a stream in and out', limit, async (t) => {
  const { client, peer } = await pair(t);
  const bytes = pattern(3 * MB);
  const through = new PassThrough();
  peer.pipe(through);
  Readable.from([bytes]).pipe(client);
  const chunks: Buffer[] = [];
  for await (const chunk of through) chunks.push(chunk);
  assert.equal(digest(Buffer.concat(chunks)), digest(bytes));
});

test('pipeline ends when the socket ends', limit, async (t) => {
  const { client, peer } = await pair(t);
  const bytes = pattern(1 * MB);
  const chunks: Buffer[] = [];
  const sink = new Writable({ write: (chunk, _encoding, done) => done(void chunks.push(chunk)) });
  await Promise.all([pipeline(Readable.from([bytes]), client), pipeline(peer, sink)]);
  assert.equal(digest(Buffer.concat(chunks)), digest(bytes));
});

test('pipeline fails when the socket is reset', limit, async (t) => {
  const { client, peer } = await pair(t);
  const sink = new Writable({ write: (_chunk, _encoding, done) => done() });
  const failed = assert.rejects(pipeline(peer, sink), { code: 'ECONNRESET' });
  client.resetAndDestroy();
  await failed;
});

test('a socket piped to itself is an echo', limit, async (t) => {
  const { client, peer } = await pair(t);
  peer.pipe(peer);
  for (const text of ['one', 'two', 'three']) {
    client.write(text);
    assert.equal((await take(client, text.length)).toString(), text);
  }
});

test('bufferSize is writableLength', limit, async (t) => {
  const { client } = await pair(t);
  client.cork();
  client.write('abc');
  assert.equal((client as unknown as { bufferSize: number }).bufferSize, 3);
  client.uncork();
  assert.equal((new net.Socket() as unknown as { bufferSize?: number }).bufferSize, undefined);
});

test('write() then destroy() in the same tick delivers what was written', limit, async (t) => {
  // node:net tries each write at once, so what the kernel took before destroy() is on its way.
  const { client, peer } = await pair(t);
  client.write('last words');
  client.destroy();
  assert.equal((await collect(peer)).toString(), 'last words');
});

test('several writes then destroy() deliver the first at least, and nothing out of order', limit, async (t) => {
  const { client, peer } = await pair(t);
  client.write('one ');
  client.write('two ');
  client.write('three');
  client.destroy();
  const got = (await collect(peer)).toString();
  assert.ok('one two three'.startsWith(got) && got.length >= 4, JSON.stringify(got));
  t.diagnostic(`arrived: ${JSON.stringify(got)}`);
});

test('a string and a buffer then destroy() in one tick of the data listener are delivered', limit, async (t) => {
  const server = await serve(t, (socket) =>
    socket.on('data', () => {
      socket.write(Buffer.from('bye'));
      socket.destroy();
    }),
  );
  const client = dialling(t, server);
  client.write('x');
  assert.equal((await collect(client)).toString(), 'bye');
});

test('end(data) then destroySoon() delivers everything', limit, async (t) => {
  const { client, peer } = await pair(t);
  const bytes = pattern(3 * MB);
  const received = collect(peer);
  client.write(bytes);
  client.destroySoon();
  assert.equal(client.destroyed, false);
  assert.equal(digest(await received), digest(bytes));
  await close(client);
});

test('destroySoon() on an idle socket destroys it after its FIN', limit, async (t) => {
  const { client, peer } = await pair(t);
  peer.resume();
  const ended = once(peer, 'end');
  client.destroySoon();
  assert.equal(client.writableEnded, true);
  await ended;
  await close(client);
  assert.equal(client.destroyed, true);
});
