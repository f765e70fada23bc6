import assert from 'node:assert/strict';
import type { NetConnectOpts, Server, Socket } from 'node:net';
import test, { type TestContext } from 'node:test';
import net, { engine, type HappyEyeballsOptions } from 'millrace';
import {
  close,
  collect,
  descriptors,
  dialling,
  freePort,
  hasIPv6,
  leakGuard,
  limit,
  once,
  portOf,
  REFUSED_PORT,
  serve,
  trace,
  turns,
  until,
} from '../support/net.ts';
import { names, silence } from '../support/silent.ts';

await leakGuard();

/** Where the engine is Node's own there is nothing to test but that the option does no harm. */
const ours = { ...limit, skip: engine === 'node' ? "the engine is Node's own" : false };

type Options = Partial<NetConnectOpts> & HappyEyeballsOptions & Record<string, unknown>;

/** A client that overlaps its attempts to these addresses; the log has what it says of them. */
function race(t: TestContext, port: number, ips: string[], options: Options = {}): { client: Socket; log: string[] } {
  const client = dialling(t, {
    port,
    host: 'mill.example',
    lookup: names(...ips),
    happyEyeballs: { attemptDelayMs: 20 },
    ...options,
  } as NetConnectOpts);
  const log: string[] = [];
  client.on('connectionAttempt', (ip) => log.push(`try ${ip}`));
  client.on('connectionAttemptFailed', (ip, _port, _family, error) =>
    log.push(`failed ${ip} ${(error as NodeJS.ErrnoException).code}`),
  );
  client.on('connectionAttemptTimeout', (ip) => log.push(`timeout ${ip}`));
  client.on('connect', () => log.push(`connect ${client.remoteAddress}`));
  return { client, log };
}

/** A server on 127.0.0.1, and addresses beside it that never answer on its port. */
async function among(t: TestContext, ...silent: string[]): Promise<{ server: Server; port: number }> {
  const server = await serve(t, (socket) => socket.end('hi'));
  const port = portOf(server);
  await silence(t, port, ...silent);
  return { server, port };
}

/** Sockets of this process. */
const openSockets = (): number => descriptors().filter((name) => name.startsWith('socket:')).length;

const timers = (): number => process.getActiveResourcesInfo().filter((name) => name === 'Timeout').length;

test('an attempt that takes long goes on beside the next one, and the first that connects wins', ours, async (t) => {
  const { port } = await among(t, '127.0.0.2', '127.0.0.3');
  const before = openSockets();
  const { client, log } = race(t, port, ['127.0.0.2', '127.0.0.3', '127.0.0.1', '127.0.0.4']);
  let attempting = 0;
  client.on('connect', () => assert.equal(client.localFamily, 'IPv4'));
  client.on('connectionAttempt', (ip) => {
    if (ip === '127.0.0.1') attempting = openSockets() - before;
  });
  assert.equal((await collect(client)).toString(), 'hi');
  await close(client);
  assert.deepEqual(log, ['try 127.0.0.2', 'try 127.0.0.3', 'try 127.0.0.1', 'connect 127.0.0.1']);
  assert.equal(attempting, 3, 'all three are open at once');
  assert.deepEqual(
    client.autoSelectFamilyAttemptedAddresses,
    ['127.0.0.2', '127.0.0.3', '127.0.0.1'].map((ip) => `${ip}:${port}`),
  );
});

test('the attempts that lost are closed, and no other is made', ours, async (t) => {
  const server = await serve(t);
  const port = portOf(server);
  await silence(t, port, '127.0.0.2', '127.0.0.3');
  const before = openSockets();
  const timersBefore = timers();
  const { client, log } = race(t, port, ['127.0.0.2', '127.0.0.3', '127.0.0.1', '127.0.0.4']);
  const [peer] = (await once(server, 'connection')) as [Socket];
  await until(() => client.readyState === 'open', 'the connection');
  await until(() => openSockets() === before + 2, 'both ends alone are open');
  assert.deepEqual(log, ['try 127.0.0.2', 'try 127.0.0.3', 'try 127.0.0.1', 'connect 127.0.0.1']);
  assert.equal(timers(), timersBefore, 'nothing waits for the next attempt');
  peer.destroy();
});

