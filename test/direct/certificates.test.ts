/** Certificates that look after themselves, on the direct tier; and peers whose certificate says two things at once. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import test, { type TestContext } from 'node:test';
import { type Connection, type ListenOptions, listen, type Server } from 'millrace/direct';
import tls, { certificatesFrom } from 'millrace/tls';
import { CertificateFolder, localhost } from '../support/certificates.ts';
import { keep, leakGuard, once, type Stage, take, until } from '../support/net.ts';
import { altNames, type Issued, issue } from '../support/x509.ts';
import { Book } from './support/direct.ts';
import { dialTls, nodeServer, peered, peerTls, serveTls } from './support/tls.ts';

// The system's watches share one descriptor, which stays.
await leakGuard(async () => fs.watch('.', { persistent: false }).close());

const limit = { timeout: 60_000 };
const authority = issue({ name: 'authority', isAuthority: true });
const served = localhost({ by: authority });
const renewed = localhost({ by: authority, kind: 'ed25519' });
/** OpenSSL has nothing against it; programs differ about where the URI ends. */
const odd = localhost({ by: authority, extensions: [altNames(['dns', 'localhost'], ['uri', 'spiffe://a/b\0/c'])] });
const trusting = { ca: authority.cert };

const pair = ({ key, cert }: Issued) => ({ key, cert });

function write(place: CertificateFolder, { key, cert }: Pick<Issued, 'key' | 'cert'>): void {
  place.replace('key.pem', key);
  place.replace('cert.pem', cert);
}

const serve = (
  t: Stage,
  certificates: NonNullable<ListenOptions['tls']>['certificates'],
  options: ListenOptions = {},
  more: ListenOptions['tls'] = {},
) => serveTls(t, options, { key: undefined, cert: undefined, ...more, certificates });

/** How many folders were watched, and are no more. */
function watching(t: TestContext): { opened: number; closed: number } {
  const watches = { opened: 0, closed: 0 };
  const { watch } = fs;
  t.mock.method(fs, 'watch', (...args: Parameters<typeof watch>) => {
    watches.opened++;
    return watch(...args).on('close', () => watches.closed++);
  });
  return watches;
}

/** Whose certificate a new connection is shown. */
async function shownBy(t: Stage, server: Server): Promise<string | undefined> {
  const socket = await peered(t, server, trusting);
  const shown = socket.getPeerX509Certificate()?.publicKey.asymmetricKeyType;
  socket.destroy();
  return shown;
}

test('connections from now on see the new certificate, those there are live on', limit, async (t) => {
  const place = await CertificateFolder.make(t, served);
  const { server } = await serve(t, place.open(t), { data: (c, view) => void c.write(view) });
  const before = await peered(t, server, trusting);
  const first = server.certificate;
  assert.deepEqual(first?.subjectAltNames.dns, ['localhost']);
  write(place, renewed);
  await place.hears('reload: localhost');
  assert.equal(await shownBy(t, server), 'ed25519');
  assert.notEqual(server.certificate?.fingerprint256, first.fingerprint256);
  before.write('still there');
  assert.equal(String(await take(before, 11)), 'still there');
});

test('all servers change, or none does; one that is closed holds nobody up', limit, async (t) => {
  const place = await CertificateFolder.make(t, served);
  const certificates = place.open(t);
  const { server } = await serve(t, certificates);
  const { server: strict } = await serve(t, certificates, {}, { ciphers: 'DEFAULT@SECLEVEL=3' }); // no RSA of 2048 bits
  write(place, localhost({ by: authority, kind: 'rsa' }));
  await place.hears('error: CERTIFICATE_UNUSABLE');
  for (const each of [server, strict]) assert.equal(await shownBy(t, each), 'ec');
  strict.terminateAll();
  await strict.close();
  await certificates.reload();
  assert.equal(await shownBy(t, server), 'rsa');
});

test('files that are wrong: the old certificate stays', limit, async (t) => {
  const place = await CertificateFolder.make(t, served);
  const { server } = await serve(t, place.open(t));
  place.write('key.pem', renewed.key);
  await place.hears('error: KEY_MISMATCH');
  assert.equal(await shownBy(t, server), 'ec');
});

test('a server watches its own files until it is closed, and tells its callbacks', limit, async (t) => {
  const place = await CertificateFolder.make(t, served);
  const watches = watching(t);
  const news: string[] = [];
  const onReload = (): void => void news.push('reload');
  const { server } = await serve(t, { ...place.options, onReload });
  write(place, renewed);
  await until(() => news.length > 0, 'the news', 30_000);
  assert.equal(await shownBy(t, server), 'ed25519');
  assert.deepEqual([watches.opened, watches.closed], [1, 0]);
  await server.close();
  await until(() => watches.closed === 1, 'its end');
});

test('a server that does not listen watches nothing', limit, async (t) => {
  const place = await CertificateFolder.make(t, served);
  const { server } = await serve(t, place.open(t));
  const watches = watching(t);
  const options = { port: server.port, hostname: '127.0.0.1' };
  const { options: certificates } = place;
  await assert.rejects(listen({ ...options, tls: { certificates } }), { code: 'EADDRINUSE' });
  const ciphers = 'no-such-cipher';
  await assert.rejects(listen({ ...options, tls: { certificates, ciphers } }), { code: 'ERR_SSL_NO_CIPHER_MATCH' });
  await until(() => watches.closed === 2, 'the end of both');
  assert.equal(watches.opened, 2);
});

