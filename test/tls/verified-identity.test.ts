/** Whose certificate it is: names as they stand, and nothing where they could be read in two ways. */
import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import test from 'node:test';
import fc from 'fast-check';
import tls, { TlsError, type VerifiedIdentity, verifiedIdentity } from 'millrace/tls';
import { limit } from '../support/net.ts';
import { certificates, needsOpenssl } from '../support/tls.ts';
import {
  altNames,
  attribute,
  authorityFlag,
  certificateBytes,
  der,
  extension,
  keyUsage,
  type NameKind,
  oid,
  type Parts,
  sequence,
  unsigned,
} from '../support/x509.ts';

const identity = (parts?: Parts): VerifiedIdentity => verifiedIdentity(unsigned(parts));

/** From the bytes: whether Node takes such a certificate depends on its OpenSSL. */
const refuses = (parts: Parts, message: RegExp): void =>
  assert.throws(
    () => verifiedIdentity({ raw: certificateBytes(parts) } as X509Certificate),
    (error) =>
      error instanceof TlsError && error.code === 'MILLRACE_ERR_BAD_CERTIFICATE' && message.test(error.message),
  );

const id = (...uris: string[]): string | undefined =>
  identity({ extensions: [altNames(...uris.map((uri): ['uri', string] => ['uri', uri]))] }).spiffeId;

test('a client’s certificate as openssl makes it', needsOpenssl, () => {
  const x509 = new X509Certificate(certificates.client.cert);
  const { subject, issuer, ...rest } = verifiedIdentity(x509);
  assert.deepEqual(
    [subject.commonName, subject.attributes.map(({ name, value }) => [name, value]), issuer.commonName],
    ['client', [['CN', 'client'], ['O', 'millrace']], 'authority'], // biome-ignore format: pairs
  );
  assert.deepEqual(rest, {
    subjectAltNames: { dns: [], uri: ['spiffe://example/client'], ip: [], email: [] },
    spiffeId: 'spiffe://example/client',
    spiffeTrustDomain: 'example',
    serialNumber: x509.serialNumber,
    fingerprint256: x509.fingerprint256,
    validFrom: new Date(x509.validFrom),
    validTo: new Date(x509.validTo),
  });
});

test('a server’s certificate: names and addresses', needsOpenssl, () => {
  const { subjectAltNames, spiffeId } = verifiedIdentity(new X509Certificate(certificates.server.cert));
  assert.deepEqual(subjectAltNames, { dns: ['localhost'], uri: [], ip: ['127.0.0.1'], email: [] });
  assert.equal(spiffeId, undefined);
});

test('a certificate without extensions has no alternative names', limit, () => {
  assert.deepEqual(identity().subjectAltNames, { dns: [], uri: [], ip: [], email: [] });
});

test('require() has it as well', limit, () => {
  assert.equal((tls as unknown as { verifiedIdentity: unknown }).verifiedIdentity, verifiedIdentity);
});

test('a name with commas and quotes is one name', limit, () => {
  const name = 'a", DNS:victim.example, URI:spiffe://victim/admin, "\\';
  const { subjectAltNames, spiffeId } = identity({ extensions: [altNames(['dns', name], ['uri', name])] });
  assert.deepEqual(subjectAltNames, { dns: [name], uri: [name], ip: [], email: [] });
  assert.equal(spiffeId, undefined);
});

for (const [kind, value] of [
  ['dns', 'victim.example\0.attacker.example'],
  ['uri', 'spiffe://victim/admin\0/attacker'],
  ['email', 'root@victim.example\0'],
  ['dns', 'victim\xe9.example'],
  ['uri', 'spiffe://victim/admin\n'],
] as const)
  test(`a certificate with the ${kind} name ${JSON.stringify(value)} has no identity`, limit, () =>
    refuses({ extensions: [altNames(['dns', 'good.example'], [kind, value])] }, /characters that do not belong/),
  );

