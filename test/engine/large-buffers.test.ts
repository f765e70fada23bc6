/** Large receive buffers: what is handed out and what is copied, and that what was handed out is nobody else's any more. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { LARGE_BUFFER_BYTES, LargeBuffers } from '#src/engine/large-buffers.ts';
import { openTurn, pattern, tcpPair } from './support/line.ts';
import { KINDS, refusal } from './support/rig.ts';

const limit = { timeout: 10_000 };

for (const kind of KINDS) {
  describe(`large buffers of the ${kind} ring`, { skip: refusal(kind) }, () => {
    test('half a buffer and more is handed out and replaced, less is copied', limit, (t) => {
      const buffers = new LargeBuffers(openTurn(t, kind).ring, 2, 4);
      const before = buffers.at(1);
      before.fill(7);

      const copy = buffers.take(1, LARGE_BUFFER_BYTES / 2 - 1);
      assert.equal(copy.buffer.byteLength, LARGE_BUFFER_BYTES / 2 - 1, 'keeps no more memory than it has bytes');
      assert.ok(copy.every((byte) => byte === 7));
      assert.equal(buffers.at(1), before);

      const half = buffers.take(1, LARGE_BUFFER_BYTES / 2);
      assert.equal(half.buffer, before.buffer);
      assert.equal(half.length, LARGE_BUFFER_BYTES / 2);
      assert.notEqual(buffers.at(1).buffer, before.buffer);

      const whole = buffers.take(0, LARGE_BUFFER_BYTES);
      assert.equal(whole.length, LARGE_BUFFER_BYTES);
    });

    test('a buffer that was replaced takes the place of another when it is given back', limit, (t) => {
      const buffers = new LargeBuffers(openTurn(t, kind).ring, 2, 4);
      const first = buffers.replace(0);
      assert.notEqual(buffers.at(0), first);
      buffers.recycle(first);
      buffers.replace(1);
      assert.equal(buffers.at(1), first);
    });

    test('a flood goes into them, stays what it was, and every one comes back', limit, async (t) => {
      const turn = openTurn(t, kind);
      const [a, b] = await tcpPair(turn);
      const kept: Buffer[] = [];
      b.onPiece = (piece) => kept.push(piece);
      b.readStart();
      const sent = pattern(8 << 20);
      a.send(sent);
      await b.until(() => b.receivedBytes === sent.length);
      assert.ok(Buffer.concat(kept).equals(sent), 'no byte was written over after it was handed out');
      assert.ok(
        kept.some((piece) => piece.length > turn.buffers.bufferBytes),
        'large pieces',
      );
      assert.equal(turn.lentBuffers, 0);
    });

    test('more connections than there are large buffers lose nothing', limit, async (t) => {
      const turn = openTurn(t, kind);
      const { large } = turn;
      assert.ok(large);
      const pairs = await Promise.all(Array.from({ length: 80 }, () => tcpPair(turn)));
      for (const [a, b] of pairs) {
        b.onPiece = () => {};
        b.readStart();
        a.send(pattern(300_000));
      }
      await Promise.all(pairs.map(([, b]) => b.until(() => b.receivedBytes === 300_000)));
      assert.equal(turn.lentBuffers, 0);
    });

    test('small messages after large ones go into small buffers again', limit, async (t) => {
      const turn = openTurn(t, kind);
      const [a, b] = await tcpPair(turn);
      b.onPiece = () => {};
      b.readStart();
      a.send(pattern(500_000));
      await b.until(() => b.receivedBytes === 500_000);
      for (let i = 1; i <= 4; i++) {
        a.send(pattern(10));
        await b.until(() => b.receivedBytes === 500_000 + 10 * i);
      }
      assert.equal(b.isLarge, false);
    });
  });
}
