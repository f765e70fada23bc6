/** What a socket does to the life of its process, and the process to its sockets. */
import assert from 'node:assert/strict';
import { execFile, spawn } from 'node:child_process';
import { readdirSync, readlinkSync } from 'node:fs';
import type { Socket } from 'node:net';
import test from 'node:test';
import { promisify } from 'node:util';
import { run } from '../support/child.ts';
import { close, collect, dial, dialling, leakGuard, limit, once, pair, portOf, serve, until } from '../support/net.ts';

await leakGuard(async () => {
  await promisify(execFile)('true');
});

const alone = { stdio: ['ignore', 'pipe', 'pipe'] as const } as { stdio: ['ignore', 'pipe', 'pipe'] };
const clean = (stdout: string): object => ({ code: 0, signal: null, stdout, stderr: '' });

test('a process that only imports the module exits by itself', limit, async (t) => {
  assert.deepEqual(await run(t, 'say(typeof net.connect);', alone).exit, clean('function\n'));
});

test('a process whose sockets and servers are closed exits by itself', limit, async (t) => {
  const child = run(
    t,
    `const server = net.createServer((socket) => { socket.pipe(socket); });
    server.listen(0, '127.0.0.1', () => {
      const client = net.connect(server.address().port, '127.0.0.1');
      client.on('data', (chunk) => say(String(chunk))).on('close', () => server.close());
      client.end('hello');
    });`,
    alone,
  );
  assert.deepEqual(await child.exit, clean('hello\n'));
});

test('a listening server keeps its process alive until it is closed', limit, async (t) => {
  const child = run(
    t,
    `const server = net.createServer((socket) => socket.end('bye'));
    server.listen(0, '127.0.0.1', () => say(String(server.address().port)));
    server.on('connection', () => server.close());
    process.on('exit', () => say('exit'));`,
    alone,
  );
  const port = Number(await child.line());
  assert.equal(child.process.exitCode, null);
  const client = await dial(t, { port, host: '127.0.0.1' });
  assert.equal((await collect(client)).toString(), 'bye');
  assert.equal(await child.line(), 'exit');
  assert.equal((await child.exit).code, 0);
});

test('a server that is unref does not keep its process alive', limit, async (t) => {
  const child = run(
    t,
    `net.createServer().listen(0, '127.0.0.1', function () { say(String(this.address().port > 0)); this.unref(); });`,
    alone,
  );
  assert.deepEqual(await child.exit, clean('true\n'));
});

test('a server that is unref before listen does not keep its process alive', limit, async (t) => {
  const child = run(t, `net.createServer().unref().listen(0, '127.0.0.1', () => say('listens'));`, alone);
  const { code, stderr } = await child.exit;
  assert.deepEqual([code, stderr], [0, '']);
});

test('an idle connection keeps its process alive, on both sides', limit, async (t) => {
  const accepted: Socket[] = [];
  const server = await serve(t, (socket) => accepted.push(socket));
  const child = run(
    t,
    `const client = net.connect(${portOf(server)}, '127.0.0.1', () => say('connected'));
    client.on('data', (chunk) => say(String(chunk)));`,
    alone,
  );
  assert.equal(await child.line(), 'connected');
  await until(() => accepted.length === 1, 'the connection');
  // As long as nothing ends it: an answer after a while is proof.
  const [socket] = accepted as [Socket];
  for (const text of ['one\n', 'two\n']) {
    socket.write(text);
    assert.equal(await child.line(), text.trim());
    assert.equal(await child.line(), '');
  }
  assert.equal(child.process.exitCode, null);
  socket.end();
  assert.equal((await child.exit).code, 0);
});

test('a client that is unref does not keep its process alive', limit, async (t) => {
  const server = await serve(t, (socket) => socket.on('error', () => {}));
  const child = run(
    t,
    `const client = net.connect(${portOf(server)}, '127.0.0.1', () => { say('connected'); client.unref(); });
    client.on('data', () => {});`,
    alone,
  );
  assert.deepEqual(await child.exit, clean('connected\n'));
});

test('a client that is unref while connecting does not keep its process alive', limit, async (t) => {
  const server = await serve(t, (socket) => socket.on('error', () => {}));
  const child = run(
    t,
    `net.connect(${portOf(server)}, '127.0.0.1').on('data', () => {}).unref(); process.on('exit', () => say('exit'));`,
    alone,
  );
  assert.deepEqual(await child.exit, clean('exit\n'));
});

