import assert from 'node:assert/strict';
import test from 'node:test';
import { decodeIp, decodePath, encodeIp, encodePath } from '#src/engine/address.ts';

test('a path goes into a sockaddr and comes out again', () => {
  for (const path of ['/tmp/socket', '\0abstract', '\0with\0zeros', 'é', 'x'.repeat(108)])
    assert.equal(decodePath(Buffer.from(encodePath(path) as Uint8Array)), path);
  assert.equal(encodePath('x'.repeat(109)), undefined);
  assert.equal(encodePath('a\0b'), undefined);
});

test('a unix socket without a name has an empty path', () => {
  for (const bytes of [[], [1], [1, 0]]) assert.equal(decodePath(Buffer.from(bytes)), '');
});

test('an address goes into a sockaddr and comes out again', () => {
  for (const [ip, family] of [
    ['127.0.0.1', 4],
    ['::1', 6],
    ['2001:db8::ff:0:1', 6],
    ['::ffff:10.0.0.1', 6],
  ] as const) {
    const sockaddr = Buffer.from(encodeIp(ip, 8080, family) as Uint8Array);
    assert.deepEqual(decodeIp(sockaddr), { address: ip, family: `IPv${family}`, port: 8080 });
  }
  assert.equal(encodeIp('::1', 1, 4), undefined);
  assert.equal(encodeIp('127.0.0.1', 1, 6), undefined);
  assert.equal(decodeIp(Buffer.from([1, 0])), undefined);
});