test('a slow first address wins when it answers before the others', ours, async (t) => {
  const { server, port } = await among(t, '127.0.0.2');
  const { client, log } = race(t, port, ['127.0.0.1', '127.0.0.2']);
  await once(server, 'connection');
  await collect(client);
  assert.deepEqual(log, ['try 127.0.0.1', 'connect 127.0.0.1']);
});

test('when an attempt fails the next one does not wait for the delay', ours, async (t) => {
  const server = await serve(t, (socket) => socket.end('hi'));
  const begun = performance.now();
  const { client, log } = race(t, portOf(server), ['127.0.0.2', '127.0.0.3', '127.0.0.1'], {
    happyEyeballs: { attemptDelayMs: 2000 },
  });
  await collect(client);
  assert.ok(performance.now() - begun < 1900, 'sooner than one delay');
  assert.deepEqual(log, [
    'try 127.0.0.2',
    'failed 127.0.0.2 ECONNREFUSED',
    'try 127.0.0.3',
    'failed 127.0.0.3 ECONNREFUSED',
    'try 127.0.0.1',
    'connect 127.0.0.1',
  ]);
});

test('families take turns, and the family of the first address comes first', ours, async (t) => {
  if (!(await hasIPv6())) return t.skip('no ::1 here');
  const { port } = await among(t, '127.0.0.2', '127.0.0.3', '::1');
  const { client, log } = race(t, port, ['127.0.0.2', '127.0.0.3', '127.0.0.1', '127.0.0.2', '::1']);
  await collect(client);
  assert.deepEqual(
    log.map((line) => line.replace('try ', '')),
    ['127.0.0.2', '::1', '127.0.0.3', '127.0.0.1', 'connect 127.0.0.1'],
  );
});

test('when all fail, the error has each error in the order of the attempts and says them', ours, async (t) => {
  const port = REFUSED_PORT;
  const { client, log } = race(t, port, ['127.0.0.2', '255.255.255.255', '127.0.0.3']);
  const [error] = await once(client, 'error');
  await close(client);
  assert.ok(error instanceof AggregateError);
  const { code, errors, message } = error as AggregateError & { code: string };
  assert.equal(code, 'ECONNREFUSED');
  assert.deepEqual(
    errors.map((each) => `${each.code} ${each.address}:${each.port}`),
    [`ECONNREFUSED 127.0.0.2:${port}`, `ENETUNREACH 255.255.255.255:${port}`, `ECONNREFUSED 127.0.0.3:${port}`],
  );
  assert.equal(
    message,
    `all 3 attempts to connect to mill.example:${port} failed: connect ECONNREFUSED 127.0.0.2:${port}; ` +
      `connect ENETUNREACH 255.255.255.255:${port} - Local (0.0.0.0:0); connect ECONNREFUSED 127.0.0.3:${port}`,
  );
  assert.match(`${error.stack}`, /all 3 attempts/);
  assert.equal(log.length, 6);
});

test('the error of an attempt that fails late stays that of its attempt', ours, async (t) => {
  const port = await freePort('127.0.0.2');
  const speak = await silence(t, port, '127.0.0.2');
  const { client, log } = race(t, port, ['127.0.0.2', '127.0.0.3']);
  const failed = once(client, 'error');
  await until(() => log.length === 3, 'the second attempt to fail');
  assert.equal(client.connecting, true);
  await speak();
  const [error] = await failed;
  assert.deepEqual(log.slice(2), ['failed 127.0.0.3 ECONNREFUSED', 'failed 127.0.0.2 ECONNREFUSED']);
  assert.deepEqual(
    (error as AggregateError).errors.map(({ address }) => address),
    ['127.0.0.2', '127.0.0.3'],
  );
});

