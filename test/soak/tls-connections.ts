/**
 * TLS connections of every kind, and then an ordinary end of the process: for tools/sanitize.mjs --leaks, which looks at what
 * is left behind.
 *
 *   node --expose-gc .build/test/soak/tls-connections.js [rounds; default 1]
 */
import assert from 'node:assert/strict';
import nodeNet, { type AddressInfo } from 'node:net';
import { setImmediate as turn } from 'node:timers/promises';
import type nodeTls from 'node:tls';
import tls, { engine } from 'millrace/tls';
import { authority } from '../support/authority.ts';

assert.equal(engine, 'openssl', 'our own TLS is what is looked at');
const made = authority();
if (made === undefined) throw new Error('there is no openssl here');
const certificates = made;
const rounds = Number(process.argv[2] ?? 1);

type Connect = nodeTls.ConnectionOptions;
const closed = (socket: nodeNet.Socket): Promise<void> =>
  new Promise((resolve) => void socket.on('error', () => {}).once('close', () => resolve()));

async function round(version: nodeTls.SecureVersion): Promise<void> {
  const server = tls.createServer(
    { ...certificates.server, ca: certificates.ca, requestCert: true, rejectUnauthorized: false, maxVersion: version },
    (socket) => socket.on('error', () => {}).pipe(socket),
  );
  server.addContext('other.example', certificates.other);
  server.on('tlsClientError', () => {});
  server.on('keylog', () => {});
  server.on('OCSPRequest', (_certificate, _issuer, callback) => callback(null, Buffer.from('a response')));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  const plain = { port, host: '127.0.0.1' };
  const to: Connect = { ...plain, servername: 'localhost', ca: certificates.ca };
  let session: Buffer | undefined;

  /** A connection that echoes some bytes, and is ended. */
  const echo = async (options: Connect): Promise<void> => {
    const client = tls.connect({ ...to, ...options });
    const end = closed(client);
    client.on('session', (one) => {
      session = one;
    });
    client.on('OCSPResponse', () => {}).on('keylog', () => {});
    client.on('secureConnect', () => {
      client.getPeerCertificate(true);
      client.getPeerX509Certificate();
      client.getEphemeralKeyInfo();
      client.exportKeyingMaterial(32, 'label', Buffer.from('context'));
      client.write(Buffer.alloc(100_000));
    });
    let left = 100_000;
    client.on('data', (chunk) => {
      left -= chunk.length;
      if (left === 0) client.end();
    });
    await end;
  };
  await echo({});
  await echo({ ...certificates.client, requestOCSP: true } as Connect);
  await echo({ servername: 'other.example' });
  await echo({ session });
  await echo({ servername: 'wrong.example' });
  await echo({ ca: certificates.selfSigned.cert });
  await echo({ minVersion: 'TLSv1.2', maxVersion: 'TLSv1.2', ciphers: 'ECDHE-RSA-AES128-GCM-SHA256' });

  for (const bytes of [Buffer.alloc(50, 0xee), Buffer.from('1603010200010001fc0303', 'hex'), Buffer.alloc(0)]) {
    const socket = nodeNet.connect(plain);
    const end = closed(socket);
    socket.resume().end(bytes);
    await end;
  }
  const cut = tls.connect(to);
  const end = closed(cut);
  cut.on('keylog', () => cut.destroy());
  await end;
  const vanished = tls.connect(to);
  const end2 = closed(vanished);
  vanished.on('secureConnect', () => {
    vanished.write(Buffer.alloc(500_000));
    vanished.destroy();
  });
  await end2;
  server.setSecureContext(certificates.other);
  await new Promise<void>((resolve) => server.close(() => resolve()));
}

for (let i = 0; i < rounds; i++) {
  await round('TLSv1.2');
  await round('TLSv1.3');
}
// What JavaScript holds is freed when it is collected.
for (let i = 0; i < 10; i++) {
  (globalThis as { gc?(): void }).gc?.();
  await turn();
}