test('addresses as the system prints them', limit, () => {
  const ip = (hex: string): [NameKind, Buffer] => ['ip', Buffer.from(hex, 'hex')];
  const extensions = [
    altNames(
      ip('7f000001'),
      ip('00000000000000000000000000000001'),
      ip('20010db8000000000000000000000a01'),
      ip('00000000000000000000ffff7f000001'),
    ),
  ];
  assert.deepEqual(identity({ extensions }).subjectAltNames.ip, [
    '127.0.0.1',
    '::1',
    '2001:db8::a01',
    '::ffff:127.0.0.1',
  ]);
  refuses({ extensions: [altNames(ip('7f0000'))] }, /an IP address of 3 bytes/);
});

test('a subject: attributes in their order, of every type of text', limit, () => {
  const subject = sequence(
    attribute(6, der(0x13, 'DE')),
    attribute(10, 'Ünder, "Söhne" /CN=admin'),
    attribute(11, der(0x1e, Buffer.from('\0a\x20\xac', 'latin1'))),
    attribute(8, der(0x1c, Buffer.from('\0\x01\xf6\0', 'latin1'))),
    attribute(7, der(0x14, '\xe9')),
    attribute(12, der(0x03, '\0\x01')),
    der(0x31, sequence(oid('69820c1234'), der(0x0c, 'own'))),
  );
  assert.deepEqual(identity({ subject }).subject, {
    attributes: [
      { name: 'C', oid: '2.5.4.6', value: 'DE' },
      { name: 'O', oid: '2.5.4.10', value: 'Ünder, "Söhne" /CN=admin' },
      { name: 'OU', oid: '2.5.4.11', value: 'a€' },
      { name: 'ST', oid: '2.5.4.8', value: '😀' },
      { name: 'L', oid: '2.5.4.7', value: 'é' },
      { name: 'title', oid: '2.5.4.12', value: '#0001' },
      { name: '2.25.268.18.52', oid: '2.25.268.18.52', value: 'own' },
    ],
    commonName: undefined,
  });
});

test('of two common names neither is the name', limit, () => {
  const subject = sequence(attribute(3, 'guest'), attribute(3, 'admin'));
  assert.equal(identity({ subject }).subject.commonName, undefined);
  assert.equal(identity({ subject: sequence(attribute(3, 'guest')) }).subject.commonName, 'guest');
});

test('a name with a NUL in it is refused', limit, () =>
  refuses({ subject: sequence(attribute(3, 'admin\0.guest')) }, /attribute 2\.5\.4\.3 with characters/),
);

test('both kinds of time', limit, () => {
  const { validFrom, validTo } = identity({
    notBefore: der(0x17, '500101000000Z'),
    notAfter: der(0x18, '99991231235959Z'),
  });
  assert.deepEqual([validFrom, validTo], [new Date('1950-01-01T00:00:00Z'), new Date('9999-12-31T23:59:59Z')]);
  refuses({ notAfter: der(0x17, '490230000000Z') }, /a time/);
  refuses({ notAfter: der(0x17, '4902010000Z') }, /a time/);
});

test('a SPIFFE id is the only URI', limit, () => {
  assert.equal(id('spiffe://example.org/ns/a/sa/b'), 'spiffe://example.org/ns/a/sa/b');
  assert.equal(id('spiffe://example.org/a', 'https://example.org/'), undefined);
  assert.equal(id('spiffe://example.org/a', 'spiffe://example.org/a'), undefined);
  assert.equal(id(), undefined);
});

for (const uri of [
  'spiffe://example.org',
  'spiffe://example.org/',
  'spiffe:///a',
  'spiffe:/example.org/a',
  'SPIFFE://example.org/a',
  'https://example.org/a',
  'spiffe://Example.org/a',
  'spiffe://user@example.org/a',
  'spiffe://example.org:80/a',
  'spiffe://[::1]/a',
  'spiffe://example.org/a?b',
  'spiffe://example.org/a#b',
  'spiffe://example.org/a/',
  'spiffe://example.org//a',
  'spiffe://example.org/./a',
  'spiffe://example.org/a/../b',
  'spiffe://example.org/%61',
  'spiffe://example.org/a b',
  ' spiffe://example.org/a',
  `spiffe://${'d'.repeat(256)}/a`,
  `spiffe://example.org/${'a'.repeat(2048 - 20)}`,
])
  test(`not a workload’s SPIFFE id: ${uri.slice(0, 40)}`, limit, () => assert.equal(id(uri), undefined));