test('one address is one attempt with an error of its own', ours, async (t) => {
  const { client, log } = race(t, REFUSED_PORT, ['127.0.0.1']);
  const [error] = await once(client, 'error');
  assert.equal(error.message, `connect ECONNREFUSED 127.0.0.1:${REFUSED_PORT}`);
  assert.deepEqual(log, ['try 127.0.0.1', 'failed 127.0.0.1 ECONNREFUSED']);
});

for (const when of ['connectionAttempt', 'lookup', 'connectionAttemptFailed']) {
  test(`destroy() in '${when}' ends every attempt`, ours, async (t) => {
    const { port } = await among(t, '127.0.0.2');
    const before = openSockets();
    // The third address refuses.
    const { client, log } = race(t, port, ['127.0.0.2', '127.0.0.3', '127.0.0.1']);
    const events = trace(client, ['connect', 'error', 'close']);
    client.on(when, () => client.destroy());
    await close(client);
    await turns(5);
    assert.deepEqual(events, ['close:false']);
    assert.equal(openSockets(), before, "nothing is open after 'close'");
    const expected = {
      lookup: [],
      connectionAttempt: ['try 127.0.0.2'],
      connectionAttemptFailed: ['try 127.0.0.2', 'try 127.0.0.3', 'failed 127.0.0.3 ECONNREFUSED'],
    };
    assert.deepEqual(log, expected[when as keyof typeof expected]);
  });
}

test('destroy(error) between attempts ends them all with that error', ours, async (t) => {
  const { port } = await among(t, '127.0.0.2', '127.0.0.3');
  const before = openSockets();
  const { client, log } = race(t, port, ['127.0.0.2', '127.0.0.3']);
  await until(() => log.length === 2, 'two attempts');
  await turns(3);
  assert.equal(openSockets() - before, 2);
  assert.deepEqual([client.connecting, client.pending, client.readyState], [true, true, 'opening']);
  const events = trace(client, ['connect', 'error', 'close']);
  client.destroy(Object.assign(new Error('enough'), { code: 'ENOUGH' }));
  await close(client);
  assert.deepEqual(events, ['error:ENOUGH', 'close:true']);
  assert.equal(openSockets(), before);
});

test('an aborted signal ends every attempt', ours, async (t) => {
  const { port } = await among(t, '127.0.0.2', '127.0.0.3');
  const controller = new AbortController();
  const { client, log } = race(t, port, ['127.0.0.2', '127.0.0.3'], { signal: controller.signal });
  await until(() => log.length === 2, 'two attempts');
  const events = trace(client, ['connect', 'error', 'close']);
  controller.abort();
  await close(client);
  assert.deepEqual(events, ['error:ABORT_ERR', 'close:true']);
});

test('the idle timer runs while attempts are under way', ours, async (t) => {
  const { port } = await among(t, '127.0.0.2', '127.0.0.3');
  const { client } = race(t, port, ['127.0.0.2', '127.0.0.3'], { timeout: 60 });
  await once(client, 'timeout');
  assert.equal(client.connecting, true);
});

test('a blocked address is a failed attempt', ours, async (t) => {
  const server = await serve(t, (socket) => socket.end('hi'));
  const port = portOf(server);
  const blockList = new net.BlockList();
  blockList.addAddress('127.0.0.2');
  const { client, log } = race(t, port, ['127.0.0.2', '127.0.0.1'], { blockList });
  await collect(client);
  assert.deepEqual(log, ['failed 127.0.0.2 ERR_IP_BLOCKED', 'try 127.0.0.1', 'connect 127.0.0.1']);
  assert.deepEqual(client.autoSelectFamilyAttemptedAddresses, [`127.0.0.1:${port}`]);

  blockList.addAddress('127.0.0.1');
  const second = race(t, port, ['127.0.0.2', '127.0.0.1'], { blockList });
  const [error] = await once(second.client, 'error');
  assert.equal(error.code, 'ERR_IP_BLOCKED');
  assert.equal(error.errors.length, 2);
});

