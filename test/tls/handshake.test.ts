/** Who is let in, and who is trusted: our TLS against itself and against Node's. */
import assert from 'node:assert/strict';
import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import test from 'node:test';
import nodeTls from 'node:tls';
import { engine as transport } from 'millrace';
import tls, { engine, engineReason } from 'millrace/tls';
import { leakGuard, once, take, until } from '../support/net.ts';
import { castings, certificates, needsOpenssl, needsOwn, refused, secure, secured, securing } from '../support/tls.ts';

await leakGuard();

const versions = ['TLSv1.2', 'TLSv1.3'] as const;

test('the export says whose TLS it is, and why', () => {
  assert.equal(engine, transport === 'node' ? 'node' : 'openssl');
  assert.match(engineReason, transport === 'node' ? /^Node's own tls: / : /^OpenSSL 3\./);
});

for (const version of versions) {
  for (const [title, serverTls, clientTls] of castings(tls as never, nodeTls)) {
    test(`${version} with ours on ${title} carries bytes both ways`, needsOpenssl, async (t) => {
      const options = { minVersion: version, maxVersion: version };
      const server = await secure(t, options, (socket) => socket.pipe(socket), serverTls);
      const client = await secured(t, server, {}, clientTls);
      assert.equal(client.authorized, true);
      assert.equal(client.getProtocol(), version);
      client.write('hello');
      assert.equal(String(await take(client, 5)), 'hello');
      const closed = once(client, 'close');
      client.end();
      await closed;
    });
  }
}

test('a host name that is not in the certificate ends the connection', needsOpenssl, async (t) => {
  const server = await secure(t);
  const { code } = await refused(t, server, { servername: 'elsewhere.example' });
  assert.equal(code, 'ERR_TLS_CERT_ALTNAME_INVALID');
});

for (const [what, pair, code] of [
  ['self-signed', 'selfSigned', 'DEPTH_ZERO_SELF_SIGNED_CERT'],
  ['expired', 'expired', 'CERT_HAS_EXPIRED'],
] as const) {
  test(`a certificate that is ${what} ends the connection`, needsOpenssl, async (t) => {
    const server = await secure(t, certificates[pair]);
    assert.equal((await refused(t, server)).code, code);
  });
}

test('an authority that is not known ends the connection', needsOpenssl, async (t) => {
  const server = await secure(t);
  assert.equal(
    (await refused(t, server, { ca: certificates.selfSigned.cert })).code,
    'UNABLE_TO_VERIFY_LEAF_SIGNATURE',
  );
});

test('the usual roots do not know our authority', needsOpenssl, async (t) => {
  const server = await secure(t);
  const client = tls.connect({ host: '127.0.0.1', port: (server.address() as { port: number }).port });
  const [error] = await once(client, 'error');
  assert.equal(error.code, 'UNABLE_TO_VERIFY_LEAF_SIGNATURE');
});

test('a certificate on the revocation list ends the connection', needsOpenssl, async (t) => {
  const { crl } = certificates;
  const revoked = await secure(t, certificates.revoked);
  assert.equal((await refused(t, revoked, { crl })).code, 'CERT_REVOKED');
  const good = await secure(t);
  assert.equal((await secured(t, good, { crl })).authorized, true);
});

test('without rejectUnauthorized the reason is told, and the connection stands', needsOpenssl, async (t) => {
  const server = await secure(t, certificates.selfSigned);
  const client = await secured(t, server, { rejectUnauthorized: false });
  assert.equal(client.authorized, false);
  assert.equal(String(client.authorizationError), 'DEPTH_ZERO_SELF_SIGNED_CERT');
});

for (const version of versions) {
  test(`${version}: a client without a certificate is not let in where one is asked for`, needsOpenssl, async (t) => {
    const options = { requestCert: true, ca: certificates.ca, minVersion: version, maxVersion: version };
    const server = await secure(t, options, () => assert.fail('it was let in'));
    const failed = once(server, 'tlsClientError');
    securing(t, server).on('error', () => {});
    const [error] = await failed;
    assert.equal(error.code, 'ERR_SSL_PEER_DID_NOT_RETURN_A_CERTIFICATE');
  });

  test(`${version}: a client's certificate of somebody else is not let in`, needsOpenssl, async (t) => {
    const options = { requestCert: true, ca: certificates.ca, minVersion: version, maxVersion: version };
    const server = await secure(t, options, () => assert.fail('it was let in'));
    const failed = once(server, 'tlsClientError');
    securing(t, server, certificates.selfSigned).on('error', () => {});
    await failed;
  });

  test(`${version}: a client's certificate of ours is let in, and shown`, needsOpenssl, async (t) => {
    const options = { requestCert: true, ca: certificates.ca, minVersion: version, maxVersion: version };
    const server = await secure(t, options);
    const accepted = once(server, 'secureConnection');
    await secured(t, server, certificates.client);
    const [socket] = await accepted;
    assert.equal(socket.authorized, true);
    assert.equal(socket.getPeerCertificate().subject.CN, 'client');
    assert.equal(socket.getPeerCertificate().subjectaltname, 'URI:spiffe://example/client');
    assert.equal(socket.getPeerCertificate(true).issuerCertificate.subject.CN, 'authority');
  });
}

test('a client that refuses the server has shown no certificate of its own', needsOpenssl, async (t) => {
  const options = { requestCert: true, rejectUnauthorized: false, ...certificates.selfSigned };
  const server = await secure(t, options, () => assert.fail('the handshake was finished'));
  const failed = once(server, 'tlsClientError');
  const error = await refused(t, server, certificates.client);
  assert.equal(error.code, 'DEPTH_ZERO_SELF_SIGNED_CERT');
  await failed;
});

test('a server without a common version refuses, and both sides say why', needsOpenssl, async (t) => {
  const server = await secure(t, { minVersion: 'TLSv1.3' });
  const failed = once(server, 'tlsClientError');
  const error = await refused(t, server, { maxVersion: 'TLSv1.2' });
  assert.equal(error.code, 'ERR_SSL_TLSV1_ALERT_PROTOCOL_VERSION');
  assert.equal((await failed)[0].code, 'ERR_SSL_UNSUPPORTED_PROTOCOL');
});

test('TLS 1.1 is refused unless it is asked for', needsOpenssl, async (t) => {
  const server = await secure(t);
  const failed = once(server, 'tlsClientError');
  const client = { minVersion: 'TLSv1.1', maxVersion: 'TLSv1.1', ciphers: 'ALL@SECLEVEL=0' } as const;
  securing(t, server, client, nodeTls).on('error', () => {});
  assert.equal((await failed)[0].code, 'ERR_SSL_UNSUPPORTED_PROTOCOL');
});

test('PKCS #12 with a passphrase serves as key and certificate', needsOpenssl, async (t) => {
  const { pfx } = certificates;
  const server = await secure(t, { key: undefined, cert: undefined, pfx, passphrase: 'secret' });
  assert.equal((await secured(t, server)).authorized, true);
});

test('what is known of a connection is what Node knows of it', needsOpenssl, async (t) => {
  const facts = async (module: typeof nodeTls) => {
    const server = await secure(t, { requestCert: true, rejectUnauthorized: false }, undefined, nodeTls);
    const client = await secured(t, server, { ...certificates.client, maxVersion: 'TLSv1.2' }, module);
    const { issuerCertificate, ...certificate } = client.getPeerCertificate(true);
    return {
      certificate,
      issuer: issuerCertificate.subject,
      isRoot: issuerCertificate.issuerCertificate === issuerCertificate,
      own: client.getCertificate(),
      cipher: client.getCipher(),
      protocol: client.getProtocol(),
      key: client.getEphemeralKeyInfo(),
      isReused: client.isSessionReused(),
      finished: client.getFinished()?.length,
      peerFinished: client.getPeerFinished()?.length,
      material: client.exportKeyingMaterial(32, 'label', Buffer.from('context')).length,
      x509: client.getPeerX509Certificate()?.fingerprint256,
      alpn: client.alpnProtocol,
      servername: (client as { servername?: unknown }).servername,
      encrypted: client.encrypted,
    };
  };
  assert.deepEqual(await facts(tls as never), await facts(nodeTls));
});

for (const event of ['checkServerIdentity', 'OCSPResponse'] as const)
  test(`${event} that throws lets nothing through from a peer that is not verified`, needsOwn, async (t) => {
    const thrown: string[] = [];
    process.setUncaughtExceptionCaptureCallback((error) => void thrown.push((error as Error).message));
    t.after(() => process.setUncaughtExceptionCaptureCallback(null));
    const refuse = (): never => {
      throw new Error('thrown on purpose');
    };
    const seen: string[] = [];
    const server = await secure(
      t,
      {},
      (socket) => void socket.on('data', (chunk) => seen.push(String(chunk))).write('x'),
    );
    const options = event === 'checkServerIdentity' ? { checkServerIdentity: refuse } : { requestOCSP: true };
    const client = securing(t, server, { ...options, servername: 'wrong.example' });
    if (event === 'OCSPResponse') client.on(event, refuse);
    client.on('data', (chunk) => seen.push(String(chunk))).on('error', () => {});
    client.write('secret');
    await new Promise((resolve) => client.once('close', resolve));
    assert.deepEqual(thrown, ['thrown on purpose']);
    assert.deepEqual(seen, []);
    assert.equal(client.authorized, false);
  });

test('before the handshake there is nothing to know, and asking does no harm', needsOwn, async (t) => {
  const client = securing(t, await secure(t));
  client.on('error', () => {});
  assert.deepEqual(client.getEphemeralKeyInfo(), {});
  assert.equal(client.getSession(), undefined);
  assert.deepEqual(client.getPeerCertificate(true), {});
  assert.equal(client.getPeerX509Certificate(), undefined);
  assert.equal(client.getTLSTicket(), undefined);
  assert.equal(client.isSessionReused(), false);
});

test('setServername on a server and keying material before the handshake are errors', needsOpenssl, async (t) => {
  const server = await secure(t);
  const accepted = once(server, 'secureConnection');
  const client = securing(t, server);
  assert.throws(() => client.exportKeyingMaterial(32, 'label', Buffer.from('context')), {
    code: 'ERR_TLS_INVALID_STATE',
  });
  const [socket] = await accepted;
  assert.throws(() => socket.setServername('x'), { code: 'ERR_TLS_SNI_FROM_SERVER' });
});

test('errors of contexts are Node’s', needsOpenssl, () => {
  for (const options of [
    { key: 'nonsense' },
    { cert: 'nonsense' },
    { ...certificates.server, key: certificates.client.key },
    { ciphers: 'nothing-like-it' },
    { minVersion: 'TLSv9' },
    { pfx: Buffer.from('x') },
  ]) {
    let expected: unknown;
    try {
      nodeTls.createSecureContext(options as never);
    } catch (error) {
      expected = error;
    }
    assert.throws(
      () => tls.createSecureContext(options as never),
      (error: NodeJS.ErrnoException) => {
        assert.equal(error.code, (expected as NodeJS.ErrnoException).code);
        return true;
      },
    );
  }
});

test('keys are logged for who listens', { ...needsOpenssl }, async (t) => {
  const server = await secure(t);
  const lines: string[] = [];
  const client = securing(t, server).on('keylog', (line) => lines.push(String(line)));
  await once(client, 'secureConnect');
  await until(() => lines.length >= 4, 'the four secrets of TLS 1.3');
  assert.ok(
    lines.every((line) => /^[A-Z_0-9]+ [0-9a-f]{64} [0-9a-f]+\n$/.test(line)),
    lines.join(''),
  );
});

test('diagnostics_channel tells of the TLS socket, once', needsOwn, async (t) => {
  const told: unknown[] = [];
  const onSocket = (message: unknown): void => void told.push((message as { socket: unknown }).socket);
  const server = await secure(t);
  subscribe('net.client.socket', onSocket);
  t.after(() => void unsubscribe('net.client.socket', onSocket));
  const client = await secured(t, server);
  assert.deepEqual(
    told.map((socket) => socket === client),
    [true],
  );
});
