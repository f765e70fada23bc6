/** Servers that listen with what somebody else has: a socket, or only the connections. */
import assert from 'node:assert/strict';
import type { Server, Socket } from 'node:net';
import { test } from 'node:test';
import net from 'millrace';
import { listen } from 'millrace/direct';
import { AF, SOCK } from '#src/engine/abi.ts';
import { encodeIp } from '#src/engine/address.ts';
import { choice } from '#src/engine/engine.ts';
import {
  type Inlet,
  type ListenerSource,
  listeningSockets,
  setListenerSource,
  type Taker,
} from '#src/engine/listener-source.ts';
import type { Place } from '#src/engine/open-listener.ts';
import type { Turn } from '#src/engine/turn.ts';
import { collect, dial, dialling, keep, limit, once, portOf, type Stage, take, until } from '../support/net.ts';

const options = { ...limit, skip: choice.turn === null && 'sources are for engines of our own' };
const { native } = (choice.turn as Turn | null)?.ring ?? ({} as Turn['ring']);

/** A source for one test. */
function give(t: Stage, open: ListenerSource['open']): Place[] {
  const asked: Place[] = [];
  setListenerSource({
    open(place, backlog) {
      asked.push({ ...place });
      return open(place, backlog);
    },
  });
  t.after(() => void setListenerSource(undefined));
  return asked;
}

/** A listening socket of 127.0.0.1, and its port. */
function bound(): { fd: number; port: number } {
  const fd = native.socket(AF.INET, SOCK.STREAM | SOCK.NONBLOCK, 0);
  assert.equal(native.bind(fd, encodeIp('127.0.0.1', 0, 4) as Uint8Array), 0);
  assert.equal(native.listen(fd, 16), 0);
  const name = Buffer.alloc(16);
  native.name(fd, false, name);
  return { fd, port: name.readUInt16BE(2) };
}

class Bringer implements Inlet {
  readonly sockaddr: Uint8Array;
  taker: Taker | undefined;
  stops = 0;
  constructor(port = 4711) {
    this.sockaddr = encodeIp('127.0.0.1', port, 4) as Uint8Array;
  }
  start(taker: Taker): void {
    assert.equal(this.taker, undefined, 'once');
    this.taker = taker;
  }
  stop(): void {
    this.stops++;
  }
  /** A connection that somebody else has accepted: the other end, and whether it was taken. */
  bring(t: Stage, head?: string): { client: Socket; isTaken: boolean } {
    const [one, other] = native.socketPair(SOCK.STREAM | SOCK.NONBLOCK) as [number, number];
    const isTaken = this.taker?.deliver(one, head === undefined ? undefined : Buffer.from(head)) ?? false;
    if (!isTaken) native.closeDescriptor(one);
    return { client: keep(t, new net.Socket({ fd: other }) as unknown as Socket), isTaken };
  }
}

const serverFor = (t: Stage, onConnection?: (socket: Socket) => void): Server =>
  keep(t, net.createServer(onConnection as never) as unknown as Server);

test('a server listens at once with the socket that the source has', options, async (t) => {
  const { fd, port } = bound();
  const asked = give(t, () => ({ fd, isShared: false, keepsPath: false }));
  const server = serverFor(t, (socket) => socket.end('hello'));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  assert.deepEqual(
    asked.map(({ address, port, family }) => ({ address, port, family })),
    [{ address: '127.0.0.1', port: 0, family: 4 }],
  );
  assert.equal(portOf(server), port);
  assert.equal((await collect(await dial(t, server))).toString(), 'hello');
});

test('a source may take its time, and a server that was closed meanwhile gives back what comes', options, async (t) => {
  let answer: ((fd: number) => void) | undefined;
  give(
    t,
    () =>
      new Promise((resolve) => {
        answer = (fd) => resolve({ fd, isShared: true, keepsPath: false });
      }),
  );
  const server = serverFor(t, (socket) => socket.end('late'));
  server.listen(0);
  assert.equal(server.listening, false);
  const first = bound();
  server.close();
  answer?.(first.fd);
  await until(() => native.flags(first.fd) < 0, 'the descriptor is closed');
  server.listen(0);
  answer?.(bound().fd);
  await once(server, 'listening');
  assert.equal((await collect(await dial(t, server))).toString(), 'late');
});

test('what is exclusive is bound here; what the source refuses fails, and binds nothing', options, async (t) => {
  const asked = give(t, () => -13);
  const server = serverFor(t);
  server.listen({ port: 0, host: '127.0.0.1', exclusive: true });
  await once(server, 'listening');
  assert.equal(asked.length, 0);
  server.close();
  const error = once(server, 'error');
  server.listen(4711, '127.0.0.1');
  const [{ code, syscall, port }] = await error;
  assert.deepEqual({ code, syscall, port }, { code: 'EACCES', syscall: 'listen', port: 4711 });
  assert.equal(server.listening, false);
});

