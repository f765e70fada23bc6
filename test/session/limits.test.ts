import assert from 'node:assert/strict';
import test from 'node:test';
import { lines } from 'millrace/framing';
import { dial, MemoryBudget, type ServerLimits, type SessionLimits, serve } from 'millrace/session';
import { limit } from './support/serving.ts';

const codec = lines();

test('limits that make no sense are refused', limit, async () => {
  const wrong: [ServerLimits, RegExp][] = [
    [{ idleMs: -1 }, /idleMs is a number of at least 0, not -1/],
    [{ idleMs: Number.NaN }, /idleMs/],
    [{ idleMs: '5s' as never }, /idleMs is a number of at least 0, not 5s/],
    [{ idelMs: 5 } as never, /there is no limit 'idelMs'/],
    [{ maxAgeJitter: 2 }, /maxAgeJitter is a number from 0 to 1, not 2/],
    [{ handshakeUntil: 'never' as never }, /handshakeUntil is one of frame, ready, not never/],
    [{ minRate: { bytesPerSecond: -5 } }, /minRate.bytesPerSecond/],
    [{ connections: 0 }, /connections is a number of at least 1/],
    [{ perAddress: 0 }, /perAddress/],
    [{ perNetwork: {} as never }, /perNetwork is a number of at least 1, not a value of type object/],
    [{ acceptRate: { perSecond: 0 } }, /acceptRate.perSecond/],
    [{ acceptRate: { perSecond: 1, burst: 0 } }, /acceptRate.burst/],
    [{ readBuffer: { highFrames: 1.5 } }, /readBuffer.highFrames is a whole number, not 1.5/],
    [{ readBuffer: { highBytes: 10, lowBytes: 10 } }, /readBuffer.lowBytes is a number from 0 to 9, not 10/],
    [{ writeBuffer: { highBytes: 10, maxBytes: 9 } }, /writeBuffer.maxBytes is a number of at least 10, not 9/],
    [{ writeBuffer: { onOverflow: 'ignore' as never } }, /writeBuffer.onOverflow is one of/],
    [{ memory: 0 }, /memory is a number of at least 1/],
  ];
  for (const [limits, message] of wrong) {
    const expected = { code: 'MILLRACE_ERR_BAD_OPTION', message };
    await assert.rejects(
      serve({ port: 0, codec, limits }, async () => {}),
      expected,
    );
  }
  for (const limits of wrong.slice(0, 3).map(([each]) => each as SessionLimits)) {
    await assert.rejects(dial({ port: 1, codec, limits }), { code: 'MILLRACE_ERR_BAD_OPTION' });
  }
  assert.throws(() => new MemoryBudget(0), { code: 'MILLRACE_ERR_BAD_OPTION' });
});

test('other options that make no sense are refused', limit, async () => {
  const options = { code: 'MILLRACE_ERR_BAD_OPTION', name: 'SessionError' };
  const handler = async () => {};
  await assert.rejects(serve({ port: 0 } as never, handler), options);
  await assert.rejects(serve({ port: 0, codec }, undefined as never), options);
  await assert.rejects(dial({ port: 1, codec: lines as never }), options);
  const ping = Buffer.from('ping');
  for (const heartbeat of [
    { intervalMs: 0, timeoutMs: 1_000, ping },
    { intervalMs: 1_000, timeoutMs: 100, ping },
    { intervalMs: 1_000, timeoutMs: 1_000, ping: undefined as never },
  ]) {
    await assert.rejects(serve({ port: 0, codec, heartbeat }, handler), options);
  }
  for (const proxyProtocol of [
    {} as never,
    { trustedProxies: 'all' as never },
    { trustedProxies: ['10.0.0.0/33'] },
    { trustedProxies: ['here'] },
    { trustedProxies: ['::1'], others: 'perhaps' as never },
    { trustedProxies: ['::1'], maxBytes: 100 },
  ]) {
    await assert.rejects(serve({ port: 0, codec, proxyProtocol }, handler), options);
  }
});
