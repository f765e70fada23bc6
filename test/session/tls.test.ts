/**
 * Sessions over TLS: who gets in, whose they are, and what counts meanwhile. The other end is node:tls or a plain socket
 * where it can be.
 */
import assert from 'node:assert/strict';
import { createServer, type Socket } from 'node:net';
import test from 'node:test';
import nodeTls, { type ConnectionOptions, type TLSSocket } from 'node:tls';
import { lines } from 'millrace/framing';
import {
  call,
  defineContract,
  dial,
  respond,
  type ServeOptions,
  type Session,
  serve,
  unchecked,
} from 'millrace/session';
import { collect, keep, leakGuard, once, type Stage, take } from '../support/net.ts';
import { certificates, needsOpenssl, needsOwn } from '../support/tls.ts';
import { dialling, raw, serving, text, turns, until } from './support/serving.ts';

await leakGuard();

const limit = { ...needsOpenssl, timeout: 30_000 };

const echo = async (session: Session<string>): Promise<void> => {
  for await (const message of session) await session.send(message);
};

type Options = Partial<ServeOptions<string, string>>;

/** A server with the certificate for localhost. */
const rig = (t: Stage, options: Options = {}, handler = echo) =>
  serving(t, handler, { ...options, tls: { ...certificates.server, ...options.tls } });

/** A client of node:tls on its way. */
function secure(t: Stage, { port }: { port: number }, options: ConnectionOptions = {}): TLSSocket {
  const to = options.socket ? {} : { host: '127.0.0.1', port };
  const socket = nodeTls.connect({ ...to, servername: 'localhost', ca: certificates.ca, ...options });
  return keep(t, socket).on('error', () => {});
}

const trusting = { tls: { ca: certificates?.ca, servername: 'localhost' } };

test('a client certificate says whose the session is, and the server whom the client has reached', limit, async (t) => {
  const serves = await rig(t, { tls: { ca: certificates.ca, requestCert: true } });
  const session = await dialling(t, serves, { tls: { ...trusting.tls, ...certificates.client } });
  await session.send('hello');
  assert.equal(await session.receive(), 'hello');
  const { peer, tls } = serves.sessions[0] as Session<string>;
  assert.equal(peer.identity?.spiffeId, 'spiffe://example/client');
  assert.equal(peer.identity.subject.commonName, 'client');
  assert.deepEqual(peer.identity.subjectAltNames.uri, ['spiffe://example/client']);
  assert.equal(peer.address, '127.0.0.1');
  assert.deepEqual([tls?.protocol, tls?.servername, tls?.authorized], ['TLSv1.3', 'localhost', true]);
  assert.deepEqual(session.peer.identity?.subjectAltNames.dns, ['localhost']);
  await session.close();
  assert.equal((await serves.closed()).reason, 'ENDED');
});

test('nobody is asked for a certificate: the session is nobody’s', limit, async (t) => {
  const serves = await rig(t);
  const socket = secure(t, serves, certificates.client);
  socket.write('hello\n');
  assert.equal(String(await take(socket, 6)), 'hello\n');
  const session = serves.sessions[0] as Session<string>;
  assert.equal(session.peer.identity, undefined);
  assert.equal(session.tls?.authorized, false);
});

test('a session without tls has none', limit, async (t) => {
  const serves = await serving(t, echo);
  const session = await dialling(t, serves);
  await session.send('x');
  await session.receive();
  for (const each of [session, serves.sessions[0] as Session<string>])
    assert.deepEqual([each.tls, each.peer.identity], [undefined, undefined]);
});

for (const [what, bytes] of [
  ['garbage', Buffer.alloc(200, 0xee)],
  ['a message in plain', Buffer.from('hello\n')],
  ['nothing at all', Buffer.alloc(0)],
] as const) {
  test(`a peer that sends ${what} in place of a hello is refused, and never a session`, limit, async (t) => {
    const serves = await rig(t);
    const peer = await raw(t, serves);
    peer.socket.end(bytes);
    await until(() => serves.refusals.length === 1, 'the refusal');
    const [refusal] = serves.refusals;
    assert.equal(refusal?.reason, 'TLS_HANDSHAKE_FAILED');
    assert.equal(refusal.address, '127.0.0.1');
    assert.match(`${(refusal.cause as NodeJS.ErrnoException).code}`, /^ERR_SSL_|^ECONNRESET$/);
    assert.equal(serves.server.metrics().refused.TLS_HANDSHAKE_FAILED, 1);
    assert.deepEqual([serves.sessions.length, serves.server.metrics().openConnections], [0, 0]);
  });
}

