import assert from 'node:assert/strict';
import test from 'node:test';
import { call, defineContract, type RpcError, respond } from 'millrace/session';
import { Network, received } from '../support/network.ts';
import { deferred, limit, type MemorySession, settle } from '../support/pair.ts';
import { number } from '../support/schemas.ts';

test('states are told: failures, waits that grow, a connection, its loss', limit, async () => {
  const network = new Network();
  const { client, log } = network.client({ stableMs: 1000 });
  await settle();
  await network.last.refuse();
  await network.clock.advance(99);
  assert.equal(network.attempts.length, 1);
  await network.clock.advance(1);
  await network.last.refuse();
  await network.clock.advance(200);
  const server = await network.last.accept();
  assert.equal(client.state.kind, 'connected');
  await network.clock.advance(1000);
  server.abort();
  await settle();
  await network.clock.advance(50);
  const closing = client.close();
  await network.last.refuse();
  await closing;
  assert.deepEqual(
    log,
    [
      'connecting a 1',
      'waiting 100 2 refused: a',
      'connecting a 2',
      'waiting 200 3 refused: a',
      'connecting a 3',
      'connected a',
      'waiting 50 1 undefined',
      'connecting a 1',
      'closed CLOSED',
    ].map((line) => line.replace('waiting 50 1 undefined', 'waiting 50 1 RESET')),
  );
  assert.equal(network.clock.pending, 0);
});

test('a connection that does not last counts as a failure', limit, async () => {
  const network = new Network();
  const { client, log } = network.client({ stableMs: 1000 });
  await settle();
  for (const delayMs of [100, 200, 400]) {
    (await network.last.accept()).abort();
    await settle();
    assert.match(log.at(-1) as string, new RegExp(`^waiting ${delayMs} `));
    await network.clock.advance(delayMs);
  }
  await network.last.accept();
  await client.close();
});

test('an attempt goes through all addresses before it waits', limit, async () => {
  const network = new Network();
  const { client, log } = network.client({ addresses: ['a', 'b', 'c'] });
  await settle();
  await network.last.refuse();
  await network.last.refuse();
  const server = await network.last.accept();
  assert.deepEqual(log, ['connecting a 1', 'connecting b 1', 'connecting c 1', 'connected c']);
  // Lost at once: another attempt, with the first again.
  server.abort();
  await settle();
  await network.clock.advance(100);
  assert.equal(log.at(-1), 'connecting a 2');
  await network.last.accept();
  await client.close();
});

test('addresses are shuffled by chance', limit, async () => {
  const network = new Network();
  network.answer = (attempt) => void attempt.refuse();
  const numbers = [0, 0.99, 0.5, 0.1, 0.9, 0.3, 0.7];
  let at = 0;
  const random = () => numbers[at++ % numbers.length] as number;
  const { client } = network.client({ addresses: ['a', 'b', 'c'], order: 'shuffled', random, maxAttempts: 3 });
  const advance = async () => {
    while (client.state.kind !== 'closed') await network.clock.advance(1000);
  };
  await advance();
  const rounds = [0, 3, 6].map((from) =>
    network.attempts
      .slice(from, from + 3)
      .map(({ address }) => address)
      .join(''),
  );
  for (const round of rounds) assert.equal([...round].sort().join(''), 'abc');
  assert.ok(new Set(rounds).size > 1, rounds.join());
});

test('it gives up after so many attempts, and says why', limit, async () => {
  const network = new Network();
  network.answer = (attempt) => void attempt.refuse();
  const { client, log } = network.client({ maxAttempts: 2 });
  await client.send('kept');
  await network.clock.advance(10_000);
  const reason = await client.closed;
  assert.deepEqual(
    [reason.reason, reason.unsentMessages, (reason.cause as Error).message],
    ['GAVE_UP', 1, 'refused: a'],
  );
  assert.deepEqual(client.unsent(), ['kept']);
  assert.deepEqual(log, ['connecting a 1', 'waiting 100 2 refused: a', 'connecting a 2', 'closed GAVE_UP']);
  await assert.rejects(client.send('x'), { code: 'MILLRACE_ERR_CLIENT_CLOSED' });
  assert.equal(client.trySend('x'), 'dropped');
  assert.equal(await client.receive(), undefined);
  await assert.rejects(client.flushed(), { code: 'MILLRACE_ERR_CLIENT_CLOSED' });
});

