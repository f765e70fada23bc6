/** https and secure http2 servers of Node on millrace/tls, and https agents: with Node's clients, curl and bare TLS. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import type http from 'node:http';
import http2 from 'node:http2';
import https from 'node:https';
import nodeNet from 'node:net';
import { join } from 'node:path';
import test from 'node:test';
import nodeTls from 'node:tls';
import { promisify } from 'node:util';
import { engine as transport } from 'millrace';
import { mount } from 'millrace/http';
import tls, { engine } from 'millrace/tls';
import { collect, folder, keep, leakGuard, limit, once, portOf, until, within } from '../support/net.ts';
import { certificates, needsOpenssl, needsOwn } from '../support/tls.ts';

const run = promisify(execFile);
/** Without what may be preloaded into this process: curl with AddressSanitizer hangs. */
const env = { ...process.env, LD_PRELOAD: '' };
const curlVersion = await run('curl', ['--version'], { env }).then(
  ({ stdout }) => stdout,
  () => '',
);

await leakGuard();

type Server = https.Server | http2.Http2SecureServer;

/** A mounted server on 127.0.0.1, with the certificate for localhost unless others are given. */
async function up<S extends Server>(t: test.TestContext, server: S): Promise<S> {
  mount(server).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const sockets = new Set<nodeTls.TLSSocket>();
  server.on('secureConnection', (socket) => {
    sockets.add(socket);
    socket.on('close', () => sockets.delete(socket));
  });
  t.after(async () => {
    const closed = new Promise((resolve) => (server.listening ? server.close(resolve) : resolve(undefined)));
    for (const socket of sockets) socket.destroy();
    await within(closed, "'close' of the server");
  });
  return server;
}

const make = (options: https.ServerOptions = {}, listener: http.RequestListener = describe): https.Server =>
  https.createServer({ ...certificates.server, ...options }, listener);

/** What a server knows of a request's connection. */
function describe(
  { socket, httpVersion, url }: http.IncomingMessage | http2.Http2ServerRequest,
  response: http.ServerResponse | http2.Http2ServerResponse,
): void {
  const secure = socket as nodeTls.TLSSocket & { servername?: string };
  const facts = {
    ...{ httpVersion, url, encrypted: secure.encrypted, authorized: secure.authorized },
    ...{ alpn: secure.alpnProtocol, servername: secure.servername, from: secure.remoteAddress },
    ...{ protocol: secure.getProtocol(), reused: secure.isSessionReused() },
    peer: secure.getPeerCertificate().subject?.CN ?? null,
  };
  (response as http.ServerResponse).end(JSON.stringify(facts));
}

interface Facts {
  httpVersion: string;
  encrypted: boolean;
  authorized: boolean;
  alpn: string | false;
  servername: string | false;
  from: string;
  protocol: string;
  reused: boolean;
  peer: string | null;
}

async function ask(server: Server, options: https.RequestOptions = {}, body?: Buffer): Promise<Buffer> {
  const request = https.request({
    ...{ host: '127.0.0.1', port: portOf(server), servername: 'localhost', ca: certificates.ca, agent: false },
    ...options,
  });
  request.end(body);
  const [response] = (await once(request, 'response')) as [http.IncomingMessage];
  return collect(response as never);
}

async function facts(server: Server, options: https.RequestOptions = {}): Promise<Facts> {
  return JSON.parse(String(await ask(server, options)));
}

async function refused(server: Server, options: https.RequestOptions): Promise<string> {
  return await ask(server, options).then(
    () => 'let in',
    (error: NodeJS.ErrnoException) => error.code as string,
  );
}

/** A client without HTTP, which Node's own tls makes. */
async function bare(t: test.TestContext, server: Server): Promise<nodeTls.TLSSocket> {
  const client = nodeTls.connect({
    ...{ host: '127.0.0.1', port: portOf(server), servername: 'localhost', ca: certificates.ca },
  });
  keep(t, client);
  await once(client, 'secureConnect');
  return client;
}