test('ref() takes unref() back', limit, async (t) => {
  const server = await serve(t, (socket) => void socket.on('error', () => {}).end('late'));
  const child = run(
    t,
    `const client = net.connect(${portOf(server)}, '127.0.0.1', () => { client.unref(); client.unref(); client.ref(); });
    client.on('data', (chunk) => say(String(chunk)));`,
    alone,
  );
  assert.deepEqual(await child.exit, clean('late\n'));
});

test('an accepted socket that is unref does not keep its process alive', limit, async (t) => {
  const child = run(
    t,
    `const server = net.createServer((socket) => { socket.unref(); socket.on('data', () => {}); server.close(); say('accepted'); });
    server.listen(0, '127.0.0.1', () => say(String(server.address().port)));`,
    alone,
  );
  const client = await dial(t, { port: Number(await child.line()), host: '127.0.0.1' });
  client.resume().on('error', () => {});
  assert.equal(await child.line(), 'accepted');
  assert.equal((await child.exit).code, 0);
  await close(client);
});

test('a paused connection keeps its process alive while bytes wait', limit, async (t) => {
  // The child is killed in the end, perhaps with the byte unread: that is a reset.
  const server = await serve(t, (socket) => void socket.on('error', () => {}).write('x'));
  const child = run(
    t,
    `const client = net.connect(${portOf(server)}, '127.0.0.1', () => { client.pause(); say('paused'); }); setImmediate(() => {});`,
    alone,
  );
  assert.equal(await child.line(), 'paused');
  server.close();
  assert.equal(child.process.exitCode, null);
});

for (const [when, schedule] of [
  ['an immediate', 'setImmediate'],
  ['a timer', 'setTimeout'],
]) {
  test(`what is written last, in ${when}, keeps its process alive until all is done`, limit, async (t) => {
    // The peer has ended its side already: nothing but this write is left to do.
    const server = await serve(t, (peer) => void peer.end(), { server: { allowHalfOpen: true } });
    const accepted = once(server, 'connection');
    const child = run(
      t,
      `const client = net.connect({ port: ${portOf(server)}, host: '127.0.0.1', allowHalfOpen: true });
      client.on('close', () => say('close')).on('end', () => {
        ${schedule}(() => client.write('last', () => { say('written'); client.end(() => say('finished')); }));
      }).resume();`,
      alone,
    );
    const [peer] = (await accepted) as [Socket];
    assert.equal((await collect(peer)).toString(), 'last');
    assert.deepEqual(await child.exit, clean('written\nfinished\nclose\n'));
  });
}

test('what was written before process.exit() in the same tick arrives', limit, async (t) => {
  const server = await serve(t);
  const accepted = once(server, 'connection');
  run(
    t,
    `const client = net.connect(${portOf(server)}, '127.0.0.1', () => { client.write('last words'); process.exit(0); });`,
    alone,
  );
  const [socket] = (await accepted) as [Socket];
  socket.on('error', () => {});
  assert.equal((await collect(socket)).toString(), 'last words');
});

test("what was written in an 'exit' listener arrives", limit, async (t) => {
  const server = await serve(t);
  const accepted = once(server, 'connection');
  run(
    t,
    `const client = net.connect(${portOf(server)}, '127.0.0.1', () => { process.on('exit', () => client.write('at exit')); process.exit(0); });`,
    alone,
  );
  const [socket] = (await accepted) as [Socket];
  assert.equal((await collect(socket)).toString(), 'at exit');
});

test('an answer written in a data listener before process.exit() arrives', limit, async (t) => {
  const child = run(
    t,
    `const server = net.createServer((socket) => socket.on('data', (chunk) => { socket.write('got ' + chunk); process.exit(0); }));
    server.listen(0, '127.0.0.1', () => say(String(server.address().port)));`,
    alone,
  );
  const client = await dial(t, { port: Number(await child.line()), host: '127.0.0.1' });
  client.write('it');
  assert.equal((await collect(client)).toString(), 'got it');
});

test('a process that is killed ends its connections', limit, async (t) => {
  const child = run(
    t,
    `net.createServer((socket) => socket.write('x')).listen(0, '127.0.0.1', function () { say(String(this.address().port)); });`,
    alone,
  );
  const client = await dial(t, { port: Number(await child.line()), host: '127.0.0.1' });
  const log: string[] = [];
  client.on('data', () => child.process.kill('SIGKILL'));
  client.on('end', () => log.push('end')).on('error', (error: NodeJS.ErrnoException) => log.push(String(error.code)));
  await close(client);
  assert.equal(log.length, 1);
  assert.match(log[0] as string, /^(end|ECONNRESET)$/);
});