test('shouldRetry can end it', limit, async () => {
  const network = new Network();
  const { client } = network.client({ shouldRetry: (cause) => (cause as Error).message !== 'banned' });
  await settle();
  await network.last.refuse();
  await network.clock.advance(100);
  await network.last.refuse(new Error('banned'));
  assert.equal((await client.closed).reason, 'GAVE_UP');
});

test('what was sent without a connection is sent with the first, in order', limit, async () => {
  const network = new Network();
  const { client } = network.client();
  await client.send(1);
  assert.equal(client.trySend(2), 'queued');
  await client.send(3);
  assert.equal(client.bufferedMessages, 3);
  const flushed = client.flushed();
  const server = await network.last.accept();
  await flushed;
  await client.send(4);
  assert.equal(client.trySend(5), 'sent');
  assert.deepEqual(await received(server), [1, 2, 3, 4, 5]);
  assert.equal(client.bufferedMessages, 0);
  await client.close();
});

test('onConnect comes before everything else, and may talk', limit, async () => {
  const network = new Network();
  const { client } = network.client({
    onConnect: async (session, { address }) => {
      await session.send(`subscribe ${address}`);
      assert.equal(await session.receive(), 'welcome');
    },
  });
  await client.send('first');
  const server = await network.last.accept();
  assert.deepEqual(await received(server), ['subscribe a']);
  assert.equal(client.state.kind, 'connecting');
  await server.send('welcome');
  await settle();
  assert.equal(client.state.kind, 'connected');
  assert.deepEqual(await received(server), ['first']);
  await client.close();
});

test('onConnect that throws, hangs, or whose session dies is a failure', limit, async () => {
  const network = new Network();
  let hook = (): Promise<void> => Promise.reject(new Error('bad password'));
  let signal: AbortSignal | undefined;
  const { client, log } = network.client({
    connectTimeoutMs: 500,
    onConnect: (_, context) => {
      signal = context.signal;
      return hook();
    },
  });
  await settle();
  await network.last.accept();
  assert.equal(log.at(-1), 'waiting 100 2 bad password');
  assert.equal(network.open, 0);
  await network.clock.advance(100);
  hook = () => new Promise(() => {});
  await network.last.accept();
  await network.clock.advance(500);
  assert.equal(log.at(-1), 'waiting 200 3 not connected within 500 ms');
  assert.equal(signal?.aborted, true);
  assert.equal(network.open, 0);
  await network.clock.advance(200);
  (await network.last.accept()).abort();
  await settle();
  assert.match(log.at(-1) as string, /^waiting 400 4/);
  await network.clock.advance(400);
  hook = () => {
    throw new Error('at once');
  };
  await network.last.accept();
  assert.match(log.at(-1) as string, /^waiting 800 5 at once/);
  await client.close();
});

test('an attempt that takes too long is ended, and the next waits for that', limit, async () => {
  const network = new Network();
  const { client, log } = network.client({ connectTimeoutMs: 500 });
  await settle();
  await network.clock.advance(500);
  assert.equal(network.last.signal.aborted, true);
  assert.equal(network.attempts.length, 1);
  // Connected all the same, too late.
  await network.last.accept();
  assert.equal(network.open, 0);
  assert.equal(log.at(-1), 'waiting 100 2 not connected within 500 ms');
  await client.close();
});

test('close() while connecting: what connects then is closed, and nothing follows', limit, async () => {
  const network = new Network();
  let isWelcomed = false;
  const onConnect = (): void => {
    isWelcomed = true;
  };
  const { client, log } = network.client({ onConnect });
  await settle();
  const closing = client.close('enough');
  assert.equal(network.last.signal.aborted, true);
  await network.last.accept();
  const reason = await closing;
  assert.deepEqual([reason.reason, reason.cause], ['CLOSED', 'enough']);
  assert.equal(network.open, 0);
  assert.equal(isWelcomed, false);
  await network.clock.advance(100_000);
  assert.deepEqual(log, ['connecting a 1', 'closed CLOSED']);
});

