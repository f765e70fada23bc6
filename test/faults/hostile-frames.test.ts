/** Frames that have no end, lie about their length, or mean nothing: each with the reason that docs/errors.md names. */
import assert from 'node:assert/strict';
import test from 'node:test';
import { delimited, lengthPrefixed, lines, netstring, varintPrefixed } from 'millrace/framing';
import { MemoryBudget, type SessionCloseReason } from 'millrace/session';
import { ManualClock } from '../session/support/clock.ts';
import { leakGuard, limit, settled, turns, until } from '../support/net.ts';
import { siege } from './support/siege.ts';

await leakGuard();

const KB = 1024;

test('an endless line ends at the limit', limit, async (t) => {
  const memory = new MemoryBudget(1024 * KB);
  const { attack, ends, reasons } = await siege(t, {
    codec: lines({ maxFrameBytes: 1000 }).utf8(),
    limits: { memory },
  });
  for (const chunkBytes of [1, 999, 1000, 1001, 64 * KB]) {
    const attacker = await attack();
    const chunk = Buffer.alloc(chunkBytes, 'x');
    while (attacker.events.length === 0) {
      attacker.says(chunk);
      await turns(1);
      assert.ok(memory.heldBytes <= 1001, `${memory.heldBytes} bytes are held`);
    }
    assert.equal(await attacker.out(), 'reset');
    await ends('FRAME_TOO_LARGE');
    assert.equal(reasons.at(-1)?.limit, 1000);
  }
});

test('an endless line that is skipped takes no memory, and ends when its time is over', limit, async (t) => {
  const memory = new MemoryBudget(1024 * KB);
  const clock = new ManualClock();
  const { attack, attacked, ends, isServed } = await siege(t, {
    codec: lines({ maxFrameBytes: 1000, onTooLarge: 'skip' }).utf8(),
    limits: { memory, frameMs: 5_000, handshakeMs: 0 },
    clock,
  });
  const attacker = await attack();
  attacker.says('one\n');
  await attacker.has('one\n');
  for (let round = 0; round < 4; round++) {
    attacker.says(Buffer.alloc(1024 * KB, 'x'));
    await until(() => attacked[0]?.bytesRead === 4 + (round + 1) * 1024 * KB, 'received');
    assert.ok(memory.heldBytes <= 1001, `${memory.heldBytes} bytes are held`);
    clock.advance(1_000);
    await isServed();
  }
  clock.advance(1_500);
  await ends('FRAME_TIMEOUT');
  const other = await attack();
  other.says(`${'x'.repeat(5000)}\ntwo\n`);
  await other.has('two\n');
  assert.equal(attacked[1]?.framesSkipped, 1);
});

/** Lengths as numbers of `bytes` bytes, that no frame of 200 bytes has. */
function lies(bytes: number): bigint[] {
  const most = 2n ** BigInt(8 * bytes) - 1n;
  const all = [201n, 2n ** 31n - 1n, 2n ** 31n, 2n ** 32n - 1n, 2n ** 53n - 1n, 2n ** 53n, 2n ** 63n, most];
  return [...new Set(all.filter((each) => each <= most))];
}

for (const endianness of ['big', 'little'] as const) {
  test(
    `a huge length is refused when it is declared, in fields of 1 to 8 bytes, ${endianness} endian`,
    limit,
    async (t) => {
      const memory = new MemoryBudget(1024 * KB);
      for (let lengthFieldLength = 1; lengthFieldLength <= 8; lengthFieldLength++) {
        const { attack, ends, reasons } = await siege(t, {
          codec: lengthPrefixed({ lengthFieldLength, endianness, maxFrameBytes: 200 }).utf8(),
          limits: { memory },
        });
        for (const lie of lies(lengthFieldLength)) {
          const head = Buffer.from(lie.toString(16).padStart(2 * lengthFieldLength, '0'), 'hex');
          const attacker = await attack();
          attacker.says(endianness === 'big' ? head : head.reverse());
          assert.equal(await attacker.out(), 'reset');
          await ends(lie > BigInt(Number.MAX_SAFE_INTEGER) ? 'BAD_LENGTH' : 'FRAME_TOO_LARGE');
          assert.equal(reasons.at(-1)?.limit, lie > BigInt(Number.MAX_SAFE_INTEGER) ? undefined : 200);
        }
      }
    },
  );
}

