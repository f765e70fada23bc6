/** The table of slots, over a control memory of its own: no kernel in here. */
import assert from 'node:assert/strict';
import test from 'node:test';
import { CONTROL, MAX_SLOTS, USER_SLOT_MASK } from '#src/engine/abi.ts';
import type { Ring } from '#src/engine/ring.ts';
import { type Endpoint, Slots } from '#src/engine/slots.ts';

function table(): { slots: Slots; control: Int32Array } {
  const control = new Int32Array(CONTROL.SLOT_FD + 16);
  return { slots: new Slots({ control } as unknown as Ring), control };
}

const endpoint = (slot: number): Endpoint => ({ slot, complete: () => false });

test('a slot that is free again is given to the next, with a new generation', () => {
  const { slots } = table();
  const first = slots.take(10);
  slots.adopt(first, endpoint(first));
  const second = slots.take(11);
  const generation = slots.generations[first] as number;
  slots.free(first);
  assert.equal(slots.owners[first], undefined);
  assert.equal(slots.take(12), first);
  assert.notEqual(first, second);
  assert.notEqual(slots.generations[first], generation);
  assert.equal(slots.inUse, 2);
});

test('the generation stays a number of 32 bits, as completions bring it', () => {
  const { slots } = table();
  const slot = slots.take(10);
  slots.generations[slot] = 0x7fffffff;
  slots.free(slot);
  slots.take(11);
  assert.equal(slots.generations[slot], -0x80000000);
});

test('teardown finds the descriptor of each slot, until its close was submitted', () => {
  const { slots, control } = table();
  const fds = (): number[] => [...control.subarray(CONTROL.SLOT_FD, CONTROL.SLOT_FD + 3)];
  const [a, b, c] = [slots.take(0), slots.take(70), slots.take(80)];
  assert.deepEqual(fds(), [1, 71, 81], 'descriptor 0 is one, too');
  assert.equal(control[CONTROL.SLOTS_USED], 3);
  slots.forget(b);
  assert.deepEqual(fds(), [1, 0, 81]);
  assert.equal(slots.inUse, 3, 'operations of it may still be in flight');
  for (const slot of [a, b, c]) slots.free(slot);
  assert.deepEqual(fds(), [0, 0, 0]);
  assert.equal(slots.inUse, 0);
  assert.equal(control[CONTROL.SLOTS_USED], 3, 'the table never shrinks');
});

test('a full table has no slot, and one again when one is free', () => {
  const { slots } = table();
  slots.owners.length = MAX_SLOTS;
  assert.equal(slots.take(10), -1);
  slots.owners[7] = endpoint(7);
  slots.generations[7] = 1;
  slots.free(7);
  assert.equal(slots.take(10), 7);
  assert.equal(slots.take(10), -1);
});

test('every slot fits into its bits of user_data', () => {
  assert.ok(MAX_SLOTS - 1 <= USER_SLOT_MASK);
});