test('close() at any moment around the connection leaves nothing open', limit, async () => {
  for (const hasHook of [false, true]) {
    for (let ticks = 0; ticks < 30; ticks++) {
      const network = new Network();
      const { client } = network.client(hasHook ? { onConnect: () => {} } : {});
      await settle();
      const accepted = network.last.accept();
      for (let tick = 0; tick < ticks; tick++) await undefined;
      await client.close();
      await accepted;
      assert.equal(network.open, 0);
      assert.equal(network.clock.pending, 0);
    }
  }
});

test('the next address is tried when the last connection is over', limit, async () => {
  const network = new Network();
  network.answer = (attempt) => void attempt.accept();
  const addresses = ['a', 'b', 'c'];
  const { client } = network.client({ addresses, maxAttempts: 1, onConnect: () => Promise.reject(new Error('no')) });
  await client.closed;
  assert.equal(network.attempts.length, 3);
  assert.equal(network.mostLive, 1);
});

test('close() while waiting and while onConnect runs', limit, async () => {
  const network = new Network();
  const waiting = network.client();
  await settle();
  await network.last.refuse();
  await waiting.client.close();
  assert.equal(network.clock.pending, 0);
  const busy = network.client({ onConnect: () => new Promise(() => {}) });
  await settle();
  await network.last.accept();
  await busy.client.close();
  assert.equal(network.open, 0);
  assert.equal(network.clock.pending, 0);
});

test('close() from the listener of connected', limit, async () => {
  const network = new Network();
  const { client, log } = network.client();
  client.on('connected', () => void client.close());
  await settle();
  const server = await network.last.accept();
  await client.closed;
  assert.equal(((await server.closed) as { reason: string }).reason, 'ENDED');
  assert.deepEqual(log, ['connecting a 1', 'connected a', 'closed CLOSED']);
});

test('close() gives what waits to the connection first', limit, async () => {
  const network = new Network();
  const { client } = network.client();
  await settle();
  const server = await network.last.accept();
  (client.session as unknown as MemorySession).highFrames = 1;
  const sends = [1, 2, 3].map((n) => client.send(n));
  await settle();
  const closing = client.close();
  await assert.rejects(client.send(4), { code: 'MILLRACE_ERR_CLIENT_CLOSED' });
  const got: unknown[] = [];
  while (got.length < 3) got.push(await server.receive());
  assert.deepEqual(got, [1, 2, 3]);
  assert.equal((await closing).unsentMessages, 0);
  await Promise.all(sends);
});

test('abort() and the signal end it at once', limit, async () => {
  for (const isSignal of [false, true]) {
    const network = new Network();
    const controller = new AbortController();
    const { client } = network.client({ signal: controller.signal });
    await settle();
    const server = await network.last.accept();
    if (isSignal) controller.abort('now');
    else void client.abort('now');
    const reason = await client.closed;
    assert.deepEqual([reason.reason, reason.cause], ['ABORTED', 'now']);
    assert.equal(((await server.closed) as { reason: string }).reason, 'RESET');
  }
  const { client, log } = new Network().client({ signal: AbortSignal.abort('never') });
  assert.equal((await client.closed).reason, 'ABORTED');
  assert.deepEqual(log, ['closed ABORTED']);
});

test('messages of all sessions come to one consumer', limit, async () => {
  const network = new Network();
  const { client } = network.client();
  const got: unknown[] = [];
  const reading = (async () => {
    for await (const message of client) got.push(message);
  })();
  await settle();
  const first = await network.last.accept();
  await first.send(1);
  await first.send(2);
  await settle();
  first.abort();
  await settle();
  await network.clock.advance(1000);
  const second = await network.last.accept();
  await second.send(3);
  await settle();
  await client.close();
  await reading;
  assert.deepEqual(got, [1, 2, 3]);
  assert.throws(() => client[Symbol.asyncIterator](), { code: 'MILLRACE_ERR_MISUSE' });
});

test('leaving the loop closes the client', limit, async () => {
  const network = new Network();
  network.answer = (attempt) => void attempt.accept().then((server) => server.send('x'));
  const { client } = network.client();
  for await (const _ of client) break;
  assert.equal(client.state.kind, 'closed');
});

test('a wait for a message ends with its signal', limit, async () => {
  const { client } = new Network().client();
  const controller = new AbortController();
  const waiting = client.receive({ signal: controller.signal });
  await assert.rejects(client.receive(), { code: 'MILLRACE_ERR_MISUSE' });
  controller.abort(new Error('late'));
  await assert.rejects(waiting, /^Error: late$/);
  void client.abort();
});

