import assert from 'node:assert/strict';
import test from 'node:test';
import type { ServeOptions, Session } from 'millrace/session';
import { dial as dialRaw, folder, leakGuard, type Stage } from '../support/net.ts';
import { ManualClock } from './support/clock.ts';
import { limit, raw, serving, turns, until } from './support/serving.ts';

await leakGuard();

const echo = async (session: Session<string>): Promise<void> => {
  for await (const message of session) await session.send(`${session.peer.address}:${session.peer.port} ${message}`);
};

const rig = (t: Stage, options: Partial<ServeOptions<string, string>> = {}) =>
  serving(t, echo, { proxyProtocol: { trustedProxies: ['127.0.0.0/8'] }, ...options });

test('a header says whose the connection is, and the bytes behind it are the first', limit, async (t) => {
  const serves = await rig(t);
  const header = 'PROXY TCP4 192.0.2.1 198.51.100.1 51000 443\r\n';
  for (const chunks of [[`${header}hello\n`], [header, 'hello\n'], [...header, 'hello\n']]) {
    const peer = await raw(t, serves);
    for (const chunk of chunks) {
      peer.socket.write(chunk);
      if (chunks.length > 2) await turns(1);
    }
    await peer.has('192.0.2.1:51000 hello\n');
    const session = serves.sessions.at(-1);
    assert.deepEqual(session?.peer.proxy?.destination, { address: '198.51.100.1', port: 443 });
    assert.equal(session.peer.proxy.via.address, '127.0.0.1');
    peer.socket.end();
    await serves.closed();
  }
});

test('version 2, with a name and an id', limit, async (t) => {
  const serves = await rig(t);
  const peer = await raw(t, serves);
  peer.socket.write(
    '0d0a0d0a000d0a515549540a2111001ac0000201c6336401c73801bb020003612e62050005 0102030405'.replace(' ', ''),
    'hex',
  );
  peer.socket.write('hello\n');
  await peer.has('192.0.2.1:51000 hello\n');
  const proxy = serves.sessions[0]?.peer.proxy;
  assert.deepEqual([proxy?.version, proxy?.authority, proxy?.uniqueId?.toString('hex')], [2, 'a.b', '0102030405']);
});

test('a proxy that speaks for itself, or does not know, is the peer', limit, async (t) => {
  const serves = await rig(t);
  for (const header of ['PROXY UNKNOWN\r\n', '\r\n\r\n\0\r\nQUIT\n\x20\0\0\0']) {
    const peer = await raw(t, serves);
    peer.socket.write(`${header}hello\n`, 'latin1');
    await peer.has(`127.0.0.1:${peer.socket.localPort} hello\n`);
  }
  assert.deepEqual(
    serves.sessions.map(({ peer }) => peer.proxy?.command),
    ['proxy', 'local'],
  );
});

test('limits of addresses are about clients, not about the proxy', limit, async (t) => {
  const serves = await rig(t, { limits: { perAddress: 1 } });
  const connect = async (address: string) => {
    const peer = await raw(t, serves);
    peer.socket.write(`PROXY TCP4 ${address} 198.51.100.1 51000 443\r\nhello\n`);
    return peer;
  };
  await (await connect('192.0.2.1')).has('192.0.2.1:51000 hello\n');
  await (await connect('192.0.2.2')).has('192.0.2.2:51000 hello\n');
  const third = await connect('192.0.2.1');
  await until(() => third.events.includes('close'), 'refused');
  assert.equal(serves.refusals.length, 1);
  assert.deepEqual([serves.refusals[0]?.reason, serves.refusals[0]?.address], ['TOO_MANY_FROM_ADDRESS', '192.0.2.1']);
  assert.equal(serves.server.metrics().openConnections, 2);
});

test('a /64 of IPv6 has its limit', limit, async (t) => {
  const serves = await rig(t, { limits: { perNetwork: 2 } });
  const connect = async (address: string) => {
    const peer = await raw(t, serves);
    peer.socket.write(`PROXY TCP6 ${address} ::1 51000 443\r\nhello\n`);
    return peer;
  };
  await (await connect('2001:db8::1')).has('hello\n');
  await (await connect('2001:db8::2')).has('hello\n');
  const third = await connect('2001:db8:0:0:ffff::3');
  await until(() => third.events.includes('close'), 'refused');
  await (await connect('2001:db8:0:1::3')).has('hello\n');
  assert.deepEqual(
    serves.refusals.map(({ reason, address }) => [reason, address]),
    [['TOO_MANY_FROM_NETWORK', '2001:db8:0:0:ffff::3']],
  );
});

