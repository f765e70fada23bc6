import assert from 'node:assert/strict';
import test from 'node:test';
import { Backoff } from '#src/session/reconnect/backoff.ts';

test('the most there is to wait grows to its limit, and chance decides how much of it', () => {
  const [none, half, almost] = [0, 0.5, 1 - Number.EPSILON].map(
    (n) => new Backoff({ baseMs: 100, maxMs: 1500 }, () => n),
  );
  const delays = (backoff: Backoff | undefined) => [0, 1, 2, 3, 4, 5, 10_000].map((n) => backoff?.delayMs(n));
  assert.deepEqual(delays(none), [0, 0, 0, 0, 0, 0, 0]);
  assert.deepEqual(delays(half), [50, 100, 200, 400, 750, 750, 750]);
  assert.deepEqual(delays(almost), [99, 199, 399, 799, 1499, 1499, 1499]);
  assert.equal(new Backoff({ baseMs: 0 }, () => 0.5).delayMs(10_000), 0);
});

test('options that make no sense are refused', () => {
  const bad = [
    { baseMs: -1 },
    { baseMs: 10, maxMs: 5 },
    { maxMs: 2 ** 31 },
    { factor: 0.5 },
    { baseMs: Number.NaN },
    { factor: Number.POSITIVE_INFINITY },
  ];
  for (const options of bad)
    assert.throws(() => new Backoff(options, Math.random), { code: 'MILLRACE_ERR_BAD_OPTION' });
});
