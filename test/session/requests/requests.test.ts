import assert from 'node:assert/strict';
import test from 'node:test';
import { call, defineContract, RpcError, requestStats, respond, type Session, unchecked } from 'millrace/session';
import { deferred, limit, pair, settle } from '../support/pair.ts';
import { decimal, number, numbers, slowNumber, text } from '../support/schemas.ts';

const calculator = defineContract({
  add: { kind: 'request', input: numbers, output: number },
  half: { kind: 'request', input: decimal, output: decimal },
  ping: { kind: 'request' },
  log: { kind: 'oneway', input: text },
});

/** Handlers that do what a test doesn't look at. */
const plain = {
  add: ({ a, b }: { a: number; b: number }) => a + b,
  half: (value: number) => String(value / 2),
  ping: () => {},
  log: () => {},
};

test('a call is answered, by types from the contract', limit, async () => {
  const { client, server } = pair();
  respond(server, calculator, plain);
  const api = call(client, calculator);
  const sum: number = await api.add({ a: 1, b: 2 });
  assert.equal(sum, 3);
  const half: number = await api.half('5');
  assert.equal(half, 2.5);
  assert.equal(await api.ping(), undefined);
  assert.deepEqual(client.sent, ['[1,1,"add",0,0,{"a":1,"b":2}]', '[1,2,"half",0,0,"5"]', '[1,3,"ping",0,0]']);
  assert.deepEqual(server.sent, ['[4,-1,3]', '[4,-2,"2.5"]', '[4,-3]']);
  assert.equal(requestStats(client).calling, 0);
  assert.equal(server.holds, 0);
});

test('both sides call and answer on one session', limit, async () => {
  const { client, server } = pair();
  const names = defineContract({ name: { kind: 'request', output: text } });
  respond(client, names, { name: () => 'client' });
  const contract = defineContract({ greet: { kind: 'request', output: text } });
  respond(server, contract, { greet: async () => `hello, ${await call(server, names).name()}` });
  assert.equal(await call(client, contract).greet(), 'hello, client');
});

test('answers come in any order, each to its call', limit, async () => {
  const { client, server } = pair();
  const contract = defineContract({ wait: { kind: 'request', input: number, output: number } });
  const gates = new Map<number, () => void>();
  respond(server, contract, {
    wait: async (n) => {
      await new Promise<void>((resolve) => gates.set(n, resolve));
      return n * 10;
    },
  });
  const api = call(client, contract);
  const order: number[] = [];
  const calls = [1, 2, 3].map((n) => api.wait(n).then((answer) => order.push(answer)));
  await settle();
  for (const n of [3, 1, 2]) {
    gates.get(n)?.();
    await settle();
  }
  await Promise.all(calls);
  assert.deepEqual(order, [30, 10, 20]);
});

test('one-way messages are heard in order, and nothing comes back', limit, async () => {
  const { client, server } = pair();
  const lines: string[] = [];
  respond(server, calculator, { ...plain, log: (line) => void lines.push(line) });
  const api = call(client, calculator);
  await Promise.all([api.log('one'), api.log('two')]);
  await settle();
  assert.deepEqual(lines, ['one', 'two']);
  assert.deepEqual(server.sent, []);
});

test('an error that a handler means crosses the wire, with its data', limit, async () => {
  const { client, server } = pair();
  const add = () => {
    throw new RpcError('TOO_LARGE', 'above ten', { data: { most: 10 }, cause: new Error('secret') });
  };
  respond(server, calculator, { ...plain, add });
  await assert.rejects(call(client, calculator).add({ a: 1, b: 2 }), (error) => {
    assert.ok(error instanceof RpcError);
    const { code, message, data, isRemote, mayHaveRun, cause } = error;
    assert.deepEqual(
      { code, message, data, isRemote, mayHaveRun, cause },
      {
        code: 'TOO_LARGE',
        message: 'above ten',
        data: { most: 10 },
        isRemote: true,
        mayHaveRun: true,
        cause: undefined,
      },
    );
    return true;
  });
});

