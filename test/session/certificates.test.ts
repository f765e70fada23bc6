/** Sessions whose certificates look after themselves, on either side. */
import assert from 'node:assert/strict';
import test from 'node:test';
import { dial, type Session } from 'millrace/session';
import { CertificateFolder, localhost } from '../support/certificates.ts';
import { leakGuard, once } from '../support/net.ts';
import { altNames, issue } from '../support/x509.ts';
import { dialling, serving, text, until } from './support/serving.ts';

await leakGuard();

const limit = { timeout: 60_000 };
const authority = issue({ name: 'authority', isAuthority: true });
const served = localhost({ by: authority });
const trusting = { ca: authority.cert, servername: 'localhost' };

const echo = async (session: Session<string>): Promise<void> => {
  for await (const message of session) await session.send(message);
};

test('sessions from now on see the new certificate, those there are live on', limit, async (t) => {
  const place = await CertificateFolder.make(t, served);
  const serves = await serving(t, echo, { tls: { certificates: place.open(t) } });
  const before = await dialling(t, serves, { tls: trusting });
  const { fingerprint256 } = serves.server.certificate ?? {};
  assert.equal(before.peer.identity?.fingerprint256, fingerprint256);
  const renewed = localhost({ by: authority });
  place.replace('key.pem', renewed.key);
  place.replace('cert.pem', renewed.cert);
  await place.hears('reload: localhost');
  const after = await dialling(t, serves, { tls: trusting });
  assert.equal(after.peer.identity?.fingerprint256, serves.server.certificate?.fingerprint256);
  assert.notEqual(after.peer.identity?.fingerprint256, fingerprint256);
  await before.send('still there');
  assert.equal(await before.receive(), 'still there');
});

test('a client that reconnects does so with the certificate that is current', limit, async (t) => {
  const [one, two] = [issue({ name: 'one', by: authority }), issue({ name: 'two', by: authority })];
  const place = await CertificateFolder.make(t, one);
  place.write('ca.pem', authority.cert);
  const certificates = place.open(t, { caFile: place.file('ca.pem') });
  const tls = { key: served.key, cert: served.cert, ca: authority.cert, requestCert: true };
  const serves = await serving(t, echo, { tls });
  assert.equal(serves.server.certificate, undefined);
  const client = await dial({
    codec: text,
    ...{ host: '127.0.0.1', port: serves.port, tls: { servername: 'localhost', certificates } },
    reconnect: { baseMs: 1, maxMs: 5 },
  });
  t.after(() => client.abort());
  await until(() => serves.sessions.length === 1, 'the first session');
  place.replace('key.pem', two.key);
  place.replace('cert.pem', two.cert);
  await place.hears('reload: two');
  const lost = once(client, 'waiting');
  serves.sessions[0]?.abort();
  await lost;
  await until(() => serves.sessions.length === 2, 'the second session');
  assert.deepEqual(
    serves.sessions.map(({ peer }) => peer.identity?.subject.commonName),
    ['one', 'two'],
  );
});

test('a peer whose names can be read in two ways is no session, on either side', limit, async (t) => {
  const odd = localhost({ by: authority, extensions: [altNames(['dns', 'localhost'], ['dns', 'a\0b'])] });
  const { key, cert } = odd;
  const strict = await serving(t, echo, {
    tls: { key: served.key, cert: served.cert, ca: authority.cert, requestCert: true },
  });
  const dialled = dialling(t, strict, { tls: { ...trusting, key, cert } });
  await Promise.allSettled([dialled]); // TLS 1.3: connected before it is refused
  await until(() => strict.refusals.length === 1, 'the refusal');
  const [{ reason, cause } = assert.fail()] = strict.refusals;
  assert.deepEqual(
    [reason, (cause as NodeJS.ErrnoException).code],
    ['TLS_HANDSHAKE_FAILED', 'MILLRACE_ERR_BAD_CERTIFICATE'],
  );
  assert.equal(strict.sessions.length, 0);
  const serves = await serving(t, echo, { tls: { key, cert } });
  await assert.rejects(dialling(t, serves, { tls: trusting }), { code: 'MILLRACE_ERR_BAD_CERTIFICATE' });
});