test('what is no header is refused, with its reason', limit, async (t) => {
  const serves = await rig(t);
  for (const [bytes, reason] of [
    ['hello\n', 'PROXY_HEADER_MISSING'],
    ['PROXY TCP4 nobody\r\n', 'PROXY_HEADER_BAD'],
    ['\r\n\r\n\0\r\nQUIT\n\x21\x11\xff\xff', 'PROXY_HEADER_TOO_LARGE'],
  ] as const) {
    const peer = await raw(t, serves);
    peer.socket.write(bytes, 'latin1');
    await until(() => peer.events.includes('close'), 'refused');
    assert.equal(serves.refusals.at(-1)?.reason, reason);
  }
  const peer = await raw(t, serves);
  peer.socket.end('PROXY TC');
  await until(() => serves.refusals.length === 4, 'refused');
  assert.equal(serves.refusals[3]?.reason, 'PROXY_HEADER_MISSING');
  await until(() => serves.server.metrics().openConnections === 0, 'nobody is left');
  assert.deepEqual([serves.sessions.length, serves.reasons.length], [0, 0]);
});

test('a header that does not come in time', limit, async (t) => {
  const clock = new ManualClock();
  const serves = await rig(t, { clock });
  const peer = await raw(t, serves);
  peer.socket.write('PROXY');
  await until(() => serves.server.metrics().openConnections === 1, 'accepted');
  clock.advance(4_900);
  await turns(2);
  assert.deepEqual(serves.refusals, []);
  clock.advance(600);
  await until(() => peer.events.includes('close'), 'refused');
  assert.deepEqual(
    serves.refusals.map(({ reason }) => reason),
    ['PROXY_HEADER_TIMEOUT'],
  );
  assert.ok(clock.isIdle);
});

test('a proxy that goes away before its header is no session', limit, async (t) => {
  const serves = await rig(t);
  const peer = await raw(t, serves);
  await until(() => serves.server.metrics().openConnections === 1, 'accepted');
  peer.socket.resetAndDestroy();
  await until(() => serves.server.metrics().openConnections === 0, 'gone');
  assert.deepEqual([serves.refusals, serves.reasons], [[], []]);
});

test('others are clients themselves, or refused', limit, async (t) => {
  const trustedProxies = ['192.0.2.1'];
  const open = await rig(t, { proxyProtocol: { trustedProxies } });
  const peer = await raw(t, open);
  peer.socket.write('hello\n');
  await peer.has(`127.0.0.1:${peer.socket.localPort} hello\n`);
  assert.equal(open.sessions[0]?.peer.proxy, undefined);
  const shut = await rig(t, { proxyProtocol: { trustedProxies, others: 'refuse' } });
  const other = await raw(t, shut);
  await until(() => other.events.includes('close'), 'refused');
  assert.equal(shut.refusals[0]?.reason, 'PROXY_UNTRUSTED');
  assert.equal(shut.server.metrics().openConnections, 0);
});

test('unix sockets are trusted if that is said', limit, async (t) => {
  const path = `${await folder(t)}/s`;
  const serves = await rig(t, { path, proxyProtocol: { trustedProxies: [], trustUnixSockets: true } });
  const socket = await dialRaw(t, { path });
  let received = '';
  socket.on('data', (chunk: Buffer) => (received += chunk));
  socket.write('PROXY TCP4 192.0.2.1 198.51.100.1 51000 443\r\nhello\n');
  await until(() => received === '192.0.2.1:51000 hello\n', 'answered');
  assert.equal(serves.server.address, path);
  assert.equal(serves.server.port, undefined);
});

test('a server that closes does not wait for headers', limit, async (t) => {
  const serves = await rig(t);
  const peer = await raw(t, serves);
  await until(() => serves.server.metrics().openConnections === 1, 'accepted');
  await serves.server.close();
  await until(() => peer.events.includes('close'), 'refused');
  assert.equal(serves.refusals[0]?.reason, 'DRAINING');
});
