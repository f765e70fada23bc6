/** The send arena, and what is sent when it is full. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { describe, test } from 'node:test';
import { MOST_SLOTS, SendArena, SLOT_BYTES } from '#src/engine/arena.ts';
import type { Ring } from '#src/engine/ring.ts';
import { dial, type Line, open, openTurn, pair, pattern, shrink } from './support/line.ts';
import { KINDS, refusal } from './support/rig.ts';

const limit = { timeout: 20_000 };
const ADDRESS = 0x7fed_c000_0000;

function paper(slots: number, most = slots): SendArena {
  const native = {
    allocate: (_: number, _most: number, bytes: number) => new ArrayBuffer(bytes),
    show: (_: number, _memory: Uint8Array, bytes: number) => new ArrayBuffer(bytes),
    address: () => ADDRESS,
  };
  return new SendArena({ id: 0, native } as unknown as Ring, slots, most);
}

test('slots are pieces of one memory that do not overlap, until there is none', () => {
  const arena = paper(8);
  const taken = Array.from({ length: 8 }, () => arena.take());
  assert.deepEqual(
    [...taken].sort((a, b) => a - b),
    Array.from({ length: 8 }, (_, i) => i * SLOT_BYTES),
  );
  assert.equal(arena.take(), -1);
  assert.equal(arena.inUse, 8);
  assert.equal(arena.memory.length, 8 * SLOT_BYTES);
  assert.equal(arena.addressOf(taken[3] as number), ADDRESS + (taken[3] as number));
});

test('slots are added when all are taken, up to the limit', () => {
  const arena = paper(2, 8);
  const taken = Array.from({ length: 8 }, () => arena.take());
  assert.deepEqual(
    taken,
    Array.from({ length: 8 }, (_, i) => i * SLOT_BYTES),
  );
  assert.equal(arena.memory.length, 8 * SLOT_BYTES);
  assert.equal(arena.take(), -1);
  assert.equal(arena.inUse, 8);
  arena.give(SLOT_BYTES);
  assert.equal(arena.inUse, 7);
});

test('the slot given back last is taken first', () => {
  const arena = paper(8);
  const [a, b] = [arena.take(), arena.take(), arena.take()];
  arena.give(b);
  arena.give(a);
  assert.deepEqual([arena.take(), arena.take()], [a, b]);
  assert.equal(arena.inUse, 3);
});

test('memory that is refused is an error that names the errno', () => {
  const ring = { id: 0, native: { allocate: () => -12 } } as unknown as Ring;
  assert.throws(() => new SendArena(ring), /errno 12/);
});

for (const kind of KINDS) {
  describe(`the send arena on the ${kind} ring`, { skip: refusal(kind) }, () => {
    test('sends text, bytes and pieces without a slot as it does with one', limit, async (t) => {
      const turn = openTurn(t, kind);
      while (turn.arena.take() >= 0);
      const [a, b] = pair(turn);
      b.readStart();
      const sends: [string, () => number][] = [
        ['text, ü', () => a.sendOne('text, ü', 'utf8')],
        ['bytes', () => a.send(Buffer.from('bytes'))],
        [
          'three pieces',
          () =>
            a.sendMany([
              { chunk: 'three ', encoding: 'latin1' },
              { chunk: Buffer.from('piec'), encoding: 'utf8' },
              { chunk: '6573', encoding: 'hex' },
            ]),
        ],
        ['x'.repeat(20_000), () => a.sendMany(Array(20).fill({ chunk: 'x'.repeat(1000), encoding: 'latin1' }))],
      ];
      let expected = '';
      for (const [text, send] of sends) {
        expected += text;
        a.log.length = 0;
        assert.equal(send(), Buffer.byteLength(text));
        await Promise.all([a.until('sent'), b.until(() => b.receivedBytes >= Buffer.byteLength(expected))]);
        assert.ok(a.pieces === null, 'what was sent is let go');
      }
      assert.equal(b.received.toString(), expected);
      assert.equal(
        turn.arena.inUse,
        turn.arena.memory.length / SLOT_BYTES,
        'no slot was given back that was not taken',
      );
    });

    // 5,000 connects in one tick need more slots than there are.
    test('connects without a slot as it does with one', limit, async (t) => {
      const turn = openTurn(t, kind);
      const door = open(turn);
      door.accept();
      while (turn.arena.take() >= 0);
      const line = dial(turn, door);
      await line.until(() => line.log.length > 0);
      assert.deepEqual(line.log, ['connect']);
      assert.equal(turn.arena.take(), -1, 'no slot was given back that was not taken');
    });

    test('more blocked connections than slots all get their bytes through', limit, async (t) => {
      const turn = openTurn(t, kind);
      const slots = MOST_SLOTS;
      // As many as descriptors allow. What they do not, somebody else has taken.
      const room = Math.floor((descriptorLimit() - 200) / 2);
      const count = Math.min(slots + 200, room, 1200);
      while (turn.arena.inUse < slots - count + 100) turn.arena.take();
      const taken = turn.arena.inUse;
      const pairs = Array.from({ length: count }, () => pair(turn));
      const sent = new Map<Line, Buffer[]>();

      // Each sends small pieces until one has to wait.
      let waiting = 0;
      for (const [i, [a, b]] of pairs.entries()) {
        shrink(a, b);
        sent.set(a, []);
        next(a, i);
      }
      function next(line: Line, seed: number): void {
        const pieces = sent.get(line) as Buffer[];
        const piece = pattern(3000, seed + pieces.length);
        pieces.push(piece);
        line.send(piece);
      }
      // A turn with nothing new: those whose send is complete send again, until all wait.
      while (waiting < count) {
        waiting = 0;
        await new Promise((resolve) => setImmediate(resolve));
        for (const [i, [a]] of pairs.entries()) {
          if (a.isSending) waiting++;
          else next(a, i);
        }
      }
      assert.equal(turn.arena.inUse, slots, 'the arena is full');
      assert.ok(pairs.filter(([a]) => a.isSending && a.sendSlot < 0).length >= 100, 'a hundred wait without a slot');

      for (const [, b] of pairs) b.readStart();
      await Promise.all(
        pairs.map(async ([a, b], i) => {
          const expected = Buffer.concat(sent.get(a) as Buffer[]);
          await b.until(() => b.receivedBytes >= expected.length);
          assert.ok(b.received.equals(expected), `connection ${i}`);
        }),
      );
      await Promise.all(pairs.map(([a]) => a.until(() => !a.isSending)));
      assert.equal(turn.arena.inUse, taken);
      assert.ok(pairs.every(([a]) => a.log.every((what) => what === 'sent' || what === 'progress')));
    });
  });
}

function descriptorLimit(): number {
  return Number(/Max open files\s+(\d+)/.exec(readFileSync('/proc/self/limits', 'utf8'))?.[1] ?? 1024);
}
