import assert from 'node:assert/strict';
import type { NetConnectOpts, Socket } from 'node:net';
import test, { type TestContext } from 'node:test';
import net, { engine } from 'millrace';
import {
  close,
  collect,
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
} from '../support/net.ts';
import { names, silence } from '../support/silent.ts';

await leakGuard();

/** A client that tries these addresses one after the other; the log has all events of its attempts with their arguments. */
function sequence(
  t: TestContext,
  port: number,
  ips: string[],
  options: Partial<NetConnectOpts> & object = {},
): { client: Socket; log: unknown[][] } {
  const client = dialling(t, {
    port,
    host: 'mill.example',
    lookup: names(...ips),
    autoSelectFamily: true,
    autoSelectFamilyAttemptTimeout: 30,
    ...options,
  } as NetConnectOpts);
  const log: unknown[][] = [];
  client.on('connectionAttempt', (...args) => log.push(['attempt', ...args]));
  client.on('connectionAttemptTimeout', (...args) => log.push(['timeout', ...args]));
  client.on('connectionAttemptFailed', (ip, at, family, error) =>
    log.push(['failed', ip, at, family, (error as Error).message]),
  );
  client.on('connect', () => log.push(['connect', client.remoteAddress]));
  client.on('error', (error) => log.push(['error', (error as NodeJS.ErrnoException).code]));
  return { client, log };
}

test('an attempt that takes too long is given up, and told', limit, async (t) => {
  const server = await serve(t, (socket) => socket.end('hi'));
  const port = portOf(server);
  await silence(t, port, '127.0.0.2', '127.0.0.3');
  const { client, log } = sequence(t, port, ['127.0.0.2', '127.0.0.3', '127.0.0.1']);
  assert.equal((await collect(client)).toString(), 'hi');
  assert.deepEqual(log, [
    ['attempt', '127.0.0.2', port, 4],
    ['timeout', '127.0.0.2', port, 4],
    ['attempt', '127.0.0.3', port, 4],
    ['timeout', '127.0.0.3', port, 4],
    ['attempt', '127.0.0.1', port, 4],
    ['connect', '127.0.0.1'],
  ]);
  assert.deepEqual(
    client.autoSelectFamilyAttemptedAddresses,
    ['127.0.0.2', '127.0.0.3', '127.0.0.1'].map((ip) => `${ip}:${port}`),
  );
});

test(
  'when all fail, the AggregateError has the timeouts and the refusals, and the code of the first',
  limit,
  async (t) => {
    const port = await freePort('127.0.0.2');
    await silence(t, port, '127.0.0.2');
    const { client, log } = sequence(t, port, ['127.0.0.2', '255.255.255.255', '127.0.0.3']);
    const [error] = await once(client, 'error');
    await close(client);
    const unreachable = `connect ENETUNREACH 255.255.255.255:${port} - Local (0.0.0.0:0)`;
    assert.deepEqual(log, [
      ['attempt', '127.0.0.2', port, 4],
      ['timeout', '127.0.0.2', port, 4],
      ['attempt', '255.255.255.255', port, 4],
      ['failed', '255.255.255.255', port, 4, unreachable],
      ['attempt', '127.0.0.3', port, 4],
      ['failed', '127.0.0.3', port, 4, `connect ECONNREFUSED 127.0.0.3:${port}`],
      ['error', 'ETIMEDOUT'],
    ]);
    assert.ok(error instanceof AggregateError);
    assert.deepEqual(
      [error.name, error.message, (error as AggregateError & { code: string }).code],
      ['AggregateError', '', 'ETIMEDOUT'],
    );
    assert.deepEqual(
      error.errors.map(({ message, errno, code, syscall, address, port: at }) => [
        message,
        errno,
        code,
        syscall,
        address,
        at,
      ]),
      [
        [`connect ETIMEDOUT 127.0.0.2:${port}`, -110, 'ETIMEDOUT', 'connect', '127.0.0.2', port],
        [unreachable, -101, 'ENETUNREACH', 'connect', '255.255.255.255', port],
        [`connect ECONNREFUSED 127.0.0.3:${port}`, -111, 'ECONNREFUSED', 'connect', '127.0.0.3', port],
      ],
    );
  },
);

test('the last attempt has no limit', limit, async (t) => {
  const port = await freePort('127.0.0.2');
  await silence(t, port, '127.0.0.2', '127.0.0.3');
  const { client, log } = sequence(t, port, ['127.0.0.2', '127.0.0.3'], { timeout: 150 });
  await once(client, 'timeout');
  assert.deepEqual(log, [
    ['attempt', '127.0.0.2', port, 4],
    ['timeout', '127.0.0.2', port, 4],
    ['attempt', '127.0.0.3', port, 4],
  ]);
  assert.equal(client.connecting, true);
});

