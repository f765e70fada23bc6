import assert from 'node:assert/strict';
import dgram from 'node:dgram';
import nodeNet, { type NetConnectOpts, type Socket } from 'node:net';
import test from 'node:test';
import { inspect } from 'node:util';
import { createContext, runInContext } from 'node:vm';
import { MessageChannel, receiveMessageOnPort } from 'node:worker_threads';
import net, { engine } from 'millrace';
import { close, dial, dialling, hasIPv6, keep, leakGuard, limit, once, portOf, serve, trace } from '../support/net.ts';

await leakGuard();

const { BlockList, SocketAddress } = net;
type BlockList = net.BlockList;

const line = process.versions.node.split('.').map(Number) as [number, number];
const isSince = (major: number, minor: number): boolean => line[0] > major || (line[0] === major && line[1] >= minor);
/** Node's own class has all methods, and is the one that is exported. */
const isNodes = isSince(26, 8) || (line[0] === 24 && isSince(24, 21));

/** The order of rules is not promised. */
const sorted = (all: readonly string[]): string[] => [...all].sort((a, b) => (a < b ? -1 : 1));
const rules = (list: BlockList): string[] => sorted(list.rules);

function listOf(...all: string[]): BlockList {
  const list = new BlockList();
  list.fromJSON(all);
  return list;
}

test('Node has no class of its own where it lacks nothing, and is left alone where it does', limit, () => {
  assert.equal(BlockList === nodeNet.BlockList, isNodes);
  assert.equal('removeAddress' in nodeNet.BlockList.prototype, isNodes);
  assert.equal(BlockList.name, 'BlockList');
  assert.equal(new BlockList().constructor, BlockList);
  assert.ok(new BlockList() instanceof nodeNet.BlockList);
});

test('rules of each kind are added, counted and checked', limit, () => {
  const list = new BlockList();
  assert.deepEqual([list.size, list.rules], [0, []]);
  list.addAddresses(['1.1.1.1', new SocketAddress({ address: '1.1.1.2' })]);
  list.addAddresses(['::1'], 'ipv6');
  list.addRange('2.2.2.2', '2.2.2.4');
  list.addSubnet('10.1.2.3', 8);
  list.addCIDR('2001:db8::/32');
  list.addCIDRs(['11.0.0.0/8', 'fe80::/10']);
  assert.deepEqual(rules(list), [
    'Address: IPv4 1.1.1.1',
    'Address: IPv4 1.1.1.2',
    'Address: IPv6 ::1',
    'Range: IPv4 2.2.2.2-2.2.2.4',
    'Subnet: IPv4 10.1.2.3/8',
    'Subnet: IPv4 11.0.0.0/8',
    'Subnet: IPv6 2001:db8::/32',
    'Subnet: IPv6 fe80::/10',
  ]);
  assert.equal(list.size, 8);
  for (const ip of ['1.1.1.1', '1.1.1.2', '2.2.2.3', '10.9.9.9', '11.0.0.1']) assert.equal(list.check(ip), true, ip);
  for (const ip of ['1.1.1.3', '2.2.2.5', '12.0.0.0', 'nonsense']) assert.equal(list.check(ip), false, ip);
  for (const ip of ['::1', '2001:db8::5', 'fe80::1']) assert.equal(list.check(ip, 'ipv6'), true, ip);
  assert.equal(list.check('::2', 'ipv6'), false);
});

test('each rule can be removed, and what is not there is no error', limit, () => {
  const list = listOf(
    'Address: IPv4 1.1.1.1',
    'Address: IPv6 ::1',
    'Range: IPv4 2.2.2.2-2.2.2.4',
    'Subnet: IPv4 10.1.2.3/8',
    'Subnet: IPv4 10.0.0.0/8',
    'Subnet: IPv6 fe80::/64',
  );
  list.removeAddress('7.7.7.7');
  list.removeRange('2.2.2.2', '2.2.2.9');
  list.removeRange('2.2.2.4', '2.2.2.2');
  list.removeSubnet('10.9.9.9', 8); // not the network as it was added
  assert.equal(list.size, 6);
  list.removeAddress('1.1.1.1');
  assert.equal(list.check('1.1.1.1'), false);
  list.removeAddress('0:0::1', 'ipv6');
  list.removeRange('2.2.2.2', '2.2.2.4');
  list.removeSubnet(new SocketAddress({ address: '10.1.2.3' }), 8);
  list.removeCIDR('fe80::/64');
  assert.deepEqual(rules(list), ['Subnet: IPv4 10.0.0.0/8']);
  assert.equal(list.check('10.1.2.3'), true);
  list.clear();
  assert.deepEqual([list.size, list.rules, list.check('10.1.2.3')], [0, [], false]);
  list.addAddress('1.1.1.1');
  assert.equal(list.check('1.1.1.1'), true);
});

