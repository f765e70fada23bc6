import assert from 'node:assert/strict';
import { join } from 'node:path';
import test from 'node:test';
import net from 'millrace';
import { close, folder, hasIPv6, leakGuard, limit, pair, portOf } from '../support/net.ts';

await leakGuard();

test('both ends of a connection know their addresses', limit, async (t) => {
  const { client, peer, server } = await pair(t);
  assert.equal(client.remoteAddress, '127.0.0.1');
  assert.equal(client.remotePort, portOf(server));
  assert.equal(client.remoteFamily, 'IPv4');
  assert.equal(client.localAddress, '127.0.0.1');
  assert.equal(client.localFamily, 'IPv4');
  assert.ok((client.localPort as number) > 0);
  assert.equal(peer.remotePort, client.localPort);
  assert.equal(peer.localPort, client.remotePort);
  assert.equal(peer.remoteAddress, '127.0.0.1');
  assert.equal(peer.localAddress, '127.0.0.1');
  assert.deepEqual({ ...client.address() }, { address: '127.0.0.1', family: 'IPv4', port: client.localPort });
  assert.deepEqual({ ...peer.address() }, { address: '127.0.0.1', family: 'IPv4', port: portOf(server) });
});

test('both ends of an IPv6 connection know their addresses', limit, async (t) => {
  if (!(await hasIPv6())) return t.skip('no ::1 here');
  const { client, peer, server } = await pair(t, { listen: { port: 0, host: '::1' } });
  assert.deepEqual({ ...client.address() }, { address: '::1', family: 'IPv6', port: client.localPort });
  assert.deepEqual([client.remoteAddress, client.remoteFamily, client.remotePort], ['::1', 'IPv6', portOf(server)]);
  assert.deepEqual([peer.remoteAddress, peer.remoteFamily, peer.remotePort], ['::1', 'IPv6', client.localPort]);
  assert.equal(peer.localFamily, 'IPv6');
});

test('an IPv4 client of a dual-stack server has a mapped address', limit, async (t) => {
  if (!(await hasIPv6())) return t.skip('no ::1 here');
  const { peer, client } = await pair(t, { listen: { port: 0, host: '::' }, client: { host: '127.0.0.1' } });
  assert.equal(peer.remoteAddress, '::ffff:127.0.0.1');
  assert.equal(peer.remoteFamily, 'IPv6');
  assert.equal(peer.localAddress, '::ffff:127.0.0.1');
  assert.equal(client.remoteAddress, '127.0.0.1');
});

test('a unix socket has no addresses', limit, async (t) => {
  const { client, peer } = await pair(t, { listen: { path: join(await folder(t), 's') } });
  for (const socket of [client, peer]) {
    assert.deepEqual({ ...socket.address() }, {});
    assert.equal(socket.remoteAddress, undefined);
    assert.equal(socket.remotePort, undefined);
    assert.equal(socket.remoteFamily, undefined);
    assert.equal(socket.localAddress, undefined);
    assert.equal(socket.localPort, undefined);
  }
});

test('a socket that is not connected has no addresses', limit, () => {
  const socket = new net.Socket();
  assert.deepEqual(socket.address(), {});
  assert.equal(socket.remoteAddress, undefined);
  assert.equal(socket.remotePort, undefined);
  assert.equal(socket.remoteFamily, undefined);
  assert.equal(socket.localAddress, undefined);
  assert.equal(socket.localPort, undefined);
  assert.equal(socket.localFamily, undefined);
});

test('the remote address is kept after destroy if it was read before', limit, async (t) => {
  const { client, peer } = await pair(t);
  assert.equal(client.remoteAddress, '127.0.0.1');
  const port = client.remotePort;
  client.destroy();
  peer.destroy();
  assert.equal(client.remoteAddress, '127.0.0.1');
  assert.equal(client.remotePort, port);
  assert.equal(client.localAddress, undefined);
  assert.equal(peer.remoteAddress, undefined, 'never read before');
  await close(client);
  assert.equal(client.remoteAddress, '127.0.0.1');
});

test('the addresses can still be read when the peer has gone', limit, async (t) => {
  const { client, peer } = await pair(t, { client: { allowHalfOpen: true } });
  const port = client.localPort;
  peer.destroy();
  client.resume();
  await new Promise((resolve) => client.once('end', resolve));
  assert.equal(client.localPort, port);
  assert.equal(client.localAddress, '127.0.0.1');
});

test('isIP tells the family', limit, () => {
  const table: [unknown, number][] = [
    ['127.0.0.1', 4],
    ['0.0.0.0', 4],
    ['255.255.255.255', 4],
    ['1.2.3.4', 4],
    ['256.0.0.1', 0],
    ['1.2.3', 0],
    ['1.2.3.4.5', 0],
    ['01.2.3.4', 0],
    ['1.2.3.04', 0],
    [' 1.2.3.4', 0],
    ['1.2.3.4 ', 0],
    ['1.2.3.4\n', 0],
    ['0x1.2.3.4', 0],
    ['::', 6],
    ['::1', 6],
    ['1::', 6],
    ['fe80::1', 6],
    ['fe80::1%eth0', 6],
    ['::ffff:1.2.3.4', 6],
    ['1:2:3:4:5:6:7:8', 6],
    ['1:2:3:4:5:6:1.2.3.4', 6],
    ['ABCD::abcd', 6],
    [':::1', 0],
    ['1:2:3:4:5:6:7', 0],
    ['1:2:3:4:5:6:7:8:9', 0],
    ['12345::', 0],
    ['::g', 0],
    ['[::1]', 0],
    ['1::2::3', 0],
    ['::1.2.3', 0],
    ['fe80::1%', 0],
    ['', 0],
    ['localhost', 0],
    [undefined, 0],
    [null, 0],
    [0, 0],
    [{}, 0],
    [{ toString: () => '::1' }, 6],
  ];
  for (const [input, family] of table) {
    assert.equal(net.isIP(input as string), family, String(input));
    assert.equal(net.isIPv4(input as string), family === 4, String(input));
    assert.equal(net.isIPv6(input as string), family === 6, String(input));
  }
});

test('BlockList and SocketAddress are there', limit, () => {
  const list = new net.BlockList();
  list.addAddress('1.2.3.4');
  list.addRange('10.0.0.1', '10.0.0.9');
  list.addSubnet('8592:757c:efae:4e45::', 64, 'ipv6');
  assert.equal(list.check('1.2.3.4'), true);
  assert.equal(list.check('10.0.0.5'), true);
  assert.equal(list.check('10.0.0.10'), false);
  assert.equal(list.check('::ffff:1.2.3.4', 'ipv6'), true);
  assert.equal(list.check('8592:757c:efae:4e45:fb5d:d62a:0d00:8e17', 'ipv6'), true);
  const address = new net.SocketAddress({ address: '1.2.3.4', port: 5 });
  assert.deepEqual([address.address, address.port, address.family, address.flowlabel], ['1.2.3.4', 5, 'ipv4', 0]);
});
