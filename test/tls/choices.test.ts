/** What a server decides in the handshake: certificate by name, protocol, OCSP response; and new certificates at run time. */
import assert from 'node:assert/strict';
import test from 'node:test';
import tls from 'millrace/tls';
import { leakGuard, once } from '../support/net.ts';
import { certificates, needsOpenssl, refused, secure, secured, securing } from '../support/tls.ts';

await leakGuard();

const nameOf = (socket: import('node:tls').TLSSocket): unknown => socket.getPeerCertificate().subject.CN;

test('addContext: the name decides about the certificate, a star is one label', needsOpenssl, async (t) => {
  const server = await secure(t);
  server.addContext('*.wild.example', certificates.other);
  server.addContext('other.example', tls.createSecureContext(certificates.other));
  assert.equal(nameOf(await secured(t, server)), 'localhost');
  assert.equal(nameOf(await secured(t, server, { servername: 'other.example' })), 'other.example');
  assert.equal(nameOf(await secured(t, server, { servername: 'a.wild.example' })), 'other.example');
  assert.equal((await refused(t, server, { servername: 'a.b.wild.example' })).code, 'ERR_TLS_CERT_ALTNAME_INVALID');
});

for (const answer of ['at once', 'later'] as const) {
  test(`SNICallback that answers ${answer}`, needsOpenssl, async (t) => {
    const context = tls.createSecureContext(certificates.other);
    const server = await secure(t, {
      SNICallback: (name, callback) => {
        const reply = () => callback(null, name === 'other.example' ? context : undefined);
        if (answer === 'at once') reply();
        else setImmediate(reply);
      },
    });
    assert.equal(nameOf(await secured(t, server, { servername: 'other.example' })), 'other.example');
    assert.equal(nameOf(await secured(t, server)), 'localhost');
  });
}

test('SNICallback that fails ends the handshake, and the server lives', needsOpenssl, async (t) => {
  let isBroken = true;
  const server = await secure(t, {
    SNICallback: (_, callback) => callback(isBroken ? new Error('no such name') : null),
  });
  const failed = once(server, 'tlsClientError');
  securing(t, server).on('error', () => {});
  assert.equal((await failed)[0].message, 'no such name');
  isBroken = false;
  await secured(t, server);
});

test('a client that leaves while SNICallback thinks does no harm', needsOpenssl, async (t) => {
  let answer: (() => void) | undefined;
  const server = await secure(t, {
    SNICallback: (_, callback) => {
      answer = () => callback(null);
    },
  });
  const failed = once(server, 'tlsClientError');
  const client = securing(t, server).on('error', () => {});
  while (answer === undefined) await new Promise(setImmediate);
  client.destroy();
  answer();
  await failed;
});

test('ALPN: the server’s order decides, without a common protocol nothing is carried', needsOpenssl, async (t) => {
  const server = await secure(t, { ALPNProtocols: ['b', 'a'] });
  assert.equal((await secured(t, server, { ALPNProtocols: ['a', 'b'] })).alpnProtocol, 'b');
  assert.equal((await secured(t, server)).alpnProtocol, false);
  const failed = once(server, 'tlsClientError');
  await refused(t, server, { ALPNProtocols: ['c'] });
  assert.equal((await failed)[0].code, 'ERR_SSL_NO_APPLICATION_PROTOCOL');
});

test('ALPNCallback sees name and protocols, and chooses', needsOpenssl, async (t) => {
  const seen: unknown[] = [];
  const server = await secure(t, {
    ALPNCallback: (hello: { servername: string; protocols: string[] }) => {
      seen.push(hello);
      return hello.protocols.find((name) => name === 'a');
    },
  } as never);
  assert.equal((await secured(t, server, { ALPNProtocols: ['b', 'a'] })).alpnProtocol, 'a');
  assert.deepEqual(seen, [{ servername: 'localhost', protocols: ['b', 'a'] }]);
  const failed = once(server, 'tlsClientError');
  await refused(t, server, { ALPNProtocols: ['c'] });
  await failed;
});

test('OCSP: the response is stapled', needsOpenssl, async (t) => {
  const server = await secure(t);
  server.on('OCSPRequest', (certificate, _, callback) => {
    assert.ok(Buffer.isBuffer(certificate));
    setImmediate(() => callback(null, Buffer.from('a response')));
  });
  const client = securing(t, server, { requestOCSP: true } as never);
  const [[response]] = await Promise.all([once(client, 'OCSPResponse'), once(client, 'secureConnect')]);
  assert.equal(String(response), 'a response');
});

test('setSecureContext: connections from now on see the new certificate', needsOpenssl, async (t) => {
  const server = await secure(t);
  assert.equal(nameOf(await secured(t, server)), 'localhost');
  server.setSecureContext(certificates.other);
  assert.equal(nameOf(await secured(t, server, { servername: 'other.example' })), 'other.example');
});
