/** Where a ring meets Node's loop: what wakes it, what keeps it alive, and what is left when a thread is terminated. */
import assert from 'node:assert/strict';
import { execFile, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync } from 'node:fs';
import { describe, test } from 'node:test';
import { promisify } from 'node:util';
import { Worker } from 'node:worker_threads';
import type { RingKind } from '#src/engine/ring.ts';
import { KINDS, native, Rig, type RigOptions, refusal } from './support/rig.ts';

const run = promisify(execFile);
const extension = import.meta.url.endsWith('.ts') ? 'ts' : 'js';
const child = new URL(`support/ring-child.${extension}`, import.meta.url).pathname;
const worker = new URL(`support/ring-worker.${extension}`, import.meta.url);
const timeout = 20_000;

/** Runs `turn` in the loop's own callbacks, and nothing else, until it says that it is done. */
async function inTheLoop(kind: RingKind, options: RigOptions, submit: (rig: Rig) => void, turn: (rig: Rig) => boolean) {
  let done = (): void => {};
  const isDone = new Promise<void>((resolve) => (done = resolve));
  let turns = 0;
  const rig: Rig = new Rig(kind, {
    ...options,
    onTurn: () => {
      turns++;
      if (turn(rig)) done();
    },
  });
  native.ref(rig.ring.id, true);
  submit(rig);
  await isDone;
  rig.end();
  return turns;
}
for (const kind of KINDS) {
  describe(`the loop and the ${kind} ring`, { skip: refusal(kind) }, () => {
    test('wakes for what completes before the loop blocks', { timeout }, async () => {
      const read: string[] = [];
      const nops = (rig: Rig) => rig.nop();
      await inTheLoop(kind, {}, nops, (rig) => read.push(...rig.read().map(({ text }) => text)) === 1);
      assert.deepEqual(read, ['nop 0']);
    });

    test('calls again for what a turn left', { timeout }, async () => {
      const read: string[] = [];
      const nops = (rig: Rig) => {
        for (let i = 0; i < 10; i++) rig.nop(`nop${i}`);
      };
      const turns = await inTheLoop(kind, {}, nops, (rig) => read.push(...rig.read(1).map(({ text }) => text)) === 10);
      assert.equal(turns, 10);
      assert.deepEqual(
        read,
        Array.from({ length: 10 }, (_, i) => `nop${i} 0`),
      );
    });

    test('calls again for what did not fit into the queue', { timeout }, async () => {
      const read: string[] = [];
      const nops = (rig: Rig) => {
        for (let i = 0; i < 60; i++) rig.nop(`nop${i}`);
      };
      await inTheLoop(kind, { sqEntries: 64, cqEntries: 64, buffers: 1 }, nops, (rig) => {
        read.push(...rig.read(3).map(({ text }) => text));
        if (rig.ring.hasOverflowed) rig.ring.enter();
        for (let i = 0; i < 40 && read.length === 3; i++) rig.nop(`more${i}`);
        return read.length >= 100;
      });
      assert.deepEqual(
        read.slice(0, 60),
        Array.from({ length: 60 }, (_, i) => `nop${i} 0`),
      );
      assert.deepEqual(
        read.slice(60),
        Array.from({ length: 40 }, (_, i) => `more${i} 0`),
      );
    });

    test('wakes when bytes arrive while it is blocked', { timeout }, async () => {
      const read: string[] = [];
      await inTheLoop(
        kind,
        {},
        (rig) => {
          const [a, b] = rig.unixPair();
          rig.recvOne('recv', b);
          setTimeout(() => rig.send('send', a, 'x'), 20);
        },
        (rig) => read.push(...rig.read().map(({ text }) => text)) === 2,
      );
      assert.deepEqual(read.sort(), ['recv 1 buffer', 'send 1']);
    });

    test('lets a process end although an operation is in flight', { timeout }, async () => {
      assert.equal((await run(process.execPath, [child, 'idle', kind], { timeout })).stdout, 'idle, and over\n');
    });

    test('keeps a process alive exactly while it is asked to', { timeout }, async () => {
      assert.equal((await run(process.execPath, [child, 'held', kind], { timeout })).stdout, 'still here\nover\n');
    });

    test('ends a multishot accept when there is no descriptor left, and accepts later', { timeout }, () => {
      const command = 'ulimit -n 64; exec "$0" "$@"'; // both limits: Node raises the soft one to the hard one
      const { stdout, stderr } = spawnSync('/bin/sh', ['-c', command, process.execPath, child, 'emfile', kind], {
        encoding: 'utf8',
        timeout,
      });
      assert.notEqual(stdout, '', stderr);
      assert.deepEqual(JSON.parse(stdout), [
        [],
        ['EMFILE'],
        ['accept EMFILE', 'connect 0', 'connect 0'],
        ['accept EMFILE'],
        [],
        ['accept fd more', 'accept fd more'],
      ]);
    });

    test('leaves no descriptor open when a Worker is terminated in the middle of things', { timeout }, async () => {
      const counts: number[] = [];
      for (let round = 0; round < 4; round++) {
        const thread = new Worker(worker, { workerData: kind });
        const [message] = await once(thread, 'message');
        assert.equal(message, 'in the middle');
        await thread.terminate();
        counts.push(readdirSync('/proc/self/fd').length);
      }
      assert.equal(counts.at(-1), counts[0], `descriptors after each round: ${counts}`);
    });
  });
}
