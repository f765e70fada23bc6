/** The state machine of a connection, without a tier above it: sends, receives, and the order of a close. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { setImmediate as turnOfTheLoop } from 'node:timers/promises';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { AF, ERRNO, OP, USER_OP } from '#src/engine/abi.ts';
import { Connection } from '#src/engine/connection.ts';
import { dial, Line, open, openTurn, pair, pattern, shrink, submissions, tcpPair } from './support/line.ts';
import { inetAddress, KINDS, native, refusal } from './support/rig.ts';

const limit = { timeout: 10_000 };
const MEGABYTE = 1 << 20;

/** Runs the garbage collector. */
const collectGarbage = (() => {
  setFlagsFromString('--expose-gc');
  return runInNewContext('gc') as () => void;
})();

/** Writes down the completions of a connection: `recv -125`, `close 0`, … */
function completions(line: Line, log: string[]): void {
  const names = Object.fromEntries(Object.entries(USER_OP).map(([name, number]) => [number, name.toLowerCase()]));
  const complete = line.complete.bind(line);
  line.complete = (operation, res, flags) => {
    log.push(`${names[operation]}${flags & 2 ? ' more' : ''}`);
    return complete(operation, res, flags);
  };
}

for (const kind of KINDS) {
  describe(`a connection of the ${kind} ring`, { skip: refusal(kind) }, () => {
    test('a short send goes on where it stopped', limit, async (t) => {
      const turn = openTurn(t, kind);
      const [a, b] = pair(turn);
      shrink(a, b);
      const bytes = pattern(MEGABYTE);
      b.readStart();
      assert.equal(a.send(bytes), MEGABYTE);
      await Promise.all([a.until('sent'), b.until(() => b.receivedBytes >= MEGABYTE)]);
      assert.ok(b.received.equals(bytes));
      assert.deepEqual(a.log, ['progress', 'sent']);
      assert.deepEqual([a.bytesSent, a.sendLeft, a.pieces === null, a.inFlight], [MEGABYTE, 0, true, 0]);
    });

    test('a socket that somebody else made O_NONBLOCK is waited for all the same', limit, async (t) => {
      const turn = openTurn(t, kind);
      const [a, b] = await tcpPair(turn);
      for (const end of [a, b]) assert.equal(turn.ring.native.setBlocking(end.fd, false), 0);
      b.readStart();
      for (const size of [5, 8 * MEGABYTE, 4]) {
        const bytes = pattern(size);
        const before = b.receivedBytes;
        assert.equal(a.send(bytes), size);
        await b.until(() => b.receivedBytes >= before + size);
        assert.ok(b.received.subarray(before).equals(bytes));
        await turnOfTheLoop();
      }
      while (a.inFlight > 0) await turnOfTheLoop();
      assert.deepEqual([a.sendLeft, b.isReceiving], [0, true]);
      b.readStop();
      while (b.inFlight > 0) await turnOfTheLoop();
      const O_NONBLOCK = 0o4000;
      for (const end of [a, b]) assert.ok((turn.ring.native.flags(end.fd) & O_NONBLOCK) !== 0);
    });

    test('a short send of many pieces goes on within a piece, and behind the longest vector', limit, async (t) => {
      const turn = openTurn(t, kind);
      const [a, b] = pair(turn);
      shrink(a, b);
      const bytes = pattern(MEGABYTE);
      const pieces: { chunk: Uint8Array | string; encoding: BufferEncoding }[] = [];
      for (let at = 0, i = 0; at < MEGABYTE; i++) {
        const end = Math.min(MEGABYTE, at + (i % 7 === 0 ? 0 : 1000 + ((i * 37) % 3000)));
        const chunk = bytes.subarray(at, end);
        pieces.push({ chunk: i % 5 === 0 ? chunk.toString('latin1') : chunk, encoding: 'latin1' });
        at = end;
      }
      assert.ok(pieces.length > 300, `${pieces.length} pieces`);
      const seen = submissions(turn);
      b.readStart();
      assert.equal(a.sendMany(pieces), MEGABYTE);
      await Promise.all([a.until('sent'), b.until(() => b.receivedBytes >= MEGABYTE)]);
      assert.ok(b.received.equals(bytes));
      assert.ok(seen.filter(({ opcode }) => opcode === OP.SENDMSG).length > 2);
      assert.deepEqual([a.sendLeft, a.pieces === null, a.inFlight, turn.arena.inUse], [0, true, 0, 0]);
    });

    test('a send of more bytes than a length of 31 bits can say begins like any other', limit, async (t) => {
      const turn = openTurn(t, kind);
      const [a, b] = pair(turn);
      b.readStart();
      a.send(Buffer.alloc(2 ** 31 + 1)); // pages that nobody has written to cost nothing
      await b.until(() => b.receivedBytes > 100_000);
      assert.ok(!a.log.includes('sent'), a.log.join());
    });

    test('what is being sent stays alive until the kernel has taken it, and no longer', limit, async (t) => {
      const turn = openTurn(t, kind);
      const sends: [string, (line: Line, bytes: Buffer) => void][] = [
        ['one buffer', (line, bytes) => void line.send(bytes)],
        [
          'pieces',
          (line, bytes) =>
            void line.sendMany([
              { chunk: 'text', encoding: 'latin1' },
              { chunk: bytes, encoding: 'latin1' },
            ]),
        ],
      ];
      for (const [what, send] of sends) {
        const [a, b] = pair(turn);
        shrink(a, b);
        const memory = ((): WeakRef<ArrayBufferLike> => {
          const bytes = pattern(300_000);
          send(a, bytes);
          return new WeakRef(bytes.buffer);
        })();
        // Everything that can go out has gone out.
        for (let i = 0; i < 5; i++) {
          await turnOfTheLoop();
          collectGarbage();
        }
        assert.ok(a.isSending, what);
        assert.ok(memory.deref() !== undefined, `${what}: the kernel still reads it`);
        await turnOfTheLoop();
        b.onPiece = () => {};
        b.readStart();
        await a.until('sent');
        for (let i = 0; i < 5 && memory.deref() !== undefined; i++) {
          await turnOfTheLoop();
          collectGarbage();
        }
        assert.ok(memory.deref() === undefined, `${what}: nobody needs it`);
      }
    });

    test('close waits for the last completion of everything that is in flight', limit, async (t) => {
      const turn = openTurn(t, kind);
      const [a, b] = await tcpPair(turn);
      const log: string[] = [];
      completions(a, log);
      a.readStart();
      a.send(pattern(8 * MEGABYTE)); // more than fits in
      await b.until(() => b.receivedBytes === 0);
      for (let i = 0; i < 5; i++) await turnOfTheLoop();
      assert.ok(a.isSending && a.isReceiving);

      const seen = submissions(turn);
      const ofA = (): number[] => seen.filter(({ slot }) => slot === a.slot).map(({ opcode }) => opcode);
      const { fd } = a;
      log.length = 0;
      a.close();
      a.close();
      assert.deepEqual(ofA(), [OP.ASYNC_CANCEL, OP.ASYNC_CANCEL], 'cancelled, not closed');
      await a.until('closed');
      assert.deepEqual(ofA(), [OP.ASYNC_CANCEL, OP.ASYNC_CANCEL, OP.CLOSE]);
      assert.equal(seen.find(({ opcode }) => opcode === OP.CLOSE)?.fd, fd);
      assert.equal(log.at(-1), 'close');
      assert.deepEqual(log.slice(0, -1).sort(), ['cancel', 'cancel', 'recv', 'send']);
      assert.deepEqual(a.log, ['progress', 'sent ECANCELED', 'closed']);
      assert.deepEqual([a.fd, a.inFlight, a.pieces === null, turn.arena.inUse], [-1, 0, true, 0]);
      assert.equal(turn.slots.owners[a.slot], undefined);
      for (let i = 0; i < 5; i++) await turnOfTheLoop();
      assert.equal(a.log.at(-1), 'closed', 'nothing after it');
    });

    test('close of an idle connection closes it without a cancellation', limit, async (t) => {
      const turn = openTurn(t, kind);
      const [a, b] = pair(turn);
      b.readStart();
      const seen = submissions(turn);
      a.close();
      await Promise.all([a.until('closed'), b.until('end')]);
      assert.deepEqual(
        seen.filter(({ slot }) => slot === a.slot).map(({ opcode }) => opcode),
        [OP.CLOSE],
      );
    });

    test('close ends a connect that is under way', limit, async (t) => {
      const turn = openTurn(t, kind);
      const fd = Connection.socket(turn, AF.INET);
      const line = new Line(turn, fd, false);
      line.connect(Uint8Array.of(2, 0, 0, 9, 192, 0, 2, 1, 0, 0, 0, 0, 0, 0, 0, 0)); // RFC 5737: nobody is there
      await turnOfTheLoop();
      line.close();
      await line.until('closed');
      assert.ok(line.log.length === 1 || line.log[0]?.startsWith('connect E'), line.log.join());
      assert.deepEqual([line.inFlight, turn.arena.inUse], [0, 0]);
    });

    test('a send that was handed over before close is delivered', limit, async (t) => {
      const turn = openTurn(t, kind);
      const [a, b] = await tcpPair(turn);
      b.readStart();
      a.readStart();
      a.send('last words');
      a.close();
      await Promise.all([a.until('closed'), b.until('end')]);
      assert.equal(b.received.toString(), 'last words');
    });

    test(
      'a connection in the slot and with the descriptor of an old one gets nothing that was meant for it',
      limit,
      async (t) => {
        const turn = openTurn(t, kind);
        const slots = new Set<number>();
        const fds = new Set<number>();
        let old: Line[] = [];
        for (let i = 0; i < 200; i++) {
          const [a, b] = pair(turn, false);
          slots.add(a.slot).add(b.slot);
          fds.add(a.fd).add(b.fd);
          b.readStart();
          a.send(`${i}`);
          if (i % 3 === 0) await turnOfTheLoop(); // some are closed with bytes on their way, some before anything
          if (i % 2 === 0) {
            await b.until(() => b.receivedBytes >= `${i}`.length);
            assert.equal(b.received.toString(), `${i}`);
          }
          old = [a, b];
          for (const line of old) line.close();
          if (i % 5 !== 0) await Promise.all(old.map((line) => line.until('closed')));
        }
        await Promise.all(old.map((line) => line.until('closed')));
        for (let i = 0; turn.slots.inUse > 0 && i < 100; i++) await turnOfTheLoop();
        assert.ok(slots.size < 50 && fds.size < 50, `${slots.size} slots, ${fds.size} descriptors for 400 connections`);
        assert.deepEqual([turn.slots.inUse, turn.buffers.lent, turn.arena.inUse], [0, 0, 0]);
      },
    );

    for (const limits of [true, false]) {
      const how = limits ? 'that ends after so many bytes' : 'of a kernel before 6.17';
      test(`a reader that says stop gets little more of a flood, with a receive ${how}`, limit, async (t) => {
        const turn = openTurn(t, kind);
        // The epoll ring reads in small shares; there is no other way for it.
        if (!limits && kind === 'epoll') return t.skip('the epoll ring always limits');
        Object.assign(turn.ring, { limitsReceive: limits && turn.ring.limitsReceive });
        const [a, b] = await tcpPair(turn);
        const BYTES = 16 * MEGABYTE;
        const bytes = pattern(BYTES);
        a.send(bytes);
        for (let i = 0; i < 5; i++) await turnOfTheLoop(); // the socket's buffers are full
        const parts: Buffer[] = [];
        let stoppedAt = -1;
        let late = 0;
        b.onPiece = (piece) => {
          parts.push(piece);
          if (stoppedAt >= 0) late = b.receivedBytes - stoppedAt;
          else {
            b.readStop();
            stoppedAt = b.receivedBytes;
          }
        };
        b.readStart();
        await b.until(() => stoppedAt >= 0);
        for (let i = 0; i < 20; i++) await turnOfTheLoop();
        assert.ok(late <= 128 * 1024, `${late} bytes after the stop`);
        assert.deepEqual([b.isReading, b.isReceiving], [false, false]);
        assert.ok(a.isSending, 'the sender waits');
        b.onPiece = (piece) => void parts.push(piece);
        b.readStart();
        await Promise.all([a.until('sent'), b.until(() => b.receivedBytes === BYTES)]);
        assert.ok(Buffer.concat(parts).equals(bytes));
      });
    }

    test('stop and start within a turn read on, and end with one receive armed', limit, async (t) => {
      const turn = openTurn(t, kind);
      const [a, b] = await tcpPair(turn);
      const log: string[] = [];
      completions(b, log);
      b.onPiece = () => {
        b.readStop();
        b.readStart();
        b.readStop();
        b.readStart();
      };
      b.readStart();
      for (let i = 1; i <= 50; i++) {
        a.send('x');
        await b.until(() => b.receivedBytes === i);
      }
      for (let i = 0; i < 5; i++) await turnOfTheLoop();
      assert.deepEqual([b.isReceiving, b.isCancellingRecv, b.inFlight], [true, false, 1]);
      b.close();
      await b.until('closed');
    });

    test(
      'a unix stream is received one shot at a time, TCP again and again, and neither in bundles',
      limit,
      async (t) => {
        const turn = openTurn(t, kind);
        const seen = submissions(turn);
        const [ua, ub] = pair(turn);
        const [ta, tb] = await tcpPair(turn);
        const MULTISHOT = 2; // bit 4 would be IORING_RECVSEND_BUNDLE
        for (const [a, b, ioprio] of [
          [ua, ub, 0],
          [ta, tb, MULTISHOT],
        ] as const) {
          b.readStart();
          for (const size of [1, 5000, 200_000]) {
            const from = b.receivedBytes;
            a.send(pattern(size));
            await b.until(() => b.receivedBytes === from + size);
          }
          const receives = seen.filter(({ slot, userOp }) => slot === b.slot && userOp === USER_OP.RECV);
          assert.ok(receives.length > 0 && receives.every((recv) => recv.ioprio === ioprio), JSON.stringify(receives));
          const large = seen.filter(({ slot, userOp }) => slot === b.slot && userOp === USER_OP.RECV_LARGE);
          assert.ok(large.length > 0 && large.every((recv) => recv.ioprio === 0), JSON.stringify(large));
        }
        // The end of the stream is what a multishot may miss.
        ua.close();
        ta.close();
        await Promise.all([ub.until('end'), tb.until('end')]);
      },
    );

    test('no send is without a copy in the kernel, however large', limit, async (t) => {
      const turn = openTurn(t, kind);
      const [a, b] = await tcpPair(turn);
      const seen = submissions(turn);
      b.onPiece = () => {};
      b.readStart();
      for (const size of [64, 16_384, 65_536, 4 * MEGABYTE]) {
        const from = a.log.length;
        a.send(pattern(size));
        await a.until(() => a.log.slice(from).includes('sent'));
      }
      const sends = seen.filter(({ slot, userOp }) => slot === a.slot && userOp === USER_OP.SEND);
      assert.ok(sends.length >= 4);
      assert.ok(sends.every(({ opcode, ioprio }) => (opcode === OP.SEND || opcode === OP.SENDMSG) && ioprio === 0));
    });

    test('shutdown comes after the last send, and the other direction stays', limit, async (t) => {
      const turn = openTurn(t, kind);
      const [a, b] = await tcpPair(turn);
      a.readStart();
      b.readStart();
      a.send('question');
      await a.until('sent');
      a.shutdown();
      await Promise.all([a.until('shutdown'), b.until('end')]);
      b.send('answer');
      await a.until(() => a.receivedBytes === 6);
      assert.deepEqual([a.received.toString(), b.received.toString()], ['answer', 'question']);
    });

    test('a refused connect and a reset are told with their errno', limit, async (t) => {
      const turn = openTurn(t, kind);
      const door = open(turn);
      const { port } = door;
      door.close();
      await door.until('closed');
      const refused = new Line(turn, Connection.socket(turn, AF.INET), false);
      refused.connect(inetAddress(port));
      await refused.until('connect ECONNREFUSED');

      const [a, b] = await tcpPair(turn);
      b.readStart();
      assert.equal(native.setOption(a.fd, 1, 13, new Uint8Array(new Int32Array([1, 0]).buffer)), 0); // SO_LINGER
      a.close();
      await b.until('read ECONNRESET');
      assert.deepEqual([b.isReading, b.isReceiving], [false, false]);
    });

    test('a receive that found no buffer is armed again, never an error', limit, async (t) => {
      const turn = openTurn(t, kind);
      const [a, b] = pair(turn, false);
      b.readStart();
      await turnOfTheLoop();
      // As a kernel says it: the multishot is over.
      b.complete(USER_OP.RECV, -ERRNO.ENOBUFS, 0);
      assert.deepEqual([b.isReceiving, b.isReading], [false, true]);
      await turnOfTheLoop();
      await turnOfTheLoop();
      assert.equal(b.isReceiving, true);
      a.send('x');
      await b.until(() => b.receivedBytes === 1);
      assert.deepEqual(b.log, []);
      b.inFlight++; // the one that the kernel still has
    });

    test('five hundred connections at once are told one from another', limit, async (t) => {
      const turn = openTurn(t, kind);
      const door = open(turn);
      const accepted: Line[] = [];
      door.onDescriptor = (fd) => {
        const line = new Line(turn, fd, false);
        line.onPiece = (piece) => void line.send(piece);
        line.readStart();
        accepted.push(line);
      };
      door.accept();
      const lines = Array.from({ length: 500 }, () => dial(turn, door));
      await Promise.all(
        lines.map(async (line, i) => {
          await line.until('connect');
          line.readStart();
          line.send(`I am ${i}`);
          await line.until(() => line.received.toString() === `I am ${i}`);
          line.close();
          await line.until('closed');
        }),
      );
      assert.equal(accepted.length, 500);
    });
  });
}