const isOwn = engine === 'openssl';

test('requests come over sockets of millrace/tls, which say what the handshake brought', needsOpenssl, async (t) => {
  const server = make();
  let socket: nodeTls.TLSSocket | undefined;
  server.on('secureConnection', (each) => (socket = each));
  await up(t, server);
  assert.deepEqual(await facts(server), {
    ...{ httpVersion: '1.1', url: '/', encrypted: true, authorized: false, alpn: false, servername: 'localhost' },
    ...{ from: '127.0.0.1', protocol: 'TLSv1.3', reused: false, peer: null },
  });
  assert.equal(Object.getPrototypeOf(socket), tls.TLSSocket.prototype);
  assert.ok(socket instanceof nodeTls.TLSSocket);
  assert.equal((await facts(server, { ALPNProtocols: ['http/1.1'] } as https.RequestOptions)).alpn, 'http/1.1');
});

for (const maxVersion of ['TLSv1.2', 'TLSv1.3'] as const)
  test(`${maxVersion}: a client's certificate is asked for, and shown to the request`, needsOpenssl, async (t) => {
    const server = await up(t, make({ requestCert: true, ca: certificates.ca, maxVersion }));
    const { authorized, peer, protocol } = await facts(server, certificates.client);
    assert.deepEqual({ authorized, peer, protocol }, { authorized: true, peer: 'client', protocol: maxVersion });
    const failed = once(server, 'clientError');
    assert.match(await refused(server, {}), /^(ERR_SSL_|EPROTO|ECONNRESET|EPIPE)/);
    assert.equal((await failed)[0].code, 'ERR_SSL_PEER_DID_NOT_RETURN_A_CERTIFICATE');
  });

test('a body larger than all buffers goes both ways', needsOpenssl, async (t) => {
  const server = await up(
    t,
    make({}, (request, response) => void request.pipe(response)),
  );
  const body = Buffer.alloc(5_000_001, 'bytes of a body');
  assert.ok(body.equals(await ask(server, { method: 'POST' }, body)));
});

test('a connection is kept alive, a later one resumes its session', needsOpenssl, async (t) => {
  const server = make();
  let connections = 0;
  server.on('secureConnection', () => connections++);
  await up(t, server);
  const agent = mount(new https.Agent({ keepAlive: true, maxSockets: 1 }));
  t.after(() => agent.destroy());
  for (let i = 0; i < 3; i++) assert.equal((await facts(server, { agent })).reused, false);
  assert.equal(connections, 1);
  // TLS 1.3 hands its sessions out behind the handshake: by now they are here.
  server.closeIdleConnections();
  await until(() => Object.keys(agent.freeSockets).length === 0, 'the idle connection ends');
  assert.equal((await facts(server, { agent })).reused, true);
  assert.equal(connections, 2);
});

test('pipelined requests are answered in order', needsOpenssl, async (t) => {
  const server = await up(
    t,
    make({}, (request, response) => response.end(`<${request.url}>`)),
  );
  const client = await bare(t, server);
  const heads = ['/1', '/2', '/3'].map((path) => `GET ${path} HTTP/1.1\r\nHost: x\r\n`);
  client.write(`${heads.join('\r\n')}Connection: close\r\n\r\n`);
  assert.deepEqual(String(await collect(client)).match(/<.+?>/g), ['</1>', '</2>', '</3>']);
});

test('an upgrade hands the socket over, with what came after the head', needsOpenssl, async (t) => {
  const server = await up(t, make());
  server.on('upgrade', (_, socket, head) => {
    socket.write('HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n');
    socket.write(head);
    socket.pipe(socket);
  });
  const client = await bare(t, server);
  client.write('GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\nearly ');
  const received = collect(client);
  await once(client, 'data');
  client.end('late');
  assert.match(String(await received), /^HTTP\/1\.1 101 .*\r\n\r\nearly late$/s);
});

