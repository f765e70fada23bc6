/** Order of events between sockets: each event of each socket is its own callback, with ticks and promises run after it. */
import assert from 'node:assert/strict';
import type { Socket } from 'node:net';
import test from 'node:test';
import { run } from '../support/child.ts';
import { close, collect, dial, dialling, leakGuard, limit, once, pair, serve, turns, until } from '../support/net.ts';

await leakGuard();

/** A note now, in the next tick, in a promise job after it, and in a job queued by that. */
function note(log: string[], name: string): void {
  log.push(`${name} now`);
  process.nextTick(() => log.push(`${name} tick`));
  void Promise.resolve().then(() => {
    log.push(`${name} promise`);
    process.nextTick(() => log.push(`${name} tick of promise`));
  });
  queueMicrotask(() => log.push(`${name} microtask`));
}

const NOTES = ['now', 'tick', 'promise', 'microtask', 'tick of promise'];

/** Every note of a name stands together, in order: nothing came between. */
function assertUnbroken(log: string[], names: string[]): void {
  assert.equal(log.length, names.length * NOTES.length, log.join('\n'));
  const order = log.filter((entry) => entry.endsWith(' now')).map((entry) => entry.slice(0, -4));
  assert.deepEqual([...order].sort(), [...names].sort());
  assert.deepEqual(
    log,
    order.flatMap((name) => NOTES.map((kind) => `${name} ${kind}`)),
  );
}

test("ticks and promises run between the 'data' events of two sockets", limit, async (t) => {
  const server = await serve(t);
  const peers: Socket[] = [];
  server.on('connection', (socket) => peers.push(socket));
  const names = ['a', 'b', 'c', 'd', 'e'];
  const clients: Socket[] = [];
  for (const _ of names) clients.push(await dial(t, server));
  await until(() => peers.length === names.length, 'all accepted');
  const log: string[] = [];
  for (const [i, peer] of peers.entries()) peer.on('data', () => note(log, names[i] as string));
  await turns(5);
  // One tick: the next poll of the loop finds all of them readable.
  for (const client of clients) client.write('x');
  await until(() => log.length === names.length * NOTES.length, 'all notes');
  assertUnbroken(log, names);
});

test("ticks and promises run between two 'connection' events", limit, async (t) => {
  const log: string[] = [];
  let accepted = 0;
  const server = await serve(t, () => note(log, `socket ${accepted++}`));
  for (let i = 0; i < 4; i++) dialling(t, server);
  await until(() => log.length === 4 * NOTES.length, 'all notes');
  assertUnbroken(log, ['socket 0', 'socket 1', 'socket 2', 'socket 3']);
});

test("ticks and promises run between the 'close' events of two sockets", limit, async (t) => {
  const server = await serve(t);
  const clients = await Promise.all([dial(t, server), dial(t, server), dial(t, server)]);
  const log: string[] = [];
  for (const [i, client] of clients.entries()) client.on('close', () => note(log, `socket ${i}`));
  for (const client of clients) client.destroy();
  await until(() => log.length === 3 * NOTES.length, 'all notes');
  assertUnbroken(log, ['socket 0', 'socket 1', 'socket 2']);
});

test("a tick of 'data' runs before 'end' of the same socket", limit, async (t) => {
  const { client, peer } = await pair(t);
  const log: string[] = [];
  client.on('data', () => note(log, 'data'));
  client.on('end', () => log.push('end'));
  peer.end('x');
  await close(client);
  assert.deepEqual(log, ['data now', 'data tick', 'data promise', 'data microtask', 'data tick of promise', 'end']);
});

test("a socket destroyed by another one's listener of the same turn gets no more data", limit, async (t) => {
  const server = await serve(t);
  const peers: Socket[] = [];
  server.on('connection', (socket) => peers.push(socket));
  const clients = [await dial(t, server), await dial(t, server)];
  await until(() => peers.length === 2, 'both accepted');
  let pieces = 0;
  for (const peer of peers) {
    peer.on('error', () => {});
    peer.on('data', () => {
      pieces++;
      for (const other of peers) if (other !== peer) other.destroy();
    });
  }
  for (const client of clients) client.on('error', () => {}).write('x');
  await until(() => pieces > 0, 'data');
  await turns(20);
  assert.equal(pieces, 1);
});

test("a socket paused by another one's listener of the same turn gets its data later", limit, async (t) => {
  const server = await serve(t);
  const peers: Socket[] = [];
  server.on('connection', (socket) => peers.push(socket));
  const clients = [await dial(t, server), await dial(t, server)];
  await until(() => peers.length === 2, 'both accepted');
  let pieces = 0;
  let paused: Socket | undefined;
  for (const peer of peers) {
    peer.on('data', () => {
      pieces++;
      if (paused) return;
      paused = peers.find((other) => other !== peer) as Socket;
      paused.pause();
    });
  }
  for (const client of clients) client.write('x');
  await until(() => pieces > 0, 'data');
  await turns(20);
  assert.equal(pieces, 1);
  (paused as Socket).resume();
  await until(() => pieces === 2, 'the data of the paused one');
});

test('a tick that never ends its chain in time still sees the sockets in order', limit, async (t) => {
  const { client, peer } = await pair(t);
  const got: string[] = [];
  peer.on('data', (chunk) => got.push(String(chunk)));
  client.write('first');
  await once(peer, 'data');
  await new Promise<void>((resolve) => {
    let left = 100;
    const again = (): void => {
      if (--left === 0) resolve();
      else process.nextTick(again);
    };
    client.write('second');
    process.nextTick(again);
  });
  assert.deepEqual(got, ['first'], 'no event inside the chain of ticks');
  await until(() => got.length === 2, 'the second');
});

