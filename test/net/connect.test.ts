import assert from 'node:assert/strict';
import type { LookupFunction, Socket } from 'node:net';
import { join } from 'node:path';
import test from 'node:test';
import net, { engine } from 'millrace';
import {
  close,
  collect,
  dial,
  dialling,
  folder,
  freePort,
  hasIPv6,
  keep,
  leakGuard,
  limit,
  once,
  pair,
  portOf,
  REFUSED_PORT,
  serve,
  trace,
  turns,
  until,
} from '../support/net.ts';

await leakGuard();

const forms: [string, (port: number, callback: () => void) => Socket][] = [
  ['connect(port, host, callback)', (port, callback) => net.connect(port, '127.0.0.1', callback)],
  [
    'connect(port as text, host, callback)',
    (port, callback) => (net.connect as (...args: unknown[]) => Socket)(`${port}`, '127.0.0.1', callback),
  ],
  ['connect(port, callback)', (port, callback) => (net.connect as (...args: unknown[]) => Socket)(port, callback)],
  ['connect({ port }, callback)', (port, callback) => net.connect({ port }, callback)],
  ['connect({ port, host }, callback)', (port, callback) => net.connect({ port, host: '127.0.0.1' }, callback)],
  ['createConnection(port, host, callback)', (port, callback) => net.createConnection(port, '127.0.0.1', callback)],
  [
    'new Socket().connect(port, host, callback)',
    (port, callback) => new net.Socket().connect(port, '127.0.0.1', callback),
  ],
  [
    'Socket().connect({ port, host }, callback)',
    (port, callback) => (net.Socket as unknown as () => Socket)().connect({ port, host: '127.0.0.1' }, callback),
  ],
];
for (const [name, connect] of forms) {
  test(`${name} connects and calls back`, limit, async (t) => {
    const server = await serve(t, (socket) => socket.end('hi'), { listen: { port: 0 } });
    let calls = 0;
    const client = keep(
      t,
      connect(portOf(server), () => calls++),
    );
    assert.ok(client instanceof net.Socket);
    assert.equal(client.connecting, true);
    assert.equal((await collect(client)).toString(), 'hi');
    assert.equal(calls, 1);
  });
}

test('connect and createConnection are the same function', limit, () => {
  assert.equal(net.connect, net.createConnection);
  assert.equal((net as unknown as { Stream: unknown }).Stream, net.Socket);
});

test('connect(path) reaches a unix socket', limit, async (t) => {
  const path = join(await folder(t), 's');
  await serve(t, (socket) => socket.end('unix'), { listen: { path } });
  assert.equal((await collect(keep(t, net.connect(path)))).toString(), 'unix');
  assert.equal((await collect(keep(t, net.connect({ path })))).toString(), 'unix');
  let calls = 0;
  assert.equal(
    (
      await collect(
        keep(
          t,
          net.connect(path, () => calls++),
        ),
      )
    ).toString(),
    'unix',
  );
  assert.equal(calls, 1);
});

test("'connect' and 'ready' come once, in this order, in a later tick", limit, async (t) => {
  const server = await serve(t, (socket) => socket.end('x'));
  const client = dialling(t, server);
  const log = trace(client, ['lookup', 'connect', 'ready', 'data', 'end', 'close']);
  log.push('after connect');
  await close(client);
  assert.deepEqual(log, ['after connect', 'connect', 'ready', 'data:x', 'end', 'close:false']);
});

test("a name gives 'lookup' before 'connect'", limit, async (t) => {
  const server = await serve(t, (socket) => socket.end());
  const lookups: unknown[][] = [];
  const lookup: LookupFunction = (host, options, callback) => {
    assert.equal(host, 'mill.example');
    assert.equal(typeof options, 'object');
    process.nextTick(() =>
      options.all ? callback(null, [{ address: '127.0.0.1', family: 4 }]) : callback(null, '127.0.0.1', 4),
    );
  };
  const client = dialling(t, { port: portOf(server), host: 'mill.example', lookup });
  client.on('lookup', (...args) => lookups.push(args));
  const log = trace(client.resume(), ['lookup', 'connect', 'ready', 'close']);
  assert.equal(client.connecting, true);
  await close(client);
  assert.deepEqual(log, ['lookup', 'connect', 'ready', 'close:false']);
  assert.deepEqual(lookups, [[null, '127.0.0.1', 4, 'mill.example']]);
});

