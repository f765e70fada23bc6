/** detach and attach: sockets and servers that move to another thread of the process. */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import test from 'node:test';
import { Worker } from 'node:worker_threads';
import net, { type Ticket } from 'millrace';
import {
  close,
  collect,
  dial,
  folder,
  keep,
  leakGuard,
  limit,
  once,
  portOf,
  serve,
  take,
  turns,
  until,
} from '../support/net.ts';

await leakGuard(async () => {
  const worker = new Worker('0', { eval: true });
  await once(worker, 'exit');
});

const hasIt = net.engine !== 'node';
const options = { ...limit, skip: hasIt ? false : 'the engine node hands nothing over' };

/** A worker that attaches each ticket it is sent, as `socket` or `server`, and does `what` with it. */
function work(t: test.TestContext, what: string): Worker {
  const millrace = JSON.stringify(import.meta.resolve('millrace'));
  const code = `import net from ${millrace}; import { createHash } from 'node:crypto'; import { parentPort } from 'node:worker_threads';
    parentPort.on('message', async (ticket) => {
      if (ticket === 'end') return parentPort.close();
      try { const it = net.attach(ticket); ${what} } catch (error) { parentPort.postMessage({ code: error.code }); }
    });
    parentPort.postMessage('up');`;
  const worker = new Worker(new URL(`data:text/javascript,${encodeURIComponent(code)}`));
  t.after(async () => {
    await worker.terminate();
  });
  return worker;
}

/** Both ends of a connection: the client stays here, the peer is handed over. */
async function connected(
  t: test.TestContext,
  given: net.ServerOpts = {},
): Promise<{ client: net.Socket; peer: net.Socket; server: net.Server }> {
  const server = (await serve(t, undefined, { server: given })) as net.Server;
  const accepted = once(server, 'connection');
  const client = (await dial(t, server)) as net.Socket;
  const [peer] = await accepted;
  return { client, peer, server };
}

test('a socket goes on in another thread', options, async (t) => {
  const { client, peer, server } = await connected(t);
  const worker = work(t, "it.on('data', (chunk) => it.end('worker heard ' + chunk));");
  await once(worker, 'message');
  peer.write('before ');
  const ticket = await net.detach(peer);
  await close(peer);
  assert.equal(peer.destroyed, true);
  assert.equal((server as unknown as { _connections: number })._connections, 0);
  worker.postMessage(ticket);
  client.write('hello');
  assert.equal((await collect(client)).toString(), 'before worker heard hello');
});

test('no byte is lost in the middle of a stream', options, async (t) => {
  const { client, peer } = await connected(t);
  const worker = work(
    t,
    `const hash = createHash('sha1'); let bytes = 0;
    it.on('data', (chunk) => { hash.update(chunk); bytes += chunk.length; });
    it.on('end', () => it.end(bytes + ' ' + hash.digest('hex')));`,
  );
  await once(worker, 'message');
  const all = Buffer.alloc(8_000_000);
  for (let i = 0; i < all.length; i += 4) all.writeInt32LE(i, i);
  let sent = 0;
  const write = (): void => {
    for (let hasRoom = true; hasRoom && sent < all.length; sent += 20_000)
      hasRoom = client.write(all.subarray(sent, sent + 20_000));
    if (sent < all.length) client.once('drain', write);
    else client.end();
  };
  const answer = collect(client);
  let here = 0;
  const ticket = await new Promise<Ticket>((resolve, reject) => {
    peer.on('data', (chunk: Buffer) => {
      assert.ok(all.subarray(here, here + chunk.length).equals(chunk));
      here += chunk.length;
      if (here > 1_000_000) net.detach(peer).then(resolve, reject);
    });
    write();
  });
  worker.postMessage(ticket);
  const rest = all.subarray(here);
  const sum = createHash('sha1').update(rest).digest('hex');
  assert.equal((await answer).toString(), `${rest.length} ${sum}`);
});

test('what was received and not read goes with the ticket, whole and in order', options, async (t) => {
  const { client, peer } = await connected(t);
  peer.pause();
  peer.read(0);
  const bytes = Buffer.from(Array.from({ length: 100_000 }, (_, i) => i % 251));
  client.end(bytes);
  await until(() => peer.readableLength > 0, 'bytes in the stream');
  const ticket = await net.detach(peer);
  assert.ok(ticket.received.byteLength > 0);
  const here = keep(t, net.attach(structuredClone(ticket)));
  assert.ok((await collect(here)).equals(bytes));
  assert.equal(here.bytesRead, bytes.length);
});

test('what was written is sent first, also through a cork', options, async (t) => {
  const { client, peer } = await connected(t);
  const bytes = Buffer.alloc(5_000_000, 'written');
  peer.write(bytes);
  peer.cork();
  peer.write('corked');
  const detached = net.detach(peer);
  const got = collect(client);
  const ticket = await detached;
  net.attach(ticket).end('!');
  assert.ok((await got).equals(Buffer.concat([bytes, Buffer.from('corked!')])));
});

test('a half-closed socket stays half-closed, either way', options, async (t) => {
  const one = await connected(t, { allowHalfOpen: true });
  one.client.end('all of it');
  one.peer.resume();
  await once(one.peer, 'end');
  const half = keep(t, net.attach(await net.detach(one.peer)));
  assert.equal(half.allowHalfOpen, true);
  half.resume();
  await once(half, 'end');
  half.end('answer');
  assert.equal((await collect(one.client)).toString(), 'answer');

  const two = await connected(t);
  two.peer.end('only this');
  const ended = keep(t, net.attach(await net.detach(two.peer)));
  assert.equal(ended.writableEnded, true);
  assert.equal((await collect(two.client)).toString(), 'only this');
});

