/** PROXY protocol headers that lie, come in pieces, or come from those who must not send any. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import test from 'node:test';
import { lines } from 'millrace/framing';
import type { RefusalReason, ServeOptions } from 'millrace/session';
import { ManualClock } from '../session/support/clock.ts';
import { serving } from '../session/support/serving.ts';
import { leakGuard, limit, type Stage, turns, until } from '../support/net.ts';
import { type AttackOptions, attack, type Siege, siege } from './support/siege.ts';

await leakGuard();

const PROXY = '127.0.0.50';
const SIGNATURE = '0d0a0d0a000d0a515549540a';

/** A server behind a proxy at 127.0.0.50; the bystander comes directly. */
async function behindProxy(
  t: Stage,
  options: Partial<ServeOptions<string, string>> = {},
): Promise<Siege<string, string> & { proxy(): ReturnType<typeof attack> }> {
  const besieged = await siege<string>(t, {
    codec: lines().utf8(),
    proxyProtocol: { trustedProxies: [PROXY], others: 'accept' },
    ...options,
  });
  return Object.assign(besieged, { proxy: (how?: AttackOptions) => besieged.attack({ from: PROXY, ...how }) });
}

/** Version 2: what is behind the signature, in hex, and the bytes it is the head of. */
function v2(command: string, family: string, body: string): Buffer {
  const length = (body.length / 2).toString(16).padStart(4, '0');
  return Buffer.from(SIGNATURE + command + family + length + body, 'hex');
}

const WHOLE = {
  'version 1': Buffer.from('PROXY TCP4 192.0.2.1 198.51.100.1 51000 443\r\n'),
  'version 1, IPv6': Buffer.from('PROXY TCP6 2001:db8::1 2001:db8::2 51000 443\r\n'),
  'version 1, unknown': Buffer.from('PROXY UNKNOWN whatever\r\n'),
  'version 2': v2('21', '11', 'c0000201c6336401c73801bb'),
  'version 2, IPv6': v2('21', '21', `${'20010db8'}${'0'.repeat(23)}1${'20010db8'}${'0'.repeat(23)}2c73801bb`),
  'version 2, local': v2('20', '00', ''),
  'version 2, with a name and a checksum': v2(
    '21',
    '11',
    `c0000201c6336401c73801bb${'020003612e62'}${'030004'}8c9499c6`,
  ),
};
const CLIENT: Record<keyof typeof WHOLE, string> = {
  'version 1': '192.0.2.1',
  'version 1, IPv6': '2001:db8::1',
  'version 1, unknown': PROXY,
  'version 2': '192.0.2.1',
  'version 2, IPv6': '2001:db8::1',
  'version 2, local': PROXY,
  'version 2, with a name and a checksum': '192.0.2.1',
};

for (const [what, header] of Object.entries(WHOLE)) {
  test(`${what}: cut at every byte, it means the same, and no byte behind it is lost`, limit, async (t) => {
    const { proxy, attacked, refusals } = await behindProxy(t);
    const wire = Buffer.concat([header, Buffer.from('hello\n')]);
    for (let cut = 1; cut < wire.length; cut++) {
      const client = await proxy();
      client.says(wire.subarray(0, cut));
      await turns(3);
      client.says(wire.subarray(cut));
      await client.has('hello\n');
      assert.equal(attacked.at(-1)?.peer.address, CLIENT[what as keyof typeof WHOLE]);
      client.socket.destroy();
    }
    const bytewise = await proxy();
    for (const byte of wire) {
      bytewise.says(Buffer.of(byte));
      await turns(1);
    }
    await bytewise.has('hello\n');
    assert.deepEqual(refusals, []);
  });

  test(`${what}: whoever ends or resets within it has no session`, limit, async (t) => {
    const { proxy, attacked, refused, server } = await behindProxy(t);
    for (let cut = 0; cut < header.length; cut++) {
      const ending = await proxy();
      ending.says(header.subarray(0, cut));
      ending.socket.end();
      assert.equal(await ending.out(), 'reset');
      const resetting = await proxy();
      resetting.says(header.subarray(0, cut));
      await turns(2);
      resetting.reset();
    }
    await until(() => server.metrics().openConnections === 1, 'all are gone');
    await refused('PROXY_HEADER_MISSING', header.length);
    assert.equal(attacked.length, 0);
  });
}

