/** A turn: who is called, in which order, for how long; and what is handed over when no completion brought a turn about. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { readFile } from 'node:fs';
import { describe, test } from 'node:test';
import { setImmediate as turnOfTheLoop } from 'node:timers/promises';
import { promisify } from 'node:util';
import { OP, SOCK, SQE_F, USER_OP, USER_OP_SHIFT } from '#src/engine/abi.ts';
import { BUFFER_GROUP } from '#src/engine/buffers.ts';
import type { Endpoint } from '#src/engine/slots.ts';
import type { Turn } from '#src/engine/turn.ts';
import { dial, type Line, open, openTurn, pair, pattern } from './support/line.ts';
import { KINDS, native, refusal } from './support/rig.ts';

const limit = { timeout: 10_000 };
const extension = import.meta.url.endsWith('.ts') ? 'ts' : 'js';
const child = new URL(`support/turn-child.${extension}`, import.meta.url).pathname;
const run = promisify(execFile);

/** Has completions wait that the loop has not seen: everything until the next `await` is one stretch of JavaScript. */
function complete(turn: Turn): void {
  turn.flush();
  native.collect(turn.ring.id);
}

for (const kind of KINDS) {
  describe(`a turn of the ${kind} ring`, { skip: refusal(kind) }, () => {
    test('gives timers and immediates their turn in a flood on many connections', limit, async (t) => {
      const turn = openTurn(t, kind);
      const MOST = 100_000;
      let pieces = 0;
      let over = (): void => {};
      const isOver = new Promise<void>((resolve) => (over = resolve));
      let timerAt = MOST;
      // Every piece is answered at once by one: without a budget, one turn would last until the flood ends.
      const answer = (line: Line): void => {
        line.onPiece = (piece) => {
          if (pieces === 0) setTimeout(() => (timerAt = pieces), 1);
          if (++pieces < MOST) line.send(piece);
          else over();
        };
        line.readStart();
      };
      for (let i = 0; i < 64; i++) {
        const [a, b] = pair(turn, false);
        answer(a);
        answer(b);
        a.send('to and fro');
      }
      const seen: number[] = [0];
      const immediate = (): void => {
        seen.push(pieces);
        if (pieces < MOST) setImmediate(immediate);
      };
      setImmediate(immediate);
      await isOver;
      seen.push(MOST);
      const longest = Math.max(...seen.slice(1).map((at, i) => at - (seen[i] as number)));
      assert.ok(longest <= 10_000, `${longest} pieces between two immediates`);
      assert.ok(timerAt <= MOST / 2, `a timer of 1 ms came after ${timerAt} of ${MOST} pieces`);
    });

    test('counts sends without a completion, and allows none when its budget is spent', limit, async (t) => {
      const turn = openTurn(t, kind);
      const [a, b] = pair(turn, false);
      const arrived = new Promise<void>((resolve) => {
        b.onPiece = () => resolve();
      });
      b.readStart();
      turn.flush();
      let calls = 0;
      while (turn.maySendAtOnce()) assert.ok(++calls <= 10_000);
      assert.ok(calls > 0);
      assert.equal(a.sendAtOnce(Buffer.from('too many')), 0);
      a.send('by the ring');
      await arrived; // with a turn comes a new budget
      assert.equal(a.sendAtOnce(Buffer.from('at once')), 7);
    });

    test('runs the ticks and promise jobs of an owner before the next owner', limit, async (t) => {
      const turn = openTurn(t, kind);
      const log: string[] = [];
      const pairs = [pair(turn), pair(turn), pair(turn)];
      for (const [i, [a, b]] of pairs.entries()) {
        b.onPiece = () => {
          log.push(`${i} data`);
          process.nextTick(() => log.push(`${i} tick`));
          void Promise.resolve().then(() => log.push(`${i} promise`));
          turn.completeLater({ slot: 0, complete: () => log.push(`${i} later`) > 0 }, USER_OP.SHUTDOWN);
        };
        b.readStart();
        a.send('x');
      }
      await Promise.all(pairs.map(([, b]) => b.until(() => b.receivedBytes === 1)));
      await turnOfTheLoop();
      const expected = [0, 1, 2].flatMap((i) => ['data', 'tick', 'promise', 'later'].map((what) => `${i} ${what}`));
      const order = [...new Set(log.map((line) => line[0]))].map(Number);
      assert.deepEqual(
        log,
        order.flatMap((i) => expected.slice(i * 4, i * 4 + 4)),
      );
    });

    test('goes on with the next completion after an exception of an owner', limit, async (t) => {
      const turn = openTurn(t, kind);
      const log: string[] = [];
      const pairs = [pair(turn), pair(turn), pair(turn)];
      for (const [i, [a, b]] of pairs.entries()) {
        b.onPiece = () => {
          log.push(`data ${i}`);
          throw new Error(`of ${i}`);
        };
        b.readStart();
        a.send('x');
      }
      const thrown: string[] = [];
      for (let left = 10; log.length < 3 && left > 0; left--) {
        complete(turn);
        try {
          turn.drain();
        } catch (error) {
          thrown.push((error as Error).message);
        }
      }
      assert.deepEqual(log.sort(), ['data 0', 'data 1', 'data 2']);
      assert.deepEqual(thrown.sort(), ['of 0', 'of 1', 'of 2']);
      assert.equal(turn.buffers.lent, 0, 'the buffer comes back although the owner threw');
      for (const [a, b] of pairs) {
        b.onPiece = undefined;
        a.send('still here');
        await b.until(() => b.receivedBytes === 11);
      }
    });

    test(
      'completes later what needs no ring: after the present call, in order, and without a turn, too',
      limit,
      async (t) => {
        const turn = openTurn(t, kind);
        const log: string[] = [];
        const endpoint = (name: string, then?: () => void): Endpoint => ({
          slot: 0,
          complete(operation, res, flags) {
            log.push(`${name} ${operation} ${res} ${flags}`);
            then?.();
            return true;
          },
        });
        turn.completeLater(
          endpoint('first', () => turn.completeLater(endpoint('third'), 7)),
          5,
        );
        turn.completeLater(endpoint('second'), 6);
        assert.deepEqual(log, [], 'never at once');
        // Whoever throws does not take the others with it.
        turn.completeLater(
          endpoint('throws', () => {
            throw new Error('of the fourth');
          }),
          1,
        );
        turn.completeLater(endpoint('last'), 2);
        assert.throws(() => turn.flush(), /of the fourth/);
        assert.deepEqual(log, ['first 5 0 0', 'second 6 0 0', 'throws 1 0 0']);
        turn.hold(); // the loop has nothing else to wait for
        await new Promise<void>((resolve) => turn.completeLater(endpoint('final', resolve), 3));
        turn.release();
        assert.deepEqual(log.slice(3), ['last 2 0 0', 'third 7 0 0', 'final 3 0 0']);
      },
    );

    for (const [from, schedule] of [
      ['a timer', (call: () => void) => void setTimeout(call, 1)],
      ['an immediate', (call: () => void) => void setImmediate(call)],
      ['a tick', (call: () => void) => process.nextTick(call)],
      ['a promise', (call: () => void) => void Promise.resolve().then(call)],
      ["another library's callback", (call: () => void) => readFile('/proc/self/stat', call)],
    ] as const) {
      test(`hands over what ${from} has sent before the loop blocks`, limit, async (t) => {
        const turn = openTurn(t, kind);
        const [a, b] = pair(turn);
        await new Promise<void>((resolve) => {
          b.onPiece = () => resolve();
          b.readStart();
          schedule(() => a.send('sent'));
        });
        assert.equal(b.receivedBytes, 4);
      });

      test(`asks for what ${from} has gathered before the loop blocks, once`, limit, async (t) => {
        const turn = openTurn(t, kind);
        const [a, b] = pair(turn);
        let asked = 0;
        turn.hold();
        await new Promise<void>((resolve) => {
          b.onPiece = () => resolve();
          b.readStart();
          a.onFlush = () => {
            asked++;
            a.send('gathered');
          };
          schedule(() => turn.flushLater(a));
        });
        await turnOfTheLoop();
        turn.release();
        assert.deepEqual([asked, b.receivedBytes], [1, 8]);
      });
    }

    test('asks everybody for what was gathered although one of them throws', limit, async (t) => {
      const turn = openTurn(t, kind);
      const asked: number[] = [];
      const writers = [0, 1, 2, 3].map((i) => ({
        flush() {
          asked.push(i);
          if (i === 1) throw new Error('of the second');
        },
      }));
      for (const writer of writers) turn.flushLater(writer);
      assert.throws(() => turn.flush(), /of the second/);
      turn.flush();
      turn.flush();
      assert.deepEqual(asked, [0, 1, 2, 3]);
    });

    test('arms again everybody who found no buffer, with more buffers than before', limit, async (t) => {
      const turn = openTurn(t, kind);
      const { buffers } = turn;
      const before = buffers.count;
      const pairs = Array.from({ length: before + 100 }, () => pair(turn, false));
      for (const [, b] of pairs) b.readStart();
      turn.flush();
      // All bytes at once, in one turn.
      for (const [i, [a]] of pairs.entries()) a.send(`piece ${i}`);
      await Promise.all(pairs.map(([, b], i) => b.until(() => b.received.toString() === `piece ${i}`)));
      await turnOfTheLoop();
      assert.equal(buffers.lent, 0);
      // The epoll ring makes receives wait for a buffer instead.
      if (kind === 'io_uring') assert.ok(buffers.count > before, `${buffers.count} buffers`);
      for (const [i, [a]] of pairs.entries()) a.send(`again ${i}`);
      await Promise.all(pairs.map(([, b], i) => b.until(() => b.received.toString() === `piece ${i}again ${i}`)));
    });

    test('arms the starved from outside of a turn, all of them, and asks each only once', limit, async (t) => {
      const turn = openTurn(t, kind);
      const before = turn.buffers.count;
      let armed = 0;
      turn.hold();
      await new Promise<void>((resolve) => {
        const rearm = (): void => {
          if (++armed === 3) resolve();
        };
        setTimeout(() => {
          for (let i = 0; i < 3; i++) turn.starve({ rearm });
        }, 1);
      });
      await turnOfTheLoop();
      turn.release();
      assert.equal(armed, 3);
      assert.equal(turn.buffers.count, before * 2);
    });

    test('tells the loop that it is held once, and only at the end of a turn that it is not', limit, async (t) => {
      const turn = openTurn(t, kind);
      const told: boolean[] = [];
      const ref = (id: number, alive: boolean): number => {
        told.push(alive);
        return native.ref(id, alive);
      };
      Object.assign(turn.ring, { native: { ...native, ref } });
      turn.hold();
      turn.hold();
      turn.release();
      assert.deepEqual(told, [true]);
      turn.release();
      assert.deepEqual(told, [true, false]);

      const [a, b] = pair(turn);
      b.onPiece = () => {
        b.readStop(); // the last reason is gone, for a moment
        told.length = 0;
        b.readStart();
        b.readStop();
        b.readStart();
        assert.deepEqual(told, []);
      };
      b.readStart();
      a.send('x');
      await b.until(() => b.receivedBytes === 1);
      await turnOfTheLoop();
      assert.deepEqual(told, [], 'it was held before, and is after');
      b.readStop();
      await turnOfTheLoop();
      assert.deepEqual(told, [false]);
    });

    test('keeps a process alive until the last reason is gone', limit, async () => {
      const { stdout } = await run(process.execPath, [child, 'held', kind], limit);
      assert.equal(stdout, 'one is left\nnone is left\nexit\n');
    });

    test('lets a process end that has no reason to live', limit, async () => {
      assert.equal((await run(process.execPath, [child, 'idle', kind], limit)).stdout, 'exit\n');
    });

    test('hands over what was gathered when the process ends', limit, async () => {
      const { stdout } = await run(process.execPath, [child, 'end', kind], limit);
      assert.equal(stdout, 'asked true, unsubmitted 0\ngathered\n');
    });

    test('gives the buffer of a completion back whose owner is another one by now', limit, async (t) => {
      const turn = openTurn(t, kind);
      const [a, b] = pair(turn);
      const userLow = b.slot | (USER_OP.RECV << USER_OP_SHIFT);
      for (const [generation, slot] of [
        [b.generation - 1, b.slot],
        [1, 9999],
      ] as const) {
        const low = slot | (userLow & ~0xffffff);
        turn.ring.push(OP.RECV | (SQE_F.BUFFER_SELECT << 8), b.fd, 0, 0, 0, 0, low, generation, BUFFER_GROUP);
      }
      a.send('for the old one');
      await a.until('sent');
      await turnOfTheLoop();
      a.send('for nobody');
      await a.until(() => a.log.length === 2);
      await turnOfTheLoop();
      assert.deepEqual([b.receivedBytes, b.inFlight, turn.buffers.lent], [0, 0, 0]);
      b.readStart();
      a.send('for the new one');
      await b.until(() => b.receivedBytes > 0);
      assert.equal(b.received.toString(), 'for the new one');
      // Each buffer is in the ring exactly once: all can be lent at once.
      for (let i = 0; i < turn.buffers.count * 2; i++) {
        const sent = a.log.length;
        a.send(`${i % 10}`);
        await a.until(() => a.log.length > sent);
      }
      const all = Buffer.byteLength('for the new one') + turn.buffers.count * 2;
      await b.until(() => b.receivedBytes === all);
      assert.equal(turn.buffers.lent, 0);
    });

    test('closes the descriptor of an accept whose listener is another one by now', limit, async (t) => {
      const turn = openTurn(t, kind);
      const door = open(turn);
      const flags = SOCK.CLOEXEC | (kind === 'epoll' ? SOCK.NONBLOCK : 0);
      const userLow = door.slot | (USER_OP.ACCEPT << USER_OP_SHIFT);
      turn.ring.push(OP.ACCEPT, door.fd, 0, 0, 0, flags, userLow, door.generation - 1, 0);
      const line = dial(turn, door);
      await line.until('connect');
      line.readStart();
      await line.until('end');
      assert.deepEqual([door.accepted, door.inFlight], [[], 0]);
    });

    test('loses nothing behind a completion queue of 8', limit, async (t) => {
      const turn = openTurn(t, kind, 8, 8);
      const pairs = Array.from({ length: 100 }, () => pair(turn, false));
      const BYTES = 50_000;
      for (const [i, [a, b]] of pairs.entries()) {
        b.readStart();
        a.send(pattern(BYTES, i));
      }
      await Promise.all(pairs.flatMap(([a, b]) => [a.until('sent'), b.until(() => b.receivedBytes === BYTES)]));
      for (const [i, [, b]] of pairs.entries()) assert.ok(b.received.equals(pattern(BYTES, i)), `connection ${i}`);
      assert.equal(turn.buffers.lent, 0);
    });
  });
}