for (const event of ['connectionAttempt', 'connectionAttemptFailed', 'connectionAttemptTimeout']) {
  const isNodes = engine === 'node' && event === 'connectionAttempt';
  const skip = isNodes ? 'Node goes on, and throws a TypeError of its own' : false;
  test(`destroy() in '${event}' ends the sequence`, { ...limit, skip }, async (t) => {
    const port = await freePort('127.0.0.2');
    await silence(t, port, '127.0.0.2');
    const { client, log } = sequence(t, port, ['127.0.0.3', '127.0.0.2', '127.0.0.4']);
    const events = trace(client, ['connect', 'error', 'close']);
    client.on(event, () => client.destroy());
    await close(client);
    await turns(5);
    assert.deepEqual(events, ['close:false']);
    const before = log.findIndex(([name]) => name === event.replace(/^connectionAttempt/, '').toLowerCase());
    assert.equal(log.length, event === 'connectionAttempt' ? 1 : before + 1, 'nothing more is tried');
  });
}

test(
  "an attempt that is refused in the call is no 'connectionAttemptFailed' where it is the only one",
  limit,
  async (t) => {
    const { client, log } = sequence(t, 1, ['255.255.255.255']);
    await once(client, 'error');
    assert.deepEqual(log, [
      ['attempt', '255.255.255.255', 1, 4],
      ['error', 'ENETUNREACH'],
    ]);
  },
);

test('a local port that can not be bound is an error of the attempts, told in the end', limit, async (t) => {
  const server = await serve(t);
  const localPort = portOf(server); // a listener has it
  const { client, log } = sequence(t, REFUSED_PORT, ['127.0.0.2', '127.0.0.3'], { localPort } as object);
  const [error] = await once(client, 'error');
  assert.deepEqual(
    error.errors.map(({ code, syscall, address, port }: Record<string, unknown>) => [code, syscall, address, port]),
    [
      ['EADDRINUSE', 'bind', '0.0.0.0', localPort],
      ['EADDRINUSE', 'bind', '0.0.0.0', localPort],
    ],
  );
  assert.deepEqual(log, [['error', 'EADDRINUSE']]);
});

test('a local port is in the errors of the attempts', limit, async (t) => {
  if (!(await hasIPv6())) return t.skip('no ::1 here');
  const localPort = await freePort();
  const { client } = sequence(t, REFUSED_PORT, ['127.0.0.1', '::1'], { localPort } as object);
  const [error] = await once(client, 'error');
  assert.deepEqual(
    error.errors.map(({ message, localAddress, localPort: from }: Record<string, unknown>) => [
      message,
      localAddress,
      from,
    ]),
    [
      [`connect ECONNREFUSED 127.0.0.1:${REFUSED_PORT} - Local (0.0.0.0:${localPort})`, '0.0.0.0', localPort],
      [`connect ECONNREFUSED ::1:${REFUSED_PORT} - Local (:::${localPort})`, '::', localPort],
    ],
  );
});

test('a local address of the other family can not be bound', limit, async (t) => {
  for (const [host, localAddress] of [
    ['127.0.0.1', '::1'],
    ['::1', '127.0.0.1'],
  ] as const) {
    const client = dialling(t, { port: 1, host, localAddress });
    const attempts = trace(client, ['connectionAttempt', 'connectionAttemptFailed']);
    const [error] = await once(client, 'error');
    assert.equal(error.message, `bind EINVAL ${localAddress}`);
    assert.deepEqual(attempts, []);
  }
});

test('addresses that are none are left out, and one that is left is the only one', limit, async (t) => {
  const { client, log } = sequence(t, REFUSED_PORT, ['127.0.0.1', 'nonsense', '127.0.0.1']);
  const lookups: unknown[] = [];
  client.on('lookup', (_error, address) => lookups.push(address));
  const [error] = await once(client, 'error');
  assert.deepEqual(lookups, ['127.0.0.1', 'nonsense', '127.0.0.1']);
  assert.equal(error instanceof AggregateError, false);
  assert.equal(log.filter(([name]) => name === 'attempt').length, 1);
  assert.equal(client.autoSelectFamilyAttemptedAddresses, undefined);
});

test('a socket destroyed during its lookup hears no more of it', limit, async (t) => {
  let answer = (): void => {};
  const lookup = (_host: string, _options: object, callback: (error: Error) => void): void => {
    answer = () => callback(new Error('too late'));
  };
  const client = dialling(t, { port: 1, host: 'x', lookup: lookup as never, autoSelectFamily: true });
  const events = trace(client, ['lookup', 'error', 'close']);
  client.destroy();
  await close(client);
  answer();
  await turns(5);
  assert.deepEqual(events, ['close:false']);
});

test('a path attempts once, before anybody can listen', limit, async () => {
  const client = net.connect({ path: '/nowhere/at/all' });
  const log: unknown[][] = [];
  client.on('connectionAttempt', (...args) => log.push(['attempt', ...args]));
  client.on('connectionAttemptFailed', (...args) =>
    log.push(['failed', ...args.slice(0, 3), (args[3] as Error).message]),
  );
  const [error] = await once(client, 'error');
  await close(client);
  assert.equal(error.message, 'connect ENOENT /nowhere/at/all');
  assert.deepEqual(log, [['failed', '/nowhere/at/all', undefined, undefined, error.message]]);
  const other = new net.Socket();
  other.on('connectionAttempt', (...args) => log.push(['attempt', ...args]));
  other.on('error', () => {});
  other.connect({ path: '/nowhere/at/all' });
  await close(other);
  assert.deepEqual(log.at(-1), ['attempt', '/nowhere/at/all', undefined, undefined]);
});
