import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import test from 'node:test';
import { FramingError, type FramingReason, framingReasons } from 'millrace/framing';

test('every code has its row in docs/errors.md, and there are no others', () => {
  const rows = readFileSync('docs/errors.md', 'utf8').matchAll(/^\| `MILLRACE_ERR_(\w+)` \| `millrace\/framing` \|/gm);
  const reasons = [...rows].map(([, reason]) => reason);
  assert.deepEqual(new Set(reasons), new Set(Object.keys(framingReasons)));
  assert.equal(reasons.length, Object.keys(framingReasons).length);
});

test('an error has a code, a reason and its figures', () => {
  for (const reason of Object.keys(framingReasons) as FramingReason[]) {
    const error = new FramingError(reason, 'text', { limitBytes: 1, gotBytes: 2, cause: 3 });
    assert.deepEqual(
      [error.name, error.code, error.reason, error.limitBytes, error.gotBytes, error.cause, error.issues],
      ['FramingError', `MILLRACE_ERR_${reason}`, reason, 1, 2, 3, undefined],
    );
  }
  assert.equal('cause' in new FramingError('MISUSE', 'text'), false);
});