test('a length that cannot be one', limit, async (t) => {
  const varint = varintPrefixed({ maxFrameBytes: 200 }).utf8();
  const cases = [
    [lengthPrefixed({ lengthIncludesPrefix: true }).utf8(), ['00000000', '00000003'], 'BAD_LENGTH'],
    [lengthPrefixed({ lengthAdjustment: -8 }).utf8(), ['00000000', '00000007'], 'BAD_LENGTH'],
    [varint, ['808080808080808080', '8000', '818000'], 'BAD_LENGTH'],
    [varint, ['c901', 'ffffffff0f', 'ffffffffffff7f', 'ffffffffffffffffffff'], 'FRAME_TOO_LARGE'],
    [netstring({ maxFrameBytes: 200 }).utf8(), ['78', '30303a', '3a', '313a613b', '2d313a'], 'BAD_LENGTH'],
    [netstring({ maxFrameBytes: 200 }).utf8(), ['3230313a', '3939393939393939'], 'FRAME_TOO_LARGE'],
    [delimited('\r\n.\r\n', { maxFrameBytes: 200 }).utf8(), ['0d0a2e0d'.repeat(60)], 'FRAME_TOO_LARGE'],
  ] as const;
  for (const [codec, wires, reason] of cases) {
    const { attack, ends } = await siege(t, { codec });
    for (const wire of wires) {
      const attacker = await attack();
      attacker.says(Buffer.from(wire, 'hex'));
      assert.equal(await attacker.out(), 'reset', wire);
      await ends(reason);
    }
  }
});

test('memory is taken for what has come, not for what was declared', limit, async (t) => {
  const memory = new MemoryBudget(1024 * KB);
  const { attack, attacked, isServed, server, reasons } = await siege(t, {
    codec: lengthPrefixed({ maxFrameBytes: 1024 * KB }).utf8(),
    limits: { memory },
  });
  const before = process.memoryUsage().external;
  const attackers = await Promise.all(Array.from({ length: 500 }, () => attack()));
  for (const attacker of attackers) attacker.says(Buffer.from('000fffff0102030405060708090a', 'hex'));
  await until(() => attacked.filter(({ bytesRead }) => bytesRead === 14).length === 500, 'all have begun a frame');
  assert.equal(memory.heldBytes, 500 * 14);
  const taken = process.memoryUsage().external - before;
  assert.ok(taken < 16 * 1024 * KB, `${taken} bytes were taken for 500 MB that were declared`);
  await isServed();
  for (const attacker of attackers) attacker.socket.end();
  await until(() => reasons.length === 500, 'all are over');
  assert.deepEqual(server.metrics().closed, { TRUNCATED: 500 });
  assert.equal(memory.heldBytes, 0);
});

test('a frame that is cut off, at each of its bytes', limit, async (t) => {
  const { attack, attacked, ends } = await siege(t, { codec: lengthPrefixed({ lengthFieldLength: 2 }).utf8() });
  const wire = Buffer.from('0003616263', 'hex');
  for (let cut = 1; cut < wire.length; cut++) {
    const ending = await attack();
    ending.says(wire.subarray(0, cut));
    ending.socket.end();
    assert.equal(await ending.out(), 'reset');
    await ends('TRUNCATED');
    const resetting = await attack();
    resetting.says(wire.subarray(0, cut));
    await until(() => attacked.at(-1)?.bytesRead === cut, 'received');
    resetting.reset();
    await ends('RESET');
  }
});