test('without family selection, lookup is asked for one address', limit, async (t) => {
  const server = await serve(t, (socket) => socket.end());
  let asked: unknown;
  const lookup: LookupFunction = (_host, options, callback) => {
    asked = options;
    callback(null, '127.0.0.1', 4);
  };
  const client = dialling(t, {
    port: portOf(server),
    host: 'mill.example',
    lookup,
    autoSelectFamily: false,
    family: 4,
  });
  await once(client, 'connect');
  assert.deepEqual({ ...(asked as object) }, { family: 4, hints: 0 });
});

test('lookup is not asked for an address', limit, async (t) => {
  const server = await serve(t, (socket) => socket.end());
  const client = await dial(t, server, { lookup: () => assert.fail('asked') });
  assert.equal(client.remoteAddress, '127.0.0.1');
});

const badLookups: [string, unknown[], string][] = [
  ['an address that is none', ['not an address', 4], 'ERR_INVALID_IP_ADDRESS'],
  ['a family that is none', ['127.0.0.1', 100], 'ERR_INVALID_ADDRESS_FAMILY'],
];
for (const [name, result, code] of badLookups) {
  test(`a lookup that gives ${name} is an error`, limit, async (t) => {
    const lookup = (_host: string, _options: unknown, callback: (...args: unknown[]) => void): void =>
      callback(null, ...result);
    const client = dialling(t, { port: 1, host: 'x', lookup: lookup as never, autoSelectFamily: false });
    const [error] = await once(client, 'error');
    assert.equal(error.code, code);
    await close(client);
  });
}

test('a lookup that throws throws out of connect', limit, (t) => {
  const socket = keep(t, new net.Socket());
  const lookup = (): never => {
    throw new Error('no lookup today');
  };
  assert.throws(() => socket.connect({ port: 1, host: 'x', lookup }), { message: 'no lookup today' });
});

test('a socket destroyed during its lookup never connects', limit, async (t) => {
  let accepted = 0;
  const server = await serve(t, () => accepted++);
  let answer = (): void => {};
  const lookup: LookupFunction = (_host, options, callback) => {
    answer = () =>
      options.all ? callback(null, [{ address: '127.0.0.1', family: 4 }]) : callback(null, '127.0.0.1', 4);
  };
  const client = dialling(t, { port: portOf(server), host: 'mill.example', lookup });
  const log = trace(client, ['lookup', 'connect', 'error', 'close']);
  client.destroy();
  await close(client);
  answer();
  await turns(10);
  assert.equal(accepted, 0);
  assert.equal(client.connecting, false);
  assert.equal(log.filter((entry) => entry !== 'lookup').join(), 'close:false');
});

test('connecting, pending, readyState and destroyed tell the stage of a connection', limit, async (t) => {
  const server = await serve(t);
  const client = keep(t, new net.Socket());
  const stage = (): unknown[] => [client.connecting, client.pending, client.readyState, client.destroyed];
  assert.deepEqual(stage(), [false, true, 'open', false]);
  client.connect(portOf(server), '127.0.0.1');
  assert.deepEqual(stage(), [true, true, 'opening', false]);
  let inConnect: unknown[] = [];
  client.on('connect', () => (inConnect = stage()));
  const [peer] = (await once(server, 'connection')) as [Socket];
  await until(() => inConnect.length > 0, "'connect'");
  assert.deepEqual(inConnect, [false, false, 'open', false]);

  // Each half on its own.
  peer.resume();
  client.allowHalfOpen = true;
  peer.allowHalfOpen = true;
  const clientEnded = once(peer, 'end');
  client.end();
  assert.equal(client.readyState, 'readOnly');
  await clientEnded;
  assert.equal(peer.readyState, 'writeOnly');
  peer.end();
  client.resume();
  await close(client);
  assert.deepEqual(stage(), [false, true, 'closed', true]);
});