test('an address that was added twice is there once, a range as often as it was added', limit, () => {
  const list = new BlockList();
  for (let i = 0; i < 2; i++) {
    list.addAddress('1.1.1.1');
    list.addRange('2.2.2.2', '2.2.2.4');
  }
  list.addAddress('::ffff:1.1.1.1', 'ipv6');
  assert.deepEqual(rules(list), [
    'Address: IPv6 ::ffff:1.1.1.1',
    'Range: IPv4 2.2.2.2-2.2.2.4',
    'Range: IPv4 2.2.2.2-2.2.2.4',
  ]);
  list.removeAddress('::ffff:1.1.1.1', 'ipv6');
  list.removeRange('2.2.2.2', '2.2.2.4');
  assert.deepEqual(rules(list), ['Range: IPv4 2.2.2.2-2.2.2.4']);
});

test('an IPv4 address in IPv6 notation is the IPv4 address', limit, () => {
  const list = listOf('Address: IPv4 1.2.3.4', 'Subnet: IPv4 10.0.0.0/8');
  for (const ip of ['::ffff:1.2.3.4', '::ffff:10.2.3.4', '::ffff:0a02:0304'])
    assert.equal(list.check(ip, 'ipv6'), true, ip);
  const mapped = new BlockList();
  mapped.addAddress('::ffff:1.2.3.4', 'ipv6');
  assert.equal(mapped.check('1.2.3.4'), true);
});

test('a list survives JSON', limit, () => {
  const all = ['Address: IPv4 1.1.1.1', 'Range: IPv6 ::1-::5', 'Subnet: IPv4 10.0.0.0/8', 'Subnet: IPv6 fe80::/64'];
  const list = listOf(...all, 'no rule', 'Address: IPv4 1.1.1', 'Range: IPv4 1.1.1.1', 'Subnet: IPv6 ::1');
  assert.deepEqual(rules(list), all);
  const again = listOf('Address: IPv4 8.8.8.8');
  again.fromJSON(JSON.stringify(list));
  assert.deepEqual(rules(again), ['Address: IPv4 1.1.1.1', 'Address: IPv4 8.8.8.8', ...all.slice(1)]);
  assert.deepEqual(sorted(list.toJSON() as string[]), all);
});