test('a request that its client gives up is told to the server, which lives', needsOpenssl, async (t) => {
  const server = await up(
    t,
    make({}, (request, response) => {
      if (request.url !== '/slow') describe(request, response);
    }),
  );
  const request = https.request({
    ...{ host: '127.0.0.1', port: portOf(server), servername: 'localhost', ca: certificates.ca, agent: false },
    ...{ path: '/slow', method: 'POST' },
  });
  request.on('error', () => {});
  request.write('the first of a body');
  const [received] = await once(server, 'request');
  received.on('error', () => {});
  const closed = new Promise((resolve) => received.on('close', resolve));
  received.resume();
  request.destroy();
  await closed;
  assert.equal(received.complete, false);
  assert.equal((await facts(server)).httpVersion, '1.1');
});

test('closeAllConnections ends requests in the middle', needsOpenssl, async (t) => {
  const server = await up(
    t,
    make({}, () => {}),
  );
  const failed = refused(server, {});
  await once(server, 'request');
  const closed = once(server, 'close');
  server.close();
  server.closeAllConnections();
  assert.equal(await failed, 'ECONNRESET');
  await closed;
});

test('a client that does not finish its headers is answered 408', needsOpenssl, async (t) => {
  const server = await up(
    t,
    make({ headersTimeout: 400, requestTimeout: 500, connectionsCheckingInterval: 20 } as https.ServerOptions),
  );
  const client = await bare(t, server);
  client.write('GET / HTTP/1.1\r\nHost: x\r\n');
  assert.match(String(await collect(client)), /^HTTP\/1\.1 408 Request Timeout\r\n/);
});

test('an idle connection ends after keepAliveTimeout', needsOpenssl, async (t) => {
  const server = await up(t, make({ keepAliveTimeout: 20 }));
  const client = await bare(t, server);
  client.write('GET /kept HTTP/1.1\r\nHost: x\r\n\r\n');
  assert.match(String(await collect(client)), /"url":"\/kept"/);
});

test('a client that says nothing is a clientError after handshakeTimeout', needsOpenssl, async (t) => {
  const server = await up(t, make({ handshakeTimeout: 30 }));
  const failed = once(server, 'clientError');
  const client = keep(t, nodeNet.connect(portOf(server), '127.0.0.1'));
  const [error, socket] = await failed;
  assert.equal(error.code, 'ERR_TLS_HANDSHAKE_TIMEOUT');
  socket.destroy();
  await once(client.resume(), 'close');
});

test('a client that speaks no TLS is a tlsClientError, and its connection ends', needsOpenssl, async (t) => {
  const server = await up(t, make());
  const failed = once(server, 'tlsClientError');
  const client = keep(t, nodeNet.connect(portOf(server), '127.0.0.1')).on('error', () => {});
  client.end('GET / HTTP/1.1\r\n\r\n');
  assert.equal((await failed)[0].code, 'ERR_SSL_HTTP_REQUEST');
  await once(client.resume(), 'close');
  assert.equal((await facts(server)).httpVersion, '1.1');
});

const nameOf = async (server: Server, servername: string, options: https.RequestOptions = {}): Promise<unknown> => {
  const request = https.request({
    ...{ host: '127.0.0.1', port: portOf(server), servername, ca: certificates.ca, agent: false },
    ...options,
  });
  request.end();
  const [response] = (await once(request, 'response')) as [http.IncomingMessage];
  const name = (response.socket as nodeTls.TLSSocket).getPeerCertificate().subject.CN;
  await collect(response as never);
  return name;
};

test('contexts added before and after mount() decide about the certificate', needsOpenssl, async (t) => {
  const server = make();
  server.addContext('other.example', certificates.other);
  await up(t, server);
  server.addContext('*.wild.example', nodeTls.createSecureContext(certificates.other));
  assert.equal(await nameOf(server, 'localhost'), 'localhost');
  assert.equal(await nameOf(server, 'other.example'), 'other.example');
  assert.equal(await nameOf(server, 'a.wild.example'), 'other.example');
});

