import assert from 'node:assert/strict';
import test from 'node:test';
import { engine } from 'millrace';
import {
  close,
  collect,
  dial,
  leakGuard,
  limit,
  once,
  pair,
  serve,
  settled,
  take,
  trace,
  turns,
  until,
} from '../support/net.ts';

await leakGuard();

const MB = 1024 * 1024;

test('data comes as buffers of the caller, which stay as they are', limit, async (t) => {
  const { client, peer } = await pair(t);
  const chunks: Buffer[] = [];
  client.on('data', (chunk: Buffer) => chunks.push(chunk));
  for (let i = 0; i < 50; i++) {
    peer.write(`${i};`);
    await until(() => Buffer.concat(chunks).toString().endsWith(`${i};`), `piece ${i}`);
  }
  assert.ok(chunks.every((chunk) => Buffer.isBuffer(chunk)));
  assert.equal(Buffer.concat(chunks).toString(), Array.from({ length: 50 }, (_, i) => `${i};`).join(''));
});

test('changing a received buffer changes no other one', limit, async (t) => {
  const { client, peer } = await pair(t);
  const chunks: Buffer[] = [];
  client.on('data', (chunk: Buffer) => {
    chunks.push(Buffer.from(chunk));
    chunk.fill(0);
  });
  for (const text of ['one', 'two', 'three']) {
    peer.write(text);
    await until(() => Buffer.concat(chunks).toString().endsWith(text), text);
  }
  assert.equal(Buffer.concat(chunks).toString(), 'onetwothree');
});

test('a kept buffer survives a hundred connections after it', limit, async (t) => {
  const kept: Buffer[] = [];
  const server = await serve(t, (socket) =>
    socket.on('data', (chunk: Buffer) => kept.push(chunk)).on('end', () => socket.end()),
  );
  for (let i = 0; i < 100; i++) {
    const client = await dial(t, server);
    client.end(`message ${i};`.repeat(100));
    client.resume();
    await close(client);
  }
  assert.equal(
    Buffer.concat(kept).toString(),
    Array.from({ length: 100 }, (_, i) => `message ${i};`.repeat(100)).join(''),
  );
});

for (const size of [1, 2, 3]) {
  test(`setEncoding('utf8') puts characters together that were cut after every ${size} bytes`, limit, async (t) => {
    const text = 'aé€😀 z𝄞ß';
    const bytes = Buffer.from(text);
    const { client, peer } = await pair(t);
    assert.equal(client.setEncoding('utf8'), client);
    let got = '';
    client.on('data', (chunk) => {
      assert.equal(typeof chunk, 'string');
      assert.ok(!chunk.includes('\ufffd'));
      got += chunk;
    });
    for (let at = 0; at < bytes.length; at += size) {
      const before = client.bytesRead;
      peer.write(bytes.subarray(at, at + size));
      await until(() => client.bytesRead > before, `byte ${at}`);
    }
    peer.end();
    await once(client, 'end');
    assert.equal(got, text);
    assert.equal(client.bytesRead, bytes.length);
  });
}

test('a character that is never completed becomes U+FFFD at the end', limit, async (t) => {
  const { client, peer } = await pair(t);
  client.setEncoding('utf8');
  let got = '';
  client.on('data', (chunk) => (got += chunk));
  peer.end(Buffer.from([0x61, 0xe2, 0x82]));
  await once(client, 'end');
  assert.equal(got, 'a\ufffd');
});

for (const [encoding, text] of [
  ['hex', '00ff'],
  ['base64', 'AP8='],
  ['latin1', '\u0000ÿ'],
] as const) {
  test(`setEncoding('${encoding}') gives text in it`, limit, async (t) => {
    const { client, peer } = await pair(t);
    client.setEncoding(encoding);
    let got = '';
    client.on('data', (chunk) => (got += chunk));
    peer.end(Buffer.from([0x00, 0xff]));
    await once(client, 'end');
    assert.equal(got, text);
  });
}

test('pause() stops data, resume() lets it come, and nothing is lost', limit, async (t) => {
  const { client, peer } = await pair(t);
  let got = '';
  client.on('data', (chunk) => (got += chunk));
  peer.write('one ');
  await until(() => got === 'one ', 'the first piece');
  assert.equal(client.pause(), client);
  assert.equal(client.isPaused(), true);
  peer.write('two ');
  await turns(50);
  assert.equal(got, 'one ');
  assert.equal(client.resume(), client);
  await until(() => got === 'one two ', 'the second piece');
  peer.end('three');
  await once(client, 'end');
  assert.equal(got, 'one two three');
});

test('pause() in the data listener stops after that piece', limit, async (t) => {
  const { client, peer } = await pair(t);
  const bytes = Buffer.alloc(3 * MB, 0x62);
  let pieces = 0;
  let got = 0;
  client.on('data', (chunk) => {
    pieces++;
    got += chunk.length;
    client.pause();
  });
  peer.end(bytes);
  // 'end' does not wait for resume() when there is nothing left to read.
  const ended = once(client, 'end');
  for (let expected = 1; got < bytes.length; expected++) {
    await until(() => pieces === expected, `piece ${expected}`);
    await turns(3);
    assert.equal(pieces, expected);
    client.resume();
  }
  await ended;
  assert.equal(got, bytes.length);
});