const bad: [string, (list: BlockList) => unknown, string, string?][] = [
  [
    'removeAddress(1)',
    (list) => list.removeAddress(1 as never),
    'ERR_INVALID_ARG_TYPE',
    'The "address" argument must be of type string. Received type number (1)',
  ],
  ["removeAddress('x')", (list) => list.removeAddress('x'), 'ERR_INVALID_ADDRESS'],
  ["removeAddress('1.1.1.1', 1)", (list) => list.removeAddress('1.1.1.1', 1 as never), 'ERR_INVALID_ARG_TYPE'],
  [
    "removeRange('1.1.1.1', 3)",
    (list) => list.removeRange('1.1.1.1', 3 as never),
    'ERR_INVALID_ARG_TYPE',
    'The "end" argument must be of type string. Received type number (3)',
  ],
  ["removeSubnet('1.1.1.1', 33)", (list) => list.removeSubnet('1.1.1.1', 33), 'ERR_OUT_OF_RANGE'],
  ["removeSubnet('1.1.1.1', '8')", (list) => list.removeSubnet('1.1.1.1', '8' as never), 'ERR_INVALID_ARG_TYPE'],
  ["removeCIDR('x')", (list) => list.removeCIDR('x'), 'ERR_INVALID_ARG_VALUE'],
  [
    "addAddresses('x')",
    (list) => list.addAddresses('x' as never),
    'ERR_INVALID_ARG_TYPE',
    'The "addresses" argument must be an instance of Array. Received type string (\'x\')',
  ],
  [
    'addAddresses([1])',
    (list) => list.addAddresses([1] as never),
    'ERR_INVALID_ARG_TYPE',
    'The "addresses[0]" argument must be of type string. Received type number (1)',
  ],
  ["addAddresses(['3.3.3.3', 'x'])", (list) => list.addAddresses(['3.3.3.3', 'x']), 'ERR_INVALID_ADDRESS'],
  ['addCIDR(5)', (list) => list.addCIDR(5 as never), 'ERR_INVALID_ARG_TYPE'],
  [
    "addCIDR('1.1.1.1')",
    (list) => list.addCIDR('1.1.1.1'),
    'ERR_INVALID_ARG_VALUE',
    "The argument 'cidr' must contain a prefix length (e.g. \"10.0.0.0/8\"). Received '1.1.1.1'",
  ],
  [
    "addCIDR('1.1.1.1/08')",
    (list) => list.addCIDR('1.1.1.1/08'),
    'ERR_INVALID_ARG_VALUE',
    "The argument 'cidr' prefix length must be a valid integer. Received '1.1.1.1/08'",
  ],
  ["addCIDR('1.1.1.1/')", (list) => list.addCIDR('1.1.1.1/'), 'ERR_INVALID_ARG_VALUE'],
  ["addCIDR('1.1.1.1/33')", (list) => list.addCIDR('1.1.1.1/33'), 'ERR_OUT_OF_RANGE'],
  ["addCIDR('/8')", (list) => list.addCIDR('/8'), 'ERR_INVALID_ADDRESS'],
  ["addCIDRs(['13.0.0.0/8', 'x'])", (list) => list.addCIDRs(['13.0.0.0/8', 'x']), 'ERR_INVALID_ARG_VALUE'],
  ["addCIDRs(['13.0.0.0/8', 4])", (list) => list.addCIDRs(['13.0.0.0/8', 4] as never), 'ERR_INVALID_ARG_TYPE'],
  ['addCIDRs(4)', (list) => list.addCIDRs(4 as never), 'ERR_INVALID_ARG_TYPE'],
  [
    'fromJSON(5)',
    (list) => list.fromJSON(5 as never),
    'ERR_INVALID_ARG_TYPE',
    'The "data" argument must be of type string or string[]. Received type number (5)',
  ],
  [
    'fromJSON([5])',
    (list) => list.fromJSON([5] as never),
    'ERR_INVALID_ARG_TYPE',
    'The "data" argument must be of type string or string[]. Received an instance of Array',
  ],
  ["fromJSON('{}')", (list) => list.fromJSON('{}'), 'ERR_INVALID_ARG_TYPE'],
  [
    "fromJSON(['Address: IPv4 999.1.1.1'])",
    (list) => list.fromJSON(['Address: IPv4 999.1.1.1']),
    'ERR_INVALID_ADDRESS',
  ],
];
for (const [name, call, code, message] of bad) {
  test(`${name} is ${code} and changes nothing`, limit, () => {
    const list = listOf('Address: IPv4 1.1.1.1');
    assert.throws(() => call(list), message === undefined ? { code } : { code, message });
    assert.deepEqual(list.rules, ['Address: IPv4 1.1.1.1']);
  });
}

test('fromJSON of text that is no JSON is a SyntaxError', limit, () => {
  assert.throws(() => new BlockList().fromJSON('x'), SyntaxError);
});

test('a prefix of -0 is 0', limit, () => {
  const list = new BlockList();
  list.addSubnet('1.1.1.1', -0);
  assert.deepEqual(list.rules, ['Subnet: IPv4 1.1.1.1/0']);
  list.removeSubnet('1.1.1.1', -0);
  assert.equal(list.size, 0);
});

test('PRIVATE_RANGES are the private, loopback and link-local networks, frozen', limit, () => {
  const { PRIVATE_RANGES } = BlockList;
  assert.ok(Object.isFrozen(PRIVATE_RANGES));
  const list = new BlockList();
  list.addCIDRs(PRIVATE_RANGES);
  assert.equal(list.size, 8);
  for (const ip of ['10.1.1.1', '172.31.0.1', '192.168.0.1', '127.9.9.9', '169.254.1.1'])
    assert.equal(list.check(ip), true, ip);
  for (const ip of ['172.32.0.1', '8.8.8.8']) assert.equal(list.check(ip), false, ip);
  for (const ip of ['::1', 'fe80::1', 'fd00::1']) assert.equal(list.check(ip, 'ipv6'), true, ip);
});