test('another exception is INTERNAL, and its message stays here', limit, async () => {
  const { client, server } = pair();
  const problem = new Error('password is 1234');
  const seen: unknown[] = [];
  const onError = (error: unknown, { method }: { method: string }) => void seen.push(method, error);
  const add = () => {
    throw problem;
  };
  respond(server, calculator, { ...plain, add }, { onError });
  await assert.rejects(call(client, calculator).add({ a: 1, b: 2 }), {
    code: 'MILLRACE_ERR_INTERNAL',
    data: undefined,
  });
  assert.deepEqual(seen, ['add', problem]);
  assert.ok(!server.sent.join().includes('1234'));
});

test('an error of a service behind is not handed on, unless expose says so', limit, async () => {
  const upstream = pair();
  const secret = () => {
    throw new RpcError('NO_SUCH_ROW', 'table users');
  };
  respond(upstream.server, calculator, { ...plain, add: secret });
  const behind = call(upstream.client, calculator);
  for (const isExposed of [false, true]) {
    const { client, server } = pair();
    const expose = (error: unknown) =>
      isExposed && error instanceof RpcError ? new RpcError(error.code, 'not found') : undefined;
    respond(server, calculator, { ...plain, add: (input) => behind.add(input) }, { onError: () => {}, expose });
    await assert.rejects(
      call(client, calculator).add({ a: 1, b: 2 }),
      isExposed ? { code: 'NO_SUCH_ROW', message: 'not found' } : { code: 'MILLRACE_ERR_INTERNAL' },
    );
  }
});

test('without onError, the first exception of a method is a warning', limit, async (t) => {
  const { client, server } = pair();
  const warnings: string[] = [];
  const onWarning = (warning: Error & { code?: string }): void =>
    void warnings.push(`${warning.code} ${warning.message}`);
  process.on('warning', onWarning);
  t.after(() => process.removeListener('warning', onWarning));
  const add = () => {
    throw new Error('broken');
  };
  respond(server, calculator, { ...plain, add });
  const api = call(client, calculator);
  for (let i = 0; i < 3; i++) await assert.rejects(api.add({ a: 1, b: 2 }), { code: 'MILLRACE_ERR_INTERNAL' });
  await settle();
  assert.equal(warnings.length, 1);
  assert.match(warnings[0] as string, /^MILLRACE_WARN_HANDLER the handler of 'add' threw.*Error: broken/s);
});

test('input is checked by the responder, output by the caller', limit, async () => {
  const { client, server } = pair();
  let calls = 0;
  const add = () => {
    calls += 1;
    return 'three' as never;
  };
  respond(server, calculator, { ...plain, add });
  const api = call(client, calculator);
  await assert.rejects(api.add({ a: 'x' } as never), (error: RpcError) => {
    assert.equal(error.code, 'MILLRACE_ERR_BAD_INPUT');
    assert.equal(error.mayHaveRun, false);
    assert.deepEqual(error.data, [{ message: 'no two numbers', path: ['a'] }]);
    return true;
  });
  assert.equal(calls, 0);
  await assert.rejects(api.add({ a: 1, b: 2 }), { code: 'MILLRACE_ERR_BAD_OUTPUT', mayHaveRun: true, isRemote: false });
});

test('schemas may be asynchronous', limit, async () => {
  const { client, server } = pair();
  const contract = defineContract({ double: { kind: 'request', input: slowNumber, output: slowNumber } });
  respond(server, contract, { double: (n) => 2 * n });
  const api = call(client, contract);
  assert.deepEqual(await Promise.all([api.double(1), api.double(2)]), [2, 4]);
  await assert.rejects(api.double('x' as never), { code: 'MILLRACE_ERR_BAD_INPUT' });
});

test('an input with thousands of issues gets a short answer', limit, async () => {
  const { client, server } = pair();
  const issues = Array.from({ length: 10_000 }, () => ({ message: 'x'.repeat(10_000), path: ['p'.repeat(10_000)] }));
  const picky = { '~standard': { version: 1, vendor: 'by hand', validate: () => ({ issues }) } } as const;
  const contract = defineContract({ one: { kind: 'request', input: picky } });
  respond(server, contract, { one: () => {} });
  await assert.rejects(call(client, contract).one('x'), { code: 'MILLRACE_ERR_BAD_INPUT' });
  assert.ok((server.sent[0] as string).length < 10_000);
});

