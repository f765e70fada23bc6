/** Certificates that look after themselves: whatever happens to the files, what is served with is whole and valid. */
import assert from 'node:assert/strict';
import { createPrivateKey, type X509Certificate } from 'node:crypto';
import fs from 'node:fs';
import { mkdir, rename, rm, symlink } from 'node:fs/promises';
import https from 'node:https';
import test from 'node:test';
import nodeTls from 'node:tls';
import tls, {
  Certificates,
  type CertificatesOption,
  certificateFiles,
  certificatesFrom,
  type ServerWithCertificates,
  TlsError,
  useCertificates,
} from 'millrace/tls';
import { openCertificatesFrom } from '#src/tls/certificates-from.ts';
import { CertificateFolder, DAY_MS, localhost, TestClock } from '../support/certificates.ts';
import { collect, keep, leakGuard, once, type Stage, turns, until } from '../support/net.ts';
import { type Issued, issue, type KeyKind } from '../support/x509.ts';

// The system's watches share one descriptor, which stays.
await leakGuard(async () => fs.watch('.', { persistent: false }).close());

const limit = { timeout: 60_000 };
const served = localhost();
const renewed = localhost({ kind: 'ed25519' });

/** Such a server, listening. */
async function secure(
  t: Stage,
  certificates: NonNullable<CertificatesOption['certificates']>,
  more: nodeTls.TlsOptions = {},
): Promise<ServerWithCertificates> {
  const server = tls.createServer({ ...more, certificates }, (socket) => keep(t, socket).resume());
  t.after(() => void server.close());
  server.on('tlsClientError', () => {});
  await listen(server);
  return server;
}

async function listen(server: nodeTls.Server): Promise<void> {
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
}

/** A client on its way. */
function connecting(t: Stage, server: nodeTls.Server, more: nodeTls.ConnectionOptions = {}): nodeTls.TLSSocket {
  const { port } = server.address() as { port: number };
  const options = { port, host: '127.0.0.1', servername: 'localhost', ca: [served.cert, renewed.cert], ...more };
  return keep(t, nodeTls.connect(options));
}

/** Both ends of a connection whose handshake is done for both. */
async function pair(
  t: Stage,
  server: nodeTls.Server,
  more: nodeTls.ConnectionOptions = {},
): Promise<[client: nodeTls.TLSSocket, peer: nodeTls.TLSSocket]> {
  const accepted = once(server, 'secureConnection');
  const client = connecting(t, server, more);
  const [[peer]] = await Promise.all([accepted, once(client, 'secureConnect')]);
  return [client, peer];
}

const connected = async (...args: Parameters<typeof pair>): Promise<nodeTls.TLSSocket> => (await pair(...args))[0];

const publicKey = (pem: string): string => createPrivateKey(pem).asymmetricKeyType ?? '';
const keyOf = (socket: nodeTls.TLSSocket): string =>
  (socket.getPeerX509Certificate() as X509Certificate).publicKey.asymmetricKeyType ?? '';

test(
  'files that change: connections from now on see the new certificate, those there are live on',
  limit,
  async (t) => {
    const place = await CertificateFolder.make(t, served);
    const server = await secure(t, place.open(t));
    const news: unknown[] = [];
    server.on('certificateReloaded', ({ daysLeft }) => news.push(daysLeft));
    const before = await connected(t, server);
    assert.equal(keyOf(before), 'ec');
    const { fingerprint256 } = server.certificate;

    place.replace('key.pem', renewed.key);
    place.replace('cert.pem', renewed.cert);
    await place.hears('reload: localhost');
    assert.deepEqual(news, [29]);
    assert.equal(keyOf(await connected(t, server)), 'ed25519');
    assert.notEqual(server.certificate.fingerprint256, fingerprint256);
    const echoed = collect(before);
    before.end('still there');
    assert.equal(String(await echoed), '');
  },
);

