import assert from 'node:assert/strict';
import test from 'node:test';
import { interleave } from '#src/engine/targets.ts';

test('families take turns, the first one first, and nothing comes twice', () => {
  const found = ['::1', '::2', '::2', '10.0.0.1', '::3', '10.0.0.2'].map((address) => ({
    address,
    family: address.includes(':') ? 6 : 4,
  }));
  assert.deepEqual(
    interleave(found).map(({ ip }) => ip),
    ['::1', '10.0.0.1', '::2', '10.0.0.2', '::3'],
  );
});

test('what is no address is left out', () => {
  assert.deepEqual(interleave([{}, { address: 'x', family: 4 }, { address: '10.0.0.1', family: 5 }]), []);
});
