/**
 * What users of net complain about, and what other engines got wrong: one test for each. The numbers are threads of
 * nodejs/node unless another project is named.
 */
import assert from 'node:assert/strict';
import type { Server, Socket } from 'node:net';
import { join } from 'node:path';
import test from 'node:test';
import { connect as tlsConnect } from 'node:tls';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import net, { engine } from 'millrace';
import { run } from '../support/child.ts';
import {
  close,
  collect,
  descriptors,
  dial,
  engineState,
  folder,
  leakGuard,
  limit,
  once,
  pair,
  serve,
  settled,
  turns,
  until,
  where,
} from '../support/net.ts';

await leakGuard();

setFlagsFromString('--expose-gc');
const gc = runInNewContext('gc') as () => void;
const isOurs = engine !== 'node';

/** How many pieces a receiver that looks after each turn gets: an upper bound of what was sent apart. */
async function piecesOf(socket: Socket, bytes: number): Promise<number> {
  let pieces = 0;
  let got = 0;
  const count = (chunk: Buffer): void => {
    pieces++;
    got += chunk.length;
  };
  socket.on('data', count);
  await until(() => got === bytes, 'all bytes');
  socket.off('data', count);
  return pieces;
}

test('many small writes of one tick leave in one piece (27970, 5095, 49421)', {
  ...limit,
  skip: !isOurs,
}, async (t) => {
  const { client, peer } = await pair(t);
  client.setNoDelay();
  for (let round = 0; round < 5; round++) {
    for (let i = 0; i < 100; i++) client.write('small');
    assert.equal(await piecesOf(peer, 500), 1);
  }
});

test('a corked write leaves in one piece on every engine (PerryTS/perry 10526)', limit, async (t) => {
  const { client, peer } = await pair(t);
  client.setNoDelay();
  client.cork();
  for (let i = 0; i < 5; i++) client.write('piece');
  await turns(3);
  assert.equal(peer.bytesRead, 0);
  client.uncork();
  assert.equal(await piecesOf(peer, 25), 1);
});

test(
  'small chunks that are kept keep no more memory than twice their bytes (denoland/deno 35779)',
  limit,
  async (t) => {
    const { client, peer } = await pair(t);
    client.setNoDelay();
    const kept: Buffer[] = [];
    peer.on('data', (chunk: Buffer) => kept.push(chunk));
    const memory = (): number => {
      gc();
      return process.memoryUsage().arrayBuffers;
    };
    await turns(5);
    const before = memory();
    const size = 100;
    for (let i = 1; i <= 5000; i++) {
      client.write(Buffer.alloc(size, i & 0xff));
      if (i % 10 === 0) await until(() => peer.bytesRead === i * size, 'the pieces');
    }
    const bytes = kept.reduce((sum, chunk) => sum + chunk.length, 0);
    assert.equal(bytes, 5000 * size);
    const grown = memory() - before;
    assert.ok(grown <= bytes * 2 + 128 * 1024, `${grown} bytes for ${bytes}`);
    const distinct = new Set(kept.map((chunk) => chunk.buffer));
    const held = [...distinct].reduce((sum, buffer) => sum + buffer.byteLength, 0);
    assert.ok(held <= bytes * 2 + 16_384, `${held} bytes are held for ${bytes}`);
  },
);

test('an idle connection holds a place in a table and nothing else (3978, 2631)', {
  ...limit,
  skip: !isOurs,
}, async (t) => {
  const accepted: Socket[] = [];
  const server = await serve(t, (socket) => void accepted.push(socket.resume()));
  const before = (await engineState()) as Record<string, number>;
  const clients = await Promise.all(Array.from({ length: 200 }, () => dial(t, server)));
  await until(() => accepted.length === 200, 'all accepted');
  for (const client of clients) client.resume().write('once');
  await until(() => accepted.every((socket) => socket.bytesRead === 4), 'all have been busy');
  await turns(5);
  const idle = (await engineState()) as Record<string, number>;
  assert.equal(idle['endpoints'], (before['endpoints'] as number) + 400);
  assert.equal(idle['arenaInUse'], 0);
  assert.equal(idle['lentBuffers'], 0);
});

for (const listens of [true, false]) {
  test(
    `an accepted socket that is reset ${listens ? "tells its 'error' listener" : "without an 'error' listener is an uncaught exception, as in Node"} (11414)`,
    limit,
    async (t) => {
      const child = run(
        t,
        `const server = net.createServer((socket) => {
          socket.resume();
          ${listens ? "socket.on('error', (error) => { say(error.code); server.close(); });" : ''}
          say('accepted');
        }).listen(0, '127.0.0.1', () => say(String(server.address().port)));`,
      );
      const client = await dial(t, { port: Number(await child.line()), host: '127.0.0.1' });
      assert.equal(await child.line(), 'accepted');
      client.resetAndDestroy();
      const { code, stdout, stderr } = await child.exit;
      assert.equal(code, listens ? 0 : 1);
      if (listens) assert.match(stdout, /ECONNRESET\n$/);
      else assert.match(stderr, /Unhandled 'error' event[\s\S]*ECONNRESET/);
    },
  );
}

test('a half-open socket can be iterated, and answers when the iteration is over (49073)', limit, async (t) => {
  const { client, peer } = await pair(t, { server: { allowHalfOpen: true } });
  client.end('question');
  const answer = collect(client);
  let question = '';
  for await (const chunk of peer.iterator({ destroyOnReturn: false })) {
    question += String(chunk);
    break; // at the end by itself, an iteration destroys its stream in every Node.js: that is node:stream
  }
  assert.equal(question, 'question');
  peer.resume();
  await once(peer, 'end');
  assert.equal(peer.destroyed, false);
  peer.end('answer');
  assert.equal((await answer).toString(), 'answer');
});