test('one line: the server watches its files, and ends that when it is closed', limit, async (t) => {
  const place = await CertificateFolder.make(t, served);
  const watched = t.mock.method(fs, 'watch');
  const server = await secure(t, place.options as never);
  assert.deepEqual(server.certificate.subjectAltNames.dns, ['localhost']);
  const reloaded = once(server, 'certificateReloaded', 30_000);
  place.replace('key.pem', renewed.key);
  place.replace('cert.pem', renewed.cert);
  const [{ subject }] = await reloaded;
  assert.equal(subject.commonName, 'localhost');
  const client = await connected(t, server);
  assert.equal(keyOf(client), 'ed25519');
  client.destroy();
  const watcher = watched.mock.calls[0]?.result;
  assert.ok(watcher);
  const closed = once(watcher, 'close');
  server.close();
  await closed;
});

test('a server that was closed and listens again looks after them again', limit, async (t) => {
  const place = await CertificateFolder.make(t, served);
  const certificates = place.open(t);
  const server = await secure(t, certificates);
  server.close();
  await once(server, 'close');
  place.write('key.pem', renewed.key);
  place.write('cert.pem', renewed.cert);
  await place.hears('reload: localhost');
  await listen(server);
  assert.equal(keyOf(await connected(t, server)), 'ed25519');
});

test('whoever closes them is not called any more', limit, async (t) => {
  const place = await CertificateFolder.make(t, served);
  const certificates = place.open(t);
  assert.equal(place.files.watchers.size, 1);
  certificates.close();
  place.write('cert.pem', 'nothing');
  await place.pass(60_000);
  assert.deepEqual([place.clock.timers.size, place.files.watchers.size], [0, 0]);
  assert.deepEqual(place.news, []);
  await assert.rejects(certificates.reload(), { code: 'MILLRACE_ERR_BAD_CERTIFICATE' });
  certificates.open();
  await place.hears('error: BAD_CERTIFICATE');
});

// ---- how files change ----

test('the key before its certificate: nobody is told of the moment between', limit, async (t) => {
  const place = await CertificateFolder.make(t, served);
  place.open(t);
  place.write('key.pem', renewed.key);
  await place.pass(4_000);
  assert.deepEqual(place.news, []);
  place.write('cert.pem', renewed.cert);
  await place.hears('reload: localhost');
});

test('files that are being written: what is looked at has been the same for a while', limit, async (t) => {
  const place = await CertificateFolder.make(t, served);
  const certificates = place.open(t);
  const authority = issue({ name: 'authority', isAuthority: true });
  const leaf = localhost({ by: authority });
  place.write('key.pem', leaf.key);
  await place.pass(10_000);
  place.news.length = 0;
  // The certificate alone would do.
  for (let end = leaf.cert.length; end < leaf.cert.length + 200; end += 5) {
    place.announce('cert.pem', (leaf.cert + authority.cert).slice(0, end));
    await place.pass(100);
  }
  assert.deepEqual(place.news, []);
  place.announce('cert.pem', leaf.cert + authority.cert);
  await place.pass(1_000); // long before the files are read anyway
  await place.hears('reload: localhost');
  assert.equal(certificates.current.issuer.commonName, 'authority');
});

test('Kubernetes: symbolic links to a link that is swapped', limit, async (t) => {
  const place = await CertificateFolder.make(t, served);
  const [key, cert] = ['keyFile', 'certFile'].map((name) => place.file(`mount/${name}`)) as [string, string];
  place.write('mount/..1/keyFile', served.key);
  place.write('mount/..1/certFile', served.cert);
  await symlink('..1', place.file('mount/..data'));
  await symlink('..data/keyFile', key);
  await symlink('..data/certFile', cert);
  const certificates = place.open(t, { keyFile: key, certFile: cert });
  place.write('mount/..2/keyFile', renewed.key);
  place.write('mount/..2/certFile', renewed.cert);
  await symlink('..2', place.file('mount/..data_tmp'));
  await rename(place.file('mount/..data_tmp'), place.file('mount/..data'));
  await rm(place.file('mount/..1'), { recursive: true });
  await place.hears('reload: localhost');
  assert.equal(certificates.current.daysLeft, 29);
});

test('files that are written again as they were are no news', limit, async (t) => {
  const place = await CertificateFolder.make(t, served);
  const certificates = place.open(t);
  place.replace('cert.pem', served.cert);
  await place.pass(30_000);
  await certificates.reload();
  assert.deepEqual(place.news, []);
});