test('an SNICallback may answer with contexts of node:tls', needsOpenssl, async (t) => {
  const context = nodeTls.createSecureContext(certificates.other);
  const server = await up(
    t,
    make({ SNICallback: (name, callback) => callback(null, name === 'other.example' ? context : undefined) }),
  );
  assert.equal(await nameOf(server, 'other.example'), 'other.example');
  assert.equal(await nameOf(server, 'localhost'), 'localhost');
});

test('setSecureContext replaces the certificate for connections from then on', needsOpenssl, async (t) => {
  const server = await up(t, make());
  const before = await bare(t, server);
  server.setSecureContext(certificates.other);
  assert.equal(await nameOf(server, 'other.example'), 'other.example');
  assert.equal(await refused(server, {}), 'ERR_TLS_CERT_ALTNAME_INVALID');
  before.write('GET /still HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n');
  assert.match(String(await collect(before)), /"url":"\/still"/);
});

test('a key that does not fit is an error of setSecureContext, and the old one stays', needsOpenssl, async (t) => {
  const server = await up(t, make());
  const { key } = certificates.other;
  assert.throws(() => server.setSecureContext({ cert: certificates.server.cert, key }), /key values mismatch/);
  assert.equal((await facts(server)).encrypted, true);
});

test('what only Node’s TLS can do is done by it, over sockets of millrace', needsOwn, async (t) => {
  const server = make({ pskCallback: () => null } as https.ServerOptions);
  let socket: nodeTls.TLSSocket | undefined;
  server.on('secureConnection', (each) => (socket = each));
  await up(t, server);
  assert.equal((await facts(server)).from, '127.0.0.1');
  assert.notEqual(Object.getPrototypeOf(socket), tls.TLSSocket.prototype);
});

test('a tls.Server of Node is served as well', needsOpenssl, async (t) => {
  const server = mount(nodeTls.createServer(certificates.server, (socket) => socket.end('secret')));
  keep(t, server).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const client = await bare(t, server as https.Server);
  assert.equal(String(await collect(client)), 'secret');
});

// -------------------------------------------------------------------------------------------------------------- agents

test('an agent that was mounted connects by millrace/tls, and refuses with Node’s codes', needsOpenssl, async (t) => {
  const server = await up(t, make());
  const agent = mount(new https.Agent({ keepAlive: true }));
  t.after(() => agent.destroy());
  assert.equal(mount(agent), agent);
  const request = https.get({
    ...{ host: '127.0.0.1', port: portOf(server), servername: 'localhost', ca: certificates.ca, agent },
  });
  const [response] = (await once(request, 'response')) as [http.IncomingMessage];
  assert.equal(Object.getPrototypeOf(response.socket), tls.TLSSocket.prototype);
  assert.equal((response.socket as nodeTls.TLSSocket).authorized, true);
  await collect(response as never);
  assert.equal(await refused(server, { agent, servername: 'wrong.example' }), 'ERR_TLS_CERT_ALTNAME_INVALID');
  const unknown = { agent, ca: certificates.selfSigned.cert };
  assert.equal(await refused(server, unknown), 'UNABLE_TO_VERIFY_LEAF_SIGNATURE');
  const refuse = (): Error => Object.assign(new Error('not this one'), { code: 'NOT_THIS_ONE' });
  const fresh = mount(new https.Agent()); // Node 20's agents share connections whatever their check
  assert.equal(await refused(server, { agent: fresh, checkServerIdentity: refuse }), 'NOT_THIS_ONE');
  assert.equal(nodeTls.connect === tls.connect, !isOwn);
});

test('what millrace/tls leaves to Node’s tls comes back to it, not to itself', needsOwn, async (t) => {
  const server = await up(t, make());
  const agent = mount(new https.Agent());
  const pskCallback = (): null => null;
  assert.equal((await facts(server, { agent, pskCallback } as https.RequestOptions)).encrypted, true);
});