test('connections come through an inlet, with what was read from them first', options, async (t) => {
  const bringer = new Bringer();
  give(t, () => ({ inlet: bringer }));
  const server = serverFor(t);
  server.listen(4711);
  await once(server, 'listening');
  assert.deepEqual(server.address(), { address: '127.0.0.1', family: 'IPv4', port: 4711 });
  const accepted = once(server, 'connection');
  const { client, isTaken } = bringer.bring(t, 'head ');
  assert.equal(isTaken, true);
  const [socket] = (await accepted) as [Socket];
  client.write('and rest');
  assert.equal((await take(socket, 13)).toString(), 'head and rest');
  assert.equal(socket.bytesRead, 13);
  const answer = collect(client);
  socket.end('answer');
  client.end();
  assert.equal((await answer).toString(), 'answer');
});

test('a head waits while nobody reads, and goes with a ticket', options, async (t) => {
  const bringer = new Bringer();
  give(t, () => ({ inlet: bringer }));
  const server = keep(t, net.createServer({ pauseOnConnect: true }) as unknown as Server);
  server.listen(4711);
  await once(server, 'listening');
  for (const isDetached of [false, true]) {
    const accepted = once(server, 'connection');
    const { client } = bringer.bring(t, 'head');
    let [socket] = (await accepted) as [Socket];
    assert.equal(socket.bytesRead, 0);
    if (isDetached) socket = keep(t, net.attach(await net.detach(socket as never)) as unknown as Socket);
    client.write('!');
    assert.equal((await take(socket, 5)).toString(), 'head!');
  }
});

test('a full, closed or stopped server takes nothing from its inlet', options, async (t) => {
  const bringer = new Bringer();
  give(t, () => ({ inlet: bringer }));
  const server = serverFor(t);
  server.maxConnections = 1;
  server.listen(4711);
  await once(server, 'listening');
  assert.equal(bringer.bring(t).isTaken, true);
  assert.equal(bringer.taker?.isFull, true);
  assert.equal(bringer.bring(t).isTaken, false);
  assert.equal(bringer.stops, 0);
  server.close();
  assert.equal(bringer.stops, 1);
  assert.equal(bringer.bring(t).isTaken, false);
});

test('the direct tier listens with what the source has, too', options, async (t) => {
  const bringer = new Bringer();
  const { fd, port } = bound();
  const offers = [{ fd, isShared: true, keepsPath: false }, { inlet: bringer }, -98, undefined];
  give(t, async () => offers.shift());
  const texts: string[] = [];
  const data = (connection: { write(view: Uint8Array): unknown }, view: Buffer): void => {
    texts.push(view.toString());
    connection.write(view);
  };
  const first = await listen({ port: 0, hostname: '127.0.0.1', data });
  t.after(() => first.terminateAll());
  assert.equal(first.port, port);
  const client = dialling(t, { port, host: '127.0.0.1' });
  client.write('socket');
  assert.equal((await take(client, 6)).toString(), 'socket');

  const second = await listen({ port: 1, hostname: '127.0.0.1', maxConnections: 1, data });
  t.after(() => second.terminateAll());
  assert.deepEqual(second.address, { address: '127.0.0.1', family: 'IPv4', port: 4711 });
  const { client: other } = bringer.bring(t, 'inlet');
  assert.equal((await take(other, 5)).toString(), 'inlet');
  assert.equal(bringer.bring(t).isTaken, false);
  assert.deepEqual(texts, ['socket', 'inlet']);

  await assert.rejects(listen({ port: 1, data }), { code: 'EADDRINUSE', syscall: 'listen' });
  const own = await listen({ port: 0, data });
  await own.close();
});

test('who listens is on the list with the place that was asked for', options, async (t) => {
  const before = listeningSockets.size;
  const server = serverFor(t, (socket) => socket.end('!'));
  server.listen(0);
  await once(server, 'listening');
  const [socket] = [...listeningSockets].slice(-1);
  assert.equal(listeningSockets.size, before + 1);
  assert.equal(socket?.place.port, 0);
  assert.equal(socket?.place.address, null);
  // Shared with somebody else and back, it goes on accepting.
  for (const isShared of [true, false, true, true, false]) {
    socket?.share(isShared);
    assert.equal((await collect(await dial(t, server))).toString(), '!');
  }
  socket?.share(true);
  socket?.share(false);
  assert.equal((await collect(await dial(t, server))).toString(), '!');
  server.close();
  assert.equal(listeningSockets.size, before);
});