test('a socket that was destroyed before it connected is closed', limit, async (t) => {
  const client = keep(t, new net.Socket());
  client.destroy();
  assert.deepEqual(
    [client.connecting, client.pending, client.readyState, client.destroyed],
    [false, true, 'closed', true],
  );
  await close(client);
});

test('what is written before the connection is there is sent when it is', limit, async (t) => {
  const server = await serve(t);
  const client = dialling(t, server);
  const order: string[] = [];
  client.on('connect', () => order.push('connect'));
  client.write('one ', () => order.push('one'));
  client.write('two ', () => order.push('two'));
  client.end('three', () => order.push('three'));
  assert.equal(client.bytesWritten, 13, 'what is queued counts');
  assert.equal(client.writableLength, 13);
  const [peer] = (await once(server, 'connection')) as [Socket];
  assert.equal((await collect(peer)).toString(), 'one two three');
  client.resume();
  await close(client);
  assert.deepEqual(order, ['connect', 'one', 'two', 'three']);
});

test('end() while connecting connects, then ends', limit, async (t) => {
  const server = await serve(t);
  const client = dialling(t, server);
  client.end();
  const [peer] = (await once(server, 'connection')) as [Socket];
  assert.equal((await collect(peer)).length, 0);
  client.resume();
  await close(client);
});

test('a write in the callback of connect is the first that arrives', limit, async (t) => {
  const server = await serve(t);
  const client = keep(
    t,
    net.connect(portOf(server), '127.0.0.1', () => client.write('first')),
  );
  client.on('ready', () => client.end(' second'));
  const [peer] = (await once(server, 'connection')) as [Socket];
  assert.equal((await collect(peer)).toString(), 'first second');
});

test('localAddress and localPort bind the client', limit, async (t) => {
  const server = await serve(t);
  const localPort = await freePort('127.0.0.2');
  const client = await dial(t, server, { localAddress: '127.0.0.2', localPort });
  assert.equal(client.localAddress, '127.0.0.2');
  assert.equal(client.localPort, localPort);
});

test('a local port alone binds every address', limit, async (t) => {
  const server = await serve(t);
  const localPort = await freePort();
  const client = await dial(t, server, { localPort });
  assert.equal(client.localPort, localPort);
  assert.equal(client.localAddress, '127.0.0.1');
});

test('the first address that answers is taken, and the attempts are told', limit, async (t) => {
  if (!(await hasIPv6())) return t.skip('no ::1 here');
  const server = await serve(t, (socket) => socket.end());
  const port = portOf(server);
  const addresses = [
    { address: '::1', family: 6 },
    { address: '127.0.0.1', family: 4 },
  ];
  const lookup: LookupFunction = (_host, _options, callback) => process.nextTick(callback, null, addresses as never);
  const client = dialling(t, {
    port,
    host: 'both',
    lookup,
    autoSelectFamily: true,
    autoSelectFamilyAttemptTimeout: 2000,
  });
  const log: unknown[][] = [];
  client.on('connectionAttempt', (...args) => log.push(['attempt', ...args]));
  client.on('connectionAttemptFailed', (address, at, family, error) =>
    log.push(['failed', address, at, family, (error as NodeJS.ErrnoException).code]),
  );
  client.on('connectionAttemptTimeout', (...args) => log.push(['timeout', ...args]));
  client.on('connect', () => log.push(['connect']));
  client.resume();
  await close(client);
  assert.deepEqual(log, [
    ['attempt', '::1', port, 6],
    ['failed', '::1', port, 6, 'ECONNREFUSED'],
    ['attempt', '127.0.0.1', port, 4],
    ['connect'],
  ]);
  assert.deepEqual(client.autoSelectFamilyAttemptedAddresses, [`::1:${port}`, `127.0.0.1:${port}`]);
});

