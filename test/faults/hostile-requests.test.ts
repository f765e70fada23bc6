/** Requests over real connections, from peers that make them up: each loses its own session, and costs no memory. */
import assert from 'node:assert/strict';
import test from 'node:test';
import fc from 'fast-check';
import { lines, type StandardSchemaV1 } from 'millrace/framing';
import { call, defineContract, dial, MemoryBudget, requestStats, respond, type Session, serve } from 'millrace/session';
import { leakGuard, limit, type Stage, settled, turns, until, within } from '../support/net.ts';
import { attack } from './support/siege.ts';

await leakGuard();

const any: StandardSchemaV1<unknown> = {
  '~standard': { version: 1, vendor: 'test', validate: (value) => ({ value }) },
};
const number: StandardSchemaV1<number> = {
  '~standard': {
    version: 1,
    vendor: 'test',
    validate: (value) => (typeof value === 'number' ? { value } : { issues: [{ message: 'not a number' }] }),
  },
};
const contract = defineContract({
  echo: { kind: 'request', input: any, output: any },
  wait: { kind: 'request' },
  count: { kind: 'stream', items: any },
  sum: { kind: 'upload', uploads: number, output: number },
  log: { kind: 'oneway', input: any },
});

/** A server that answers calls, a bystander that makes some, and attackers that write messages by hand. */
async function stage(t: Stage) {
  const memory = new MemoryBudget(64 * 1024 * 1024);
  const sessions: Session<unknown>[] = [];
  const reasons: { reason: string; cause?: unknown }[] = [];
  const figures = { running: 0, returned: 0, mostRunning: 0 };
  const server = await serve<unknown, unknown>(
    {
      ...{ port: 0, host: '127.0.0.1', codec: lines().json(), limits: { memory } },
      onClosed: (_, reason) => reasons.push(reason),
    },
    async (session) => {
      sessions.push(session);
      await respond(
        session,
        contract,
        {
          echo: (input) => input,
          wait: async (_, { signal }) => {
            figures.mostRunning = Math.max(figures.mostRunning, ++figures.running);
            if (!signal.aborted)
              await new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve()));
            figures.running--;
          },
          async *count() {
            try {
              for (;;) yield 'x'.repeat(1_000);
            } finally {
              figures.returned++;
            }
          },
          async sum(_, uploads) {
            let sum = 0;
            for await (const each of uploads) sum += each;
            return sum;
          },
          log: () => {},
        },
        { maxRequests: 50, maxStreams: 20 },
      ).done;
    },
  );
  const client = await dial<unknown, unknown>({ port: server.port, host: '127.0.0.1', codec: lines().json() });
  t.after(async () => {
    client.abort();
    for (const session of server.sessions()) session.abort();
    await within(server.close(), 'closing the server');
  });
  const api = call(client, contract);
  let asked = 0;
  const isServed = async (): Promise<void> => {
    assert.equal(await within(api.echo(++asked), 'the bystander is answered'), asked);
  };
  await isServed();
  return { memory, sessions, reasons, figures, server, isServed, attack: () => attack(t, server.port as number) };
}

const bogus = [
  ...['{}', '5', 'null', '[]', '[8]', '["1",1]', '[-1]', '[1.5,1]', '[[1]]', '[1]', '[1,0,"echo",0,0]'],
  ...['[1,-1,"echo",0,0]', '[1,9007199254740993,"echo",0,0]', '[1,1e300,"echo",0,0]', '[1,1,["echo"],0,0]'],
  ...['[1,1,"echo",-1,0]', '[1,1,"echo",2147483648,0]', '[1,1,"echo",0,-1]', '[1,1,"echo",0,2147483648]'],
  ...['[2,7,1]', '[3,7,1]', '[4,7]', '[5,7,"a","b"]', '[6,7]', '[2,-1]', '[4,-1,1]', '[0]', '[0,{}]'],
];

for (const message of bogus) {
  test(`${message} ends its session`, limit, async (t) => {
    const { attack, sessions, reasons, isServed } = await stage(t);
    const attacker = await attack();
    attacker.says('[1,1,"echo",0,0,"first"]\n');
    await attacker.has('[4,-1,"first"]\n');
    attacker.says(`${message}\n`);
    assert.equal(await attacker.out(), 'reset');
    await until(() => reasons.length === 1, 'over');
    assert.equal(reasons[0]?.reason, 'ABORTED');
    assert.equal((reasons[0]?.cause as { code?: string } | undefined)?.code, 'MILLRACE_ERR_PROTOCOL');
    assert.equal(requestStats(sessions[1] as Session<unknown>).serving, 0);
    await isServed();
  });
}

test('names of methods that every object has are unknown', limit, async (t) => {
  const { attack, isServed } = await stage(t);
  const attacker = await attack();
  const names = ['__proto__', 'constructor', 'toString', 'hasOwnProperty', '', 'log', 'x'.repeat(5_000)];
  for (const [i, name] of names.entries()) {
    attacker.says(`[1,${i + 1},${JSON.stringify(name)},0,0,{}]\n[0,${JSON.stringify(name)},{}]\n`);
    await attacker.has(`[5,-${i + 1},"MILLRACE_ERR_UNKNOWN_METHOD",`);
  }
  assert.ok(attacker.received().length < 2_000, 'a long name is not sent back');
  await isServed();
});