test('a local port and a local address hold for every attempt', ours, async (t) => {
  const { server, port } = await among(t, '127.0.0.2');
  const localPort = await freePort();
  const first = race(t, port, ['127.0.0.2', '127.0.0.1'], { localPort });
  const [peer] = (await once(server, 'connection')) as [Socket];
  assert.equal(peer.remotePort, localPort);
  await collect(first.client);
  await close(first.client);

  const ips = (await hasIPv6()) ? ['::1', '127.0.0.2', '127.0.0.1'] : ['127.0.0.2', '127.0.0.1'];
  const second = race(t, port, ips, { localAddress: '127.0.0.7' });
  const [other] = (await once(server, 'connection')) as [Socket];
  assert.equal(other.remoteAddress, '127.0.0.7');
  assert.deepEqual(second.log.slice(0, 2), ['try 127.0.0.2', 'try 127.0.0.1'], 'only addresses of its family');
});

test('with a family, all addresses of that family are tried', ours, async (t) => {
  const server = await serve(t, (socket) => socket.end('hi'));
  const { client, log } = race(t, portOf(server), ['::1', '127.0.0.2', '127.0.0.1'], { family: 4 });
  await collect(client);
  assert.deepEqual(log, ['try 127.0.0.2', 'failed 127.0.0.2 ECONNREFUSED', 'try 127.0.0.1', 'connect 127.0.0.1']);
});

test('options set before and during the attempts hold for the connection', ours, async (t) => {
  const { port } = await among(t, '127.0.0.2');
  const { client, log } = race(t, port, ['127.0.0.2', '127.0.0.1'], { noDelay: true });
  await until(() => log.length === 1, 'the first attempt');
  client.setKeepAlive(true, 5000);
  const set: unknown[][] = [];
  client.on('connectionAttempt', () => {
    const tos = client as unknown as { setTypeOfService(tos: number): void };
    tos.setTypeOfService(0x10);
  });
  client.prependListener('connect', () => {
    const handle = (client as unknown as { _handle: { getTypeOfService(): number; fd: number } })._handle;
    set.push([handle.getTypeOfService(), handle.fd > 0]);
  });
  client.write('queued');
  await collect(client);
  assert.deepEqual(set, [[0x10, true]]);
  assert.equal(client.bytesWritten, 6);
});

test('unref() and ref() hold for the connection that wins', ours, async (t) => {
  const { port } = await among(t, '127.0.0.2');
  const { client } = race(t, port, ['127.0.0.2', '127.0.0.1']);
  client.unref();
  await once(client, 'connect');
  const handle = (client as unknown as { _handle: { hasRef(): boolean } })._handle;
  assert.equal(handle.hasRef(), false);
  const other = race(t, port, ['127.0.0.2', '127.0.0.1']).client;
  other.unref();
  other.on('connectionAttempt', () => other.ref());
  await once(other, 'connect');
  assert.equal((other as unknown as { _handle: { hasRef(): boolean } })._handle.hasRef(), true);
});

test('a socket that lost one race runs another one', ours, async (t) => {
  const { port } = await among(t, '127.0.0.2', '127.0.0.3');
  const { client, log } = race(t, port, ['127.0.0.2', '127.0.0.3']);
  await until(() => log.length === 2, 'two attempts');
  client.destroy();
  await once(client, 'close');
  log.length = 0;
  const again = { port, host: 'x', lookup: names('127.0.0.3', '127.0.0.1'), happyEyeballs: { attemptDelayMs: 10 } };
  client.connect(again);
  await collect(client);
  assert.deepEqual(log, ['try 127.0.0.3', 'try 127.0.0.1', 'connect 127.0.0.1']);
});

