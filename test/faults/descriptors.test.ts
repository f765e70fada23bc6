/** A full descriptor table, seen from both sides. In child processes, because a table is the whole process's. */
import assert from 'node:assert/strict';
import test from 'node:test';
import { run } from '../support/child.ts';
import { close, dial, dialling, leakGuard, limit, once, portOf, serve, until } from '../support/net.ts';

await leakGuard();

test('a server without descriptors goes on with those it has, and accepts again later', limit, async (t) => {
  const child = run(
    t,
    `const server = net.createServer((socket) => { socket.on('error', () => {}); socket.pipe(socket); });
    server.on('error', () => {});
    server.listen(0, '127.0.0.1', () => say(String(server.address().port)));
    heard((text) => { if (text === 'cpu') say(String(process.cpuUsage().user + process.cpuUsage().system)); else process.exit(0); });`,
    { maxDescriptors: 64 },
  );
  const to = { port: Number(await child.line()), host: '127.0.0.1' };
  const first = await dial(t, to);
  first.write('one');
  assert.equal(String((await once(first, 'data'))[0]), 'one');

  const crowd = Array.from({ length: 100 }, () =>
    dialling(t, to)
      .on('error', () => {})
      .resume(),
  );
  await Promise.all(crowd.map((client) => (client.connecting ? once(client, 'connect').catch(() => []) : [])));
  first.write('two');
  assert.equal(String((await once(first, 'data'))[0]), 'two', 'those that are connected are served');

  // It does not spin while it cannot accept.
  const cpu = async (): Promise<number> => {
    child.say('cpu');
    return Number(await child.line());
  };
  const before = await cpu();
  const start = performance.now();
  await until(() => performance.now() - start > 300, 'a while');
  const busy = (await cpu()) - before;
  assert.ok(busy < 200_000, `${busy} µs of CPU in 300 ms`);

  for (const client of crowd) client.destroy();
  await Promise.all(crowd.map((client) => close(client)));
  let answer = '';
  for (let attempt = 0; answer === '' && attempt < 50; attempt++) {
    const client = dialling(t, to).on('error', () => {});
    client.on('data', (chunk) => {
      answer += chunk;
      client.destroy();
    });
    client.write('three');
    await close(client);
  }
  assert.equal(answer, 'three');
  child.say('stop');
  assert.equal((await child.exit).code, 0);
});

test('a client without descriptors gets EMFILE, and connects again when there is room', limit, async (t) => {
  const server = await serve(t, (socket) => {
    socket.on('error', () => {});
    socket.resume();
  });
  const child = run(
    t,
    `const codes = {};
    let settled = 0, live = [];
    const note = (code) => { codes[code] = (codes[code] ?? 0) + 1; if (++settled === 100) next(); };
    for (let i = 0; i < 100; i++) {
      const client = net.connect(${portOf(server)}, '127.0.0.1');
      client.on('connect', () => { live.push(client); note('connect'); });
      client.on('error', (error) => note(error.code + ' ' + error.syscall));
    }
    function next() {
      say(JSON.stringify(codes));
      let left = live.length;
      for (const client of live) client.on('close', () => { if (--left === 0) net.connect(${portOf(server)}, '127.0.0.1').on('connect', () => { say('again'); process.exit(0); }); }).destroy();
    }`,
    { maxDescriptors: 64, stdio: ['ignore', 'pipe', 'pipe'] },
  );
  const codes = JSON.parse(await child.line());
  assert.deepEqual(Object.keys(codes).sort(), ['EMFILE connect', 'connect']);
  assert.equal(codes['EMFILE connect'] + codes['connect'], 100);
  assert.equal(await child.line(), 'again');
  assert.equal((await child.exit).code, 0);
});

test('a listener without descriptors gets EMFILE', limit, async (t) => {
  const child = run(
    t,
    `let done = 0, servers = [];
    const codes = new Set();
    const note = (text) => { codes.add(text); if (++done === 100) { say([...codes].sort().join()); process.exit(0); } };
    for (let i = 0; i < 100; i++) net.createServer().on('error', (error) => note(error.code)).listen(0, '127.0.0.1', () => note('listens'));`,
    { maxDescriptors: 64, stdio: ['ignore', 'pipe', 'pipe'] },
  );
  assert.equal(await child.line(), 'EMFILE,listens');
  assert.equal((await child.exit).code, 0);
});
