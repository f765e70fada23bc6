/** Peers that are slow, that vanish, that never read, that are stopped. */
import assert from 'node:assert/strict';
import type { Socket } from 'node:net';
import test from 'node:test';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { run } from '../support/child.ts';
import {
  close,
  collect,
  dial,
  dialling,
  leakGuard,
  limit,
  once,
  pair,
  portOf,
  serve,
  settled,
  turns,
  until,
} from '../support/net.ts';

await leakGuard();

const MB = 1024 * 1024;

test('a slow reader gets everything, and its sender waits', limit, async (t) => {
  const { client, peer } = await pair(t);
  const total = 16 * MB;
  const chunk = Buffer.alloc(64 * 1024, 0x73);
  let most = 0;
  const sending = (async () => {
    for (let sent = 0; sent < total; sent += chunk.length) {
      const goesOn = client.write(chunk);
      most = Math.max(most, client.writableLength);
      if (!goesOn) await once(client, 'drain');
    }
    client.end();
  })();
  let got = 0;
  peer.on('data', (data: Buffer) => {
    got += data.length;
    peer.pause();
    setImmediate(() => setImmediate(() => peer.resume()));
  });
  await Promise.all([sending, once(peer, 'end')]);
  assert.equal(got, total);
  assert.ok(most <= client.writableHighWaterMark + chunk.length, `${most} bytes were queued`);
});

test('a peer that reads one byte at a time gets everything', limit, async (t) => {
  const { client, peer } = await pair(t, { server: { highWaterMark: 1 } });
  const bytes = Buffer.from(Array.from({ length: 5000 }, (_, i) => i & 0xff));
  client.end(bytes);
  const got: number[] = [];
  peer.on('readable', () => {
    for (let piece = peer.read(1); piece !== null; piece = peer.read(1)) got.push((piece as Buffer)[0] as number);
  });
  await once(peer, 'end');
  assert.deepEqual(Buffer.from(got), bytes);
});

test('a reset in the middle of a transfer closes both ends and disturbs nobody else', limit, async (t) => {
  const server = await serve(t, (socket) => {
    socket.on('error', () => {});
    socket.pipe(socket);
  });
  const bystander = await dial(t, server);
  const answer = collect(bystander);
  bystander.write('before ');
  for (let round = 0; round < 20; round++) {
    const accepted = once(server, 'connection');
    const client = await dial(t, server);
    const [peer] = (await accepted) as [Socket];
    let called = 0;
    for (let i = 0; i < 8; i++) client.write(Buffer.alloc(MB), () => called++);
    client.resume();
    await until(() => client.bytesRead > 100_000 * (round % 4), 'the transfer');
    if (round % 2 === 0) client.resetAndDestroy();
    else peer.resetAndDestroy();
    client.on('error', () => {});
    await Promise.all([close(client), close(peer)]);
    await until(() => called === 8, 'every callback');
  }
  bystander.end('and after');
  assert.equal((await answer).toString(), 'before and after');
});

test('a half-close in the middle of a transfer ends one direction only', limit, async (t) => {
  const { client, peer } = await pair(t, { server: { allowHalfOpen: true }, client: { allowHalfOpen: true } });
  const received = collect(client);
  const sent = Buffer.alloc(8 * MB, 0x68);
  const sending = (async () => {
    for (let at = 0; at < sent.length; at += MB) if (!peer.write(sent.subarray(at, at + MB))) await once(peer, 'drain');
  })();
  client.write('enough');
  client.end();
  const got = await collect(peer);
  assert.equal(got.toString(), 'enough');
  await sending;
  peer.end();
  assert.equal((await received).equals(sent), true);
  await Promise.all([close(client), close(peer)]);
});

test('a peer that never reads costs no more than what was written, and nothing once it is gone', limit, async (t) => {
  setFlagsFromString('--expose-gc');
  const gc = runInNewContext('gc') as () => void;
  const memory = (): number => {
    gc();
    const { arrayBuffers, external } = process.memoryUsage();
    return Math.max(arrayBuffers, external);
  };
  const { client, peer } = await pair(t);
  peer.pause();
  client.on('error', () => {});
  peer.on('error', () => {});
  await turns(5);
  const before = memory();
  const written = 64 * MB;
  const chunk = Buffer.alloc(64 * 1024);
  for (let sent = 0; sent < written; sent += chunk.length) client.write(chunk);
  await settled(() => client.writableLength);
  const grown = memory() - before;
  assert.ok(grown < written * 1.25, `${(grown / MB).toFixed(1)} MB for ${written / MB} MB`);
  client.destroy();
  peer.destroy();
  await Promise.all([close(client), close(peer)]);
  await turns(5);
  const left = memory() - before;
  assert.ok(left < 4 * MB, `${(left / MB).toFixed(1)} MB are left`);
});

test(
  'a peer that is stopped holds up only its own connection, and gets everything when it goes on',
  limit,
  async (t) => {
    const child = run(
      t,
      `let got = 0;
    const server = net.createServer({ allowHalfOpen: true }, (socket) => {
      socket.on('data', (chunk) => (got += chunk.length));
      socket.on('end', () => socket.end(String(got)));
    });
    server.listen(0, '127.0.0.1', () => say(String(server.address().port)));`,
    );
    const stopped = await dial(t, { port: Number(await child.line()), host: '127.0.0.1' });
    const server = await serve(t, (socket) => void socket.pipe(socket));
    const other = await dial(t, server);
    child.process.kill('SIGSTOP');
    const total = 48 * MB;
    for (let sent = 0; sent < total; sent += MB) stopped.write(Buffer.alloc(MB));
    const stuck = await settled(() => stopped.writableLength);
    assert.ok(stuck > 0);

    other.write('I am well');
    assert.equal(String((await once(other, 'data'))[0]), 'I am well');
    stopped.setTimeout(30);
    await once(stopped, 'timeout');
    stopped.setTimeout(0);
    // The kernel of a stopped process still accepts: its backlog.
    const waiting = await dial(t, { port: stopped.remotePort as number, host: '127.0.0.1' });
    waiting.end('in the backlog');
    assert.equal(stopped.writableLength, stuck);

    child.process.kill('SIGCONT');
    await once(stopped, 'drain');
    stopped.end();
    assert.match((await collect(stopped)).toString(), /^\d+$/);
    await collect(waiting);
  },
);