test('a paused reader closes the window of its sender', limit, async (t) => {
  const { client, peer } = await pair(t);
  client.pause();
  const chunk = Buffer.alloc(MB);
  for (let i = 0; i < 48; i++) peer.write(chunk);
  assert.ok((await settled(() => peer.writableLength)) > 0);
  // What is read ahead is at most what the stream wants to hold, and what was in flight.
  assert.ok(client.readableLength <= 2 * MB, `${client.readableLength} bytes read ahead`);
  let got = 0;
  client.on('data', (data) => (got += data.length));
  client.resume();
  peer.end();
  await once(client, 'end');
  assert.equal(got, 48 * MB);
});

test('a socket without listeners reads no more than its mark', limit, async (t) => {
  const { client, peer } = await pair(t);
  const chunk = Buffer.alloc(MB);
  for (let i = 0; i < 48; i++) peer.write(chunk);
  await settled(() => client.bytesRead);
  assert.ok(client.bytesRead <= 2 * MB, `${client.bytesRead} bytes read although nobody listens`);
  assert.ok(peer.writableLength > 0);
  client.resume();
  await until(() => client.bytesRead === 48 * MB, 'the rest');
});

test('read() and readable give the bytes in the pieces that are asked for', limit, async (t) => {
  const { client, peer } = await pair(t);
  peer.end('abcdefgh');
  const got: string[] = [];
  client.on('readable', () => {
    for (let piece = client.read(3); piece !== null; piece = client.read(3)) got.push(String(piece));
  });
  await once(client, 'end');
  assert.deepEqual(got, ['abc', 'def', 'gh']);
});

test('unshift puts bytes back in front', limit, async (t) => {
  const { client, peer } = await pair(t);
  peer.write('header\nbody');
  const head = await take(client, 7);
  assert.equal(head.toString(), 'header\n');
  client.unshift(Buffer.from('again '));
  peer.end('!');
  client.resume();
  assert.equal((await collect(client)).toString(), 'again body!');
});

test('a socket is an async iterable of its pieces', limit, async (t) => {
  const { client, peer } = await pair(t);
  peer.write('one ');
  setImmediate(() => peer.end('two'));
  let got = '';
  for await (const chunk of client) got += chunk;
  assert.equal(got, 'one two');
  await close(client);
});

test('leaving the iteration destroys the socket', limit, async (t) => {
  const { client, peer } = await pair(t);
  peer.on('error', () => {});
  peer.resume().write('one');
  for await (const chunk of client) {
    assert.equal(String(chunk), 'one');
    break;
  }
  assert.equal(client.destroyed, true);
  await close(client);
  await close(peer);
});

test('the iteration throws what the socket fails with', limit, async (t) => {
  const { client, peer } = await pair(t);
  peer.write('one');
  let got = '';
  await assert.rejects(
    async () => {
      for await (const chunk of client) {
        got += chunk;
        peer.resetAndDestroy();
      }
    },
    { code: 'ECONNRESET' },
  );
  assert.equal(got, 'one');
});

test('highWaterMark of a client is its marks', limit, async (t) => {
  const server = await serve(t);
  const client = await dial(t, server, { highWaterMark: 777 } as object);
  assert.equal(client.readableHighWaterMark, 777);
  assert.equal(client.writableHighWaterMark, 777);
  const other = await dial(t, server, { readableHighWaterMark: 11, writableHighWaterMark: 22 } as object);
  assert.deepEqual([other.readableHighWaterMark, other.writableHighWaterMark], [11, 22]);
});

test("'end' comes to a paused socket too, when there is nothing left to read", limit, async (t) => {
  const { client, peer } = await pair(t);
  const log = trace(client, ['data', 'end', 'close']);
  client.pause();
  peer.end();
  await close(client);
  assert.equal(client.isPaused(), true);
  assert.deepEqual(log, ['end', 'close:false']);
});

test("'end' waits for what was not read yet", limit, async (t) => {
  const { client, peer } = await pair(t);
  let isEnded = false;
  client.on('end', () => (isEnded = true));
  peer.end('unread');
  await once(client, 'readable');
  await turns(30);
  assert.equal(isEnded, false);
  assert.equal(client.destroyed, false);
  assert.equal(String(client.read()), 'unread');
  await until(() => isEnded, "'end'");
});

test('bytesRead counts what arrived, also before it is read', limit, async (t) => {
  const { client, peer } = await pair(t);
  peer.write('12345');
  await once(client, 'readable');
  assert.equal(client.bytesRead, 5);
  client.read();
  assert.equal(client.bytesRead, 5);
});

test('a data listener that is added late gets everything', limit, async (t) => {
  const { client, peer } = await pair(t);
  peer.write('early ');
  await turns(20);
  peer.end('late');
  await turns(20);
  assert.equal((await collect(client)).toString(), 'early late');
});

test('memory that small chunks share is not transferred away with one of them', limit, async (t) => {
  const { client, peer } = await pair(t);
  peer.write('small');
  const [chunk] = (await once(client, 'data')) as [Buffer];
  if (chunk.buffer.byteLength === chunk.byteLength || engine === 'node')
    return t.skip('the chunk has memory of its own');
  try {
    structuredClone(chunk, { transfer: [chunk.buffer as ArrayBuffer] }); // Node 20 copies instead
  } catch (error) {
    assert.equal((error as Error).name, 'DataCloneError');
  }
  assert.equal(String(chunk), 'small');
});
