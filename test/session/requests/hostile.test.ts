/** What a peer can do that doesn't keep to the protocol: it loses the session, and costs no memory. */
import assert from 'node:assert/strict';
import test from 'node:test';
import { call, defineContract, type RpcError, requestStats, respond } from 'millrace/session';
import { type Ending, limit, pair, settle } from '../support/pair.ts';
import { number } from '../support/schemas.ts';

const contract = defineContract({
  wait: { kind: 'request' },
  count: { kind: 'stream', items: number },
  sum: { kind: 'upload', uploads: number, output: number },
  log: { kind: 'oneway' },
});

/** A server with a call of ours, a stream of ours and calls 1 (wait), 2 (count) and 3 (sum) of the peer under way. */
async function stage() {
  const { client, server } = pair();
  respond(server, contract, {
    wait: () => new Promise(() => {}),
    async *count() {
      yield 1;
      await new Promise(() => {});
    },
    async sum(_, uploads) {
      await uploads.next();
      return new Promise(() => {});
    },
    log: () => {},
  });
  const api = call(server, contract, { window: 4 });
  const waiting = api.wait().catch((error: RpcError) => error);
  const stream = api.count();
  for (const message of ['[1,1,"wait",0,0]', '[1,2,"count",0,2]', '[1,3,"sum",0,0]']) server.put(message);
  await settle();
  return { client, server, waiting, stream };
}

const violations = {
  'no array': '{"a":1}',
  'a number': '5',
  null: 'null',
  'an empty array': '[]',
  'an unknown kind': '[8,1]',
  'a kind that is no number': '["1",1]',
  'a kind with a fraction': '[1.5,1]',
  'a call with an old id': '[1,3,"wait",0,0]',
  'a call with a negative id': '[1,-4,"wait",0,0]',
  'a call with no id': '[1]',
  'a call with a text as id': '[1,"4","wait",0,0]',
  'a call without a method': '[1,4]',
  'a method that is an object': '[1,4,{},0,0]',
  'a negative deadline': '[1,4,"wait",-1,0]',
  'a huge deadline': '[1,4,"wait",1e300,0]',
  'a credit that is none': '[1,4,"wait",0,"x"]',
  'an answer to a call that was never made': '[4,-3,1]',
  'an answer with id 0': '[4,0,1]',
  'an answer without id': '[4]',
  'an item for a call that was never made': '[2,9,1]',
  'an item for a request': '[2,1,1]',
  'an item as answer to a request': '[2,-1,1]',
  'an end of uploads for a request': '[4,1]',
  'credit for a request': '[3,1,5]',
  'credit for a call without uploads': '[3,-1,5]',
  'no credit': '[3,2]',
  'a credit of zero': '[3,2,0]',
  'a credit that overflows': '[3,2,2147483647]', // one is left
  'a failure without a code': '[5,-1]',
  'a failure without a message': '[5,-1,"X"]',
  'a failure of a failure': '[5,1,{"a":1},[]]',
  'a stop of a call without uploads': '[6,-1]',
  'a stop by the caller': '[6,3]',
  'a one-way message without a method': '[0]',
};

for (const [name, message] of Object.entries(violations)) {
  test(`${name} ends the session`, limit, async () => {
    const { server, waiting } = await stage();
    server.put(message);
    const ending: Ending = await server.closed;
    assert.equal(ending.reason, 'ABORTED');
    assert.equal((ending.cause as RpcError).code, 'MILLRACE_ERR_PROTOCOL');
    const error = (await waiting) as RpcError;
    assert.equal(error.code, 'MILLRACE_ERR_CALL_CLOSED');
    assert.equal(error.cause, ending);
    await settle();
    assert.deepEqual(requestStats(server).lateMessages, 0);
  });
}

test('items beyond the credit end the session', limit, async () => {
  const { server, stream } = await stage();
  for (let i = 0; i < 4; i++) server.put('[2,-2,1]');
  await settle();
  assert.equal(server.isWritable, true);
  server.put('[2,-2,1]');
  await server.closed;
  for (let i = 0; i < 4; i++) assert.equal((await stream.next()).value, 1);
  await assert.rejects(stream.next(), { code: 'MILLRACE_ERR_CALL_CLOSED' });
});

test('uploads that nobody asked for end the session', limit, async () => {
  const { server } = await stage();
  // The handler has asked for 32.
  for (let i = 0; i < 32; i++) server.put('[2,3,1]');
  await settle();
  assert.equal(server.isWritable, true);
  server.put('[2,3,1]');
  await server.closed;
});

test('what is late is counted, and harmless', limit, async () => {
  const { server, stream } = await stage();
  await stream.return?.();
  const late = ['[2,-2,1]', '[4,-2]', '[5,-2,"X","x"]', '[3,-2,1]', '[6,-2]'];
  for (const message of late) server.put(message);
  server.put('[5,2,"C","cancelled"]');
  for (const message of ['[5,2,"C","again"]', '[3,2,100]']) server.put(message);
  await settle();
  assert.equal(requestStats(server).lateMessages, late.length + 2);
  assert.equal(server.isWritable, true);
});

test('streams without end are refused beyond the limit, and hold no memory', limit, async () => {
  const { client, server } = pair();
  client.holdUp();
  let open = 0;
  respond(
    server,
    contract,
    {
      wait: () => {},
      sum: () => 0,
      log: () => {},
      async *count() {
        open += 1;
        yield 1;
      },
    },
    { maxStreams: 10 },
  );
  for (let id = 1; id <= 5000; id++) server.put(`[1,${id},"count",0,0]`);
  await settle();
  assert.equal(open, 0, 'without credit no source is asked');
  assert.equal(requestStats(server).serving, 10);
  assert.equal(server.sent.length, 4990);
});

test('a peer that calls and never reads is not read', limit, async () => {
  const { client, server } = pair();
  client.holdUp();
  server.highFrames = 1;
  respond(server, contract, { wait: () => {}, sum: () => 0, log: () => {}, async *count() {} }, { maxRequests: 8 });
  for (let id = 1; id <= 20_000; id++) server.put(`[1,${id},"wait",0,0]`);
  await settle();
  assert.equal(requestStats(server).serving, 0);
  assert.ok(server.sent.length <= 1024 + 8, `${server.sent.length} answers wait`);
  assert.ok(server.unread > 18_000);
  server.highFrames = Number.POSITIVE_INFINITY;
  client.letGo();
  for (let answers = 0; answers < 20_000; answers++) await client.receive();
  assert.equal(server.unread, 0);
});

test('calls that are cancelled at once do not pile up', limit, async () => {
  const { server } = pair();
  let running = 0;
  const wait = () => {
    running += 1;
    return new Promise<void>(() => {});
  };
  const responder = respond(
    server,
    contract,
    { wait, sum: () => 0, log: () => {}, async *count() {} },
    { maxRequests: 16 },
  );
  for (let id = 1; id <= 2000; id++) {
    server.put(`[1,${id},"wait",0,0]`);
    server.put(`[5,${id},"C","c"]`);
  }
  await settle();
  assert.ok(running <= 16);
  assert.equal(responder.running, running);
  assert.equal(requestStats(server).serving, 0);
});
