import assert from 'node:assert/strict';
import test from 'node:test';
import { OP } from '#src/engine/abi.ts';

test("opcodes are the kernel's", () => {
  assert.equal(OP.RECV, 27);
});