for (const kind of ['ec', 'rsa', 'ed25519'] as const satisfies KeyKind[])
  test(`a key of the kind ${kind}, encrypted`, limit, async (t) => {
    const next = localhost({ kind });
    const key = next.privateKey
      .export({ type: 'pkcs8', format: 'pem', cipher: 'aes-256-cbc', passphrase: 'secret' })
      .toString();
    const place = await CertificateFolder.make(t, served);
    const server = await secure(t, place.open(t, { passphrase: 'secret' }));
    place.write('key.pem', key);
    place.write('cert.pem', next.cert);
    await place.hears('reload: localhost');
    assert.equal(keyOf(await connected(t, server, { ca: next.cert })), publicKey(next.key));
  });

test('key and certificates in one file', limit, async (t) => {
  const authority = issue({ name: 'authority', isAuthority: true });
  const leaf = localhost({ by: authority });
  const place = await CertificateFolder.make(t, served);
  place.write('all.pem', leaf.key + leaf.cert + authority.cert);
  const server = await secure(t, place.open(t, { keyFile: place.file('all.pem'), certFile: place.file('all.pem') }));
  await connected(t, server, { ca: authority.cert });
});

// ---- what is not taken ----

const nowMs = Date.now();
const root = issue({ name: 'root', isAuthority: true });
const issuer = issue({ name: 'issuer', by: root, isAuthority: true });
const leaf = localhost({ by: issuer });
const old = issue({ name: 'issuer', by: root, isAuthority: true, toMs: nowMs - 1_000 });
const early = localhost({ fromMs: nowMs + 120_000 });

type Change = (place: CertificateFolder) => void | Promise<void>;
const both =
  ({ key, cert }: Pick<Issued, 'key' | 'cert'>): ((place: CertificateFolder) => void) =>
  (place) => {
    place.write('key.pem', key);
    place.write('cert.pem', cert);
  };

const refusals: [title: string, code: string, change: Change][] = [
  ['a certificate that is none', 'BAD_CERTIFICATE', (place) => place.write('cert.pem', 'garbage')],
  ['an empty certificate', 'BAD_CERTIFICATE', (place) => place.write('cert.pem', '')],
  ['a chain that is cut off', 'BAD_CERTIFICATE', both({ key: leaf.key, cert: leaf.cert + issuer.cert.slice(0, 200) })],
  [
    'a certificate with a bad byte',
    'BAD_CERTIFICATE',
    (place) => place.write('cert.pem', renewed.cert.replace('MII', 'AII').replace('MIH', 'AIH')),
  ],
  ['a key that is none', 'BAD_KEY', (place) => place.write('key.pem', 'garbage')],
  [
    'a key with an unknown passphrase',
    'BAD_KEY',
    (place) => {
      const cipher = { cipher: 'aes-256-cbc', passphrase: 'secret' } as const;
      place.write('key.pem', renewed.privateKey.export({ type: 'pkcs8', format: 'pem', ...cipher }).toString());
    },
  ],
  ['a key of another certificate', 'KEY_MISMATCH', (place) => place.write('key.pem', renewed.key)],
  ['a certificate of another key', 'KEY_MISMATCH', (place) => place.write('cert.pem', renewed.cert)],
  ['a chain whose certificate is not the first', 'BAD_CHAIN', both({ key: leaf.key, cert: issuer.cert + leaf.cert })],
  ['a chain in another order', 'BAD_CHAIN', both({ key: leaf.key, cert: leaf.cert + root.cert + issuer.cert })],
  ['an expired certificate', 'CERTIFICATE_EXPIRED', both(localhost({ toMs: nowMs - 1_000 }))],
  [
    'an expired issuer',
    'CERTIFICATE_EXPIRED',
    (place) => {
      const below = localhost({ by: old });
      return both({ key: below.key, cert: below.cert + old.cert })(place);
    },
  ],
  ['a certificate that is not valid yet', 'CERTIFICATE_NOT_YET_VALID', both(early)],
  ['a certificate that is away', 'CERTIFICATE_UNREADABLE', (place) => rm(place.file('cert.pem'))],
  ['a folder that is away', 'CERTIFICATE_UNREADABLE', (place) => rm(place.path, { recursive: true })],
  [
    'a folder in place of the key',
    'CERTIFICATE_UNREADABLE',
    async (place) => {
      await rm(place.file('key.pem'));
      await mkdir(place.file('key.pem'));
    },
  ],
  [
    'a file of a size that keys do not have',
    'CERTIFICATE_UNREADABLE',
    (place) => place.write('key.pem', 'x'.repeat(5e6)),
  ],
  [
    'files that may not be read',
    'CERTIFICATE_UNREADABLE',
    (place) => {
      place.files.refusal = Object.assign(new Error('EACCES: permission denied'), { code: 'EACCES' });
    },
  ],
];