test('a method that is not there is refused, whatever its name', limit, async () => {
  const { client, server } = pair();
  respond(server, calculator, plain);
  for (const name of ['nothing', 'toString', '__proto__', 'constructor']) {
    const contract = JSON.parse(`{"${name}":{"kind":"request"}}`);
    await assert.rejects((call(client, defineContract(contract)) as any)[name](), {
      code: 'MILLRACE_ERR_UNKNOWN_METHOD',
      mayHaveRun: false,
    });
  }
  // Nor as another kind.
  const wrong = defineContract({ log: { kind: 'request', input: text } });
  await assert.rejects(call(client, wrong).log('x'), { code: 'MILLRACE_ERR_UNKNOWN_METHOD' });
  const oneway = defineContract({ nothing: { kind: 'oneway' }, add: { kind: 'oneway', input: text } });
  await call(client, oneway).nothing();
  await call(client, oneway).add('x');
  await settle();
  assert.equal(requestStats(server).droppedOneways, 2);
});

test('a signal cancels a call on both sides', limit, async () => {
  const { client, server } = pair();
  const entered = deferred<AbortSignal>();
  const left = deferred<unknown>();
  const contract = defineContract({ wait: { kind: 'request' } });
  const wait = (_: undefined, { signal }: { signal: AbortSignal }) =>
    new Promise<void>((_, reject) => {
      entered.resolve(signal);
      signal.addEventListener('abort', () => reject(signal.reason));
    });
  respond(server, contract, { wait: (input, context) => wait(input, context).catch((error) => left.resolve(error)) });
  const controller = new AbortController();
  const reason = new Error('enough');
  const answer = call(client, contract).wait(undefined, { signal: controller.signal });
  const signal = await entered.promise;
  assert.equal(signal.aborted, false);
  assert.equal(requestStats(server).serving, 1);
  controller.abort(reason);
  await assert.rejects(answer, (error) => error === reason);
  const error = (await left.promise) as RpcError;
  assert.equal(error.code, 'MILLRACE_ERR_CANCELLED');
  await settle();
  assert.deepEqual([requestStats(server).serving, requestStats(client).calling, server.holds], [0, 0, 0]);
  // Nothing was answered.
  assert.deepEqual(server.sent, []);
});

test('a signal that is aborted already sends nothing', limit, async () => {
  const { client } = pair();
  const signal = AbortSignal.abort(new Error('no'));
  const api = call(client, calculator);
  await assert.rejects(api.ping(undefined, { signal }), /^Error: no$/);
  await assert.rejects(api.log('x', { signal }), /^Error: no$/);
  assert.deepEqual(client.sent, []);
});

test('a signal that outlives its calls keeps nothing of them', limit, async () => {
  const { client, server } = pair();
  respond(server, calculator, plain);
  const api = call(client, calculator);
  const { signal } = new AbortController();
  let listeners = 0;
  const [add, remove] = [signal.addEventListener.bind(signal), signal.removeEventListener.bind(signal)];
  signal.addEventListener = (...parameters: Parameters<typeof add>) => {
    listeners += 1;
    add(...parameters);
  };
  signal.removeEventListener = (...parameters: Parameters<typeof remove>) => {
    listeners -= 1;
    remove(...parameters);
  };
  await api.ping(undefined, { signal });
  await api.log('x', { signal });
  await assert.rejects(api.add({} as never, { signal }));
  await settle();
  assert.equal(listeners, 0);
});