test('connect() during the attempts gives them up', ours, async (t) => {
  const { port } = await among(t, '127.0.0.2', '127.0.0.3');
  const before = openSockets();
  const { client, log } = race(t, port, ['127.0.0.2', '127.0.0.3']);
  await until(() => log.length === 2, 'two attempts');
  client.connect({ port, host: '127.0.0.1' });
  await once(client, 'connect');
  assert.equal(client.remoteAddress, '127.0.0.1');
  client.destroy();
  await close(client);
  await until(() => openSockets() <= before, 'the attempts before are closed');
});

test('the default is off, can be set, and holds only where the family is selected', limit, async (t) => {
  assert.equal(net.getDefaultHappyEyeballs(), false);
  t.after(() => net.setDefaultHappyEyeballs(false));
  net.setDefaultHappyEyeballs(true);
  assert.deepEqual(net.getDefaultHappyEyeballs(), { attemptDelayMs: 250 });
  net.setDefaultHappyEyeballs({ attemptDelayMs: 10 });
  assert.deepEqual(net.getDefaultHappyEyeballs(), { attemptDelayMs: 10 });
  if (engine === 'node') return;

  const { port } = await among(t, '127.0.0.2');
  const options = { happyEyeballs: undefined, autoSelectFamilyAttemptTimeout: 30 };
  const first = race(t, port, ['127.0.0.2', '127.0.0.1'], options);
  await collect(first.client);
  assert.deepEqual(first.log, ['try 127.0.0.2', 'try 127.0.0.1', 'connect 127.0.0.1']);
  const second = race(t, port, ['127.0.0.2', '127.0.0.1'], { ...options, happyEyeballs: false });
  await collect(second.client);
  assert.deepEqual(second.log, ['try 127.0.0.2', 'timeout 127.0.0.2', 'try 127.0.0.1', 'connect 127.0.0.1']);
  const third = race(t, port, ['127.0.0.1', '127.0.0.2'], { ...options, autoSelectFamily: false });
  await collect(third.client);
  assert.equal(third.client.autoSelectFamilyAttemptedAddresses, undefined);
});

test('what the option does not understand is an error', limit, () => {
  const bad: [unknown, string][] = [
    ['race', 'ERR_INVALID_ARG_TYPE'],
    [250, 'ERR_INVALID_ARG_TYPE'],
    [null, 'ERR_INVALID_ARG_TYPE'],
    [{ attemptDelayMs: '250' }, 'ERR_INVALID_ARG_TYPE'],
    [{ attemptDelayMs: 9 }, 'ERR_OUT_OF_RANGE'],
    [{ attemptDelayMs: 2001 }, 'ERR_OUT_OF_RANGE'],
    [{ attemptDelayMs: 10.5 }, 'ERR_OUT_OF_RANGE'],
  ];
  for (const [value, code] of bad) {
    assert.throws(() => net.setDefaultHappyEyeballs(value as never), { code }, JSON.stringify(value));
    if (engine === 'node' || value === null) continue; // null is no value, as with autoSelectFamily
    const options = { port: 1, host: 'x', happyEyeballs: value };
    assert.throws(() => new net.Socket().connect(options as never), { code }, JSON.stringify(value));
  }
  if (engine === 'node') return;
  assert.throws(() => new net.Socket().connect({ port: 1, autoSelectFamily: false, happyEyeballs: true } as never), {
    code: 'ERR_INVALID_ARG_VALUE',
    message: "The property 'options.happyEyeballs' needs autoSelectFamily. Received true",
  });
});

test('the option does no harm where there is one address, or a path', limit, async (t) => {
  const server = await serve(t, (socket) => socket.end('hi'));
  const client = dialling(t, { port: portOf(server), host: '127.0.0.1', happyEyeballs: true } as NetConnectOpts);
  assert.equal((await collect(client)).toString(), 'hi');
});
