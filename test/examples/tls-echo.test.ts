import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type TestContext } from 'node:test';
import tls from 'node:tls';
import { connect, start } from '../support/program.ts';

const LIMIT = { timeout: 60_000 };
const openssl = spawnSync('openssl', ['version']);
const SKIP = { ...LIMIT, skip: openssl.error ? 'no openssl command to make a certificate with' : false };

/** A fresh key and certificate for localhost. */
function certificate(t: TestContext): { key: string; cert: string } {
  const folder = mkdtempSync(join(tmpdir(), 'millrace-tls-'));
  t.after(() => rmSync(folder, { recursive: true }));
  const key = join(folder, 'key.pem');
  const cert = join(folder, 'cert.pem');
  const args = ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '2'];
  const made = spawnSync('openssl', [
    ...args,
    '-keyout',
    key,
    '-out',
    cert,
    '-subj',
    '/CN=localhost',
    '-addext',
    'subjectAltName=DNS:localhost',
  ]);
  assert.equal(made.status, 0, made.stderr.toString());
  return { key, cert };
}

test('tls-echo echoes over TLS to a client of node:tls', SKIP, async (t) => {
  const { key, cert } = certificate(t);
  const program = start(t, 'examples/tls-echo', ['--port', '0', '--key', key, '--cert', cert]);
  const address = await program.address();
  const socket = tls.connect({ ...address, servername: 'localhost', ca: readFileSync(cert) });
  t.after(() => socket.destroy());
  await once(socket, 'secureConnect');
  await program.line(/^a client came with TLSv1\.3, /);

  const sent = Buffer.alloc(3_000_000, 'encrypted ');
  const got: Buffer[] = [];
  socket.on('data', (chunk: Buffer) => got.push(chunk));
  socket.end(sent);
  await once(socket, 'end');
  assert.ok(Buffer.concat(got).equals(sent));
});

test('tls-echo survives plain text, and a peer that resets within the handshake', SKIP, async (t) => {
  const { key, cert } = certificate(t);
  const program = start(t, 'examples/tls-echo', ['--port', '0', '--key', key, '--cert', cert]);
  const address = await program.address();
  const plain = await connect(t, address);
  plain.write('GET / HTTP/1.1\r\n\r\n');
  await plain.ended;
  await program.line(/^no handshake: .*(http request|wrong version number)/i);
  const killed = await connect(t, address);
  killed.write(Buffer.from('160301', 'hex'));
  killed.socket.resetAndDestroy();

  const socket = tls.connect({ ...address, servername: 'localhost', ca: readFileSync(cert) });
  t.after(() => socket.destroy());
  socket.write('alive');
  const [data] = (await once(socket, 'data')) as [Buffer];
  assert.equal(data.toString(), 'alive');
  assert.equal(program.stderr, '');
});

test('tls-client sends a line over TLS, and refuses a certificate it can not trust', SKIP, async (t) => {
  const { key, cert } = certificate(t);
  const server = tls.createServer({ key: readFileSync(key), cert: readFileSync(cert) }, (socket) => {
    socket.on('error', () => {});
    socket.pipe(socket);
  });
  server.listen(0, '127.0.0.1');
  t.after(() => server.close());
  await once(server, 'listening');
  const { port } = server.address() as { port: number };

  const trusting = start(t, 'examples/tls-client', ['--port', String(port), '--ca', cert, 'a', 'secret']);
  assert.deepEqual(await trusting.ended, { code: 0, signal: null });
  assert.equal(trusting.stdout, 'connected with TLSv1.3\na secret\n');

  const other = certificate(t);
  const distrusting = start(t, 'examples/tls-client', ['--port', String(port), '--ca', other.cert]);
  assert.deepEqual(await distrusting.ended, { code: 1, signal: null });
  assert.match(
    distrusting.stderr,
    /^no secure connection: (self-signed certificate|unable to|certificate signature failure).*\n$/,
  );

  const nobody = start(t, 'examples/tls-client', ['--port', String(port), '--ca', cert, '--name', 'example.org']);
  assert.deepEqual(await nobody.ended, { code: 1, signal: null });
  assert.match(nobody.stderr, /does not match certificate's altnames/);
});