test('a deadline ends both sides, and a late answer is counted', limit, async (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] });
  const { client, server } = pair();
  const contract = defineContract({ wait: { kind: 'request', output: text, deadlineMs: 1000 } });
  const gate = deferred<string>();
  let reason: unknown;
  let remainingMs = 0;
  respond(server, contract, {
    wait: (_, context) => {
      remainingMs = context.remainingMs;
      context.signal.addEventListener('abort', () => {
        reason = context.signal.reason;
      });
      return gate.promise;
    },
  });
  const answer = call(client, contract).wait();
  const failure = assert.rejects(answer, { code: 'MILLRACE_ERR_DEADLINE', mayHaveRun: true, isRemote: false });
  await settle();
  assert.ok(remainingMs > 0 && remainingMs <= 1000);
  assert.match(client.sent[0] as string, /^\[1,1,"wait",(1000|9\d\d),0\]$/);
  // The caller's clock is first, and its cancellation is held up: the responder's own ends the handler.
  server.holdUp();
  t.mock.timers.tick(1000);
  await failure;
  await settle();
  assert.equal((reason as RpcError).code, 'MILLRACE_ERR_DEADLINE');
  server.letGo();
  await settle();
  // The responder's answer came when nobody waited for it any more, and so did the caller's cancellation.
  assert.equal(requestStats(client).lateMessages, 1);
  assert.equal(requestStats(server).lateMessages, 1);
  assert.equal(server.holds, 1, 'the handler still runs');
  gate.resolve('late');
  await settle();
  assert.equal(server.holds, 0);
  assert.deepEqual(server.sent, ['[5,-1,"MILLRACE_ERR_DEADLINE","the deadline has passed"]']);
});

test('a deadline of the call comes before that of the contract', limit, async (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] });
  const { client } = pair();
  const contract = defineContract({ wait: { kind: 'request', deadlineMs: 1000 } });
  const api = call(client, contract);
  const never = api.wait(undefined, { deadlineMs: Number.POSITIVE_INFINITY }).catch((error: RpcError) => error.code);
  const soon = assert.rejects(api.wait(undefined, { deadlineMs: 10 }), /within 10 ms/);
  t.mock.timers.tick(10);
  await soon;
  t.mock.timers.tick(5000);
  assert.match(client.sent[0] as string, /^\[1,1,"wait",0,0\]$/);
  client.abort();
  assert.equal(await never, 'MILLRACE_ERR_CALL_CLOSED');
  await assert.rejects(api.wait(undefined, { deadlineMs: 0 }), { code: 'MILLRACE_ERR_BAD_CONTRACT' });
  await assert.rejects(api.wait(undefined, { deadlineMs: Number.NaN }), { code: 'MILLRACE_ERR_BAD_CONTRACT' });
});

test('calls beyond the limit wait, and beyond that are refused', limit, async (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] });
  const { client, server } = pair();
  const contract = defineContract({ wait: { kind: 'request', input: number, output: number } });
  const gates: (() => void)[] = [];
  let most = 0;
  let running = 0;
  respond(server, contract, {
    wait: async (n) => {
      most = Math.max(most, ++running);
      await new Promise<void>((resolve) => gates.push(resolve));
      running -= 1;
      return n;
    },
  });
  const api = call(client, contract, { maxRequests: 2, maxQueued: 2 });
  const controller = new AbortController();
  const first = [api.wait(1), api.wait(2)];
  const cancelled = assert.rejects(api.wait(3, { signal: controller.signal }), /^Error: never mind$/);
  const expired = assert.rejects(api.wait(4, { deadlineMs: 50 }), { code: 'MILLRACE_ERR_DEADLINE', mayHaveRun: false });
  await assert.rejects(api.wait(5), { code: 'MILLRACE_ERR_OVERLOADED', mayHaveRun: false });
  controller.abort(new Error('never mind'));
  t.mock.timers.tick(50);
  await Promise.all([cancelled, expired]);
  // Two places of the queue are free again.
  const last = [api.wait(6), api.wait(7)];
  await assert.rejects(api.wait(8), { code: 'MILLRACE_ERR_OVERLOADED' });
  await settle();
  while (running > 0) {
    gates.shift()?.();
    await settle();
  }
  assert.deepEqual(await Promise.all([...first, ...last]), [1, 2, 6, 7]);
  assert.equal(most, 2);
  assert.ok(!client.sent.some((message) => /[3458]\]$/.test(message)));
});

