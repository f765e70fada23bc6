import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import test from 'node:test';
import { closings, isGoodEnd, misuses, refusals, SessionError, type SessionReason } from 'millrace/session';

const reasons = Object.keys({ ...refusals, ...closings, ...misuses }) as SessionReason[];

test('every reason has its row in docs/errors.md, and there are no others', () => {
  const rows = readFileSync('docs/errors.md', 'utf8').matchAll(/^\| `MILLRACE_ERR_(\w+)` \| `millrace\/session` \|/gm);
  const documented = [...rows].map(([, reason]) => reason);
  assert.deepEqual(new Set(documented), new Set(reasons));
  assert.equal(documented.length, reasons.length);
});

test('every reason has a sentence, and a name of its own', () => {
  const sentences = [...Object.values(refusals), ...Object.values(closings), ...Object.values(misuses)];
  assert.equal(new Set(reasons).size, sentences.length);
  for (const sentence of sentences) assert.match(sentence, /^[a-z].+[^.]$/);
});

test('an error has a code, a reason and a limit', () => {
  for (const reason of reasons) {
    const error = new SessionError(reason, 'text', { limit: 1, cause: 'why' });
    assert.deepEqual(
      [error.name, error.code, error.reason, error.limit, error.cause, error.message],
      ['SessionError', `MILLRACE_ERR_${reason}`, reason, 1, 'why', 'text'],
    );
  }
  assert.equal('cause' in new SessionError('MISUSE', 'text'), false);
});

test('good ends are told from bad ones', () => {
  const good = reasons.filter((reason) => reason in closings && isGoodEnd(reason as keyof typeof closings));
  assert.deepEqual(good, ['ENDED', 'CLOSED', 'DRAINED', 'SERVER_CLOSED', 'MAX_AGE']);
});
