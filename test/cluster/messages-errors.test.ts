import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import test from 'node:test';
import { MessageError, type MessageReason, messageReasons } from '#src/cluster/messages/index.ts';

test('every code of messages has its row in docs/errors.md, and there are no others', () => {
  const rows = readFileSync('docs/errors.md', 'utf8').matchAll(
    /^\| `MILLRACE_ERR_(\w+)` \| `millrace\/cluster`, messages \|/gm,
  );
  const documented = [...rows].map(([, reason]) => reason);
  assert.deepEqual(new Set(documented), new Set(Object.keys(messageReasons)));
  assert.equal(documented.length, Object.keys(messageReasons).length);
});

test('an error of messages has a code, a reason and whom it is about', () => {
  for (const reason of Object.keys(messageReasons) as MessageReason[]) {
    const error = new MessageError(reason, 'text', { worker: 1, limit: 2, mayHaveRun: true, cause: 3 });
    assert.deepEqual(
      [error.name, error.code, error.reason, error.message, error.worker, error.limit, error.mayHaveRun, error.cause],
      ['MessageError', `MILLRACE_ERR_${reason}`, reason, 'text', 1, 2, true, 3],
    );
  }
  const plain = new MessageError('MISUSE', 'text');
  assert.deepEqual([plain.worker, plain.mayHaveRun, 'cause' in plain], [undefined, false, false]);
});
