import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import test from 'node:test';
import { RpcError, rpcReasons } from 'millrace/session';

test('every code of calls has its row in docs/errors.md, and there are no others', () => {
  const rows = readFileSync('docs/errors.md', 'utf8').matchAll(
    /^\| `MILLRACE_ERR_(\w+)` \| `millrace\/session`, calls \|/gm,
  );
  const documented = [...rows].map(([, reason]) => reason);
  assert.deepEqual(new Set(documented), new Set(Object.keys(rpcReasons)));
  assert.equal(documented.length, Object.keys(rpcReasons).length);
});

test('an error of a handler has a code, and data if it likes', () => {
  const error = new RpcError('NO_SUCH_USER', 'there is no user 7', { data: { id: 7 }, cause: 1 });
  assert.deepEqual(
    [error.name, error.code, error.message, error.data, error.cause, error.isRemote, error.mayHaveRun],
    ['RpcError', 'NO_SUCH_USER', 'there is no user 7', { id: 7 }, 1, false, true],
  );
  const short = new RpcError('GONE');
  assert.deepEqual([short.message, short.data, 'cause' in short], ['GONE', undefined, false]);
});
