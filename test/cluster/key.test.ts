import assert from 'node:assert/strict';
import test from 'node:test';
import { hashOf, weightOf } from '#src/cluster/balance/key.ts';

const home = (key: string, slots: readonly number[]): number =>
  slots.reduce((best, slot) => (weightOf(hashOf(key), slot) > weightOf(hashOf(key), best) ? slot : best));
const keys = Array.from({ length: 10_000 }, (_, i) => `device-${i}`);

test('keys are spread evenly over the places of a group', () => {
  const counts = new Array<number>(7).fill(0);
  for (const key of keys) counts[home(key, [0, 1, 2, 3, 4, 5, 6])]!++;
  for (const count of counts) assert.ok(count > 1_250 && count < 1_610, String(counts));
});

test('when a place is gone, only its own keys move', () => {
  for (const key of keys) {
    const before = home(key, [0, 1, 2, 3]);
    const after = home(key, [0, 1, 3]);
    if (before !== 2) assert.equal(after, before);
  }
});

test('a number and its text are one key', () => {
  assert.equal(hashOf(42), hashOf('42'));
});