test('a process that is started while sockets are open inherits none of them', {
  ...limit,
  skip: process.platform !== 'linux',
}, async (t) => {
  const { server } = await pair(t);
  await dial(t, server);
  const child = spawn('sh', ['-c', 'ls -l /proc/self/fd; read x'], { stdio: ['pipe', 'pipe', 'inherit'] });
  t.after(() => {
    child.kill('SIGKILL');
  });
  let listing = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => (listing += text));
  await once(child.stdout, 'data');
  child.stdin.end('\n');
  await once(child, 'close');
  // Node gives a child its pipes as unix sockets: 0 and 1.
  const inherited = listing
    .split('\n')
    .filter((line) => /-> (socket|anon_inode):/.test(line) && !/ [012] -> /.test(line));
  assert.deepEqual(inherited, []);
});

test('every descriptor of the process is closed by exec', {
  ...limit,
  skip: process.platform !== 'linux',
}, async (t) => {
  const { readFileSync } = await import('node:fs');
  const { client } = await pair(t);
  client.write('x');
  const open: string[] = [];
  for (const fd of readdirSync('/proc/self/fd')) {
    if (Number(fd) < 3) continue;
    try {
      const target = readlinkSync(`/proc/self/fd/${fd}`);
      const flags = Number.parseInt(
        /flags:\s+(\d+)/.exec(readFileSync(`/proc/self/fdinfo/${fd}`, 'utf8'))?.[1] ?? '0',
        8,
      );
      const O_CLOEXEC = 0o2000000;
      if (!(flags & O_CLOEXEC) && /^(socket|anon_inode|memfd)/.test(target)) open.push(`${fd} ${target}`);
    } catch {
      // The descriptor of the listing itself.
    }
  }
  assert.deepEqual(open, []);
});

test('a full descriptor table stops accepting, and the server accepts again when there is room', limit, async (t) => {
  const child = run(
    t,
    `const errors = new Set();
    const server = net.createServer((socket) => { socket.on('error', () => {}); socket.pipe(socket); });
    server.on('error', (error) => errors.add(error.code));
    server.listen(0, '127.0.0.1', () => say(String(server.address().port)));
    heard((text) => { if (text === 'errors') say([...errors].join() || 'none'); else process.exit(0); });`,
    { maxDescriptors: 64 },
  );
  const to = { port: Number(await child.line()), host: '127.0.0.1' };
  const clients = Array.from({ length: 100 }, () =>
    dialling(t, to)
      .on('error', () => {})
      .resume(),
  );
  await Promise.all(clients.map((client) => (client.connecting ? once(client, 'connect').catch(() => []) : [])));
  child.say('errors');
  const errors = await child.line();
  t.diagnostic(`errors of the server: ${errors}`);
  assert.match(errors, /^(EMFILE|none)$/);
  for (const client of clients) client.destroy();
  await Promise.all(clients.map((client) => close(client)));
  // It may have closed what it could not take, so that the first of these is refused late; but one gets through.
  await until(() => child.process.exitCode === null, 'it is alive');
  let answer = '';
  for (let attempt = 0; answer === '' && attempt < 50; attempt++) {
    const client = dialling(t, to).on('error', () => {});
    client.on('data', (chunk) => {
      answer += chunk;
      client.destroy();
    });
    client.write('still there?');
    await close(client);
  }
  assert.equal(answer, 'still there?');
  child.say('stop');
  assert.equal((await child.exit).code, 0);
});

test('a forked child makes its own connections', limit, async (t) => {
  const server = await serve(t, (socket) => void socket.on('error', () => {}).pipe(socket));
  const mine = await dial(t, server);
  const children = [1, 2, 3].map((i) =>
    run(
      t,
      `const client = net.connect(${portOf(server)}, '127.0.0.1');
      client.end('child ${i}'); client.on('data', (chunk) => say(String(chunk)));`,
      alone,
    ),
  );
  const exits = await Promise.all(children.map((child) => child.exit));
  assert.deepEqual(
    exits,
    [1, 2, 3].map((i) => clean(`child ${i}\n`)),
  );
  mine.end('parent');
  assert.equal((await collect(mine)).toString(), 'parent');
});
