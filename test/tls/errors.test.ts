import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import test from 'node:test';
import { TlsError, type TlsReason, tlsReasons } from 'millrace/tls';

test('every code has its row in docs/errors.md, and there are no others', () => {
  const rows = readFileSync('docs/errors.md', 'utf8').matchAll(/^\| `MILLRACE_ERR_(\w+)` \| `millrace\/tls` \|/gm);
  const reasons = [...rows].map(([, reason]) => reason);
  assert.deepEqual(new Set(reasons), new Set(Object.keys(tlsReasons)));
  assert.equal(reasons.length, Object.keys(tlsReasons).length);
});

test('an error has a code, a reason and a cause', () => {
  for (const reason of Object.keys(tlsReasons) as TlsReason[]) {
    const error = new TlsError(reason, 'text', 3);
    assert.deepEqual(
      [error.name, error.code, error.reason, error.message, error.cause],
      ['TlsError', `MILLRACE_ERR_${reason}`, reason, 'text', 3],
    );
  }
});