for (const [title, code, change] of refusals)
  test(`${title}: the old is kept, and it is said why, once`, limit, async (t) => {
    const place = await CertificateFolder.make(t, served);
    const server = await secure(t, place.open(t));
    const events: TlsError[] = [];
    server.on('certificateError', (error) => events.push(error));
    await change(place);
    await place.hears(`error: ${code}`);
    await place.pass(30_000);
    assert.deepEqual(
      events.map((error) => [error instanceof TlsError, error.code]),
      [[true, `MILLRACE_ERR_${code}`]],
    );
    assert.equal(keyOf(await connected(t, server)), 'ec');
    if (code === 'CERTIFICATE_NOT_YET_VALID') return;

    // And then it is put right.
    place.files.refusal = undefined;
    await rm(place.file('key.pem'), { recursive: true, force: true });
    place.write('key.pem', renewed.key);
    place.write('cert.pem', renewed.cert);
    await place.hears(`error: ${code}`, 'reload: localhost');
    assert.equal(keyOf(await connected(t, server)), 'ed25519');
  });

for (const [title, code, change] of refusals.slice(0, -1))
  test(`${title}: without an old one it is thrown`, limit, async (t) => {
    const place = await CertificateFolder.make(t, served);
    await change(place);
    assert.throws(() => tls.createServer({ certificates: place.options }), { code: `MILLRACE_ERR_${code}` });
    assert.throws(() => certificateFiles(place.options), { name: 'TlsError', code: `MILLRACE_ERR_${code}` });
  });

test('what is no regular file is not read: it may have no end', limit, async (t) => {
  const place = await CertificateFolder.make(t, served);
  for (const file of ['/dev/null', '/dev/zero'])
    assert.throws(() => place.open(t, { keyFile: file }), { code: 'MILLRACE_ERR_CERTIFICATE_UNREADABLE' });
});

test('a certificate that is not valid yet is taken when it is', limit, async (t) => {
  const place = await CertificateFolder.make(t, served);
  const certificates = place.open(t);
  both(early)(place);
  await place.hears('error: CERTIFICATE_NOT_YET_VALID');
  await place.pass(60_000);
  await place.hears('error: CERTIFICATE_NOT_YET_VALID', 'reload: localhost');
  assert.equal(certificates.current.validFrom.getTime(), Math.floor((nowMs + 120_000) / 1000) * 1000);
});

test('a file with authorities that is empty would let nobody in: the old are kept', limit, async (t) => {
  const place = await CertificateFolder.make(t, served);
  place.write('ca.pem', root.cert);
  place.open(t, { caFile: place.file('ca.pem') });
  place.write('ca.pem', '');
  await place.hears('error: BAD_CERTIFICATE');
});

test('all servers change, or none does', limit, async (t) => {
  const place = await CertificateFolder.make(t, served);
  const certificates = place.open(t);
  const [first, second] = [await secure(t, certificates), await secure(t, certificates)];
  let isStubborn = true;
  certificates.attach(({ cert }) => {
    if (isStubborn && String(cert) === renewed.cert) throw new Error('not this one');
    return () => {};
  });
  both(renewed)(place);
  await place.hears('error: CERTIFICATE_UNUSABLE');
  assert.match(place.lastError?.message ?? '', /not this one/);
  for (const server of [first, second]) assert.equal(keyOf(await connected(t, server)), 'ec');
  assert.equal(certificates.current.fingerprint256, first.certificate.fingerprint256);
  isStubborn = false;
  await place.hears('error: CERTIFICATE_UNUSABLE', 'reload: localhost');
  for (const server of [first, second]) assert.equal(keyOf(await connected(t, server)), 'ed25519');
});

