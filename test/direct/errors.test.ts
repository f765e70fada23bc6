import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import test from 'node:test';
import { DirectError, type DirectReason, directReasons } from 'millrace/direct';

test('every code has its row in docs/errors.md, and there are no others', () => {
  const rows = readFileSync('docs/errors.md', 'utf8').matchAll(/^\| `MILLRACE_ERR_(\w+)` \| `millrace\/direct` \|/gm);
  const reasons = [...rows].map(([, reason]) => reason);
  assert.deepEqual(new Set(reasons), new Set(Object.keys(directReasons)));
  assert.equal(reasons.length, Object.keys(directReasons).length);
});

test('an error has a code and a reason', () => {
  for (const reason of Object.keys(directReasons) as DirectReason[]) {
    const error = new DirectError(reason, 'text');
    assert.deepEqual(
      [error.name, error.code, error.reason, error.message],
      ['DirectError', `MILLRACE_ERR_${reason}`, reason, 'text'],
    );
  }
});