test('headers that are none', limit, async (t) => {
  const { proxy, attacked, refused } = await behindProxy(t);
  const lies: [Buffer, RefusalReason][] = [
    [Buffer.from('hello\n'), 'PROXY_HEADER_MISSING'],
    [Buffer.from('GET / HTTP/1.1\r\n\r\n'), 'PROXY_HEADER_MISSING'],
    [Buffer.from('proxy TCP4 192.0.2.1 198.51.100.1 1 2\r\n'), 'PROXY_HEADER_MISSING'],
    [Buffer.from('PROXY TCP4 192.0.2.1 198.51.100.1 1 65536\r\n'), 'PROXY_HEADER_BAD'],
    [Buffer.from('PROXY TCP4 192.0.2.1 198.51.100.1 01 2\r\n'), 'PROXY_HEADER_BAD'],
    [Buffer.from('PROXY TCP4 192.0.2.256 198.51.100.1 1 2\r\n'), 'PROXY_HEADER_BAD'],
    [Buffer.from('PROXY TCP4 2001:db8::1 2001:db8::2 1 2\r\n'), 'PROXY_HEADER_BAD'],
    [Buffer.from('PROXY TCP4 192.0.2.1 198.51.100.1 1 2 3\r\n'), 'PROXY_HEADER_BAD'],
    [Buffer.from('PROXY TCP4  192.0.2.1 198.51.100.1 1 2\r\n'), 'PROXY_HEADER_BAD'],
    [Buffer.from('PROXY \r\n'), 'PROXY_HEADER_BAD'],
    [Buffer.from(`PROXY TCP4 ${'1'.repeat(107)}`), 'PROXY_HEADER_BAD'],
    [Buffer.from(`PROXY UNKNOWN ${'x'.repeat(200)}\r\n`), 'PROXY_HEADER_BAD'],
    [v2('11', '11', 'c0000201c6336401c73801bb'), 'PROXY_HEADER_BAD'], // version 1 with this signature
    [v2('22', '11', 'c0000201c6336401c73801bb'), 'PROXY_HEADER_BAD'], // no such command
    [v2('21', '11', 'c0000201c6336401c738'), 'PROXY_HEADER_BAD'], // too short for its addresses
    [v2('21', '21', 'c0000201c6336401c73801bb'), 'PROXY_HEADER_BAD'],
    [v2('21', '11', 'c0000201c6336401c73801bb02ffff61'), 'PROXY_HEADER_BAD'], // a TLV that is longer than the header
    [v2('21', '11', 'c0000201c6336401c73801bb0200'), 'PROXY_HEADER_BAD'], // a TLV that is cut off
    [v2('21', '11', 'c0000201c6336401c73801bb030004deadbeef'), 'PROXY_HEADER_BAD'], // a wrong checksum
    [Buffer.from(`${SIGNATURE}2111ffff`, 'hex'), 'PROXY_HEADER_TOO_LARGE'],
    [Buffer.from(`${SIGNATURE}20000ff1`, 'hex'), 'PROXY_HEADER_TOO_LARGE'], // 4,097 bytes
  ];
  for (const [wire, reason] of lies) {
    const liar = await proxy();
    liar.says(wire);
    assert.equal(await liar.out(), 'reset', wire.toString('latin1'));
    await refused(reason, 1);
  }
  assert.equal(attacked.length, 0);
});

test('a header, a byte a second', limit, async (t) => {
  const clock = new ManualClock();
  const { proxy, refused, isServed } = await behindProxy(t, { clock });
  const slow = await proxy();
  for (const byte of WHOLE['version 2'].subarray(0, 5)) {
    slow.says(Buffer.of(byte));
    await turns(3);
    clock.advance(1_000);
    await isServed();
  }
  clock.advance(500);
  await refused('PROXY_HEADER_TIMEOUT', 1);
  assert.equal(await slow.out(), 'reset');
});

