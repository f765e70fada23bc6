import assert from 'node:assert/strict';
import test from 'node:test';
import { systemClock } from 'millrace/session';
import { ManualClock } from './support/clock.ts';

const path = '#src/session/sweep.ts';
const { Sweep, TICK_MS } = (await import(path)) as typeof import('../../src/session/sweep.ts');

test('it asks four times a second, as long as there is somebody to ask', () => {
  const clock = new ManualClock();
  const sweep = Sweep.of(clock);
  assert.equal(Sweep.of(clock), sweep);
  assert.equal(Sweep.of(), Sweep.of(systemClock));
  const asked: number[] = [];
  const swept = { check: (nowMs: number) => void asked.push(nowMs) };
  assert.ok(clock.isIdle);
  sweep.add(swept);
  clock.advance(1_000);
  assert.deepEqual(asked, [250, 500, 750, 1000]);
  assert.equal(sweep.stampMs, 1000 + TICK_MS);
  sweep.delete(swept);
  assert.ok(clock.isIdle);
  clock.advance(5_000);
  sweep.add(swept);
  clock.advance(250);
  assert.deepEqual(asked.slice(4), [1250]);
});

test('who is added or goes while others are asked', () => {
  const clock = new ManualClock();
  const sweep = Sweep.of(clock);
  const log: string[] = [];
  const late = { check: () => void log.push('late') };
  const once = {
    check() {
      log.push('once');
      sweep.delete(once);
      sweep.add(late);
    },
  };
  sweep.add(once);
  clock.advance(500);
  assert.deepEqual(log, ['once', 'late', 'late']);
});

test('a blocked event loop counts as a single tick, in which nobody is asked', () => {
  const clock = new ManualClock();
  const sweep = Sweep.of(clock);
  const asked: number[] = [];
  sweep.add({ check: (nowMs) => void asked.push(nowMs) });
  clock.advance(500);
  clock.block(60_000);
  assert.deepEqual([asked, sweep.nowMs, sweep.lateTicks, sweep.lateMs], [[250, 500], 750, 1, 59_750]);
  clock.advance(250);
  assert.deepEqual(asked, [250, 500, 1000]);
});

test('a loop that is always late is still asked', () => {
  const clock = new ManualClock();
  const sweep = Sweep.of(clock);
  const asked: number[] = [];
  sweep.add({ check: (nowMs) => void asked.push(nowMs) });
  for (let i = 0; i < 4; i++) clock.block(1_000);
  assert.deepEqual(asked, [500, 750, 1000]);
});