for (const version of ['TLSv1.2', 'TLSv1.3'] as const) {
  const only = { ...trusting, minVersion: version, maxVersion: version };

  test(`${version}: sessions go on with a new certificate, and end with their authorities`, limit, async (t) => {
    const place = await CertificateFolder.make(t, served);
    place.write('ca.pem', authority.cert);
    const certificates = place.open(t, { caFile: place.file('ca.pem') });
    const { server, errors } = await serve(t, certificates, {}, { requestCert: true });
    const client = { ...only, ...pair(issue({ name: 'client', by: authority })) };
    const first = peerTls(t, server, client);
    const [session] = (await once(first, 'session')) as [Buffer];
    first.destroy();

    write(place, renewed);
    await place.hears('reload: localhost');
    assert.equal((await peered(t, server, { ...client, session })).isSessionReused(), true);

    place.write('ca.pem', served.cert);
    await place.hears('reload: localhost', 'reload: localhost');
    peerTls(t, server, { ...client, session }).on('error', () => {});
    await until(() => errors.length > 0, 'the refusal');
  });
}

test('each connection of a client shows the certificate that is current', limit, async (t) => {
  const [one, two] = [issue({ name: 'one', by: authority }), issue({ name: 'two', by: authority })];
  const place = await CertificateFolder.make(t, one);
  place.write('ca.pem', authority.cert);
  const withCa = place.open(t, { caFile: place.file('ca.pem') });
  const without = await certificatesFrom(() => ({ key: fs.readFileSync(place.file('key.pem')), cert: one.cert }));
  t.after(() => without.close());
  const book = new Book();
  const tlsOptions = { ...pair(served), ca: authority.cert, requestCert: true };
  const { server } = await serveTls(t, book.handlers(), tlsOptions);
  const names: (string | undefined)[] = [];
  const dial = async (options: Parameters<typeof dialTls>[2]): Promise<void> => {
    const c = await dialTls(t, server, options);
    await until(() => server.connectionCount === names.length + 1, 'the connection');
    names.push([...server.connections()].at(-1)?.tls?.peer?.subject.commonName);
    assert.equal(c.tls?.authorized, true);
  };
  await dial({ ca: undefined, certificates: withCa });
  await dial({ ...trusting, certificates: without });
  write(place, two);
  await place.hears('reload: two');
  await dial({ ca: undefined, certificates: withCa });
  await dial({ ca: undefined, certificates: withCa, ciphers: 'DEFAULT' });
  assert.deepEqual(names, ['one', 'one', 'two', 'two']);
});

test('options that make no sense', limit, async (t) => {
  const place = await CertificateFolder.make(t, served);
  const certificates = place.open(t);
  const secureContext = tls.createSecureContext(pair(served));
  for (const more of [{ certificates: true }, { certificates: null }, { certificates: {} }])
    await assert.rejects(serve(t, more.certificates as never), { code: 'MILLRACE_ERR_BAD_OPTION' });
  for (const more of [pair(served), { pfx: Buffer.alloc(1) }, { secureContext }])
    await assert.rejects(serve(t, certificates, {}, more), { code: 'MILLRACE_ERR_BAD_OPTION' });
  for (const options of [{ certificates: place.options as never }, { certificates, ...pair(served) }])
    await assert.rejects(dialTls(t, 1, options), { code: 'MILLRACE_ERR_BAD_OPTION' });
  const { server } = await serveTls(t, {}, pair(served));
  assert.equal(server.certificate, undefined);
});

// ---- who can't be told for sure ----

const refusal = 'MILLRACE_ERR_BAD_CERTIFICATE';

function assertNobody({ tls: info }: Connection): void {
  assert.deepEqual([info?.authorized, info?.authorizationError, info?.peer], [false, refusal, undefined]);
  assert.ok(info?.peerCertificate);
}

test('a client whose names can be read in two ways is refused', limit, async (t) => {
  const options = { ...pair(served), ca: authority.cert, requestCert: true };
  const { server, errors } = await serveTls(t, { open: () => assert.fail('it was let in') }, options);
  peerTls(t, server, { ...trusting, ...pair(odd) }).on('error', () => {});
  await until(() => errors.length > 0, 'the refusal');
  assert.equal(errors[0]?.code, refusal);
  const book = new Book();
  const lenient = await serveTls(t, book.handlers(), { ...options, rejectUnauthorized: false });
  await peered(t, lenient.server, { ...trusting, ...pair(odd) });
  assertNobody(await book.connection());
});

test('a server whose names can be read in two ways is refused, also when a session is resumed', limit, async (t) => {
  const port = await nodeServer(t, pair(odd), (socket) => socket.write('hello'));
  await assert.rejects(dialTls(t, port, trusting), { code: refusal });
  assertNobody(await dialTls(t, port, { ...trusting, rejectUnauthorized: false }));

  const options = { port, host: '127.0.0.1', servername: 'localhost', ...trusting };
  const earlier = keep(t, tls.connect(options)).resume(); // which leaves it to the program
  const [session] = (await once(earlier, 'session')) as [Buffer];
  await assert.rejects(dialTls(t, port, { ...trusting, session }), { code: refusal });
});