for (const kind of ['TCP', 'unix'] as const) {
  test(`half-open over ${kind}: the end of one side closes nothing (oven-sh/bun 13217)`, limit, async (t) => {
    const listen = kind === 'unix' ? { path: join(await folder(t), 's') } : { port: 0, host: '127.0.0.1' };
    const { client, peer } = await pair(t, {
      server: { allowHalfOpen: true },
      client: { allowHalfOpen: true } as object,
      listen,
    });
    client.end('bye');
    assert.equal((await collect(peer)).toString(), 'bye');
    await turns(20);
    assert.equal(peer.destroyed || client.destroyed, false);
    assert.equal(peer.readyState, 'writeOnly');
    const answer = collect(client);
    peer.end('and a long farewell');
    assert.equal((await answer).toString(), 'and a long farewell');
    await Promise.all([close(client), close(peer)]);
  });
}

test("'timeout' comes while connecting with a write queued (oven-sh/bun 42398)", limit, async (t) => {
  // A listener whose backlog is full never answers.
  const child = run(
    t,
    `net.createServer().listen({ port: 0, host: '127.0.0.1', backlog: 1 }, function () { say(String(this.address().port)); });`,
  );
  const to = { port: Number(await child.line()), host: '127.0.0.1' };
  child.process.kill('SIGSTOP');
  const sockets = Array.from({ length: 12 }, () => net.connect(to).on('error', () => {}));
  t.after(() => {
    for (const socket of sockets) socket.destroy();
  });
  for (const socket of sockets) socket.write('queued');
  await settled(() => sockets.filter((socket) => socket.connecting).length, 50);
  const waiting = sockets.find((socket) => socket.connecting);
  assert.ok(waiting, 'one of them has to wait');
  waiting.setTimeout(10);
  await once(waiting, 'timeout');
  assert.equal(waiting.connecting, true);
});

test("'close' of a server comes when its last connection has ended (oven-sh/bun 35837, 2642)", limit, async (t) => {
  const accepted: Socket[] = [];
  const server: Server = await serve(t, (socket) => void accepted.push(socket.resume()));
  const clients = await Promise.all([dial(t, server), dial(t, server), dial(t, server)]);
  await until(() => accepted.length === 3, 'all accepted');
  let closed = 0;
  server.close(() => {
    closed = accepted.filter((socket) => socket.destroyed).length;
  });
  assert.equal(server.listening, false);
  for (const client of clients) {
    await turns(10);
    assert.equal(closed, 0, 'not before');
    client.end();
    await close(client);
  }
  await until(() => closed === 3, "'close'");
});

test('a descriptor table that is full neither spins nor ends the server (joyent/libuv 690)', {
  timeout: 20_000,
}, async (t) => {
  const child = run(
    t,
    `let errors = 0;
    const server = net.createServer((socket) => { socket.on('error', () => {}); socket.pipe(socket); });
    server.on('error', () => errors++);
    server.listen(0, '127.0.0.1', () => say(String(server.address().port)));
    heard(() => { say(errors + ' ' + server.listening); });`,
    { maxDescriptors: 48 },
  );
  const to = { port: Number(await child.line()), host: '127.0.0.1' };
  for (let round = 0; round < 3; round++) {
    const crowd = Array.from({ length: 80 }, () =>
      net
        .connect(to)
        .on('error', () => {})
        .resume(),
    );
    for (const client of crowd) client.write('x');
    await until(() => crowd.filter((client) => client.bytesRead > 0).length > 0, 'some are served');
    for (const client of crowd) client.destroy();
    await Promise.all(crowd.map((client) => (client.closed ? undefined : once(client, 'close').catch(() => []))));
  }
  // Where net closes what it can't accept (engine node), the first ones may still be turned away.
  let answer = '';
  while (answer === '') {
    const client = net.connect(to).on('error', () => {});
    client.on('data', (chunk: Buffer) => {
      answer += String(chunk);
    });
    client.end('room again');
    await new Promise((resolve) => client.once('close', resolve));
  }
  assert.equal(answer, 'room again');
  child.say('state');
  assert.equal(await child.line(), '0 true');
});

test('TLS runs over a socket that is not connected yet (63956, 30468)', limit, async (t) => {
  // Not one byte of the handshake may be lost or come before the connection.
  const hello: Buffer[] = [];
  const server = await serve(t, (socket) => {
    socket.on('error', () => {});
    socket.once('data', (chunk: Buffer) => {
      hello.push(chunk);
      socket.end();
    });
  });
  const socket = new net.Socket();
  const secure = tlsConnect({ socket, servername: 'example.test', rejectUnauthorized: false });
  t.after(() => void secure.destroy());
  const failed = once(secure, 'close').catch((error: Error) => error);
  socket.connect(where(server) as { port: number; host: string });
  await until(() => hello.length === 1, 'the hello of the client');
  assert.equal((hello[0] as Buffer)[0], 0x16, 'a handshake record');
  assert.equal((hello[0] as Buffer).includes('example.test'), true);
  await failed;
  socket.destroy();
});

test('a thousand connections that were reset leave no descriptor (35824)', {
  ...limit,
  skip: process.platform !== 'linux',
}, async (t) => {
  const server = await serve(t, (socket) => void socket.on('error', () => {}).resume());
  const before = descriptors().length;
  for (let round = 0; round < 20; round++) {
    const clients = await Promise.all(Array.from({ length: 50 }, () => dial(t, server)));
    for (const client of clients) client.resetAndDestroy();
    await Promise.all(clients.map((client) => close(client)));
  }
  await until(() => descriptors().length <= before, 'all are closed');
});