test('a server to whose other options the new one does not go: nobody changes', limit, async (t) => {
  const place = await CertificateFolder.make(t, served);
  const certificates = place.open(t);
  const ciphers = 'DEFAULT@SECLEVEL=3'; // no RSA keys of 2048 bits
  const [first, second] = [await secure(t, certificates), await secure(t, certificates, { ciphers })];
  both(localhost({ kind: 'rsa' }))(place);
  await place.hears('error: CERTIFICATE_UNUSABLE');
  for (const server of [first, second]) assert.equal(keyOf(await connected(t, server)), 'ec');
  both(renewed)(place);
  await place.hears('error: CERTIFICATE_UNUSABLE', 'reload: localhost');
  for (const server of [first, second]) assert.equal(keyOf(await connected(t, server)), 'ed25519');
});

test('who has ended it is given nothing more', limit, async (t) => {
  const place = await CertificateFolder.make(t, served);
  const certificates = place.open(t);
  const given: string[] = [];
  const use =
    ({ cert }: { cert: string | Buffer }) =>
    () =>
      void given.push(String(cert));
  const detach = certificates.attach(use);
  detach();
  both(renewed)(place);
  await place.hears('reload: localhost');
  assert.deepEqual(given, [served.cert]);
});

test('a server that is not made, because of its other options, holds nobody up', limit, async (t) => {
  const place = await CertificateFolder.make(t, served);
  const certificates = place.open(t);
  assert.throws(() => tls.createServer({ certificates, ciphers: 'no-such-cipher' }), {
    code: 'ERR_SSL_NO_CIPHER_MATCH',
  });
  both(renewed)(place);
  await place.hears('reload: localhost');
});

// ---- the end is near ----

test('an expiring certificate is told of once a day, and when it has expired', limit, async (t) => {
  const place = await CertificateFolder.make(t, localhost({ toMs: Date.now() + 70 * DAY_MS }));
  const server = await secure(t, place.open(t, { watch: false }));
  const events: number[] = [];
  server.on('certificateExpiring', ({ daysLeft }) => events.push(daysLeft));
  place.clock.advance(55 * DAY_MS);
  await turns(1);
  assert.deepEqual(events, []);
  assert.equal(server.certificate.daysLeft, 14);
  for (let day = 0; day < 16; day++)
    for (let part = 0; part < 4; part++) {
      place.clock.advance(DAY_MS / 4);
      await turns(1);
    }
  assert.deepEqual(events, [13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0, -1, -2]);
  assert.deepEqual(place.news.slice(0, 2), ['expiring: 13', 'expiring: 12']);
});

test('a certificate of a short life is expiring in its last fifth', limit, async (t) => {
  const hourMs = DAY_MS / 24;
  const place = await CertificateFolder.make(t, localhost({ toMs: Date.now() + 9 * hourMs })); // of ten hours
  place.open(t);
  await place.pass(10_000);
  place.clock.advance(6 * hourMs);
  await turns(1);
  assert.deepEqual(place.news, []);
  place.clock.advance(1.1 * hourMs);
  await turns(1);
  assert.deepEqual(place.news, ['expiring: 0']);
});

test('from how many days on it is expiring can be said', limit, async (t) => {
  const place = await CertificateFolder.make(t, served);
  place.open(t, { expiringDays: 30 });
  await place.hears('expiring: 29');
});

test('if nobody listens, bad news become a warning of the process', limit, async (t) => {
  const place = await CertificateFolder.make(t, served);
  const certificates = place.open(t, { onError: undefined, onExpiring: undefined, expiringDays: 30 });
  const server = await secure(t, certificates);
  const warnings: string[] = [];
  const onWarning = ({ name, code, message }: Error & { code?: string }): void => {
    if (name === 'MillraceWarning' && code === 'MILLRACE_WARN_CERTIFICATE') warnings.push(message);
  };
  process.on('warning', onWarning);
  t.after(() => void process.removeListener('warning', onWarning));
  place.write('key.pem', 'garbage');
  await place.pass(20_000);
  await until(() => warnings.length === 2, 'two warnings');
  assert.match(warnings[0] ?? '', /^the certificate of localhost expires: /);
  assert.match(warnings[1] ?? '', /^the old certificate is kept: the private key cannot be read/);
  const told = once(server, 'certificateError');
  place.write('key.pem', 'other garbage');
  const [[{ code }]] = await Promise.all([told, place.pass(20_000)]);
  assert.equal(code, 'MILLRACE_ERR_BAD_KEY');
  assert.equal(warnings.length, 2);
});