test('a list is one by what Node takes for one', limit, () => {
  const list = listOf('Address: IPv4 1.1.1.1');
  const clone = structuredClone(list);
  const nodes = new nodeNet.BlockList();
  class Mine extends BlockList {}
  for (const each of [list, clone, nodes, new Mine()]) {
    assert.equal(BlockList.isBlockList(each), true);
    assert.ok(each instanceof BlockList);
  }
  assert.ok(!(list instanceof Mine));
  assert.ok(new Mine() instanceof Mine);
  for (const each of [{}, null, undefined, 5, [], Object.create(BlockList.prototype)]) {
    assert.equal(BlockList.isBlockList(each), false);
    assert.ok(!(each instanceof BlockList) || isNodes);
  }
  const elsewhere = runInContext('(value) => value', createContext()) as <T>(value: T) => T;
  assert.equal(BlockList.isBlockList(elsewhere(list)), true);
});

test('a list is cloned, sent to a thread and shown as before', limit, () => {
  const list = listOf('Address: IPv4 1.1.1.1', 'Address: IPv4 2.2.2.2');
  list.removeAddress('2.2.2.2');
  assert.deepEqual(structuredClone(list).rules, ['Address: IPv4 1.1.1.1']);
  const { port1, port2 } = new MessageChannel();
  port1.postMessage(list);
  const { message } = receiveMessageOnPort(port2) as { message: BlockList };
  port1.close();
  assert.equal(message.check('1.1.1.1'), true);
  assert.equal(message.check('2.2.2.2'), false);
  assert.equal(inspect(list, { breakLength: 200 }), "BlockList { rules: [ 'Address: IPv4 1.1.1.1' ] }");
});

test("Node's other parts take the list", limit, async (t) => {
  const list = listOf('Address: IPv4 127.0.0.1');
  const socket = dgram.createSocket({ type: 'udp4', sendBlockList: list } as dgram.SocketOptions);
  t.after(() => new Promise<void>((resolve) => void socket.close(resolve)));
  if (!('isBlockList' in nodeNet.BlockList)) return t.skip('this Node knows no lists there');
  const error = await new Promise<NodeJS.ErrnoException | null>((resolve) =>
    socket.send('x', 9, '127.0.0.1', (failure) => resolve(failure)),
  );
  assert.equal(error?.code, 'ERR_IP_BLOCKED');
});

// ---- effects: Node's own sockets know the option from 22.13 and 23.4 on ----

const hasOption = { ...limit, skip: engine === 'node' && !('isBlockList' in nodeNet.BlockList) };

test('a server closes connections from a blocked address, and takes others', hasOption, async (t) => {
  const blockList = listOf('Address: IPv4 127.0.0.2');
  const server = await serve(t, undefined, { server: { blockList } as object });
  let drops = 0;
  server.on('drop', () => drops++);
  const blocked = await dial(t, server, { localAddress: '127.0.0.2' });
  const log = trace(blocked.resume(), ['end', 'error', 'close']);
  await close(blocked);
  assert.equal(log.at(-1), log.includes('error:ECONNRESET') ? 'close:true' : 'close:false');
  const accepted = once(server, 'connection');
  await dial(t, server, { localAddress: '127.0.0.3' });
  const [peer] = (await accepted) as [Socket];
  assert.equal(peer.remoteAddress, '127.0.0.3');
  assert.equal(drops, 0);
  // The list is looked at for each connection.
  blockList.clear();
  const second = once(server, 'connection');
  await dial(t, server, { localAddress: '127.0.0.2' });
  assert.equal(((await second) as [Socket])[0].remoteAddress, '127.0.0.2');
});

test('a server of both families blocks IPv4 addresses that come as IPv6', hasOption, async (t) => {
  if (!(await hasIPv6())) return t.skip('no ::1 here');
  const blockList = listOf('Subnet: IPv4 127.0.0.0/30');
  const server = await serve(t, undefined, { server: { blockList } as object, listen: { port: 0, host: '::' } });
  const blocked = await dial(t, { port: portOf(server), host: '127.0.0.1' });
  blocked.on('error', () => {});
  await close(blocked.resume());
  const accepted = once(server, 'connection');
  await dial(t, { port: portOf(server), host: '127.0.0.1', localAddress: '127.0.0.9' });
  assert.equal(((await accepted) as [Socket])[0].remoteAddress, '::ffff:127.0.0.9');
});

test('a client does not connect to a blocked address, however it is written', hasOption, async (t) => {
  const server = await serve(t);
  const blockList = listOf('Address: IPv4 127.0.0.1');
  for (const host of ['127.0.0.1', '::ffff:127.0.0.1']) {
    const client = dialling(t, { port: portOf(server), host }, { blockList } as object);
    const [error] = await once(client, 'error');
    assert.deepEqual([error.code, error.message], ['ERR_IP_BLOCKED', `IP(${host}) is blocked by net.BlockList`]);
  }
});