test('a peer that is killed in the middle of a transfer ends it', limit, async (t) => {
  const child = run(
    t,
    `const server = net.createServer((socket) => { socket.once('data', () => { socket.pause(); say('reads'); }); });
    server.listen(0, '127.0.0.1', () => say(String(server.address().port)));`,
  );
  const client = await dial(t, { port: Number(await child.line()), host: '127.0.0.1' });
  let called = 0;
  for (let i = 0; i < 48; i++) client.write(Buffer.alloc(MB), () => called++);
  client.resume();
  assert.equal(await child.line(), 'reads');
  child.process.kill('SIGKILL');
  const [error] = await once(client, 'error');
  assert.match(error.code, /^(ECONNRESET|EPIPE)$/);
  await close(client);
  await until(() => called === 48, 'every callback');
});

test('clients that vanish before they are accepted do not disturb the server', limit, async (t) => {
  const server = await serve(t, (socket) => {
    socket.on('error', () => {});
    socket.pipe(socket);
  });
  for (let round = 0; round < 10; round++) {
    const clients = Array.from({ length: 50 }, () => dialling(t, server).on('error', () => {}));
    for (const [i, client] of clients.entries()) {
      if (i % 3 === 0) client.destroy();
      else if (i % 3 === 1) client.resetAndDestroy();
      else client.once('connect', () => client.resetAndDestroy());
    }
    await Promise.all(clients.map((client) => close(client)));
  }
  const client = await dial(t, server);
  client.end('still there');
  assert.equal((await collect(client)).toString(), 'still there');
  await until(() => (server as unknown as { _connections: number })._connections === 0, 'no connection is left');
});

test('a server that is closed while clients are connecting leaves none of them hanging', limit, async (t) => {
  const server = await serve(t, (socket) => {
    socket.on('error', () => {});
    socket.end();
  });
  const clients = Array.from({ length: 50 }, () =>
    dialling(t, server)
      .on('error', () => {})
      .resume(),
  );
  server.close();
  await Promise.all(clients.map((client) => close(client)));
  await until(
    () => !server.listening && (server as unknown as { _connections: number })._connections === 0,
    'the server is empty',
  );
});

test('two peers that both write without reading are unlocked when one reads', limit, async (t) => {
  const { client, peer } = await pair(t);
  client.pause();
  peer.pause();
  for (let i = 0; i < 24; i++) {
    client.write(Buffer.alloc(MB));
    peer.write(Buffer.alloc(MB));
  }
  await settled(() => client.writableLength + peer.writableLength);
  assert.ok(client.writableLength > 0 && peer.writableLength > 0);
  client.resume();
  await until(() => client.bytesRead === 24 * MB, 'all of it, one way');
  peer.resume();
  await until(() => peer.bytesRead === 24 * MB, 'all of it, the other way');
});

test('a client that sends a byte in each turn is no burden for the others', limit, async (t) => {
  const server = await serve(t, (socket) => void socket.pipe(socket));
  const slow = await Promise.all(Array.from({ length: 20 }, () => dial(t, server)));
  const fast = await dial(t, server);
  const answers = slow.map((client) => collect(client));
  const bulk = collect(fast);
  fast.end(Buffer.alloc(4 * MB, 0x66));
  for (let i = 0; i < 50; i++) {
    for (const client of slow) client.write('.');
    await turns(1);
  }
  for (const client of slow) client.end();
  for (const answer of await Promise.all(answers)) assert.equal(answer.length, 50);
  assert.equal((await bulk).length, 4 * MB);
  assert.ok(portOf(server) > 0);
});

test('a hundred senders at once are all read, while half of the readers pause', limit, async (t) => {
  // More bytes at a time than any set of receive buffers holds; paused sockets may not keep buffers from the others.
  const readers: Socket[] = [];
  const server = await serve(t, (socket) => readers.push(socket));
  const clients = await Promise.all(Array.from({ length: 100 }, () => dial(t, server)));
  await until(() => readers.length === clients.length, 'all accepted');
  const got = new Map<Socket, number>();
  readers.forEach((reader, i) => {
    got.set(reader, 0);
    reader.on('data', (chunk: Buffer) => got.set(reader, (got.get(reader) as number) + chunk.length));
    if (i % 2 === 0) reader.pause();
  });
  const bytes = Buffer.alloc(512 * 1024, 0x68);
  for (const client of clients) client.write(bytes);
  const running = readers.filter((_, i) => i % 2 === 1);
  const paused = readers.filter((_, i) => i % 2 === 0);
  await until(
    () => running.every((reader) => got.get(reader) === bytes.length),
    'all that was sent to those that read',
  );
  assert.ok(paused.every((reader) => got.get(reader) === 0));
  for (const reader of paused) reader.resume();
  await until(
    () => paused.every((reader) => got.get(reader) === bytes.length),
    'all that was sent to those that paused',
  );
});