test('more calls than may run are refused, one by one, and hold nothing', limit, async (t) => {
  const { attack, figures, sessions, isServed } = await stage(t);
  const attacker = await attack();
  for (let id = 1; id <= 5_000; id++) attacker.says(`[1,${id},"wait",0,0]\n`);
  await attacker.has('[5,-5000,"MILLRACE_ERR_OVERLOADED"');
  assert.equal(attacker.received().split('OVERLOADED').length - 1, 4_950);
  assert.equal(figures.mostRunning, 50);
  assert.equal(requestStats(sessions[1] as Session<unknown>).serving, 50);
  await isServed();
  // Cancelled, again and again: a place is free when its handler is through.
  for (let id = 1; id <= 50; id++) attacker.says(`[5,${id},"X","no"]\n`);
  await until(() => figures.running === 0, 'all are cancelled');
  for (let id = 5_001; id <= 8_000; id++) attacker.says(`[1,${id},"wait",0,0]\n[5,${id},"X","no"]\n`);
  attacker.says('[1,9000,"echo",0,0,"end"]\n');
  await until(() => /\[4,-9000,"end"\]|\[5,-9000/.test(attacker.received()), 'answered');
  assert.ok(figures.mostRunning <= 50, `${figures.mostRunning} ran at once`);
  attacker.reset();
  await until(() => figures.running === 0, 'none is left');
  await isServed();
});

test('endless streams to one who does not read, and their generators are returned', limit, async (t) => {
  const { attack, figures, sessions, memory, isServed } = await stage(t);
  const attacker = await attack();
  attacker.socket.pause();
  for (let id = 1; id <= 40; id++) attacker.says(`[1,${id},"count",0,2147483647]\n`);
  await until(() => sessions.length === 2, 'a session');
  const session = sessions[1] as Session<unknown>;
  await until(() => session.framesRead === 40, 'all calls have come');
  await settled(() => session.bytesWritten, 100);
  for (let i = 0; i < 5; i++) await isServed();
  assert.equal(requestStats(session).serving, 20);
  assert.ok(session.bufferedBytes < 80 * 1024, `${session.bufferedBytes} bytes wait`);
  assert.ok(memory.heldBytes < 200 * 1024, `${memory.heldBytes} bytes are held`);
  attacker.reset();
  await until(() => figures.returned === 20, 'all generators are returned');
  await isServed();
});

test('uploads without end stop where nobody reads them; without credit they are the end', limit, async (t) => {
  const { attack, reasons, isServed, sessions } = await stage(t);
  const patient = await attack();
  patient.says('[1,1,"sum",0,0]\n');
  let asked = 0;
  for (let round = 0; round < 20; round++) {
    await patient.has('[3,-1,');
    const granted = [...patient.received().matchAll(/\[3,-1,(\d+)\]/g)].reduce(
      (sum, [, count]) => sum + Number(count),
      0,
    );
    for (; asked < granted; asked++) patient.says('[2,1,1]\n');
    await turns(5);
  }
  patient.says('[4,1]\n');
  await patient.has(`[4,-1,${asked}]\n`);
  const flooding = await attack();
  flooding.says(`[1,1,"sum",0,0]\n${'[2,1,1]\n'.repeat(10_000)}`);
  await flooding.out();
  await until(
    () => reasons.some(({ cause }) => (cause as { code?: string })?.code === 'MILLRACE_ERR_PROTOCOL'),
    'over',
  );
  assert.equal(requestStats(sessions.at(-1) as Session<unknown>).serving, 0);
  await isServed();
});

test('messages by chance: a session ends by the protocol, or answers; nothing else happens', {
  timeout: 30_000,
}, async (t) => {
  const { attack, server, figures, isServed } = await stage(t);
  const id = fc.oneof(fc.integer({ min: -3, max: 6 }), fc.double(), fc.string());
  const name = fc.oneof(fc.constantFrom(...Object.keys(contract)), fc.string());
  const part = fc.oneof(id, name, fc.constant(0), fc.constant(2 ** 31 - 1), fc.jsonValue({ maxDepth: 2 }));
  const message = fc.tuple(fc.integer({ min: 0, max: 8 }), id, fc.array(part, { maxLength: 4 }));
  const likely = fc.tuple(
    fc.constantFrom(0, 1, 2, 3, 4, 5, 6, 7),
    fc.integer({ min: 1, max: 4 }),
    name,
    fc.constant(0),
    fc.nat(5),
  );
  const story = fc.array(fc.oneof(message, likely), { minLength: 1, maxLength: 12 });
  const seed = Date.now() | 0;
  const run = async (messages: unknown[][]): Promise<void> => {
    const attacker = await attack();
    for (const each of messages) attacker.says(`${JSON.stringify(each.flat())}\n`);
    await turns(5);
    // An end would leave those that wait for an answer: they may still be given it.
    attacker.reset();
  };
  await fc.assert(fc.asyncProperty(story, run), { seed, numRuns: 150, includeErrorInReport: true });
  await until(() => server.sessionCount === 1, 'all sessions are over');
  await until(() => figures.running === 0, 'no handler is left');
  const known = new Set(['ABORTED', 'ENDED', 'CLOSED', 'RESET', 'BAD_JSON', 'TRUNCATED']);
  for (const reason of Object.keys(server.metrics().closed)) assert.ok(known.has(reason), `${reason}, seed ${seed}`);
  await isServed();
});
