import assert from 'node:assert/strict';
import test from 'node:test';
import { delimited, lengthPrefixed, lines, netstring } from 'millrace/framing';
import { hex, limit, reasonOf } from './support/decode.ts';

test('encode gives the bytes of one frame', limit, () => {
  assert.deepEqual(lengthPrefixed().utf8().encode('grün'), hex('00000005 6772c3bc6e'));
  assert.deepEqual(lines().json().encode({ a: '€' }), Buffer.from('{"a":"€"}\n'));
  assert.deepEqual(netstring().encode(new Uint8Array([1, 2])), Buffer.from('2:\x01\x02,'));
});

test('encodeInto fills memory that is there, frame by frame, until one does not fit', limit, () => {
  const codec = lengthPrefixed({ lengthFieldLength: 1 }).utf8();
  const target = Buffer.alloc(8, 0xaa);
  let at = codec.encodeInto('one', target);
  assert.equal(at, 4);
  at = codec.encodeInto('ü', target, at);
  assert.equal(at, 7);
  assert.equal(codec.encodeInto('x', target, at), -2);
  assert.deepEqual(target, hex('03 6f6e65 02 c3bc aa'));
  assert.equal(codec.encodeInto('', target, at), 8);
});

test('a large message of bytes is a piece itself, without a copy', limit, () => {
  const large = Buffer.alloc(5_000, 'x');
  const [head, payload, ...none] = lengthPrefixed().pieces(large);
  assert.deepEqual(head, hex('00001388'));
  assert.equal(payload, large);
  assert.deepEqual(none, []);
  const pieces = netstring().pieces(large);
  assert.deepEqual(
    pieces.map((piece) => piece.length),
    [5, 5_000, 1],
  );
  assert.equal(pieces[1], large);
  // What has to be looked at, or is part of the header, or is small, stands in one piece.
  assert.equal(delimited(';').pieces(large).length, 1);
  assert.equal(lengthPrefixed({ numSkip: 0 }).pieces(large).length, 1);
  assert.equal(lengthPrefixed().pieces(Buffer.alloc(100)).length, 1);
  assert.equal(lengthPrefixed().utf8().pieces('x'.repeat(5_000)).length, 1);
});

test('a codec refuses in all three ways of encoding what it refuses in one', limit, () => {
  const codec = lengthPrefixed({ maxFrameBytes: 3 });
  const message = Buffer.alloc(4);
  assert.equal(
    reasonOf(() => codec.encode(message)),
    'FRAME_TOO_LARGE',
  );
  assert.equal(
    reasonOf(() => codec.encodeInto(message, Buffer.alloc(100))),
    'FRAME_TOO_LARGE',
  );
  assert.equal(
    reasonOf(() => codec.pieces(message)),
    'FRAME_TOO_LARGE',
  );
  const large = Buffer.alloc(70_000);
  assert.equal(
    reasonOf(() => lengthPrefixed({ lengthFieldLength: 2 }).pieces(large)),
    'FRAME_TOO_LARGE',
  );
});

test('one codec serves many streams at the same time', limit, () => {
  const codec = lines().utf8();
  const got: string[] = [];
  const decoders = ['a', 'b', 'c'].map((name) => codec.decoder((line) => got.push(name + line)));
  for (const piece of ['on', 'e\nt', 'wo\n']) for (const decoder of decoders) decoder.push(Buffer.from(piece));
  assert.deepEqual(got, ['aone', 'bone', 'cone', 'atwo', 'btwo', 'ctwo']);
});