test('createConnection of a request may be tls.connect', needsOpenssl, async (t) => {
  const server = await up(t, make());
  const createConnection = (options: object): nodeTls.TLSSocket => tls.connect(options as nodeTls.ConnectionOptions);
  const { alpn, from } = await facts(server, { createConnection } as https.RequestOptions);
  assert.deepEqual({ alpn, from }, { alpn: false, from: '127.0.0.1' });
});

test("Node's fetch speaks to it", { ...limit, skip: needsOpenssl.skip }, async (t) => {
  const server = await up(
    t,
    make({}, (request, response) => void request.pipe(response)),
  );
  // There is no other way to tell this fetch whom to trust on all lines.
  const before = process.env['NODE_TLS_REJECT_UNAUTHORIZED'];
  const { emitWarning } = process;
  process.emitWarning = () => {};
  process.env['NODE_TLS_REJECT_UNAUTHORIZED'] = '0';
  t.after(() => {
    process.emitWarning = emitWarning;
    if (before === undefined) delete process.env['NODE_TLS_REJECT_UNAUTHORIZED'];
    else process.env['NODE_TLS_REJECT_UNAUTHORIZED'] = before;
  });
  const body = 'there and back '.repeat(100_000);
  const headers = { connection: 'close' };
  const response = await fetch(`https://127.0.0.1:${portOf(server)}/`, { method: 'POST', body, headers });
  assert.equal(await response.text(), body);
});

// --------------------------------------------------------------------------------------------------------------- http2

const make2 = (options: http2.SecureServerOptions = {}): http2.Http2SecureServer =>
  http2.createSecureServer({ ...certificates.server, allowHTTP1: true, ...options }, describe);

async function session(
  t: test.TestContext,
  server: Server,
  options: http2.SecureClientSessionOptions = {},
): Promise<http2.ClientHttp2Session> {
  const client = http2.connect(`https://localhost:${portOf(server)}`, {
    ...{ ca: certificates.ca, host: '127.0.0.1' },
    ...options,
  } as http2.SecureClientSessionOptions);
  t.after(
    () =>
      new Promise<void>((resolve) => {
        if (client.destroyed) return resolve();
        client.once('close', () => resolve()).destroy();
      }),
  );
  await once(client, 'connect');
  return client;
}

const ask2 = async (client: http2.ClientHttp2Session, path: string): Promise<Facts> =>
  JSON.parse(String(await collect(client.request({ ':path': path }) as never)));

test('http2 is agreed on, and its requests know their connection', needsOpenssl, async (t) => {
  const server = make2({ requestCert: true, ca: certificates.ca });
  let socket: nodeTls.TLSSocket | undefined;
  let accepted: http2.ServerHttp2Session | undefined;
  server.on('secureConnection', (each) => (socket = each));
  server.on('session', (each) => (accepted = each));
  await up(t, server);
  const client = await session(t, server, certificates.client);
  const found = await Promise.all(['/a', '/b', '/c'].map((path) => ask2(client, path)));
  for (const { reused: _, url: __, ...each } of found as (Facts & { url: string })[])
    assert.deepEqual(each, {
      ...{ httpVersion: '2.0', encrypted: true, authorized: true, alpn: 'h2', servername: 'localhost' },
      ...{ from: '127.0.0.1', protocol: 'TLSv1.3', peer: 'client' },
    });
  assert.equal(accepted?.alpnProtocol, 'h2');
  assert.equal(accepted?.encrypted, true);
  assert.equal(Object.getPrototypeOf(socket), tls.TLSSocket.prototype);
});