test('bytes that are not UTF-8', limit, async (t) => {
  const { attack, ends } = await siege(t, { codec: lines().utf8() });
  const invalid = [
    ...['80', 'bf', 'c0af', 'c1bf', 'e08080', 'f0808080', 'f8888080', 'fe', 'ff'], // alone, overlong, no such byte
    ...['eda080', 'edbfbf', 'f4908080', 'c3', 'e282', 'f09f98', 'c328', 'efbfbdff'], // surrogates, too high, cut off
  ];
  for (const wire of invalid) {
    const attacker = await attack();
    attacker.says(`good\n${Buffer.from(wire, 'hex').toString('latin1')}\n`);
    await attacker.out();
    await ends('BAD_UTF8');
  }
});

test('characters that are cut between packets stay whole', limit, async (t) => {
  const { attack } = await siege(t, { codec: lines().utf8() });
  const line = Buffer.from('ä€😀\ufffd\n');
  const attacker = await attack();
  for (const byte of line) {
    attacker.says(Buffer.of(byte));
    await turns(2);
  }
  await attacker.has(line.toString('latin1'));
});

test('JSON that is none, too deep, or poisoned', limit, async (t) => {
  const { attack, ends } = await siege<unknown>(t, { codec: lines({ maxFrameBytes: 1024 * KB }).json() });
  const cases: [string, 'BAD_JSON' | 'BAD_UTF8'][] = [
    ['['.repeat(100_000) + ']'.repeat(100_000), 'BAD_JSON'],
    ['['.repeat(500_000), 'BAD_JSON'],
    [`${'{"a":'.repeat(100_000)}1${'}'.repeat(100_000)}`, 'BAD_JSON'],
    ['{"__proto__":{"polluted":1}}', 'BAD_JSON'],
    ['{"a":[{"\\u005f_proto__":{"polluted":1}}]}', 'BAD_JSON'],
    ['{"constructor":{"prototype":{"polluted":1}}}', 'BAD_JSON'],
    ['', 'BAD_JSON'],
    ['{"a":1}}', 'BAD_JSON'],
    ['\xef\xbb\xbf{}', 'BAD_JSON'],
    ['{"a":NaN}', 'BAD_JSON'],
    ['"\xc3\x28"', 'BAD_UTF8'],
  ];
  for (const [line, reason] of cases) {
    const attacker = await attack();
    attacker.says(`${line}\n`);
    assert.equal(await attacker.out(), 'reset', line.slice(0, 40));
    await ends(reason);
    assert.equal((Object.prototype as { polluted?: number }).polluted, undefined);
  }
});

test('keys that are kept by option are keys, and pollute nothing', limit, async (t) => {
  const codec = lines({ maxFrameBytes: 1024 * KB }).json({ poisonedKeys: 'keep', maxDepth: 10_000 });
  const { attack } = await siege<unknown>(t, { codec });
  const attacker = await attack();
  const poisoned = '{"__proto__":{"polluted":1},"constructor":{"prototype":{"polluted":1}}}\n';
  attacker.says(poisoned);
  await attacker.has(poisoned);
  const deep = `${'['.repeat(1_000)}${']'.repeat(1_000)}\n`;
  attacker.says(deep);
  await attacker.has(deep);
  assert.equal((Object.prototype as { polluted?: number }).polluted, undefined);
});

test('messages that are left out by option cost only themselves', limit, async (t) => {
  const bad: unknown[] = [];
  const { attack, reasons } = await siege<unknown>(t, {
    codec: lines().json(),
    onBadMessage: (error) => bad.push((error as { reason: string }).reason),
  });
  const attacker = await attack();
  for (let i = 0; i < 1_000; i++) attacker.says('{"a":\n[[[[\n\xff\n');
  attacker.says('"still here"\n');
  await attacker.has('"still here"\n');
  assert.equal(bad.length, 3_000);
  assert.deepEqual(new Set(bad), new Set(['BAD_JSON', 'BAD_UTF8']));
  await settled(() => reasons.length, 5);
  assert.deepEqual(reasons satisfies SessionCloseReason[], []);
});