test('an address that fails at once is told like any other, and the next one is tried', limit, async (t) => {
  const server = await serve(t, (socket) => socket.end());
  const port = portOf(server);
  const addresses = [
    { address: '224.0.0.1', family: 4 }, // multicast: connect(2) of a stream socket is ENETUNREACH
    { address: '127.0.0.1', family: 4 },
  ];
  const lookup: LookupFunction = (_host, _options, callback) => process.nextTick(callback, null, addresses as never);
  const client = dialling(t, { port, host: 'both', lookup, autoSelectFamily: true });
  const log: unknown[][] = [];
  client.on('connectionAttempt', (...args) => log.push(['attempt', ...args]));
  client.on('connectionAttemptFailed', (address, at, family, error) =>
    log.push(['failed', address, at, family, (error as NodeJS.ErrnoException).code]),
  );
  client.on('connect', () => log.push(['connect']));
  client.resume();
  await close(client);
  assert.deepEqual(log, [
    ['attempt', '224.0.0.1', port, 4],
    ['failed', '224.0.0.1', port, 4, 'ENETUNREACH'],
    ['attempt', '127.0.0.1', port, 4],
    ['connect'],
  ]);
});

for (const [name, addresses] of [
  ['the only address', ['127.0.0.1']],
  ['every address', ['127.0.0.1', '127.0.0.2']],
] as const) {
  test(`a client's blockList refuses ${name} of a host`, limit, async (t) => {
    if (process.versions.node.startsWith('20.')) return t.skip('since Node 22.13');
    const server = await serve(t);
    const blockList = new net.BlockList();
    for (const address of addresses) blockList.addAddress(address);
    const answer = addresses.map((address) => ({ address, family: 4 }));
    const lookup: LookupFunction = (_host, _options, callback) => process.nextTick(callback, null, answer as never);
    server.on('connection', () => assert.fail('it connected'));
    const options = { port: portOf(server), host: 'blocked', lookup, blockList };
    const client = dialling(t, options as Parameters<typeof dialling>[1]);
    const errors: NodeJS.ErrnoException[] = [];
    client.on('error', (error) => errors.push(error));
    await close(client);
    assert.equal(errors.length, 1);
    const [error] = errors;
    const all = error instanceof AggregateError ? error.errors : [error];
    assert.deepEqual(
      all.map(({ code, message }) => [code, message]),
      addresses.map((address) => ['ERR_IP_BLOCKED', `IP(${address}) is blocked by net.BlockList`]),
    );
  });
}

test("one address gives 'connectionAttempt' as well, and failing, 'connectionAttemptFailed'", limit, async (t) => {
  const port = REFUSED_PORT;
  const client = dialling(t, { port, host: '127.0.0.1' });
  const log: unknown[] = [];
  client.on('connectionAttempt', (...args) => log.push(args));
  client.on('connectionAttemptFailed', (address, at, family, error) => log.push([address, at, family, error.message]));
  client.on('error', (error) => log.push(error.message));
  await close(client);
  const message = `connect ECONNREFUSED 127.0.0.1:${port}`;
  assert.deepEqual(log, [['127.0.0.1', port, 4], ['127.0.0.1', port, 4, message], message]);
});

test('the default of family selection can be set', limit, (t) => {
  const isOn = net.getDefaultAutoSelectFamily();
  const timeoutMs = net.getDefaultAutoSelectFamilyAttemptTimeout();
  t.after(() => {
    net.setDefaultAutoSelectFamily(isOn);
    net.setDefaultAutoSelectFamilyAttemptTimeout(timeoutMs);
  });
  assert.equal(isOn, true);
  net.setDefaultAutoSelectFamily(false);
  assert.equal(net.getDefaultAutoSelectFamily(), false);
  net.setDefaultAutoSelectFamilyAttemptTimeout(5);
  assert.equal(net.getDefaultAutoSelectFamilyAttemptTimeout(), 10);
  net.setDefaultAutoSelectFamilyAttemptTimeout(1234);
  assert.equal(net.getDefaultAutoSelectFamilyAttemptTimeout(), 1234);
  assert.throws(() => net.setDefaultAutoSelectFamily('x' as never), { code: 'ERR_INVALID_ARG_TYPE' });
  assert.throws(() => net.setDefaultAutoSelectFamilyAttemptTimeout('x' as never), { code: 'ERR_INVALID_ARG_TYPE' });
});