test('a header from an untrusted address is a message, or the end', limit, async (t) => {
  const accepting = await behindProxy(t);
  const liar = await accepting.attack({ from: '127.0.0.66' });
  liar.says(WHOLE['version 1']);
  await liar.has(WHOLE['version 1'].toString().replace('\r', ''));
  assert.equal(accepting.attacked[0]?.peer.address, '127.0.0.66');
  assert.equal(accepting.attacked[0]?.peer.proxy, undefined);
  const refusing = await serving(t, async () => {}, { proxyProtocol: { trustedProxies: [PROXY], others: 'refuse' } });
  const other = await attack(t, refusing.port);
  other.says(WHOLE['version 1']);
  assert.equal(await other.out(), 'reset');
  assert.deepEqual([refusing.refusals[0]?.reason, refusing.refusals[0]?.address], ['PROXY_UNTRUSTED', '127.0.0.66']);
  assert.equal(refusing.sessions.length, 0);
});

test('a second header is a message like any other', limit, async (t) => {
  const { proxy, attacked } = await behindProxy(t);
  const client = await proxy();
  client.says(WHOLE['version 1']);
  client.says('PROXY TCP4 6.6.6.6 198.51.100.1 1 2\r\n');
  await client.has('PROXY TCP4 6.6.6.6 198.51.100.1 1 2\n');
  assert.equal(attacked[0]?.peer.address, '192.0.2.1');
});

test(
  'limits are about the clients behind the proxy: an address, a /64, and IPv4 however it is written',
  limit,
  async (t) => {
    const { proxy, refused, attacked } = await behindProxy(t, { limits: { perAddress: 2, perNetwork: 3 } });
    const comes = async (address: string): Promise<void> => {
      const count = attacked.length;
      const client = await proxy();
      client.says(`PROXY TCP6 ${address} 2001:db8::ff 1 2\r\nhello\n`);
      await until(() => attacked.length > count || client.events.includes('reset'), 'admitted or refused');
    };
    for (let i = 0; i < 4; i++) await comes('2001:db8::1');
    await refused('TOO_MANY_FROM_ADDRESS', 2);
    for (let i = 2; i < 6; i++) await comes(`2001:db8::${i}`);
    await refused('TOO_MANY_FROM_NETWORK', 3);
    await comes('2001:db8:0:1::1');
    assert.equal(attacked.length, 4);
    // Mapped addresses are IPv4: they share no /64.
    for (let i = 1; i < 6; i++) await comes(`::ffff:192.0.2.${i}`);
    const mapped = v2('21', '21', `${'0'.repeat(20)}ffffc0000201${'0'.repeat(20)}ffffc00002020001${'0002'}`);
    const again = await proxy();
    again.says(mapped);
    await until(() => attacked.length === 10, 'IPv4 within IPv6, in binary');
    assert.equal(attacked.at(-1)?.peer.address, '192.0.2.1');
    (await proxy()).says(mapped);
    await refused('TOO_MANY_FROM_ADDRESS', 1);
  },
);

/** A client that sends and resets while our event loop is blocked: it is gone before anybody accepts it. */
function cameAndWent(port: number, wire: string): void {
  const program = `const socket = require('node:net').connect(${port}, '127.0.0.1', () => {
    socket.write(${JSON.stringify(wire)}, () => socket.resetAndDestroy());
  }).on('error', () => {});`;
  assert.equal(spawnSync(process.execPath, ['-e', program], { timeout: 8_000, env: {} }).status, 0);
}

for (const trustUnixSockets of [false, true]) {
  test(
    `who was gone before accept has no address, and nobody believes its header (${trustUnixSockets})`,
    limit,
    async (t) => {
      const { port, server, refused, attacked } = await behindProxy(t, {
        proxyProtocol: { trustedProxies: [PROXY], trustUnixSockets },
      });
      cameAndWent(port, 'PROXY TCP4 6.6.6.6 198.51.100.1 1 2\r\nowned\n');
      await until(() => server.metrics().refused.PEER_GONE === 1, 'refused');
      await refused('PEER_GONE', 1);
      assert.equal(attacked.length, 0);
    },
  );
}

test('who was gone before accept is no session without proxies either', limit, async (t) => {
  const { port, refused, attacked } = await siege(t);
  cameAndWent(port, 'owned\n');
  await refused('PEER_GONE', 1);
  assert.equal(attacked.length, 0);
});