test('events come in their own turn, never inside write, end, connect or destroy', limit, async (t) => {
  const server = await serve(t);
  let depth = 0;
  const guard = (): void => assert.equal(depth, 0, 'an event inside a call');
  const watch = (socket: Socket): Socket => {
    for (const event of ['connect', 'ready', 'data', 'end', 'finish', 'close', 'error', 'drain', 'timeout'])
      socket.on(event, guard);
    return socket;
  };
  server.on('connection', (socket) => watch(socket));
  const inside = (call: () => void): void => {
    depth++;
    call();
    depth--;
  };
  let client!: Socket;
  inside(() => (client = watch(dialling(t, server))));
  const [peer] = (await once(server, 'connection')) as [Socket];
  inside(() => peer.write('x'));
  await once(client, 'data');
  // Paused and this much: what the kernel takes at once is not waited for.
  inside(() => peer.pause());
  inside(() => client.write(Buffer.alloc(32 * 1024 * 1024)));
  inside(() => peer.resume());
  await once(client, 'drain');
  inside(() => client.end());
  await once(peer, 'end');
  inside(() => client.destroy());
  await close(client);
});

test("an exception in a 'data' listener does not stop the other sockets", limit, async (t) => {
  const child = run(
    t,
    `let thrown = 0;
    process.on('uncaughtException', (error) => { say('caught ' + error.message); });
    const server = net.createServer((socket) => {
      socket.on('error', () => {});
      socket.on('data', (chunk) => {
        if (String(chunk) === 'bad') throw new Error('boom');
        socket.write(chunk);
      });
    });
    server.listen(0, '127.0.0.1', () => say(String(server.address().port)));
    heard(() => process.exit(0));`,
  );
  const port = Number(await child.line());
  const to = { port, host: '127.0.0.1' };
  const good = [await dial(t, to), await dial(t, to), await dial(t, to)];
  const bad = [await dial(t, to), await dial(t, to)];
  const answers = good.map(() => '');
  for (const [i, socket] of good.entries()) socket.on('data', (chunk) => (answers[i] = `${answers[i]}${chunk}`));
  // Together in one turn of the child, as far as can be: the one that throws stands between the others.
  (good[0] as Socket).write('one');
  (bad[0] as Socket).write('bad');
  (good[1] as Socket).write('two');
  (bad[1] as Socket).write('bad');
  (good[2] as Socket).write('three');
  assert.equal(await child.line(), 'caught boom');
  assert.equal(await child.line(), 'caught boom');
  await until(() => answers.join() === 'one,two,three', 'the answers of the others');
  // The socket whose listener threw lives on as well.
  (bad[0] as Socket).write('good again');
  assert.equal(String((await once(bad[0] as Socket, 'data'))[0]), 'good again');
  child.say('stop');
  assert.equal((await child.exit).code, 0);
});

test("an exception in a 'connection' listener does not stop the server", limit, async (t) => {
  const child = run(
    t,
    `let count = 0;
    process.on('uncaughtException', (error) => say('caught ' + error.message));
    const server = net.createServer((socket) => {
      socket.on('error', () => {});
      if (count++ === 0) throw new Error('boom');
      socket.end('fine');
    });
    server.listen(0, '127.0.0.1', () => say(String(server.address().port)));
    heard(() => process.exit(0));`,
  );
  const to = { port: Number(await child.line()), host: '127.0.0.1' };
  await dial(t, to);
  assert.equal(await child.line(), 'caught boom');
  const second = await dial(t, to);
  assert.equal((await collect(second)).toString(), 'fine');
  child.say('stop');
  await child.exit;
});

test("an exception in a 'data' listener without a handler ends the process", limit, async (t) => {
  const child = run(
    t,
    `const server = net.createServer((socket) => socket.on('data', () => { throw new Error('boom'); }));
    server.listen(0, '127.0.0.1', () => net.connect(server.address().port, '127.0.0.1').write('x'));`,
  );
  const { code, stderr } = await child.exit;
  assert.equal(code, 1);
  assert.match(stderr, /Error: boom/);
});

test('an exception in a tick of a data listener is caught like any other', limit, async (t) => {
  const child = run(
    t,
    `const seen = [];
    process.on('uncaughtException', (error) => seen.push(error.message));
    process.on('unhandledRejection', (error) => seen.push(error.message));
    const server = net.createServer((socket) => socket.on('data', (chunk) => {
      process.nextTick(() => { throw new Error('tick'); });
      Promise.reject(new Error('promise'));
      socket.end(chunk);
    }));
    server.listen(0, '127.0.0.1', () => {
      const client = net.connect(server.address().port, '127.0.0.1');
      client.end('x');
      client.resume().on('close', () => { server.close(() => say(seen.join())); });
    });`,
    { stdio: ['ignore', 'pipe', 'pipe'] },
  );
  assert.deepEqual(await child.exit, { code: 0, signal: null, stdout: 'tick,promise\n', stderr: '' });
});

test('a hundred sockets that are written in one turn are answered in order each', limit, async (t) => {
  const server = await serve(t, (socket) => void socket.pipe(socket));
  const clients = await Promise.all(Array.from({ length: 100 }, () => dial(t, server)));
  const answers = clients.map((client) => collect(client));
  for (let round = 0; round < 10; round++) {
    for (const client of clients) client.write(`${round},`);
    await turns(1);
  }
  for (const client of clients) client.end();
  for (const answer of await Promise.all(answers)) assert.equal(answer.toString(), '0,1,2,3,4,5,6,7,8,9,');
});
