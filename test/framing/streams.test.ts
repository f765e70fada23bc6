import assert from 'node:assert/strict';
import { once } from 'node:events';
import { PassThrough, Readable, Writable } from 'node:stream';
import { finished, pipeline } from 'node:stream/promises';
import test from 'node:test';
import { setImmediate as turn } from 'node:timers/promises';
import { lengthPrefixed, lines } from 'millrace/framing';
import { hex, limit } from './support/decode.ts';

test('bytes are piped through a decoder and an encoder', limit, async () => {
  const out: Buffer[] = [];
  await pipeline(
    Readable.from([Buffer.from('one\ntw'), Buffer.from('o\n'), Buffer.from('three')]),
    lines().utf8().decodeStream(),
    async function* (source: AsyncIterable<string>) {
      for await (const line of source) yield line.toUpperCase();
    },
    lengthPrefixed({ lengthFieldLength: 1 }).utf8().encodeStream(),
    new Writable({
      write(chunk: Buffer, _, done) {
        out.push(chunk);
        done();
      },
    }),
  );
  assert.deepEqual(Buffer.concat(out), Buffer.from('\x03ONE\x03TWO\x05THREE'));
});

test('who reads no frames stops the decoding, and who writes bytes', limit, async () => {
  const stream = lines().utf8().decodeStream({ readableHighWaterMark: 4, writableHighWaterMark: 100 });
  const chunk = Buffer.from('x\n'.repeat(1_000));
  assert.equal(stream.write(chunk), false);
  await turn();
  // Not a thousand: the chunk waits, and is decoded as frames are taken.
  assert.equal(stream.readableLength, 4);
  assert.equal(stream.writableNeedDrain, true);
  stream.end();
  let count = 0;
  for await (const line of stream) {
    assert.equal(line, 'x');
    assert.ok(stream.readableLength <= 4);
    count++;
  }
  assert.equal(count, 1_000);
});

test('a listener that pauses gets nothing more, and later all the rest', limit, async () => {
  const stream = lines().utf8().decodeStream();
  const got: string[] = [];
  stream.on('data', (line: string) => {
    got.push(line);
    if (got.length === 2) stream.pause();
  });
  stream.end('1\n2\n3\n4\n');
  await turn();
  assert.deepEqual(got, ['1', '2']);
  stream.resume();
  await once(stream, 'end');
  assert.deepEqual(got, ['1', '2', '3', '4']);
});

test('a stream may be read within its events', limit, async () => {
  const stream = lines().utf8().decodeStream({ readableHighWaterMark: 1 });
  const got: string[] = [];
  stream.on('readable', () => {
    for (let line = stream.read() as string | null; line !== null; line = stream.read()) got.push(line);
  });
  stream.write('1\n2\n');
  stream.end('3\n4\n5');
  await finished(stream);
  assert.deepEqual(got, ['1', '2', '3', '4', '5']);
});

test('a chunk that is written over after its callback does not change the frames', limit, async () => {
  const stream = lengthPrefixed({ lengthFieldLength: 1 }).decodeStream();
  const chunk = Buffer.from('\x03one\x03two');
  await new Promise((done) => stream.write(chunk, done));
  chunk.fill(0);
  stream.end();
  const got: string[] = [];
  for await (const frame of stream) got.push(String(frame));
  assert.deepEqual(got, ['one', 'two']);
});

test('an error of the codec destroys the stream, and the pipeline with it', limit, async () => {
  const source = new PassThrough();
  const got: string[] = [];
  const done = pipeline(
    source,
    lines({ maxFrameBytes: 3 }).utf8().decodeStream(),
    async (frames: AsyncIterable<string>) => {
      for await (const frame of frames) got.push(frame);
    },
  );
  source.write('one\ntoo long\n');
  await assert.rejects(done, { code: 'MILLRACE_ERR_FRAME_TOO_LARGE' });
  assert.equal(source.destroyed, true);

  const cut = lengthPrefixed().decodeStream();
  cut.resume().end(hex('0000'));
  await assert.rejects(finished(cut), { code: 'MILLRACE_ERR_TRUNCATED' });

  const encoding = lines().utf8().encodeStream();
  encoding.resume().write('two\nlines');
  await assert.rejects(finished(encoding), { code: 'MILLRACE_ERR_BAD_PAYLOAD' });
});

test('null ends no stream: it is an error', limit, async () => {
  const stream = lines().json().decodeStream();
  const got: unknown[] = [];
  stream.on('data', (value) => got.push(value));
  stream.end('1\nnull\n2\n');
  await assert.rejects(finished(stream), { code: 'MILLRACE_ERR_BAD_PAYLOAD' });
  assert.deepEqual(got, [1]);
});

test('a stream that is destroyed in its listener says nothing more', limit, async () => {
  const stream = lines().utf8().decodeStream();
  const got: string[] = [];
  stream.on('data', (line: string) => {
    got.push(line);
    stream.destroy();
  });
  await turn(); // flowing: what Node has taken in already it would still emit
  stream.write('1\n2\n3\n');
  await once(stream, 'close');
  assert.deepEqual(got, ['1']);
});

test('what is skipped is counted', limit, async () => {
  const stream = lines({ maxFrameBytes: 1, onTooLarge: 'skip' }).decodeStream();
  stream.resume().end('1\n22\n3\n44\n');
  await finished(stream);
  assert.equal(stream.skippedFrames, 2);
});

test('an endless line does not fill a stream', limit, async () => {
  const stream = lines({ maxFrameBytes: 1_000, onTooLarge: 'skip' }).decodeStream();
  stream.resume();
  for (let i = 0; i < 200; i++) if (!stream.write(Buffer.alloc(65_536, 'x'))) await once(stream, 'drain');
  stream.end();
  await finished(stream);
  assert.equal(stream.skippedFrames, 1);
});

test('frames of a socket: read to its end, or left early', limit, async (t) => {
  const net = await import('node:net');
  const server = net.createServer((socket) => socket.end('one\ntwo\nthree\n')).listen(0, '127.0.0.1');
  t.after(() => server.close());
  await once(server, 'listening');
  const { port } = server.address() as import('node:net').AddressInfo;

  const whole: string[] = [];
  for await (const line of lines().utf8().frames(net.connect(port, '127.0.0.1'))) whole.push(line);
  assert.deepEqual(whole, ['one', 'two', 'three']);

  const socket = net.connect(port, '127.0.0.1');
  for await (const line of lines().utf8().frames(socket)) {
    assert.equal(line, 'one');
    break;
  }
  assert.equal(socket.destroyed, true);

  const piped = net.connect(port, '127.0.0.1').pipe(lines().utf8().decodeStream());
  const got: unknown[] = [];
  for await (const line of piped) got.push(line);
  assert.deepEqual(got, whole);
});