test('the longest SPIFFE id and trust domain', limit, () => {
  const longest = `spiffe://${'d'.repeat(255)}/${'a'.repeat(2048 - 265)}`;
  const { spiffeId, spiffeTrustDomain } = identity({ extensions: [altNames(['uri', longest])] });
  assert.deepEqual([spiffeId, spiffeTrustDomain], [longest, 'd'.repeat(255)]);
});

test('an authority has no SPIFFE id of its own', limit, () => {
  const names = altNames(['uri', 'spiffe://example.org/a']);
  const spiffeId = (...more: Buffer[]) => identity({ extensions: [names, ...more] }).spiffeId;
  assert.equal(spiffeId(keyUsage(0b1000_0000)), 'spiffe://example.org/a');
  assert.equal(spiffeId(extension(19, sequence())), 'spiffe://example.org/a');
  assert.equal(spiffeId(authorityFlag), undefined);
  assert.equal(spiffeId(keyUsage(0b1000_0100)), undefined);
  assert.equal(spiffeId(keyUsage(0b1000_0010)), undefined);
});

test('two lists of alternative names are refused', limit, () =>
  refuses({ extensions: [altNames(['dns', 'a']), altNames(['dns', 'b'])] }, /stands twice/),
);

const text = fc.string({
  unit: fc.oneof(fc.constantFrom(',', ' ', '"', '\\', ':', 'DNS:', '\0'), fc.string({ maxLength: 1 })),
});
const names = fc.array(fc.tuple(fc.constantFrom<NameKind>('dns', 'uri', 'email'), text), { maxLength: 8 });

test('whatever stands in alternative names is what is read, or nothing is', limit, () => {
  fc.assert(
    fc.property(names, (list) => {
      const parts = { extensions: [altNames(...list)] };
      if (list.some(([, name]) => /[^ -~]/.test(name))) return refuses(parts, /characters/);
      const { subjectAltNames } = identity(parts);
      for (const kind of ['dns', 'uri', 'email'] as const)
        assert.deepEqual(
          subjectAltNames[kind],
          list.filter(([own]) => own === kind).map(([, name]) => name),
        );
    }),
    { numRuns: 500 },
  );
});

test('no part of a certificate is one', limit, () => {
  const whole = certificateBytes({ extensions: [altNames(['dns', 'a.example'])] });
  for (const raw of [...whole.keys()].map((end) => whole.subarray(0, end)).concat(Buffer.concat([whole, whole])))
    assert.throws(() => verifiedIdentity({ raw } as X509Certificate), { code: 'MILLRACE_ERR_BAD_CERTIFICATE' });
});

test('whatever the bytes are, there is an identity or the error of this module', limit, () => {
  const whole = certificateBytes({
    extensions: [altNames(['dns', 'a.example'], ['uri', 'spiffe://a/b']), authorityFlag, keyUsage(0x80)],
  });
  const change = fc.record({ at: fc.nat(whole.length - 1), to: fc.nat(255) });
  const { serialNumber, fingerprint256 } = unsigned();
  let read = 0;
  fc.assert(
    fc.property(fc.array(change, { maxLength: 4 }), fc.nat(whole.length), (changes, keptBytes) => {
      const raw = Buffer.from(changes.length > 0 ? whole : whole.subarray(0, keptBytes));
      for (const { at, to } of changes) raw[at] = to;
      try {
        const { subject } = verifiedIdentity({ raw, serialNumber, fingerprint256 } as X509Certificate);
        assert.ok(Array.isArray(subject.attributes));
        read++;
      } catch (error) {
        if (!(error instanceof TlsError)) throw error;
      }
    }),
    { numRuns: 2000 },
  );
  assert.ok(read > 0); // many bytes are the key's and the signature's
});