test('what a listener throws is an uncaught exception, and nothing stops', limit, async (t) => {
  const network = new Network();
  const { client, log } = network.client();
  const problem = new Error('in a listener');
  client.once('connecting', () => {
    throw problem;
  });
  const seen = deferred<unknown>();
  const [runner] = process.listeners('uncaughtException');
  process.removeAllListeners('uncaughtException');
  process.once('uncaughtException', (error) => seen.resolve(error));
  t.after(() => void (runner && process.on('uncaughtException', runner)));
  assert.equal(await seen.promise, problem);
  await network.last.accept();
  assert.equal(log.at(-1), 'connected a');
  await client.close();
});

test('requests go to the session of the moment', limit, async () => {
  const network = new Network();
  const { client } = network.client();
  const contract = defineContract({
    wait: { kind: 'request', input: number, output: number },
    log: { kind: 'oneway' },
  });
  const api = call(client, contract, { maxQueued: 2 });
  const early = [api.wait(1), api.wait(2)];
  await assert.rejects(api.wait(3), { code: 'MILLRACE_ERR_OVERLOADED', mayHaveRun: false });
  const logged = api.log();
  const handlers = { wait: (n: number) => (n < 100 ? n : new Promise<number>(() => {})), log: () => {} };
  await settle();
  const serve = async (): Promise<MemorySession> => {
    const server = await network.last.accept();
    respond(server, contract, handlers);
    return server;
  };
  const first = await serve();
  assert.deepEqual(await Promise.all(early), [1, 2]);
  await logged;
  const lost = api.wait(100).catch((error: RpcError) => error);
  await settle();
  first.abort();
  const error = (await lost) as RpcError;
  assert.deepEqual([error.code, error.mayHaveRun], ['MILLRACE_ERR_CALL_CLOSED', true]);
  const later = api.wait(4);
  await settle();
  await network.clock.advance(1000);
  await serve();
  assert.equal(await later, 4);
  const pending = api.wait(100).catch((error: RpcError) => error.code);
  await settle();
  await client.close();
  assert.equal(await pending, 'MILLRACE_ERR_CALL_CLOSED');
  await assert.rejects(api.wait(5), { code: 'MILLRACE_ERR_CALL_CLOSED', mayHaveRun: false });
  await assert.rejects(api.log(), { code: 'MILLRACE_ERR_CALL_CLOSED' });
});

test('a server that says goodbye gets no new calls: they wait for the next session', limit, async () => {
  const network = new Network();
  const { client } = network.client();
  const contract = defineContract({ one: { kind: 'request', output: number } });
  const api = call(client, contract);
  await settle();
  const first = await network.last.accept();
  const responder = respond(first, contract, { one: () => 1 });
  assert.equal(await api.one(), 1);
  await responder.drain();
  await settle();
  const answer = api.one();
  await settle();
  first.abort();
  await settle();
  await network.clock.advance(1000);
  respond(await network.last.accept(), contract, { one: () => 2 });
  assert.equal(await answer, 2);
  await client.close();
});

test('a client answers calls of each session', limit, async () => {
  const network = new Network();
  const { client } = network.client();
  const contract = defineContract({ who: { kind: 'request', output: number } });
  const responder = respond(client, contract, { who: () => 7 });
  for (let i = 0; i < 2; i++) {
    await settle();
    const server = await network.last.accept();
    assert.equal(await call(server, contract).who(), 7);
    server.abort();
    await settle();
    await network.clock.advance(1000);
  }
  const closing = client.close();
  await network.last.refuse();
  await closing;
  await responder.done;
});

test('options that make no sense are refused', () => {
  const bad = [
    { addresses: [] },
    { order: 'sideways' as never },
    { maxAttempts: 0 },
    { stableMs: -1 },
    { connectTimeoutMs: 0 },
    { baseMs: -5 },
    { outbox: { maxMessages: 0 } },
    { outbox: { maxBytes: Number.NaN } },
    { outbox: { whenFull: 'explode' as never } },
  ];
  for (const options of bad) assert.throws(() => new Network().client(options), { code: 'MILLRACE_ERR_BAD_OPTION' });
});
