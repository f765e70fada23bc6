/**
 * Exceptions in every function that a user gives, and handlers that never come back. In child processes, where an
 * 'uncaughtException' is the program's to handle: what is thrown where nobody waits must come out there, once, and must
 * cost nobody else anything.
 */
import assert from 'node:assert/strict';
import test from 'node:test';
import { run } from '../support/child.ts';
import { leakGuard, limit, type Stage } from '../support/net.ts';
import { attack } from './support/siege.ts';

await leakGuard();

/** A server whose options and handler are told as source, with its uncaught exceptions and what it hears of errors. */
async function program(t: Stage, { options = '', handler = '', setup = '' }) {
  const child = run(
    t,
    `import { serve, dial } from 'millrace/session';
    import { listen } from 'millrace/direct';
    import { lines } from 'millrace/framing';
    const uncaught = [], errors = [], closed = [];
    process.on('uncaughtException', (error) => uncaught.push(error.message));
    const boom = (what) => { throw new Error(what); };
    ${setup}
    const server = await serve({ port: 0, host: '127.0.0.1', codec: lines().json(),
      onError: (error) => errors.push(error.message), onClosed: (_, { reason }) => closed.push(reason), ${options} },
      async (session) => { for await (const message of session) { ${handler}; await session.send(message); } });
    say(String(server.port));
    heard(async (text) => {
      if (text === 'told') say(JSON.stringify({ uncaught, errors, closed, open: server.metrics().openConnections }));
      else { await server.close(); process.exitCode = 0; setImmediate(() => process.exit()); }
    });`,
  );
  const port = Number(await child.line());
  const bystander = await attack(t, port, { from: '127.0.0.99' });
  let asked = 0;
  return {
    port,
    attack: () => attack(t, port),
    async isServed() {
      bystander.says(`${++asked}\n`);
      await bystander.has(`${asked}\n`);
    },
    async told(): Promise<{ uncaught: string[]; errors: string[]; closed: string[]; open: number }> {
      child.say('told');
      return JSON.parse(await child.line());
    },
    async stops() {
      bystander.socket.end();
      child.say('stop');
      assert.equal((await child.exit).code, 0);
    },
  };
}

for (const [what, source, expected] of [
  [
    'the handler, at once and later',
    { handler: `if (message === 'bad') boom('handler')` },
    { uncaught: [], errors: ['handler'], closed: ['HANDLER_ERROR'] },
  ],
  [
    'onClosed',
    {
      options: `onClosed: (session) => { if (session.data) boom('onClosed') }`,
      handler: `if (message === 'bad') { session.data = 1; return; }`,
    },
    { uncaught: ['onClosed'], errors: [], closed: [] },
  ],
  [
    'onError',
    { options: `onError: () => boom('onError')`, handler: `if (message === 'bad') boom('handler')` },
    { uncaught: ['onError'], errors: [], closed: ['HANDLER_ERROR'] },
  ],
  [
    'onRefused',
    {
      options: `onRefused: () => boom('onRefused'), limits: { perAddress: 1 }`,
      handler: `if (message === 'bad') return`,
    },
    { uncaught: ['onRefused'], errors: [], closed: ['CLOSED'] },
  ],
  [
    'onBadMessage',
    { options: `onBadMessage: () => boom('onBadMessage')`, handler: `if (message === 'bad') return` },
    { uncaught: ['onBadMessage'], errors: [], closed: ['CLOSED'] },
  ],
  [
    'a payload',
    {
      setup: `const json = lines().json();`,
      options: `codec: lines().withPayload({ read: (b, s, e) => { const v = JSON.parse(b.toString('utf8', s, e)); return v === 'bad' ? boom('payload') : v; }, write: (m) => JSON.stringify(m) })`,
    },
    { uncaught: [], errors: [], closed: ['BAD_MESSAGE'] },
  ],
  [
    'a schema',
    {
      options: `codec: lines().json({ '~standard': { version: 1, vendor: 'test', validate: (value) => value === 'bad' ? boom('schema') : { value } } })`,
    },
    { uncaught: [], errors: [], closed: ['BAD_MESSAGE'] },
  ],
  [
    'toJSON of a message',
    { handler: `if (message === 'bad') await session.send({ toJSON: () => boom('toJSON') })` },
    { uncaught: [], errors: [/toJSON/], closed: ['HANDLER_ERROR'] },
  ],
  [
    'isPong',
    {
      options: `heartbeat: { intervalMs: 60_000, timeoutMs: 60_000, ping: 'p', isPong: (message) => message === 'bad' && boom('isPong') }`,
    },
    { uncaught: [], errors: [], closed: ['BAD_MESSAGE'] },
  ],
  [
    'a listener of the diagnostics channels',
    {
      setup: `import { subscribe } from 'node:diagnostics_channel'; subscribe('millrace:session:close', () => boom('channel'));`,
      handler: `if (message === 'bad') return`,
    },
    { uncaught: ['channel'], errors: [], closed: ['CLOSED'] },
  ],
  [
    'a listener of the signal',
    { handler: `if (message === 'bad') { session.signal.addEventListener('abort', () => boom('abort')); return; }` },
    { uncaught: ['abort'], errors: [], closed: ['CLOSED'] },
  ],
] as const) {
  test(`exceptions of ${what} reach who they are for, once`, limit, async (t) => {
    const { attack, isServed, told, stops } = await program(t, source);
    await isServed();
    const attacker = await attack();
    if (what === 'onBadMessage') attacker.says('{\n');
    if (what === 'onRefused') {
      const other = await attack();
      assert.equal(await other.out(), 'reset');
    }
    attacker.says('"good"\n');
    await attacker.has('"good"\n');
    attacker.says('"bad"\n');
    await attacker.out();
    attacker.socket.destroy();
    let seen = await told();
    // The connection may still be closing.
    for (let i = 0; i < 100 && seen.open > 1; i++) seen = await told();
    assert.equal(seen.open, 1);
    assert.deepEqual(seen.uncaught, expected.uncaught);
    assert.deepEqual(seen.closed, expected.closed);
    assert.equal(seen.errors.length, expected.errors.length, seen.errors.join());
    for (const [i, error] of expected.errors.entries()) assert.match(seen.errors[i] as string, new RegExp(error));
    await isServed();
    await stops();
  });
}