// ---- sessions ----

/** A session that the server has given. */
async function session(t: Stage, server: nodeTls.Server, more: nodeTls.ConnectionOptions): Promise<Buffer> {
  const accepted = once(server, 'secureConnection');
  const client = connecting(t, server, more);
  const [[given]] = await Promise.all([once(client, 'session'), accepted]);
  client.destroy();
  return given;
}

for (const version of ['TLSv1.2', 'TLSv1.3'] as const) {
  const only = { minVersion: version, maxVersion: version };

  test(`${version}: sessions of the old certificate are resumed with the new`, limit, async (t) => {
    const place = await CertificateFolder.make(t, served);
    const server = await secure(t, place.open(t));
    const given = await session(t, server, only);
    both(renewed)(place);
    await place.hears('reload: localhost');
    assert.equal((await connected(t, server, { ...only, session: given })).isSessionReused(), true);
    assert.equal((await connected(t, server, only)).isSessionReused(), false);
  });

  test(`${version}: other authorities, and nobody comes in by a session of the old`, limit, async (t) => {
    const place = await CertificateFolder.make(t, served);
    place.write('ca.pem', issuer.cert + root.cert);
    const server = await secure(t, place.open(t, { caFile: place.file('ca.pem') }), { requestCert: true });
    const client = { ...only, key: leaf.key, cert: leaf.cert };
    const given = await session(t, server, client);
    assert.equal((await connected(t, server, { ...client, session: given })).isSessionReused(), true);

    place.write('ca.pem', served.cert);
    await place.hears('reload: localhost');
    const refused = once(server, 'tlsClientError');
    server.on('secureConnection', () => assert.fail('it was let in'));
    connecting(t, server, { ...client, session: given }).on('error', () => {});
    await refused;
  });
}

test('secureContext: an SNICallback’s answer, and a client’s', limit, async (t) => {
  const place = await CertificateFolder.make(t, served);
  const certificates = place.open(t);
  const server = await secure(t, await certificatesFrom(() => renewed), {
    requestCert: true,
    rejectUnauthorized: false,
    SNICallback: (_, callback) => callback(null, certificates.secureContext),
  });
  assert.equal(keyOf(await connected(t, server)), 'ec');
  const own = { rejectUnauthorized: false, secureContext: certificates.secureContext };
  const ticketKeys = own.secureContext.context.getTicketKeys();
  const [, peer] = await pair(t, server, own);
  assert.equal(keyOf(peer), 'ec');
  both(renewed)(place);
  await place.hears('reload: localhost');
  assert.equal(keyOf(await connected(t, server)), 'ed25519');
  assert.deepEqual(certificates.secureContext.context.getTicketKeys(), ticketKeys);
});

// ---- from a callback ----

test('a callback brings them, at once and when it is asked', limit, async (t) => {
  let next: Issued = served;
  const news: unknown[] = [];
  const certificates = await certificatesFrom(async () => next, { onReload: ({ daysLeft }) => news.push(daysLeft) });
  t.after(() => certificates.close());
  assert.ok(certificates instanceof Certificates);
  const server = await secure(t, certificates);
  next = renewed;
  await certificates.reload();
  await certificates.reload();
  assert.deepEqual(news, [29]);
  assert.equal(keyOf(await connected(t, server)), 'ed25519');
  next = { ...renewed, key: served.key };
  await assert.rejects(certificates.reload(), { code: 'MILLRACE_ERR_KEY_MISMATCH' });
  assert.equal(keyOf(await connected(t, server)), 'ed25519');
});

test('a callback is asked again and again, and what it throws is told', limit, async (t) => {
  const clock = new TestClock();
  const errors: TlsError[] = [];
  let calls = 0;
  let isBroken = false;
  const load = (): Issued => {
    calls++;
    if (isBroken) throw new Error('the store is away');
    return served;
  };
  const options = { watch: { pollMs: 1_000 }, onError: (error: TlsError) => errors.push(error) };
  const certificates = await openCertificatesFrom(load, options, clock);
  t.after(() => certificates.close());
  isBroken = true;
  for (let i = 0; i < 4; i++) {
    clock.advance(1_000); // at first only the calendar is looked at
    await turns(2);
  }
  assert.equal(calls, 4);
  assert.deepEqual(
    errors.map(({ code, cause }) => [code, (cause as Error).message]),
    [['MILLRACE_ERR_CERTIFICATE_UNREADABLE', 'the store is away']],
  );
});

