/** Errors of handshakes that fail, and of options, are those of the Node.js that runs: codes, reasons, texts. */
import assert from 'node:assert/strict';
import nodeNet, { type AddressInfo } from 'node:net';
import test from 'node:test';
import nodeTls from 'node:tls';
import tls from 'millrace/tls';
import { leakGuard, once } from '../support/net.ts';
import { certificates, needsOpenssl, secure, securing, type Tls } from '../support/tls.ts';

await leakGuard();

type Options = [title: string, server: nodeTls.TlsOptions, client?: nodeTls.ConnectionOptions];

/** What programs compare. In front of OpenSSL's text stands the number of the thread. */
function factsOf(error: Error): object {
  const { code, library, reason, message } = error as NodeJS.ErrnoException & { library?: string; reason?: string };
  return { code, library, reason, message: message.replace(/^[0-9A-F]+:(?=error:)/, '') };
}

/** What a server says of a client of Node's. */
async function atServer(t: test.TestContext, module: Tls, [, options, client]: Options): Promise<object> {
  const server = await secure(t, options, undefined, module);
  const failed = once(server, 'tlsClientError');
  securing(t, server, client, nodeTls).on('error', () => {});
  return factsOf((await failed)[0]);
}

/** What a client says of a server of Node's. */
async function atClient(t: test.TestContext, module: Tls, [, options, client]: Options): Promise<object> {
  const server = await secure(t, options, undefined, nodeTls);
  server.on('tlsClientError', () => {});
  return factsOf((await once(securing(t, server, client, module), 'error'))[0]);
}

const refusedByServer: Options[] = [
  ['signatures that fit no key, TLS 1.3', { sigalgs: 'rsa_pss_rsae_sha256' }],
  ['signatures that fit no key, TLS 1.2', { sigalgs: 'RSA+SHA256', maxVersion: 'TLSv1.2' }],
  ['signatures that the client does not take', {}, { sigalgs: 'rsa_pss_rsae_sha256' }],
  ['no key at all', { key: undefined, cert: undefined }],
  ['no common cipher', { ciphers: 'ECDHE-RSA-AES128-GCM-SHA256', maxVersion: 'TLSv1.2' }],
  [
    'no common suite',
    { ciphers: 'TLS_AES_128_GCM_SHA256' },
    { ciphers: 'TLS_AES_256_GCM_SHA384', minVersion: 'TLSv1.3' },
  ],
  ['no common curve', { ecdhCurve: 'P-256' }, { ecdhCurve: 'P-384' }],
  ['no common protocol', { ALPNProtocols: ['a'] }, { ALPNProtocols: ['b'] }],
  ['no common version', { minVersion: 'TLSv1.3' }, { maxVersion: 'TLSv1.2' }],
];
for (const refusal of refusedByServer) {
  test(`${refusal[0]}: both sides say what Node says`, needsOpenssl, async (t) => {
    assert.deepEqual(await atServer(t, tls as never, refusal), await atServer(t, nodeTls, refusal));
    assert.deepEqual(await atClient(t, tls as never, refusal), await atClient(t, nodeTls, refusal));
  });
}

for (const maxVersion of ['TLSv1.2', 'TLSv1.3'] as const) {
  test(`${maxVersion}, no client certificate: the server says what Node says`, needsOpenssl, async (t) => {
    const refusal: Options = ['', { requestCert: true, ca: certificates.ca, maxVersion }];
    assert.deepEqual(await atServer(t, tls as never, refusal), await atServer(t, nodeTls, refusal));
  });
}

for (const [title, server, client] of [
  ['self-signed', () => certificates.selfSigned, () => ({})],
  ['of an unknown authority', () => ({}), () => ({ ca: certificates.selfSigned.cert })],
  ['expired', () => certificates.expired, () => ({})],
  ['for another name', () => ({}), () => ({ servername: 'elsewhere.example' })],
] as const) {
  test(`a certificate that is ${title}: the client says what Node says`, needsOpenssl, async (t) => {
    const refusal: Options = [title, server(), client()];
    assert.deepEqual(await atClient(t, tls as never, refusal), await atClient(t, nodeTls, refusal));
  });
}

for (const [what, bytes] of [
  ['garbage', Buffer.alloc(200, 0xee)],
  ['plain HTTP', Buffer.from('GET / HTTP/1.1\r\nHost: x\r\n\r\n')],
  ['a record that is too long', Buffer.from('160301ffff', 'hex')],
  ['an alert', Buffer.from('15030300020228', 'hex')],
  ['an empty record', Buffer.from('1603030000', 'hex')],
] as const) {
  test(`${what} in place of a hello: the server says what Node says`, needsOpenssl, async (t) => {
    const heard = await Promise.all(
      [tls as never as Tls, nodeTls].map(async (module) => {
        const server = await secure(t, {}, undefined, module);
        const failed = once(server, 'tlsClientError');
        const peer = nodeNet.connect((server.address() as AddressInfo).port, '127.0.0.1').on('error', () => {});
        t.after(() => void peer.destroy());
        peer.end(bytes);
        return factsOf((await failed)[0]);
      }),
    );
    assert.deepEqual(heard[0], heard[1]);
  });
}

for (const options of [
  { minDHSize: 0 },
  { minDHSize: Number.NaN },
  { minDHSize: '1' },
  { checkServerIdentity: 'no' },
  { ALPNProtocols: [Buffer.alloc(256)] },
]) {
  test(`connect(${JSON.stringify(options).slice(0, 40)}) throws what Node throws`, needsOpenssl, () => {
    const thrown = [tls as never as Tls, nodeTls].map((module) => {
      try {
        module.connect({ port: 1, host: '127.0.0.1', ...(options as object) }).destroy();
      } catch (error) {
        return factsOf(error as Error);
      }
      return 'nothing';
    });
    assert.notEqual(thrown[0], 'nothing');
    assert.deepEqual(thrown[0], thrown[1]);
  });
}

test('dhparam that cannot be read is ignored, as in Node', needsOpenssl, async (t) => {
  const server = await secure(t, { dhparam: 'nonsense', maxVersion: 'TLSv1.2' });
  await once(securing(t, server), 'secureConnect');
});

test('an address as the name of a server is refused from Node 25 on', needsOpenssl, async (t) => {
  const server = await secure(t);
  const major = Number(process.versions.node.split('.')[0]);
  if (major >= 25)
    assert.throws(() => securing(t, server, { servername: '127.0.0.1' }), { code: 'ERR_INVALID_ARG_VALUE' });
  else await once(securing(t, server, { servername: '127.0.0.1' }), 'secureConnect');
});