test('a ticket is good for one', options, async (t) => {
  const { client, peer } = await connected(t);
  const ticket = await net.detach(peer);
  const copy = structuredClone(ticket);
  const attached = keep(t, net.attach(ticket));
  const used = { code: 'MILLRACE_ERR_TICKET', message: 'the ticket was used already' };
  assert.throws(() => net.attach(copy), used);
  assert.throws(() => net.attach(ticket), used);
  assert.throws(() => net.discard(copy), used);
  const worker = work(t, "parentPort.postMessage('attached');");
  await once(worker, 'message');
  worker.postMessage(copy);
  assert.deepEqual(await once(worker, 'message'), [{ code: 'MILLRACE_ERR_TICKET' }]);
  attached.end('still mine');
  assert.equal((await collect(client)).toString(), 'still mine');
  for (const wrong of [undefined, null, {}, { kind: 'socket', fd: 1 }, JSON.parse(JSON.stringify(ticket))])
    assert.throws(() => net.attach(wrong as Ticket), { code: 'MILLRACE_ERR_TICKET', message: /not a ticket/ });
});

test('a ticket that nobody wants is discarded, and the peer sees the end', options, async (t) => {
  const { client, peer } = await connected(t);
  net.discard(await net.detach(peer));
  client.resume();
  await once(client, 'end');
});

test('what can not be handed over says why', options, async (t) => {
  const refused = (reason: RegExp): object => ({ code: 'MILLRACE_ERR_DETACH', message: reason });
  const { client, peer, server } = await connected(t);
  client.setEncoding('utf8');
  await assert.rejects(net.detach(client), refused(/setEncoding/));
  const connecting = keep(t, net.connect(portOf(server), '127.0.0.1'));
  await assert.rejects(net.detach(connecting), refused(/not connected yet/));
  await assert.rejects(net.detach(new net.Socket()), { code: 'ERR_SOCKET_CLOSED' });
  await assert.rejects(net.detach(net.createServer()), { code: 'ERR_SERVER_NOT_RUNNING' });
  await assert.rejects(net.detach({} as net.Socket), { code: 'ERR_INVALID_ARG_TYPE' });
  peer.destroy();
  await assert.rejects(net.detach(peer), { code: 'ERR_SOCKET_CLOSED' });
});

test('a socket that fails while it is detached rejects', options, async (t) => {
  const { client, peer } = await connected(t);
  client.pause();
  peer.write(Buffer.alloc(20_000_000)); // never all taken
  const detached = net.detach(peer);
  detached.catch(() => {});
  await turns(3);
  client.resetAndDestroy();
  await assert.rejects(detached, { code: /ECONNRESET|EPIPE/ });
});

test('a server goes on in another thread, and loses no connection', options, async (t) => {
  const server = keep(t, net.createServer()) as net.Server;
  let here = 0;
  server.on('connection', (socket) => {
    here++;
    socket.end('here');
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const port = portOf(server);
  const worker = work(
    t,
    "it.on('connection', (socket) => socket.end('there')); it.on('listening', () => parentPort.postMessage(it.address().port));",
  );
  await once(worker, 'message');
  const answers: Promise<string>[] = [];
  const ask = (): void =>
    void answers.push(dial(t, { port, host: '127.0.0.1' }).then((socket) => collect(socket).then(String)));
  for (let i = 0; i < 20; i++) ask();
  await until(() => here > 0, 'a connection here');
  const detached = net.detach(server);
  for (let i = 0; i < 20; i++) ask();
  const ticket = await detached;
  for (let i = 0; i < 20; i++) ask();
  worker.postMessage(ticket);
  assert.deepEqual(await once(worker, 'message'), [port]);
  const all = await Promise.all(answers);
  assert.equal(all.length, 60);
  assert.equal(all.filter((text) => text === 'here').length, here);
  assert.ok(all.filter((text) => text === 'there').length >= 20);
  assert.equal(server.listening, false);
});

test('a server on a path takes the path along', options, async (t) => {
  const path = join(await folder(t), 's');
  const server = keep(t, net.createServer({ allowHalfOpen: true, noDelay: true })) as net.Server;
  server.listen(path);
  await once(server, 'listening');
  const ticket = await net.detach(server);
  await until(() => !server.listening, 'closed');
  assert.ok(existsSync(path));
  const next = keep(t, net.attach(ticket)) as net.Server;
  next.on('connection', (socket) => socket.end('path'));
  await once(next, 'listening');
  assert.equal(next.address(), path);
  assert.equal((next as unknown as { allowHalfOpen: boolean }).allowHalfOpen, true);
  assert.equal((await collect(await dial(t, next))).toString(), 'path');
  next.close();
  assert.ok(!existsSync(path));
});

test('a signal ends what was attached', options, async (t) => {
  const { client, peer } = await connected(t);
  const controller = new AbortController();
  const socket = keep(t, net.attach(await net.detach(peer), { signal: controller.signal, pauseOnConnect: true }));
  client.write('waits');
  assert.equal((await take(socket, 5)).toString(), 'waits');
  const failed = once(socket, 'error');
  controller.abort();
  assert.equal((await failed)[0].name, 'AbortError');
});

test('the engine node says that it hands nothing over', {
  ...limit,
  skip: hasIt ? 'another engine' : false,
}, async () => {
  const unavailable = { code: 'ERR_FEATURE_UNAVAILABLE_ON_PLATFORM' };
  await assert.rejects(net.detach(net.createServer()), unavailable);
  assert.throws(() => net.attach({} as never), unavailable);
  assert.throws(() => net.discard({} as never), unavailable);
});