test('a callback that never answers holds nothing up for longer than a minute', limit, async (t) => {
  const clock = new TestClock();
  let answer: (() => Promise<Issued>) | undefined;
  const certificates = await openCertificatesFrom(() => answer?.() ?? served, {}, clock);
  t.after(() => certificates.close());
  answer = () => new Promise(() => {});
  const reloading = assert.rejects(certificates.reload(), { code: 'MILLRACE_ERR_CERTIFICATE_UNREADABLE' });
  await turns(1);
  clock.advance(60_000);
  await reloading;
  answer = async () => renewed;
  assert.equal((await certificates.reload()).daysLeft, 29);
});

test('a callback that brings nothing useful', limit, async () => {
  for (const brought of [undefined, null, {}, { key: served.key }, { key: 1, cert: 2 }])
    await assert.rejects(
      certificatesFrom(() => brought as never),
      { code: 'MILLRACE_ERR_CERTIFICATE_UNREADABLE' },
    );
});

// ---- options ----

test('options that make no sense', limit, async (t) => {
  const place = await CertificateFolder.make(t, served);
  const bad = { code: 'MILLRACE_ERR_BAD_OPTION' };
  for (const more of [
    { keyFile: undefined },
    { certFile: served.cert },
    { caFile: 1 },
    { passphrase: 1 },
    { watch: 'yes' },
    { watch: null },
    { watch: { pollMs: 0 } },
    { watch: { pollMs: 2 ** 31 } },
    { expiringDays: -1 },
    { onReload: 'no function' },
  ])
    assert.throws(() => certificateFiles({ ...place.options, ...more } as never), bad, JSON.stringify(more));
  await assert.rejects(certificatesFrom('load' as never), bad);
  assert.throws(() => tls.createServer({ certificates: true as never }), bad);
  assert.throws(() => tls.createServer({ certificates: place.options, key: served.key, cert: served.cert }), bad);
});

test('new tls.Server, and one that a program inherits from', limit, async (t) => {
  const place = await CertificateFolder.make(t, served);
  const options = { certificates: place.open(t) };
  class Own extends tls.Server {}
  for (const server of [new tls.Server(options), new Own(options)]) {
    assert.ok(server instanceof tls.Server && server instanceof nodeTls.Server);
    t.after(() => void server.close());
    server.on('secureConnection', (socket) => keep(t, socket));
    await listen(server);
    assert.equal(keyOf(await connected(t, server)), 'ec');
  }
});

test('a server of Node’s https', limit, async (t) => {
  const place = await CertificateFolder.make(t, served);
  const server = https.createServer((_, response) => response.end('hello'));
  t.after(() => void server.close());
  const looked = useCertificates(server, { certificates: place.open(t), minVersion: 'TLSv1.3' });
  await listen(server);
  assert.equal(keyOf(await connected(t, server)), 'ec');
  both(renewed)(place);
  await place.hears('reload: localhost');
  const client = await connected(t, server);
  assert.deepEqual([keyOf(client), client.getProtocol(), looked.certificate.daysLeft], ['ed25519', 'TLSv1.3', 29]);
});

test('setOptions where Node has it', limit, async (t) => {
  assert.equal('setOptions' in tls.Server.prototype, 'setOptions' in nodeTls.Server.prototype);
  const server = await secure(t, await certificatesFrom(() => served));
  const { setOptions } = server as unknown as { setOptions?(options: nodeTls.TlsOptions): void };
  if (setOptions === undefined) return;
  process.noDeprecation = true; // that it is deprecated
  const client = { ALPNProtocols: ['a'], key: served.key, cert: served.cert };
  setOptions.call(server, { requestCert: true, rejectUnauthorized: false, ALPNProtocols: ['a'] });
  const [socket, peer] = await pair(t, server, client);
  assert.deepEqual([socket.alpnProtocol, peer.authorized, keyOf(peer)], ['a', false, 'ec']);
});