test('a closed socket connects again', limit, async (t) => {
  const server = await serve(t, (socket) => socket.end('x'));
  const client = dialling(t, server);
  const log = trace(client, ['connect', 'data', 'end', 'close']);
  await close(client);
  assert.equal(client.destroyed, true);
  client.connect(portOf(server), '127.0.0.1');
  assert.equal(client.destroyed, false);
  assert.equal(client.bytesRead, 0);
  await once(client, 'close');
  assert.deepEqual(log, ['connect', 'data:x', 'end', 'close:false', 'connect', 'data:x', 'end', 'close:false']);
});

test("connecting again in the 'close' listener of a refused attempt works", limit, async (t) => {
  const port = REFUSED_PORT;
  const client = dialling(t, { port, host: '127.0.0.1' });
  client.on('error', () => {});
  const closed = new Promise<boolean>((resolve) =>
    client.once('close', (hadError) => {
      resolve(hadError);
    }),
  );
  assert.equal(await closed, true);
  const server = await serve(t, (socket) => socket.end('second try'));
  client.connect(portOf(server), '127.0.0.1');
  assert.equal((await collect(client)).toString(), 'second try');
});

test('an aborted signal destroys the socket with an AbortError', limit, async (t) => {
  const server = await serve(t);
  const controller = new AbortController();
  const client = await dial(t, server, { signal: controller.signal });
  const failed = once(client, 'error');
  controller.abort();
  const [error] = await failed;
  assert.equal(error.name, 'AbortError');
  assert.equal(error.code, 'ABORT_ERR');
  assert.equal(client.destroyed, true);
  await close(client);
});

test('a signal aborted while connecting stops the attempt', limit, async (t) => {
  const server = await serve(t);
  const controller = new AbortController();
  const client = dialling(t, server, { signal: controller.signal });
  const log = trace(client, ['connect', 'error', 'close']);
  controller.abort();
  await close(client);
  assert.deepEqual(log, ['error:ABORT_ERR', 'close:true']);
});

test('pause() while connecting holds', limit, async (t) => {
  const server = await serve(t, (socket) => socket.end('later'));
  const client = dialling(t, server);
  let got = '';
  client.on('data', (chunk) => (got += chunk));
  client.pause();
  await once(client, 'connect');
  await turns(30);
  assert.equal(got, '');
  client.resume();
  await once(client, 'end');
  assert.equal(got, 'later');
});

test('onread gives bytes in the buffer of the caller, without data events', limit, async (t) => {
  const { peer, client } = await (async () => {
    const server = await serve(t);
    const accepted = once(server, 'connection');
    const buffer = Buffer.alloc(4);
    const got: string[] = [];
    const client = await dial(t, server, {
      onread: {
        buffer,
        callback(count, given) {
          assert.equal(given, buffer);
          got.push(Buffer.from(given.subarray(0, count)).toString());
          return true;
        },
      },
    });
    client.on('data', () => assert.fail("'data'"));
    const [peer] = (await accepted) as [Socket];
    client.on('end', () => assert.equal(got.join(''), 'ten bytes!'));
    client.on('end', () => assert.ok(got.every((part) => part.length <= 4)));
    return { peer, client };
  })();
  peer.end('ten bytes!');
  await once(client, 'end');
  assert.equal(client.bytesRead, 10);
});

test('onread pauses when its callback returns false', limit, async (t) => {
  const server = await serve(t);
  const accepted = once(server, 'connection');
  const got: string[] = [];
  const client = await dial(t, server, {
    onread: {
      buffer: () => Buffer.alloc(2),
      callback(count, given) {
        got.push(Buffer.from(given.subarray(0, count)).toString());
        return got.length !== 1;
      },
    },
  });
  const [peer] = (await accepted) as [Socket];
  peer.write('abcdef');
  await until(() => got.length > 0, 'the first two bytes');
  await turns(30);
  assert.deepEqual(got, ['ab']);
  client.resume();
  await until(() => got.join('') === 'abcdef', 'the rest');
});