test('http2 carries bodies larger than all windows, and a stream that is given up', needsOpenssl, async (t) => {
  const server = await up(t, make2());
  server.removeAllListeners('request');
  server.on('stream', (stream: http2.ServerHttp2Stream, headers: http2.IncomingHttpHeaders) => {
    stream.on('error', () => {});
    stream.respond();
    if (headers[':path'] === '/echo') stream.pipe(stream);
    else stream.write('the first of many');
  });
  const client = await session(t, server);
  const body = Buffer.alloc(3_000_001, 'a body over http2');
  const echo = client.request({ ':path': '/echo', ':method': 'POST' });
  echo.end(body);
  const given = client.request({ ':path': '/given-up' });
  given.on('error', () => {});
  await once(given, 'data');
  const closed = once(given, 'close');
  given.close(http2.constants.NGHTTP2_CANCEL);
  await closed;
  assert.ok(body.equals(await collect(echo as never)));
});

test('a client without h2 is served HTTP/1.1, or told that it needs it', needsOpenssl, async (t) => {
  const both = await up(t, make2());
  const { httpVersion, alpn } = await facts(both);
  assert.deepEqual({ httpVersion, alpn }, { httpVersion: '1.1', alpn: false });
  const only = await up(t, make2({ allowHTTP1: false }));
  const client = await bare(t, only);
  client.write('GET / HTTP/1.1\r\nHost: x\r\n\r\n');
  assert.match(String(await collect(client)), /^HTTP\/1\.[01] 403 Forbidden/);
});

test('a session of http2 may run over a socket of millrace/tls', needsOpenssl, async (t) => {
  const server = await up(t, make2());
  const socket = tls.connect({
    ...{ host: '127.0.0.1', port: portOf(server), servername: 'localhost', ca: certificates.ca, ALPNProtocols: ['h2'] },
  });
  await once(socket, 'secureConnect');
  const client = await session(t, server, { createConnection: () => socket });
  assert.equal(client.alpnProtocol, 'h2');
  assert.equal((await ask2(client, '/')).alpn, 'h2');
});

// ---------------------------------------------------------------------------------------------------------------- curl

const needsCurl = { ...needsOpenssl, timeout: 60_000, skip: needsOpenssl.skip || (!curlVersion && 'no curl here') };

test('curl: HTTP/1.1 and 2, certificates of clients, and servers that it refuses', needsCurl, async (t) => {
  const path = await folder(t);
  writeFileSync(join(path, 'ca.pem'), certificates.ca);
  writeFileSync(join(path, 'key.pem'), certificates.client.key);
  writeFileSync(join(path, 'cert.pem'), certificates.client.cert);
  const trust = ['--cacert', join(path, 'ca.pem')];
  const server = await up(t, make2({ requestCert: true, rejectUnauthorized: false, ca: certificates.ca }));
  const curl = async (...args: string[]): Promise<string> => {
    const usual = ['--silent', '--max-time', '30', '--noproxy', '*'];
    return (await run('curl', [...usual, ...args, `https://localhost:${portOf(server)}/curl`], { env })).stdout;
  };
  const { peer, authorized, httpVersion } = JSON.parse(
    await curl(...trust, '--http1.1', '--key', join(path, 'key.pem'), '--cert', join(path, 'cert.pem')),
  );
  assert.deepEqual({ peer, authorized, httpVersion }, { peer: 'client', authorized: true, httpVersion: '1.1' });
  assert.equal(JSON.parse(await curl(...trust, '--tlsv1.2', '--tls-max', '1.2', '--http1.1')).protocol, 'TLSv1.2');
  if (curlVersion.includes('HTTP2')) assert.equal(JSON.parse(await curl(...trust, '--http2')).alpn, 'h2');
  await assert.rejects(curl(), { code: 60 }); // CURLE_PEER_FAILED_VERIFICATION
  const wrong = `wrong.example:${portOf(server)}:127.0.0.1`;
  const elsewhere = ['--silent', '--max-time', '30', '--noproxy', '*', ...trust, '--resolve', wrong];
  await assert.rejects(run('curl', [...elsewhere, `https://wrong.example:${portOf(server)}/`], { env }), { code: 60 });
});

test('the engine of the tests is the one that was asked for', () => {
  assert.equal(isOwn, transport !== 'node');
});