test('a responder runs so many handlers at once, and refuses more', limit, async () => {
  const { client, server } = pair();
  const contract = defineContract({
    wait: { kind: 'request' },
    log: { kind: 'oneway' },
    ticks: { kind: 'stream', items: number },
  });
  const gate = deferred();
  let logged = 0;
  const responder = respond(
    server,
    contract,
    {
      wait: () => gate.promise,
      log: () => {
        logged += 1;
      },
      ticks: async function* () {
        await gate.promise;
        yield 1;
      },
    },
    { maxRequests: 2, maxStreams: 1 },
  );
  const api = call(client, contract);
  const waiting = [api.wait(), api.wait()];
  await settle();
  await assert.rejects(api.wait(), { code: 'MILLRACE_ERR_OVERLOADED', mayHaveRun: false, isRemote: true });
  await api.log();
  await settle();
  assert.equal(logged, 0);
  assert.equal(requestStats(server).droppedOneways, 1);
  const ticks = api.ticks();
  await settle();
  assert.equal(responder.running, 3);
  await assert.rejects(api.ticks().next(), { code: 'MILLRACE_ERR_OVERLOADED' });
  gate.resolve();
  await Promise.all(waiting);
  assert.deepEqual(await ticks.next(), { done: false, value: 1 });
  assert.deepEqual(await ticks.next(), { done: true, value: undefined });
  await api.wait();
  await api.log();
  await settle();
  assert.equal(logged, 1);
  assert.equal(responder.running, 0);
});

test('a call whose sending ends the session takes those behind it with it', limit, async () => {
  const { client } = pair();
  const contract = defineContract({ wait: { kind: 'request', input: unchecked<unknown>() }, log: { kind: 'oneway' } });
  const api = call(client, contract, { maxRequests: 1 });
  const codes: string[] = [];
  const ask = (input: unknown) =>
    api.wait(input).catch((error: RpcError) => codes.push(`${error.code} ${error.mayHaveRun}`));
  const controller = new AbortController();
  const first = api.wait(0, { signal: controller.signal }).catch(() => {});
  const calls = [ask({ toJSON: () => client.abort() }), ask(2), api.log().catch(() => {})];
  await settle();
  controller.abort();
  await Promise.all([first, ...calls]);
  assert.deepEqual(codes.sort(), ['MILLRACE_ERR_CALL_CLOSED false', 'MILLRACE_ERR_CALL_CLOSED true']);
});

test('a one-way message that is cancelled while it waits gives back one place', limit, async () => {
  const { client, server } = pair();
  client.highFrames = 1;
  const api = call(client, calculator);
  const controller = new AbortController();
  const sending = assert.rejects(api.log('x', { signal: controller.signal }), /^Error: enough$/);
  await settle();
  controller.abort(new Error('enough'));
  await sending;
  await server.receive();
  client.highFrames = Number.POSITIVE_INFINITY;
  await api.log('y');
  assert.deepEqual(client.sent, ['[0,"log","x"]', '[0,"log","y"]']);
});

test('a call that is cancelled holds its place until its handler is through', limit, async () => {
  const { client, server } = pair();
  const contract = defineContract({ wait: { kind: 'request' } });
  const gate = deferred();
  respond(server, contract, { wait: () => gate.promise }, { maxRequests: 1 });
  const api = call(client, contract);
  const controller = new AbortController();
  const first = api.wait(undefined, { signal: controller.signal });
  await settle();
  controller.abort();
  await assert.rejects(first, { name: 'AbortError' });
  await assert.rejects(api.wait(), { code: 'MILLRACE_ERR_OVERLOADED' });
  gate.resolve();
  await settle();
  await api.wait();
});