test('a blocked address among several is a failed attempt', hasOption, async (t) => {
  const port = 1;
  const blockList = listOf('Subnet: IPv4 127.0.0.0/8');
  const addresses = ['127.0.0.1', '127.0.0.2'].map((address) => ({ address, family: 4 }));
  const lookup = (_host: string, _options: object, callback: (e: null, a: object[]) => void): void =>
    process.nextTick(callback, null, addresses);
  const options = { port, host: 'x', lookup, blockList, autoSelectFamily: true };
  const client = keep(t, net.connect(options as unknown as NetConnectOpts));
  const log: unknown[] = [];
  client.on('connectionAttempt', (ip) => log.push(['attempt', ip]));
  client.on('connectionAttemptFailed', (ip, at, family, error) =>
    log.push([ip, at, family, (error as NodeJS.ErrnoException).code]),
  );
  const [error] = await once(client, 'error');
  assert.deepEqual(
    log,
    addresses.map(({ address }) => [address, port, 4, 'ERR_IP_BLOCKED']),
  );
  assert.equal(error.errors.length, 2);
  assert.equal(error.code, 'ERR_IP_BLOCKED');
});

test('a block list that is none is an error, nothing is none', hasOption, () => {
  const message = 'The "options.blockList" property must be an net.BlockList. Received an instance of Array';
  for (const blockList of [5, {}, []]) {
    const expected = { code: 'ERR_INVALID_ARG_TYPE', ...(Array.isArray(blockList) ? { message } : {}) };
    assert.throws(() => net.createServer({ blockList } as object), expected);
    assert.throws(() => new net.Socket({ blockList } as object), expected);
  }
  for (const blockList of [null, undefined, 0, '']) {
    net.createServer({ blockList } as object);
    new net.Socket({ blockList } as object);
  }
  net.createServer({ blockList: structuredClone(new nodeNet.BlockList()) } as object);
});

// ---- SocketAddress ----

test('SocketAddress.parse reads an address with or without its port', limit, () => {
  const cases: [string, object | undefined][] = [
    ['1.2.3.4', { address: '1.2.3.4', port: 0, family: 'ipv4', flowlabel: 0 }],
    ['1.2.3.4:8080', { address: '1.2.3.4', port: 8080, family: 'ipv4', flowlabel: 0 }],
    ['[::1]:8080', { address: '::1', port: 8080, family: 'ipv6', flowlabel: 0 }],
    ['[::1]', { address: '::1', port: 0, family: 'ipv6', flowlabel: 0 }],
    ['0x7f.1:5', { address: '127.0.0.1', port: 5, family: 'ipv4', flowlabel: 0 }],
    ['::1', undefined],
    ['name:1', undefined],
    ['', undefined],
    ['1.2.3.4:99999', undefined],
    ['256.1.1.1', undefined],
    ['[::1%eth0]:1', undefined],
  ];
  for (const [input, expected] of cases) {
    const parsed = SocketAddress.parse(input);
    assert.deepEqual(parsed === undefined ? parsed : JSON.parse(JSON.stringify(parsed)), expected, input);
    if (parsed) assert.ok(parsed instanceof SocketAddress);
  }
  assert.throws(() => SocketAddress.parse(5 as never), { code: 'ERR_INVALID_ARG_TYPE' });
});

test('a SocketAddress is one by what Node takes for one, and its port may be text', limit, () => {
  const address = new SocketAddress({ port: '80' as never });
  assert.equal(address.port, 80);
  assert.equal(new SocketAddress({ port: -0 }).port, 0);
  assert.ok(structuredClone(address) instanceof SocketAddress);
  assert.ok(new nodeNet.SocketAddress({}) instanceof SocketAddress);
  assert.ok(!({} instanceof SocketAddress));
  assert.equal(new SocketAddress({}).address, '127.0.0.1');
  assert.throws(() => new SocketAddress(5 as never), { code: 'ERR_INVALID_ARG_TYPE' });
  assert.throws(() => new SocketAddress({ port: 65536 }), { code: 'ERR_SOCKET_BAD_PORT' });
  assert.throws(() => new SocketAddress({ port: '' as never }), { code: 'ERR_SOCKET_BAD_PORT' });
  assert.throws(() => new SocketAddress({ flowlabel: -1 }), { code: 'ERR_OUT_OF_RANGE' });
  const list = new BlockList();
  list.addAddress(address);
  assert.equal(list.check(address), true);
});