test('a client without a certificate is refused, and one of an unknown authority', limit, async (t) => {
  const serves = await rig(t, { tls: { ca: certificates.ca, requestCert: true } });
  for (const client of [{}, certificates.selfSigned]) {
    secure(t, serves, client).write('let me in\n');
    await until(() => serves.refusals.length === 1, 'the refusal');
    assert.equal(serves.refusals.pop()?.reason, 'TLS_HANDSHAKE_FAILED');
  }
  assert.equal(serves.sessions.length, 0);
});

test('a peer that stops in the handshake is refused in time', limit, async (t) => {
  const serves = await rig(t, { tls: { handshakeTimeoutMs: 1 } });
  const peer = await raw(t, serves);
  peer.socket.write(Buffer.from('160301', 'hex'));
  await until(() => serves.refusals.length === 1, 'the refusal');
  assert.equal(serves.refusals[0]?.reason, 'TLS_HANDSHAKE_TIMEOUT');
  await until(() => peer.events.includes('reset'), 'the reset');
});

test('half-done handshakes count in the limits, for each address as well', limit, async (t) => {
  for (const limits of [{ connections: 2 }, { perAddress: 2 }]) {
    const serves = await rig(t, { limits });
    const first = await raw(t, serves);
    await raw(t, serves);
    await until(() => serves.server.metrics().openConnections === 2, 'two handshakes');
    await raw(t, serves);
    await until(() => serves.refusals.length === 1, 'the refusal of the third');
    const reason = 'connections' in limits ? 'TOO_MANY_CONNECTIONS' : 'TOO_MANY_FROM_ADDRESS';
    assert.equal(serves.refusals[0]?.reason, reason);
    first.socket.destroy();
    await until(() => serves.server.metrics().openConnections === 1, 'the first has left');
    const session = await dialling(t, serves, trusting);
    await session.send('in');
    assert.equal(await session.receive(), 'in');
  }
});

test('hundreds of half-done handshakes leave nothing behind', limit, async (t) => {
  const serves = await rig(t);
  const peers: Socket[] = [];
  for (let i = 0; i < 300; i++) {
    const { socket } = await raw(t, serves);
    socket.write(Buffer.from('1603010200010001fc0303', 'hex'));
    peers.push(socket);
  }
  await until(() => serves.server.metrics().openConnections === 300, 'all handshakes');
  for (const socket of peers) socket.destroy();
  await until(() => serves.refusals.length === 300, 'all refusals');
  assert.equal(serves.server.metrics().openConnections, 0);
  const session = await dialling(t, serves, trusting);
  await session.send('alive');
  assert.equal(await session.receive(), 'alive');
});

test('the PROXY protocol header comes before the hello, however they are cut', limit, async (t) => {
  const serves = await rig(t, {
    proxyProtocol: { trustedProxies: ['127.0.0.0/8'] },
    tls: { ca: certificates.ca, requestCert: true },
  });
  const header = Buffer.from('PROXY TCP4 192.0.2.1 198.51.100.1 51000 443\r\n');
  for (const cut of [0, 10, header.length, header.length + 3, 100_000]) {
    const { socket: near } = await raw(t, serves, { reads: false });
    // A proxy: what the client says first goes behind the header.
    const proxy = await proxied(t, near, (hello) => {
      const all = Buffer.concat([header, hello]);
      near.write(all.subarray(0, cut));
      near.write(all.subarray(cut));
    });
    const socket = secure(t, proxy, certificates.client);
    socket.write('hello\n');
    assert.equal(String(await take(socket, 6)), 'hello\n');
    const { peer } = serves.sessions.at(-1) as Session<string>;
    assert.deepEqual([peer.address, peer.port], ['192.0.2.1', 51000]);
    assert.equal(peer.proxy?.via.address, '127.0.0.1');
    assert.equal(peer.identity?.subject.commonName, 'client');
    socket.end();
    await serves.closed();
  }
});

/** Listens for one client, and is the proxy between it and `near`. */
async function proxied(t: Stage, near: Socket, first: (hello: Buffer) => void): Promise<{ port: number }> {
  const listener = keep(t, createServer());
  listener.on('connection', (client) => {
    client.once('data', (hello: Buffer) => {
      first(hello);
      client.pipe(near);
    });
    near.pipe(client.on('error', () => {}));
  });
  listener.listen(0, '127.0.0.1');
  await once(listener, 'listening');
  return { port: (listener.address() as { port: number }).port };
}