test('the end of a session rejects everything once, and says what may have run', limit, async () => {
  const { client, server } = pair();
  const contract = defineContract({ wait: { kind: 'request' }, ticks: { kind: 'stream', items: number } });
  let aborted: unknown;
  respond(server, contract, {
    wait: (_, { signal }) =>
      new Promise((_, reject) => {
        signal.addEventListener('abort', () => {
          aborted = signal.reason;
          reject(aborted);
        });
      }),
    async *ticks() {
      yield 1;
      await new Promise(() => {});
    },
  });
  const api = call(client, contract, { maxRequests: 1 });
  const settled: string[] = [];
  const watch = (name: string, promise: Promise<unknown>) =>
    promise.then(
      () => settled.push(`${name} answered`),
      (error: RpcError) => settled.push(`${name} ${error.code} ${error.mayHaveRun} ${(error.cause as any)?.reason}`),
    );
  const ticks = api.ticks();
  const calls = [watch('sent', api.wait()), watch('queued', api.wait())];
  await settle();
  client.abort(new Error('lightning'));
  await Promise.all(calls);
  assert.deepEqual(settled.sort(), [
    'queued MILLRACE_ERR_CALL_CLOSED false ABORTED',
    'sent MILLRACE_ERR_CALL_CLOSED true ABORTED',
  ]);
  // What had come is read before the error.
  assert.deepEqual(await ticks.next(), { done: false, value: 1 });
  await assert.rejects(ticks.next(), { code: 'MILLRACE_ERR_CALL_CLOSED', mayHaveRun: true });
  assert.deepEqual(await ticks.next(), { done: true, value: undefined });
  await settle();
  assert.equal((aborted as RpcError).code, 'MILLRACE_ERR_CALL_CLOSED');
  await assert.rejects(api.wait(), { code: 'MILLRACE_ERR_CALL_CLOSED', mayHaveRun: false });
  await assert.rejects(api.ticks().next(), { code: 'MILLRACE_ERR_CALL_CLOSED', mayHaveRun: false });
});

test('a call that is read behind the end of the session does not run', limit, async () => {
  const { client, server } = pair();
  const heard: unknown[] = [];
  respond(server, calculator, {
    ...plain,
    ping: () => void heard.push('ping'),
    log: (line) => void heard.push(line),
  });
  await settle();
  server.holdUp();
  for (const message of ['[0,"log","one"]', '[1,1,"ping",0,0]', '[0,"log","two"]']) server.put(message);
  client.abort();
  await server.closed;
  await settle();
  server.letGo();
  await settle();
  // One-way messages were received, and nobody waits for an answer.
  assert.deepEqual(heard, ['one', 'two']);
  assert.equal(requestStats(server).serving, 0);
  assert.equal(server.unread, 0);
});

test('a peer that ends its side still gets its answers, and gives none', limit, async () => {
  const { client, server } = pair();
  const gate = deferred();
  const contract = defineContract({ wait: { kind: 'request' } });
  const responder = respond(server, contract, { wait: () => gate.promise });
  respond(client, contract, { wait: () => new Promise(() => {}) });
  const answer = call(client, contract).wait();
  const ours = call(server, contract).wait();
  await settle();
  let isDone = false;
  void responder.done.then(() => {
    isDone = true;
  });
  client.end();
  await assert.rejects(ours, { code: 'MILLRACE_ERR_CALL_CLOSED', mayHaveRun: true });
  await settle();
  assert.equal(isDone, false, 'a handler runs');
  gate.resolve();
  await answer;
  await responder.done;
});

test('goodbye: no new calls, and those under way are answered', limit, async () => {
  const { client, server } = pair();
  const gate = deferred();
  const contract = defineContract({ wait: { kind: 'request' } });
  const responder = respond(server, contract, { wait: () => gate.promise });
  const api = call(client, contract);
  const first = api.wait();
  await settle();
  client.holdUp();
  const drained = responder.drain();
  // Made before the goodbye was seen.
  const crossing = api.wait();
  await settle();
  client.letGo();
  await assert.rejects(crossing, { code: 'MILLRACE_ERR_DRAINING', mayHaveRun: false, isRemote: true });
  await assert.rejects(api.wait(), { code: 'MILLRACE_ERR_DRAINING', mayHaveRun: false, isRemote: false });
  gate.resolve();
  await Promise.all([first, drained]);
  assert.equal(client.sent.length, 2);
});

