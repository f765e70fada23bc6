/** Resumption: what saves a handshake, and what it must not save. */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import test from 'node:test';
import nodeTls from 'node:tls';
import tls from 'millrace/tls';
import { leakGuard, once } from '../support/net.ts';
import { castings, certificates, needsOpenssl, needsOwn, secure, secured, securing } from '../support/tls.ts';

await leakGuard();

const versions = ['TLSv1.2', 'TLSv1.3'] as const;

/** A session of a connection that was closed in order. */
async function sessionOf(
  t: test.TestContext,
  server: nodeTls.Server,
  options: nodeTls.ConnectionOptions,
  module: typeof nodeTls,
) {
  const client = securing(t, server, options, module);
  const [session] = await once(client, 'session');
  client.resume().end();
  await once(client, 'close');
  return session as Buffer;
}

for (const version of versions) {
  for (const [title, serverTls, clientTls] of castings(tls as never, nodeTls)) {
    test(`${version} with ours on ${title}: a session is resumed`, needsOpenssl, async (t) => {
      const server = await secure(t, { maxVersion: version }, (socket) => socket.resume(), serverTls);
      const session = await sessionOf(t, server, {}, clientTls);
      const client = await secured(t, server, { session }, clientTls);
      assert.equal(client.isSessionReused(), true);
      assert.equal(client.authorized, true);
    });
  }

  test(`${version}: another server's name does not resume, and is checked`, needsOwn, async (t) => {
    const server = await secure(t, { maxVersion: version }, (socket) => socket.resume());
    const session = await sessionOf(t, server, {}, tls as never);
    const [error] = await once(securing(t, server, { session, servername: 'other.example' }), 'error');
    assert.equal(error.code, 'ERR_TLS_CERT_ALTNAME_INVALID');
  });

  test(`${version}: other ticket keys mean a whole handshake, the same ones do not`, needsOpenssl, async (t) => {
    const server = await secure(t, { maxVersion: version }, (socket) => socket.resume());
    const session = await sessionOf(t, server, {}, tls as never);
    const keys = server.getTicketKeys();
    server.setTicketKeys(randomBytes(48));
    assert.equal((await secured(t, server, { session })).isSessionReused(), false);
    server.setTicketKeys(keys);
    assert.equal((await secured(t, server, { session })).isSessionReused(), true);
  });
}

test('a session with a server whose name was not checked does not save the check later', needsOwn, async (t) => {
  const server = await secure(t, certificates.other, (socket) => socket.resume());
  const session = await sessionOf(t, server, { rejectUnauthorized: false }, tls as never);
  assert.equal((await secured(t, server, { session, rejectUnauthorized: false })).isSessionReused(), true);
  const [error] = await once(securing(t, server, { session }), 'error');
  assert.equal(error.code, 'ERR_TLS_CERT_ALTNAME_INVALID');
});

test('a ticket of Node’s server is good for ours when both have its keys', needsOpenssl, async (t) => {
  const options = { ticketKeys: randomBytes(48), sessionIdContext: 'shared' };
  const theirs = await secure(t, options, (socket) => socket.resume(), nodeTls);
  const ours = await secure(t, options, (socket) => socket.resume());
  const session = await sessionOf(t, theirs, {}, tls as never);
  assert.equal((await secured(t, ours, { session })).isSessionReused(), true);
});

test('a session of a context that asks for no certificate does not open one that does', needsOpenssl, async (t) => {
  const ticketKeys = randomBytes(48);
  const open = await secure(t, { ticketKeys, sessionIdContext: 'open' }, (socket) => socket.resume());
  const closed = await secure(
    t,
    { ticketKeys, sessionIdContext: 'closed', requestCert: true, ca: certificates.ca },
    () => assert.fail('it was let in'),
  );
  const session = await sessionOf(t, open, {}, tls as never);
  const failed = once(closed, 'tlsClientError');
  securing(t, closed, { session }).on('error', () => {});
  await failed;
});

test('a store of sessions is asked and told', needsOpenssl, async (t) => {
  const store = new Map<string, Buffer>();
  const SSL_OP_NO_TICKET = 2 ** 14;
  const server = await secure(t, { maxVersion: 'TLSv1.2', secureOptions: SSL_OP_NO_TICKET }, (socket) =>
    socket.resume(),
  );
  server.on('newSession', (id, session, done) => {
    store.set(id.toString('hex'), session);
    setImmediate(() => done());
  });
  server.on('resumeSession', (id, done) =>
    setImmediate(done as (error: Error | null, session?: Buffer) => void, null, store.get(id.toString('hex'))),
  );
  const session = await sessionOf(t, server, {}, tls as never);
  assert.equal(store.size, 1);
  assert.equal((await secured(t, server, { session })).isSessionReused(), true);
  store.clear();
  assert.equal((await secured(t, server, { session })).isSessionReused(), false);
});
