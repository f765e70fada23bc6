import assert from 'node:assert/strict';
import test from 'node:test';

const path = '#src/session/networks.ts';
const { isIn, networkList, networkOf, plainAddress } = (await import(
  path
)) as typeof import('../../src/session/networks.ts');

test('the /64 of an address, however it is written', () => {
  for (const [address, network] of [
    ['2001:db8:1:2:3:4:5:6', '2001:db8:1:2'],
    ['2001:db8:1:2::', '2001:db8:1:2'],
    ['2001:0db8:0001:0002:ffff::1', '2001:db8:1:2'],
    ['2001:db8::1', '2001:db8:0:0'],
    ['::1', '0:0:0:0'],
    ['::', '0:0:0:0'],
    ['fe80::1%eth0', 'fe80:0:0:0'],
    ['64:ff9b::1.2.3.4', '64:ff9b:0:0'],
    ['1.2.3.4', undefined],
    ['/run/socket', undefined],
  ] as const) {
    assert.equal(networkOf(address), network, address);
  }
});

test('IPv4 within IPv6 is IPv4', () => {
  assert.equal(plainAddress('::ffff:10.1.2.3'), '10.1.2.3');
  assert.equal(plainAddress('::FFFF:10.1.2.3'), '10.1.2.3');
  assert.equal(plainAddress('::ffff:c000:201'), '192.0.2.1');
  assert.equal(plainAddress('0:0:0:0:0:ffff:192.0.2.1'), '192.0.2.1');
  assert.equal(plainAddress('::ffff:0:1'), '0.0.0.1');
  assert.equal(plainAddress('::fffe:c000:201'), '::fffe:c000:201');
  assert.equal(plainAddress('2001:db8::ffff:c000:201'), '2001:db8::ffff:c000:201');
  assert.equal(plainAddress('10.1.2.3'), '10.1.2.3');
});

test('lists of addresses and networks', () => {
  const list = networkList('proxies', ['10.0.0.0/8', '192.0.2.1', 'fd00::/8', '2001:db8::5']);
  for (const address of ['10.255.0.1', '192.0.2.1', 'fdff::1', '2001:db8::5']) assert.ok(isIn(list, address), address);
  for (const address of ['11.0.0.1', '192.0.2.2', 'fe00::1', '2001:db8::6']) assert.ok(!isIn(list, address), address);
  for (const bad of ['10.0.0.0/33', '10.0.0.0/', '/8', 'localhost', '::1/129', '10.0.0.0/8/8', '', 5 as never]) {
    assert.throws(() => networkList('proxies', [bad]), { code: 'MILLRACE_ERR_BAD_OPTION' }, String(bad));
  }
  assert.equal(networkList('proxies', list), list);
});