test('what has no frame fails its call, not the session', limit, async () => {
  const { client, server } = pair();
  const contract = defineContract({
    echo: { kind: 'request', input: unchecked<unknown>(), output: unchecked<unknown>() },
  });
  const seen: unknown[] = [];
  respond(
    server,
    contract,
    { echo: (value) => (value === 'big' ? 1n : value) },
    { onError: (error) => void seen.push(error) },
  );
  const api = call(client, contract);
  await assert.rejects(api.echo(1n), TypeError);
  await assert.rejects(api.echo('big'), { code: 'MILLRACE_ERR_INTERNAL' });
  assert.ok(seen[0] instanceof TypeError);
  assert.deepEqual(await api.echo([null, { a: 1 }]), [null, { a: 1 }]);
  assert.equal(requestStats(client).calling, 0);
});

test('contracts and handlers that make no sense are refused', limit, () => {
  const bad = (contract: unknown) =>
    assert.throws(() => defineContract(contract as never), { code: 'MILLRACE_ERR_BAD_CONTRACT' });
  bad({ a: { kind: 'requests' } });
  bad({ a: undefined });
  bad({ a: { kind: 'toString' } });
  bad({ a: { kind: 'stream' } });
  bad({ a: { kind: 'request', output: {} } });
  bad({ a: { kind: 'request', items: number } });
  bad({ a: { kind: 'request', deadlineMs: -1 } });
  bad({ a: { kind: 'request', deadlineMs: 2 ** 31 } });
  bad({ a: { kind: 'oneway', deadlineMs: 5 } });
  bad(JSON.parse('{"then":{"kind":"request"}}'));
  const { server, client } = pair();
  assert.throws(() => respond(server, calculator, { add: plain.add } as never), /method 'half' has no handler/);
  respond(server, calculator, plain);
  assert.throws(() => respond(server, calculator, plain), /method 'add' has a handler on this session/);
  assert.throws(() => call(client, calculator, { maxRequests: 0 }), { code: 'MILLRACE_ERR_BAD_CONTRACT' });
  assert.throws(() => respond(client, calculator, plain, { window: 1.5 }), { code: 'MILLRACE_ERR_BAD_CONTRACT' });
});

test('the compiler knows what a contract says', limit, async (t) => {
  const { client, server } = pair();
  const contract = defineContract({
    ask: { kind: 'request', input: decimal, output: number },
    list: { kind: 'stream', items: decimal },
    fill: { kind: 'upload', uploads: decimal },
    tell: { kind: 'oneway', input: number },
  });
  const heard: number[] = [];
  const handlers = {
    ask: (n: number) => n,
    list: () => ['1', '2'],
    fill: async (_: undefined, uploads: AsyncIterable<number>) => {
      for await (const n of uploads) heard.push(n);
    },
    tell: () => {},
  };
  respond(server, contract, handlers);
  const api = call(client, contract);
  for await (const n of api.list()) heard.push(n + 1);
  assert.equal(await api.fill(undefined, ['3']), undefined);
  assert.deepEqual(heard, [2, 3, 3]);
  t.diagnostic('the rest is checked when this is compiled');
  const wrong = [
    // @ts-expect-error the schema takes text
    () => api.ask(1),
    // @ts-expect-error it has an input
    () => api.tell(),
    // @ts-expect-error there is no such method
    () => api.nothing(),
    // @ts-expect-error the handler is given a number
    () => respond(server, contract, { ...handlers, ask: (n: string) => Number(n) }),
    // @ts-expect-error the answer is a number
    () => respond(server, contract, { ...handlers, ask: () => 'x' }),
    // @ts-expect-error a handler is missing
    () => respond(server, contract, { ask: handlers.ask }),
    // @ts-expect-error text is no envelope
    (session: Session<string>) => call(session, contract),
    // @ts-expect-error a stream needs the schema of its items
    () => defineContract({ a: { kind: 'stream' } }),
  ];
  assert.equal(wrong.length, 8);
});

test('handlers are methods of their object', limit, async () => {
  const { client, server } = pair();
  const contract = defineContract({ next: { kind: 'request', output: number } });
  class Counter {
    #count = 0;
    next(): number {
      return ++this.#count;
    }
  }
  respond(server, contract, new Counter());
  const api = call(client, contract);
  await api.next();
  assert.equal(await api.next(), 2);
});