test('a write in the tick of connect reaches a unix server too', limit, async (t) => {
  const path = join(await folder(t), 's');
  const server = await serve(t, undefined, { listen: { path } });
  const client = dialling(t, { path });
  client.end('early');
  const [peer] = (await once(server, 'connection')) as [Socket];
  assert.equal((await collect(peer)).toString(), 'early');
});

test('the bytes a client sends before it is accepted are there when it is', limit, async (t) => {
  const { client, peer } = await pair(t);
  client.end('first');
  assert.equal((await collect(peer)).toString(), 'first');
});

test('a client that sends and goes before it is accepted is still accepted', limit, async (t) => {
  const server = await serve(t);
  const client = dialling(t, server);
  const accepted = once(server, 'connection');
  client.end('gone');
  const [peer] = (await accepted) as [Socket];
  assert.equal((await collect(peer)).toString(), 'gone');
});

test('connect() on a connected socket gives the first connection up', limit, async (t) => {
  const server = await serve(t);
  const client = await dial(t, server);
  await until(() => sockets(server) === 1, 'the first connection');
  client.connect(portOf(server), '127.0.0.1');
  await once(client, 'connect');
  client.destroy();
  await until(() => sockets(server) === 0, 'no connection is left');
});

function sockets(server: unknown): number {
  return (server as { _connections: number })._connections;
}

test('connect() while a unix socket connects fails as one that is connected', limit, async (t) => {
  if (engine === 'node') return t.skip('the same, but the first attempt then keeps the process alive for ever');
  const path = join(await folder(t), 's');
  await serve(t, undefined, { listen: { path } });
  const socket = keep(t, new net.Socket());
  const log = trace(socket, ['connectionAttempt', 'connectionAttemptFailed', 'connect', 'error', 'close']);
  socket.connect(path);
  socket.connect(path);
  await close(socket);
  assert.deepEqual(log, [
    'connectionAttempt',
    'connectionAttempt',
    'connectionAttemptFailed',
    'error:EISCONN',
    'close:true',
  ]);
});

test("_normalizeArgs reads the arguments of connect as Node's", limit, async (t) => {
  const { _normalizeArgs: normalize } = net as unknown as {
    _normalizeArgs(args: unknown[]): [options: Record<string, unknown>, callback: unknown];
  };
  const callback = (): void => {};
  assert.deepEqual([...normalize([80, 'host', callback])], [{ port: 80, host: 'host' }, callback]);
  assert.deepEqual([...normalize(['/path'])], [{ path: '/path' }, null]);
  const options = { port: 80 };
  assert.equal(normalize([options])[0], options);
  // What was read once is taken as it is.
  const server = await serve(t);
  const socket = keep(t, new net.Socket());
  let connected = 0;
  const read = normalize([portOf(server), '127.0.0.1', () => connected++]);
  (socket.connect as (read: unknown) => Socket)(read);
  await once(socket, 'connect');
  assert.equal(connected, 1);
});

test('a handle of somebody else is refused', {
  ...limit,
  skip: engine === 'node' && "Node's handles are its own",
}, () => {
  const options = { handle: { readStart: () => 0, writeBuffer: () => 0 } };
  assert.throws(() => new net.Socket(options as object), {
    code: 'ERR_INVALID_ARG_TYPE',
    message: 'The "options.handle" property must be an instance of BoundSocket. Received an instance of Object',
  });
});

test('a handle without streams only has its methods called', limit, () => {
  const calls: unknown[] = [];
  const handle = { readStart: () => 0, setNoDelay: (on: boolean) => void calls.push(on) };
  const socket = new net.Socket({ handle } as object);
  socket.setNoDelay().setNoDelay(true).setNoDelay(false);
  assert.deepEqual(calls, [true, false]);
});
