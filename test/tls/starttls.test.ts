/** A plain connection that becomes TLS in mid-stream, on both sides, over ours and over foreign streams. */
import assert from 'node:assert/strict';
import nodeNet, { type AddressInfo } from 'node:net';
import { Duplex } from 'node:stream';
import test from 'node:test';
import nodeTls from 'node:tls';
import net from 'millrace';
import tls from 'millrace/tls';
import { keep, leakGuard, once, pair, take, trace } from '../support/net.ts';
import { certificates, needsOpenssl, needsOwn, secure, securing } from '../support/tls.ts';

await leakGuard();

const trust = { servername: 'localhost' };

for (const [title, client, server] of [
  ['both sides', tls, tls],
  ['the server', nodeTls, tls],
  ['the client', tls, nodeTls],
] as const) {
  test(`STARTTLS with ours on ${title}`, needsOpenssl, async (t) => {
    const plain = await pair(t);
    plain.client.write('STARTTLS\n');
    assert.equal(String(await take(plain.peer as never, 9)), 'STARTTLS\n');
    plain.peer.write('go\n');
    const inside = keep(t, new server.TLSSocket(plain.peer, { isServer: true, ...certificates.server }));
    inside.on('data', (chunk) => inside.write(chunk));
    assert.equal(String(await take(plain.client as never, 3)), 'go\n');
    const socket = keep(t, client.connect({ ...trust, ca: certificates.ca, socket: plain.client }));
    await once(socket, 'secureConnect');
    assert.equal(socket.authorized, true);
    assert.equal(socket.remotePort, plain.client.remotePort);
    socket.write('secret');
    assert.equal(String(await take(socket, 6)), 'secret');
  });
}

test('tls.connect takes a socket that is still connecting', needsOpenssl, async (t) => {
  const server = keep(
    t,
    tls.createServer(certificates.server, (socket) => socket.end('hi')),
  );
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as { port: number };
  const socket = keep(t, net.connect(port, '127.0.0.1'));
  const client = keep(t, tls.connect({ ...trust, ca: certificates.ca, socket }));
  await once(client, 'secureConnect');
  assert.equal(String(await take(client, 2)), 'hi');
});

test('a foreign stream is served as well', needsOpenssl, async (t) => {
  const sides: Duplex[] = [];
  for (const other of [1, 0])
    sides.push(
      new Duplex({
        read() {},
        write: (chunk, _, callback) => {
          sides[other]?.push(chunk);
          callback();
        },
        final: (callback) => {
          sides[other]?.push(null);
          callback();
        },
      }),
    );
  const [near, far] = sides as [Duplex, Duplex];
  const server = keep(t, new tls.TLSSocket(far as never, { isServer: true, ...certificates.server }));
  server.on('data', (chunk) => server.write(chunk)).on('error', () => {});
  const client = keep(t, tls.connect({ ...trust, ca: certificates.ca, socket: near as never }));
  await once(client, 'secureConnect');
  client.write('through');
  assert.equal(String(await take(client, 7)), 'through');
});

test('what the plain socket had read comes before what arrives meanwhile', needsOwn, async (t) => {
  const wire = nodeNet.createServer().listen(0, '127.0.0.1');
  t.after(() => void wire.close());
  await once(wire, 'listening');
  const { port } = wire.address() as AddressInfo;
  const client = keep(t, nodeTls.connect({ ...trust, ca: certificates.ca, port, host: '127.0.0.1' }));
  const [relay] = (await once(wire, 'connection')) as [nodeNet.Socket];
  t.after(() => void relay.destroy());
  const [hello] = (await once(relay, 'data')) as [Buffer];
  const plain = await pair(t);
  plain.client.write(hello.subarray(0, 100));
  await once(plain.peer, 'readable');
  const inside = keep(t, new tls.TLSSocket(plain.peer, { isServer: true, ...certificates.server }));
  const handle = inside as unknown as {
    _tls: { take(from: unknown, bytes: Buffer, start: number, length: number): void };
  };
  handle._tls.take(null, hello, 100, hello.length - 100);
  relay.pipe(plain.client as never);
  plain.client.pipe(relay as never);
  await once(client, 'secureConnect');
});

test('TLS within TLS that is still connecting tells of the connection', needsOpenssl, async (t) => {
  const server = await secure(t, {}, (outer) => {
    keep(t, new nodeTls.TLSSocket(outer, { isServer: true, ...certificates.server }))
      .on('error', () => {})
      .on('secure', function (this: nodeTls.TLSSocket) {
        this.end('within');
      });
  });
  const outer = securing(t, server).on('error', () => {});
  const inner = keep(t, tls.connect({ ...trust, ca: certificates.ca, socket: outer })).on('error', () => {});
  assert.equal(inner.connecting, true);
  const log = trace(inner, ['connect', 'secureConnect']);
  assert.equal(String(await take(inner, 6)), 'within');
  assert.deepEqual(log, ['connect', 'secureConnect']);
  assert.equal(inner.connecting, false);
});
