/** A client that reconnects, over real connections. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import test from 'node:test';
import { lengthPrefixed } from 'millrace/framing';
import {
  call,
  type DialAddress,
  type DialReconnectOptions,
  defineContract,
  dial,
  type ReconnectingClient,
  respond,
  type Session,
  serve,
} from 'millrace/session';
import { leakGuard, REFUSED_PORT, type Stage } from '../../support/net.ts';
import { number } from '../support/schemas.ts';
import { limit, serving, until } from '../support/serving.ts';

await leakGuard();

const codec = lengthPrefixed({ lengthFieldLength: 4 }).json();
const fast = { baseMs: 1, maxMs: 5 };

type Client = ReconnectingClient<unknown, unknown, DialAddress>;

async function reconnecting(t: Stage, options: Partial<DialReconnectOptions<unknown, unknown>>): Promise<Client> {
  const client = await dial({ codec, host: '127.0.0.1', reconnect: fast, ...options });
  t.after(() => void client.abort());
  return client;
}

test('a connection that is lost is made again, and what was not acknowledged is sent again', limit, async (t) => {
  const got: unknown[] = [];
  let resets = 0;
  const serves = await serving<unknown>(
    t,
    async (session) => {
      for await (const message of session) {
        got.push(message);
        const { id } = message as { id: number };
        // Lost on the way, some before and some behind the acknowledgement.
        if (id % 7 === 3 && resets < id) {
          resets = id;
          session.abort();
          return;
        }
        await session.send({ ack: id });
      }
    },
    { codec },
  );
  const idOf = (message: unknown): number => (message as { id: number }).id;
  const client = await reconnecting(t, { port: serves.port, reconnect: { ...fast, outbox: { idOf, maxMessages: 5 } } });
  void (async () => {
    for await (const message of client) client.acked((message as { ack: number }).ack);
  })();
  for (let id = 0; id < 50; id++) await client.send({ id });
  await client.flushed();
  const ids = got.map((message) => (message as { id: number }).id);
  assert.deepEqual(new Set(ids), new Set(Array.from({ length: 50 }, (_, id) => id)));
  // First times are in order.
  assert.deepEqual(
    [...new Set(ids)],
    Array.from({ length: 50 }, (_, id) => id),
  );
  assert.equal(serves.sessions.length, 8);
  await client.close();
});

test('messages that came before a reset are read, and those of the next session behind them', limit, async (t) => {
  const serves = await serving<unknown>(
    t,
    async (session) => {
      const which = serves.sessions.length;
      await session.send(`${which}a`);
      await session.send(`${which}b`);
      await session.receive().catch(() => {});
    },
    { codec },
  );
  const client = await reconnecting(t, { port: serves.port });
  for (const which of [1, 2, 3]) {
    await until(() => serves.sessions.length === which && client.session?.unreadFrames === 2, `session ${which}`);
    if (which < 3) serves.sessions[which - 1]?.abort();
  }
  const got: unknown[] = [];
  while (got.length < 6) got.push(await client.receive());
  assert.deepEqual(got, ['1a', '1b', '2a', '2b', '3a', '3b']);
  await client.close();
});

test('without a limit for connecting, as dial has it', limit, async (t) => {
  const serves = await serving<unknown>(t, async (session) => void (await session.receive()), { codec });
  const client = await reconnecting(t, { port: serves.port, connectTimeoutMs: 0 });
  await once(client, 'connected');
  await client.close();
});

test('an address that refuses does not stop the others', limit, async (t) => {
  const serves = await serving<unknown>(t, async (session) => void (await session.receive()), { codec });
  const addresses = [
    { host: '127.0.0.1', port: REFUSED_PORT },
    { path: '/nowhere/at/all' },
    { host: '127.0.0.1', port: serves.port },
  ];
  const client = await reconnecting(t, { reconnect: { ...fast, addresses } });
  const [{ address }] = await once(client, 'connected');
  assert.equal(address, addresses[2]);
  await client.close();
});

test('a server that comes back gets what waited; one that is gone is given up', limit, async (t) => {
  const got: unknown[] = [];
  const listen = (port: number) =>
    serve<unknown, unknown>({ codec, port, host: '127.0.0.1' }, async (session) => {
      for await (const message of session) got.push(message);
    });
  const first = await listen(0);
  const client = await reconnecting(t, { port: first.port as number, reconnect: { ...fast, maxAttempts: 200 } });
  await client.send(1);
  await until(() => got.length === 1, 'the first message');
  await first.drain({ deadlineMs: 1000 });
  await until(() => client.state.kind === 'waiting' || client.state.kind === 'connecting', 'lost');
  await client.send(2);
  const second = await listen(first.port as number);
  await until(() => got.length === 2, 'the second message');
  for (const session of second.sessions()) session.abort();
  await second.close();
  const { reason, cause } = await client.closed;
  assert.equal(reason, 'GAVE_UP');
  assert.match(String((cause as NodeJS.ErrnoException).code), /ECONNREFUSED|ECONNRESET/);
});

test('requests survive, and onConnect logs in again', limit, async (t) => {
  const contract = defineContract({ who: { kind: 'request', output: number } });
  const logins: unknown[] = [];
  let sessions = 0;
  const serves = await serving<unknown>(
    t,
    async (session) => {
      const which = ++sessions;
      logins.push(await session.receive());
      await session.send('welcome');
      await respond(session, contract, { who: () => which }).done;
    },
    { codec },
  );
  const onConnect = async (session: Session<unknown>): Promise<void> => {
    await session.send({ token: 'secret' });
    assert.equal(await session.receive(), 'welcome');
  };
  const client = await reconnecting(t, { port: serves.port, reconnect: { ...fast, onConnect } });
  const api = call(client, contract);
  assert.equal(await api.who(), 1);
  serves.sessions[0]?.abort();
  await once(client, 'waiting');
  assert.equal(await api.who(), 2);
  assert.deepEqual(logins, [{ token: 'secret' }, { token: 'secret' }]);
  await client.close();
});

test('closing while connecting leaves nothing behind', limit, async (t) => {
  const serves = await serving<unknown>(t, async (session) => void (await session.receive()), { codec });
  for (let i = 0; i < 20; i++) {
    const client = await reconnecting(t, { port: serves.port });
    for (let turn = 0; turn < i % 5; turn++) await new Promise(setImmediate);
    assert.equal((await client.close()).reason, 'CLOSED');
  }
  await until(() => serves.server.metrics().openConnections === 0, 'all are over');
});

test('what is wrong with the program is said at once', limit, async () => {
  const options = { codec, port: 1, reconnect: {} };
  await assert.rejects(dial({ ...options, codec: {} as never }), { code: 'MILLRACE_ERR_BAD_OPTION' });
  await assert.rejects(dial({ ...options, limits: { idleMs: -1 } }), { code: 'MILLRACE_ERR_BAD_OPTION' });
  await assert.rejects(dial({ ...options, reconnect: { factor: 0 } }), { code: 'MILLRACE_ERR_BAD_OPTION' });
});