test('handlers that never come back, with loops that never wait, leave the others their turn', limit, async (t) => {
  const { attack, isServed, stops } = await program(t, {
    handler: `if (message === 'hang') await new Promise(() => {}); if (message === 'spin') for (;;) await session.send('x'.repeat(1000));`,
  });
  const hanging = await attack();
  hanging.says('"hang"\n"more"\n');
  const spinning = await attack();
  spinning.says('"spin"\n');
  await spinning.has('x');
  spinning.socket.pause();
  for (let i = 0; i < 20; i++) await isServed();
  assert.equal(hanging.received(), '');
  spinning.reset();
  hanging.reset();
  await stops();
});

test('exceptions in the handlers of the direct tier: one close each, and the others are served', limit, async (t) => {
  const child = run(
    t,
    `import { listen } from 'millrace/direct';
    const uncaught = [], told = [];
    let opens = 0, closes = 0;
    process.on('uncaughtException', (error) => uncaught.push(error.message));
    const boom = (c, where) => { if (c.data === where || c.data === where + '!') throw new Error(where); };
    const table = {
      open(c) { opens++; if (c.remote.address === '127.0.0.2') throw new Error('open'); },
      data(c, view) { c.data ??= String(view).trim(); boom(c, 'data'); c.write(view); if (c.data === 'drain') c.write(Buffer.alloc(1e5)); if (c.data === 'close') c.terminate(); if (c.data === 'timeout') c.setTimeout({ readMs: 1 }); },
      drain(c) { boom(c, 'drain'); }, end(c) { boom(c, 'end'); }, timeout(c) { boom(c, 'timeout'); },
      close(c, reason) { closes++; told.push((c.data ?? 'open') + ':' + reason.kind); boom(c, 'close'); },
    };
    const quiet = await listen({ port: 0, hostname: '127.0.0.1', ...table });
    const loud = await listen({ port: 0, hostname: '127.0.0.1', ...table, error(c, error) { told.push('error:' + error.message); throw new Error('error of ' + error.message); } });
    say(quiet.port + ' ' + loud.port);
    heard((text) => { if (text === 'told') { say(JSON.stringify({ uncaught: uncaught.splice(0), told: told.splice(0), open: opens - closes })); } else { quiet.terminateAll(); loud.terminateAll(); Promise.all([quiet.close(), loud.close()]).then(() => process.exit(0)); } });`,
  );
  const [quiet, loud] = (await child.line()).split(' ').map(Number) as [number, number];
  const told = async (): Promise<{ uncaught: string[]; told: string[]; open: number }> => {
    child.say('told');
    return JSON.parse(await child.line());
  };
  const bystanders = await Promise.all([attack(t, quiet), attack(t, loud)]);
  for (const [port, isLoud] of [
    [quiet, false],
    [loud, true],
  ] as const) {
    for (const where of ['open', 'data', 'drain', 'end', 'timeout', 'close']) {
      const attacker = await attack(t, port, { from: where === 'open' ? '127.0.0.2' : '127.0.0.66' });
      attacker.says(`${where}\n`);
      if (where === 'end') {
        await attacker.has('end\n');
        attacker.socket.end();
      }
      await attacker.out();
      const seen = await told();
      const kind = where === 'close' ? 'terminated' : 'handler';
      const expected = { uncaught: [where], told: [`${where}:${kind}`], open: 2 };
      if (isLoud && where !== 'close') {
        expected.uncaught = [`error of ${where}`];
        expected.told.unshift(`error:${where}`);
      }
      assert.deepEqual(seen, expected, where);
      for (const [i, bystander] of bystanders.entries()) {
        bystander.says(`${where} ${port} ${i}\n`);
        await bystander.has(`${where} ${port} ${i}\n`);
      }
    }
  }
  for (const { socket } of bystanders) socket.end();
  child.say('stop');
  assert.equal((await child.exit).code, 0);
});
