/** A listener: what ends an accept, and what does not. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { describe, test } from 'node:test';
import { setImmediate as turnOfTheLoop } from 'node:timers/promises';
import { ERRNO, OP, SOCK, USER_OP } from '#src/engine/abi.ts';
import { Door, dial, Line, open, openTurn, submissions } from './support/line.ts';
import { KINDS, native, refusal } from './support/rig.ts';

const limit = { timeout: 10_000 };

/** As if the kernel had ended the accept that is armed. */
function fail(door: Door, errno: number): void {
  door.complete(USER_OP.ACCEPT, -errno, 0);
}

for (const kind of KINDS) {
  describe(`a listener of the ${kind} ring`, { skip: refusal(kind) }, () => {
    test('accepts with one submission until it is closed', limit, async (t) => {
      const turn = openTurn(t, kind);
      const seen = submissions(turn);
      const door = open(turn);
      door.accept();
      door.accept();
      const lines = Array.from({ length: 20 }, () => dial(turn, door));
      await Promise.all(lines.map((line) => line.until('connect')));
      await door.until(() => door.accepted.length === 20);
      assert.equal(new Set(door.accepted).size, 20);
      assert.equal(seen.filter(({ opcode }) => opcode === OP.ACCEPT).length, 1);
      for (const fd of door.accepted) native.closeDescriptor(fd);
      door.close();
      door.close();
      await door.until('closed');
      assert.deepEqual(door.log, ['closed']);
    });

    test('that is shared accepts one at a time, and leaves the descriptor non-blocking', limit, async (t) => {
      const turn = openTurn(t, kind);
      const seen = submissions(turn);
      const door = open(turn, 0, true);
      door.accept();
      const lines = Array.from({ length: 20 }, () => dial(turn, door));
      await Promise.all(lines.map((line) => line.until('connect')));
      await door.until(() => door.accepted.length === 20);
      const opcode = kind === 'io_uring' ? OP.POLL_ADD : OP.ACCEPT;
      assert.equal(seen.filter((entry) => entry.opcode === opcode).length, 21);
      const flags = readFileSync(`/proc/self/fdinfo/${door.fd}`, 'utf8').match(/^flags:\s+(\d+)$/m)?.[1];
      assert.notEqual(Number.parseInt(flags as string, 8) & SOCK.NONBLOCK, 0);
      for (const fd of door.accepted) native.closeDescriptor(fd);
      door.close();
      await door.until('closed');
    });

    test('that is shared goes on when another was faster', limit, async (t) => {
      const turn = openTurn(t, kind);
      const door = open(turn, 0, true);
      const other = new Door(turn, native.duplicate(door.fd), false, true);
      for (const each of [door, other]) each.accept();
      const all = (): number[] => [...door.accepted, ...other.accepted];
      for (let i = 1; i <= 10; i++) {
        await dial(turn, door).until('connect'); // both are told, and one finds it gone
        while (all().length < i) await turnOfTheLoop();
      }
      assert.equal(new Set(all()).size, 10);
      assert.deepEqual([...door.log, ...other.log], []);
      for (const fd of all()) native.closeDescriptor(fd);
      for (const each of [door, other]) each.close();
      await Promise.all([door.until('closed'), other.until('closed')]);
    });

    test('accepts nothing more once it is stopped, and tells what was on its way', limit, async (t) => {
      const turn = openTurn(t, kind);
      const door = open(turn);
      door.accept();
      const early = Array.from({ length: 5 }, () => dial(turn, door));
      await Promise.all(early.map((line) => line.until('connect')));
      await new Promise<void>((resolve) => door.stopped(resolve));
      const count = door.accepted.length;
      door.accept();
      await dial(turn, door).until('connect');
      await turnOfTheLoop();
      assert.equal(door.accepted.length, count);
      assert.equal(door.isAccepting, false);
      for (const fd of door.accepted) native.closeDescriptor(fd);
      door.close();
      await door.until('closed');
    });

    test('has set its port free when close returns', limit, async (t) => {
      const turn = openTurn(t, kind);
      let door = open(turn);
      const { port } = door;
      for (let i = 0; i < 20; i++) {
        door.accept();
        if (i % 2 === 0) await turnOfTheLoop(); // armed; or closed in the tick of accept
        door.close();
        door = open(turn, port);
      }
      door.accept();
      const line = dial(turn, door);
      await line.until('connect');
      await door.until(() => door.accepted.length === 1);
      new Line(turn, door.accepted[0] as number, false);
    });

    test('closes a connection that was accepted while it was closing', limit, async (t) => {
      const turn = openTurn(t, kind);
      const door = open(turn);
      door.accept();
      const line = dial(turn, door);
      await line.until('connect');
      await door.until(() => door.accepted.length === 1);
      door.close();
      door.inFlight++;
      door.complete(USER_OP.ACCEPT, door.accepted[0] as number, 0); // as if it came only now
      assert.equal(door.accepted.length, 1, 'nobody is told');
      line.readStart();
      await Promise.all([line.until('end'), door.until('closed')]);
    });

    test(
      'waits longer and longer while there is no descriptor, says so, and starts anew after a success',
      limit,
      async (t) => {
        const turn = openTurn(t, kind);
        const seen = submissions(turn);
        const accepts = (): number => seen.filter(({ opcode }) => opcode === OP.ACCEPT).length;
        t.mock.timers.enable({ apis: ['setTimeout'] });
        const door = open(turn);
        door.unref();
        door.ref();
        door.accept();
        assert.equal(accepts(), 1);
        const delays = [20, 40, 80, 160, 320, 640, 1000, 1000];
        for (const [i, delay] of delays.entries()) {
          fail(door, [ERRNO.EMFILE, ERRNO.ENFILE, ERRNO.ENOBUFS, ERRNO.ENOMEM][i % 4] as number);
          t.mock.timers.tick(delay - 1);
          assert.equal(accepts(), i + 1, 'it does not try earlier than it says');
          t.mock.timers.tick(1);
          assert.equal(accepts(), i + 2);
        }
        assert.deepEqual(door.log, [
          ...['EMFILE 20', 'ENFILE 40', 'ENOBUFS 80', 'ENOMEM 160', 'EMFILE 320', 'ENFILE 640', 'ENOBUFS 1000'],
          'ENOMEM 1000',
        ]);
        const [fd, other] = native.socketPair(1) as [number, number];
        t.after(() => {
          for (const one of [fd, other]) native.closeDescriptor(one);
        });
        door.complete(USER_OP.ACCEPT, fd, 2); // F_MORE: it goes on
        fail(door, ERRNO.EMFILE);
        assert.equal(door.log.at(-1), 'EMFILE 20');
        assert.deepEqual(door.accepted, [fd]);
        // A closed one does not try again.
        door.close();
        const count = accepts();
        t.mock.timers.tick(5000);
        assert.equal(accepts(), count);
      },
    );

    test('goes on after an error that belongs to one connection', limit, async (t) => {
      const turn = openTurn(t, kind);
      const door = open(turn);
      const ECONNABORTED = 103;
      const [EPROTO, EHOSTUNREACH, EPERM, ENETDOWN] = [71, 113, 1, 100];
      for (const errno of [ECONNABORTED, ERRNO.EINTR, EPROTO, EHOSTUNREACH, EPERM, ENETDOWN]) {
        door.isAccepting = true; // as if armed
        door.inFlight++;
        door.complete(USER_OP.ACCEPT, -errno, 0);
        assert.equal(door.isAccepting, true, `errno ${errno}`);
        door.isAccepting = false;
        door.inFlight--;
      }
      assert.deepEqual(door.log, []);
    });

    test('tells an error of its own, and accepts nothing more', limit, async (t) => {
      const turn = openTurn(t, kind);
      const door = open(turn);
      door.isAccepting = true;
      door.inFlight++;
      door.complete(USER_OP.ACCEPT, -ERRNO.EINVAL, 0);
      assert.deepEqual([door.log, door.isAccepting, door.inFlight], [['error EINVAL'], false, 0]);
      door.close();
      await door.until('closed');
    });

    test('holds the loop while it is open and has a reference', limit, async (t) => {
      const turn = openTurn(t, kind);
      const told: boolean[] = [];
      const ref = (id: number, alive: boolean): number => {
        told.push(alive);
        return native.ref(id, alive);
      };
      Object.assign(turn.ring, { native: { ...native, ref } });
      const door = open(turn);
      door.unref();
      door.unref();
      door.ref();
      assert.deepEqual(told, [true, false, true]);
      assert.equal(door.hasRef(), true);
      door.close();
      await door.until('closed');
      await turnOfTheLoop();
      assert.equal(told.at(-1), false);
    });

    test('goes on when its owner throws at the last connection of an accept that has ended', limit, async (t) => {
      const turn = openTurn(t, kind);
      const door = open(turn);
      const [fd, other] = native.socketPair(1) as [number, number];
      t.after(() => {
        for (const one of [fd, other]) native.closeDescriptor(one);
      });
      door.onDescriptor = () => {
        throw new Error('of the owner');
      };
      door.isAccepting = true;
      door.inFlight++;
      // Without F_MORE: the kernel ends a multishot when its completion queue is full.
      assert.throws(() => door.complete(USER_OP.ACCEPT, fd, 0), /of the owner/);
      door.onDescriptor = undefined;
      assert.equal(door.isAccepting, true);
      const line = dial(turn, door);
      await line.until('connect');
      await door.until(() => door.accepted.length === 2);
      new Line(turn, door.accepted[1] as number, false);
    });
  });
}