test('an end without a close_notify is told apart, behind all messages', needsOwn, async (t) => {
  const received: string[] = [];
  const handler = async (session: Session<string>): Promise<void> => {
    for await (const message of session) received.push(message);
  };
  for (const allowTruncation of [false, true]) {
    const serves = await rig(t, { tls: { allowTruncation } }, handler);
    const { socket: near } = await raw(t, serves, { reads: false });
    const proxy = await proxied(t, near, (hello) => void near.write(hello));
    const socket = secure(t, proxy);
    await once(socket, 'secureConnect');
    socket.write('whole\n');
    await until(() => received.length === 1, 'the message');
    near.end(); // the proxy dies
    const { reason, cause } = await serves.closed();
    assert.equal(reason, allowTruncation ? 'ENDED' : 'TLS_TRUNCATED');
    const code = allowTruncation ? undefined : 'MILLRACE_ERR_TLS_TRUNCATED';
    assert.equal((cause as NodeJS.ErrnoException | undefined)?.code, code);
    received.length = 0;
  }
});

test('a server that is closed refuses handshakes that are under way', limit, async (t) => {
  const serves = await rig(t);
  await raw(t, serves);
  await until(() => serves.server.metrics().openConnections === 1, 'the handshake');
  await serves.server.close();
  assert.deepEqual(
    serves.refusals.map(({ reason }) => reason),
    ['DRAINING'],
  );
  assert.equal(serves.server.metrics().openConnections, 0);
});

test('messages that fill all buffers arrive, and what waits is counted', limit, async (t) => {
  const message = 'x'.repeat(100_000);
  let counted = 0;
  const serves = await rig(t, {}, async (session) => {
    for (let i = 0; i < 100; i++) {
      const sent = session.send(message);
      counted = Math.max(counted, session.bufferedBytes);
      await sent;
    }
  });
  const socket = secure(t, serves);
  await once(socket, 'secureConnect');
  await turns(50);
  assert.ok(counted > 0);
  assert.equal((await collect(socket)).length, 100 * (message.length + 1));
  assert.equal((await serves.closed()).unsentBytes, 0);
});

test('dial says why a server is not the right one', limit, async (t) => {
  const serves = await rig(t, { tls: certificates.other });
  const options = { codec: text, host: '127.0.0.1', port: serves.port };
  await assert.rejects(dial({ ...options, ...trusting }), { code: 'ERR_TLS_CERT_ALTNAME_INVALID' });
  await assert.rejects(dial({ ...options, tls: true }), { code: 'UNABLE_TO_VERIFY_LEAF_SIGNATURE' });
  await assert.rejects(dial({ ...options, tls: { onDemand: true } as never }), { code: 'MILLRACE_ERR_BAD_OPTION' });
  await assert.rejects(serve({ codec: text, port: 0, tls: true as never }, echo), { code: 'MILLRACE_ERR_BAD_OPTION' });
  await assert.rejects(serve({ codec: text, port: 0, tls: {} }, echo), { code: 'MILLRACE_ERR_BAD_OPTION' });
});

test('setSecureContext is for sessions from now on', limit, async (t) => {
  const serves = await rig(t);
  serves.server.setSecureContext(certificates.other);
  const session = await dialling(t, serves, { tls: { ca: certificates.ca, servername: 'other.example' } });
  assert.equal(session.peer.identity?.subject.commonName, 'other.example');
});

test('a client that reconnects does so securely', limit, async (t) => {
  const serves = await rig(t);
  const client = await dial({
    codec: text,
    ...{ host: '127.0.0.1', port: serves.port, ...trusting },
    reconnect: { baseMs: 1, maxMs: 5 },
  });
  t.after(() => client.abort());
  for (const message of ['one', 'two']) {
    await client.send(message);
    assert.equal(await client.receive(), message);
    assert.equal(client.session?.tls?.authorized, true);
    const lost = once(client, 'waiting');
    serves.sessions.at(-1)?.abort();
    await lost;
  }
});

test('calls work over it, and the handler knows who calls', limit, async (t) => {
  const codec = lines({ maxFrameBytes: 65_536 }).json();
  const contract = defineContract({ whoAmI: { kind: 'request', output: unchecked<string>() } });
  const serves = await serving<unknown>(
    t,
    (session) => respond(session, contract, { whoAmI: () => `${session.peer.identity?.spiffeId}` }).done,
    { codec, tls: { ...certificates.server, ca: certificates.ca, requestCert: true } },
  );
  const tls = { ...trusting.tls, ...certificates.client };
  const api = call(await dialling<unknown>(t, serves, { codec, tls }), contract);
  assert.equal(await api.whoAmI(undefined), 'spiffe://example/client');
});
