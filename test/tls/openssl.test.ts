/**
 * OpenSSL's own programs as judges: `s_client` against our server, our client against `s_server`. Renegotiation and key
 * updates that s_client asks for are in hostile.test.ts.
 */
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import type { Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { after } from 'node:test';
import type { ConnectionOptions, TLSSocket } from 'node:tls';
import net from 'millrace';
import tls from 'millrace/tls';
import { collect, keep, leakGuard, once, portOf, serve, take, within } from '../support/net.ts';
import { certificates, needsOpenssl, needsOwn, secure } from '../support/tls.ts';

await leakGuard();

/** A test starts processes. */
const limit = { ...needsOpenssl, timeout: 60_000 };
const WAIT_MS = 30_000;

const versions = [
  ['TLSv1.2', '-tls1_2'],
  ['TLSv1.3', '-tls1_3'],
] as const;

// ------------------------------------------------------------------------------------------------------------ openssl

const files = mkdtempSync(join(tmpdir(), 'mr-'));
after(() => rmSync(files, { recursive: true }));
const path = (name: string): string => join(files, name);
if (!needsOpenssl.skip) {
  for (const name of ['server', 'other', 'client', 'expired', 'revoked', 'selfSigned'] as const) {
    writeFileSync(path(`${name}.key`), certificates[name].key);
    writeFileSync(path(`${name}.pem`), certificates[name].cert);
  }
  writeFileSync(path('ca.pem'), certificates.ca);
  writeFileSync(path('crl.pem'), certificates.crl);
}
const pair = (name: string): string[] => ['-cert', path(`${name}.pem`), '-key', path(`${name}.key`)];
const trust = ['-CAfile', path('ca.pem'), '-verify_return_error'];

/** A program of openssl: what it prints, and how it ends. */
class Openssl {
  readonly child: ChildProcess;
  readonly ended: Promise<number | null>;
  output = '';
  #wake = (): void => {};

  constructor(t: test.TestContext, args: string[]) {
    // Without what may be preloaded into this process.
    this.child = spawn('openssl', args, { env: { ...process.env, LD_PRELOAD: '' } });
    this.ended = new Promise((resolve) => this.child.once('close', resolve));
    t.after(async () => {
      this.child.kill('SIGKILL');
      await this.ended;
    });
    for (const stream of [this.child.stdout, this.child.stderr])
      stream?.setEncoding('utf8').on('data', (text: string) => {
        this.output += text;
        this.#wake();
      });
    this.child.stdin?.on('error', () => {});
    void this.ended.then(() => this.#wake());
  }

  /** Waits until it has printed what matches. */
  async sees(pattern: RegExp): Promise<RegExpExecArray> {
    const found = new Promise<RegExpExecArray>((resolve, reject) => {
      this.#wake = () => {
        const match = pattern.exec(this.output);
        if (match !== null) resolve(match);
        else if (this.child.exitCode !== null) reject(new Error(`it ended without ${pattern}: ${this.output}`));
      };
      this.#wake();
    });
    return await within(found, String(pattern), WAIT_MS).catch((error: Error) => {
      throw new Error(`${error.message}; it printed: ${this.output}`);
    });
  }

  say(text: string): void {
    this.child.stdin?.write(`${text}\n`);
  }

  /** The end of its input is the end of the connection. */
  async close(): Promise<void> {
    this.child.stdin?.end();
    await within(this.ended, 'the end of openssl', WAIT_MS);
  }
}

function sClient(t: test.TestContext, server: Server, ...more: string[]): Openssl {
  return new Openssl(t, ['s_client', '-connect', `127.0.0.1:${portOf(server)}`, '-servername', 'localhost', ...more]);
}

/** Listens when this is done. */
async function sServer(t: test.TestContext, ...more: string[]): Promise<Openssl & { port: number }> {
  const server = new Openssl(t, ['s_server', '-accept', '127.0.0.1:0', ...more]);
  const [, port] = await server.sees(/ACCEPT 127\.0\.0\.1:(\d+)/);
  return Object.assign(server, { port: Number(port) });
}

const echo = (socket: TLSSocket): void => void socket.on('data', (chunk) => socket.write(chunk));

// ------------------------------------------------------------------------------------------------ s_client asks our server

for (const [version, flag] of versions) {
  test(`${version}: s_client verifies us, agrees on a protocol, and hears itself`, limit, async (t) => {
    const server = await secure(t, { ALPNProtocols: ['b', 'a'] }, echo);
    const client = sClient(t, server, flag, ...trust, '-verify_hostname', 'localhost', '-alpn', 'a,b');
    await client.sees(/Verification: OK/);
    await client.sees(/ALPN protocol: b/);
    await client.sees(new RegExp(`New, ${version}, Cipher is`));
    client.say('over to you');
    await client.sees(/over to you/);
    await client.close();
  });

  test(`${version}: s_client resumes a session of ours`, limit, async (t) => {
    const server = await secure(t, {}, echo);
    const session = path(`session-${version}`);
    for (const [way, more] of [
      ['New', ['-sess_out', session]],
      ['Reused', ['-sess_in', session]],
    ] as const) {
      const accepted = once(server, 'secureConnection', WAIT_MS);
      const client = sClient(t, server, flag, ...trust, ...more);
      const [socket] = (await accepted) as [TLSSocket];
      assert.equal(socket.isSessionReused(), way === 'Reused');
      await client.sees(new RegExp(`${way}, ${version}, Cipher is`));
      client.say('behind the ticket');
      await client.sees(/behind the ticket/);
      await client.close();
    }
  });

  test(`${version}: s_client shows its certificate, and is refused without a good one`, limit, async (t) => {
    const server = await secure(t, { requestCert: true, ca: certificates.ca }, echo);
    const accepted = once(server, 'secureConnection', WAIT_MS);
    const good = sClient(t, server, flag, ...trust, ...pair('client'));
    const [socket] = (await accepted) as [TLSSocket];
    assert.equal(socket.authorized, true);
    assert.equal(socket.getPeerCertificate().subject.CN, 'client');
    good.say('let in');
    await good.sees(/let in/);
    await good.close();
    for (const [more, code] of [
      [[], 'ERR_SSL_PEER_DID_NOT_RETURN_A_CERTIFICATE'],
      [pair('selfSigned'), undefined], // told by authorizationError only
    ] as const) {
      const failed = once(server, 'tlsClientError', WAIT_MS);
      const refused = sClient(t, server, flag, ...trust, ...more);
      const [error] = await failed;
      if (code !== undefined) assert.equal(error.code, code);
      await within(refused.ended, 'the end of who was refused', WAIT_MS);
    }
  });
}

test('s_client gets the certificate of the name that it asks for', limit, async (t) => {
  const server = await secure(t, {}, echo);
  server.addContext('*.wild.example', certificates.other);
  const name = 'a.wild.example';
  const client = sClient(t, server, ...trust, '-servername', name, '-verify_hostname', name);
  await client.sees(/Verification: OK/);
  await client.close();
});

for (const [what, name, more, number] of [
  ['expired', 'expired', trust, 10],
  ['revoked', 'revoked', [...trust, '-CRL', path('crl.pem'), '-crl_check'], 23],
  ['signed by itself', 'selfSigned', trust, 18],
  ['for another name', 'other', [...trust, '-verify_hostname', 'localhost'], 62],
  ['of an unknown authority', 'server', ['-CAfile', path('selfSigned.pem'), '-verify_return_error'], 20],
] as const)
  test(`s_client refuses our certificate that is ${what}, and its alert is told`, limit, async (t) => {
    const server = await secure(t, certificates[name]);
    const failed = once(server, 'tlsClientError', WAIT_MS);
    const client = sClient(t, server, ...more);
    await client.sees(new RegExp(`verify error:num=${number}:`));
    assert.match((await failed)[0].code, /^ERR_SSL_\S+_ALERT_/);
    assert.notEqual(await within(client.ended, 'the end of s_client', WAIT_MS), 0);
  });

test('s_client upgrades an SMTP connection', limit, async (t) => {
  const server = await serve(t, (socket) => {
    socket.write('220 here ESMTP\r\n');
    socket.on('data', function onData(chunk) {
      const command = String(chunk);
      if (command.startsWith('EHLO')) socket.write('250-here\r\n250 STARTTLS\r\n');
      if (!command.startsWith('STARTTLS')) return;
      socket.off('data', onData);
      socket.write('220 go ahead\r\n');
      const inside = new tls.TLSSocket(socket, { isServer: true, ...certificates.server });
      keep(t, inside).on('error', () => {});
      echo(inside);
    });
  });
  const client = sClient(t, server, '-starttls', 'smtp', ...trust, '-verify_hostname', 'localhost');
  await client.sees(/Verification: OK/);
  client.say('NOOP');
  await client.sees(/NOOP/);
  await client.close();
});

// ------------------------------------------------------------------------------------------------ our client asks s_server

function asking(t: test.TestContext, { port }: { port: number }, options: ConnectionOptions = {}): TLSSocket {
  const usual = { host: '127.0.0.1', port, servername: 'localhost', ca: certificates.ca };
  return keep(t, tls.connect({ ...usual, ...options })).on('error', () => {}); // s_server is killed first
}

for (const [version, flag] of versions) {
  test(`${version}: we verify s_server, agree on a protocol, and are answered`, limit, async (t) => {
    const server = await sServer(t, ...pair('server'), flag, '-alpn', 'b,a', '-rev');
    const client = asking(t, server, { ALPNProtocols: ['a', 'b'] });
    await once(client, 'secureConnect', WAIT_MS);
    assert.deepEqual([client.authorized, client.alpnProtocol, client.getProtocol()], [true, 'b', version]);
    client.write('forwards\n');
    assert.equal(String(await take(client, 9)), 'sdrawrof\n');
  });

  test(`${version}: we resume a session of s_server`, limit, async (t) => {
    const server = await sServer(t, ...pair('server'), flag, '-rev');
    const first = asking(t, server);
    const session = once(first, 'session', WAIT_MS);
    first.write('first\n');
    assert.equal(String(await take(first, 6)), 'tsrif\n');
    const closed = once(first, 'close', WAIT_MS);
    first.resume().end();
    const [found] = await session;
    await closed;
    const second = asking(t, server, { session: found });
    await once(second, 'secureConnect', WAIT_MS);
    assert.equal(second.isSessionReused(), true);
    second.write('second\n');
    assert.equal(String(await take(second, 7)), 'dnoces\n');
  });

  test(`${version}: we show our certificate to s_server, which refuses us without`, limit, async (t) => {
    const server = await sServer(t, ...pair('server'), flag, ...trust, '-Verify', '1', '-rev');
    const client = asking(t, server, certificates.client);
    client.write('let in\n');
    assert.equal(String(await take(client, 7)), 'ni tel\n');
    const closed = once(client, 'close', WAIT_MS);
    client.resume().end();
    await closed;
    const refused = asking(t, server);
    const [error] = await once(refused, 'error', WAIT_MS);
    assert.match(error.code, /^ERR_SSL_\S+_ALERT_/);
  });
}

for (const [what, name, options, code] of [
  ['expired', 'expired', {}, 'CERT_HAS_EXPIRED'],
  ['revoked', 'revoked', { crl: certificates?.crl }, 'CERT_REVOKED'],
  ['signed by itself', 'selfSigned', {}, 'DEPTH_ZERO_SELF_SIGNED_CERT'],
  ['for another name', 'other', {}, 'ERR_TLS_CERT_ALTNAME_INVALID'],
  ['of an unknown authority', 'server', { ca: certificates?.other.cert }, 'UNABLE_TO_VERIFY_LEAF_SIGNATURE'],
] as const)
  test(`we refuse a certificate of s_server that is ${what}`, limit, async (t) => {
    const server = await sServer(t, ...pair(name));
    const [error] = await once(asking(t, server, options), 'error', WAIT_MS);
    assert.equal(error.code, code);
  });

test('s_server gives us the certificate of the name that we ask for', limit, async (t) => {
  const second = ['-cert2', path('other.pem'), '-key2', path('other.key')];
  const server = await sServer(t, ...pair('server'), '-servername', 'other.example', ...second);
  const client = asking(t, server, { servername: 'other.example' });
  await once(client, 'secureConnect', WAIT_MS);
  assert.equal(client.getPeerCertificate().subject.CN, 'other.example');
});

test('s_server updates its keys, and asks us for the same', limit, async (t) => {
  const server = await sServer(t, ...pair('server'), '-tls1_3');
  const client = asking(t, server);
  await once(client, 'secureConnect', WAIT_MS);
  for (const command of ['k', 'K']) {
    server.say(command);
    client.write(`ours after ${command}\n`);
    await server.sees(new RegExp(`ours after ${command}`)); // it looks at its input first: the command was obeyed
    server.say(`after ${command}`);
    assert.equal(String(await take(client, 8)), `after ${command}\n`);
  }
});

test('s_server that wants to negotiate again is told that we do not', { ...limit, skip: needsOwn.skip }, async (t) => {
  const server = await sServer(t, ...pair('server'), '-tls1_2');
  const client = asking(t, server);
  client.on('error', () => {});
  await once(client, 'secureConnect', WAIT_MS);
  server.say('r');
  await server.sees(/no.renegotiation/);
});

test('a connection that s_client ends ends in order', limit, async (t) => {
  const server = await secure(t);
  const accepted = once(server, 'secureConnection', WAIT_MS);
  const client = sClient(t, server, ...trust);
  const [socket] = (await accepted) as [TLSSocket];
  const all = collect(socket);
  client.say('the last words');
  await client.close();
  assert.equal(String(await all), 'the last words\n');
});

test('a plain server is no TLS server: the error says so', limit, async (t) => {
  const server = await serve(t, (socket) => socket.end('HTTP/1.1 400 Bad Request\r\n\r\n'), { net });
  const [error] = await once(asking(t, { port: portOf(server) }), 'error', WAIT_MS);
  assert.equal(error.code, 'ERR_SSL_WRONG_VERSION_NUMBER');
});
