/** Node's http, https and http2 servers on millrace, with Node's own clients and curl; on the engine `node` as the control. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import http from 'node:http';
import http2 from 'node:http2';
import https from 'node:https';
import nodeNet from 'node:net';
import { join } from 'node:path';
import test from 'node:test';
import tls from 'node:tls';
import { promisify } from 'node:util';
import net, { engine } from 'millrace';
import { mount } from 'millrace/http';
import { certificate } from '../support/certificate.ts';
import { collect, folder, leakGuard, limit, once, portOf, until } from '../support/net.ts';

const isOwn = engine !== 'node';
const pair = certificate();
const needsOpenssl = { ...limit, skip: pair === undefined && 'no openssl here' };
/** Without what may be preloaded into this process: curl with AddressSanitizer hangs. */
const env = { ...process.env, LD_PRELOAD: '' };
const hasCurl = await promisify(execFile)('curl', ['--version'], { env }).then(
  () => true,
  () => false,
);

await leakGuard(async () => {
  await fetchText(await up(http.createServer((_, response) => response.end())));
});

/** A server that listens on 127.0.0.1; `t` closes it and its connections. */
async function up<S extends nodeNet.Server>(server: S, t?: test.TestContext): Promise<S> {
  mount(server).listen(0, '127.0.0.1');
  await once(server, 'listening');
  t?.after(() => {
    if (server.listening) server.close();
    (server as unknown as Partial<http.Server>).closeAllConnections?.();
  });
  if (t === undefined) server.once('request', () => server.close());
  return server;
}

async function fetchText(server: nodeNet.Server, options: https.RequestOptions = {}): Promise<string> {
  const { request } = options.protocol === 'https:' ? https : http;
  const sent = request({ host: '127.0.0.1', port: portOf(server), agent: false, ...options });
  sent.end();
  const [response] = (await once(sent, 'response')) as [http.IncomingMessage];
  return String(await collect(response as never));
}

/** What a server says of the request and its connection. */
function describe(request: http.IncomingMessage | http2.Http2ServerRequest): string {
  const { socket } = request;
  return [request.httpVersion, request.url, socket.remoteAddress, socket.localAddress, typeof socket.remotePort].join(
    ' ',
  );
}
const answer: http.RequestListener = (request, response) => response.end(describe(request));
const answer2 = (request: http2.Http2ServerRequest, response: http2.Http2ServerResponse): void => {
  response.end(describe(request));
};

async function ask2(session: http2.ClientHttp2Session, path: string): Promise<string> {
  return String(await collect(session.request({ ':path': path }) as never));
}

test('an http server answers on the engine, and says where it listens', limit, async (t) => {
  const server = http.createServer(answer);
  let socket: nodeNet.Socket | undefined;
  server.on('connection', (connection) => (socket = connection));
  assert.equal(mount(server), server);
  assert.equal(server.listening, false);
  assert.equal(server.address(), null);
  await up(server, t);
  assert.equal(server.listening, true);
  assert.deepEqual(server.address(), { address: '127.0.0.1', family: 'IPv4', port: portOf(server) });
  assert.equal(await fetchText(server, { path: '/here' }), '1.1 /here 127.0.0.1 127.0.0.1 number');
  assert.ok(socket instanceof net.Socket && socket instanceof nodeNet.Socket);
  if (isOwn) assert.notEqual(Object.getPrototypeOf(socket), nodeNet.Socket.prototype);
});

test("listen's callback, 'listening' and 'close' come once each", limit, async () => {
  const seen: string[] = [];
  const server = mount(http.createServer(answer));
  server.on('listening', () => seen.push('listening')).on('close', () => seen.push('close'));
  await new Promise<void>((resolve) => void server.listen(0, '127.0.0.1', () => resolve(void seen.push('callback'))));
  await fetchText(server);
  const error = await new Promise((resolve) => void server.close((why) => resolve(why)));
  assert.equal(error, undefined);
  assert.equal(server.listening, false);
  assert.deepEqual(seen, ['listening', 'callback', 'close']);
  const late = await new Promise<Error | undefined>((resolve) => void server.close(resolve));
  assert.equal((late as NodeJS.ErrnoException).code, 'ERR_SERVER_NOT_RUNNING');
});

test('a server that was closed listens again', limit, async () => {
  const server = http.createServer(answer);
  for (let i = 0; i < 2; i++) {
    await up(server);
    const closed = once(server, 'close');
    assert.match(await fetchText(server), /^1\.1/);
    await closed;
  }
});

test('a port that is taken is an error event, listening twice throws', limit, async (t) => {
  const server = await up(http.createServer(answer), t);
  const second = mount(http.createServer(answer)).listen(portOf(server), '127.0.0.1');
  const [error] = await once(second, 'error');
  assert.equal(error.code, 'EADDRINUSE');
  assert.throws(() => server.listen(0), { code: 'ERR_SERVER_ALREADY_LISTEN' });
});

test('listens on a unix socket, whose path goes with it', limit, async (t) => {
  const path = join(await folder(t), 'http');
  const server = mount(http.createServer((request, response) => response.end(request.url))).listen(path);
  await once(server, 'listening');
  assert.equal(server.address(), path);
  const request = http.get({ socketPath: path, path: '/unix', agent: false });
  const [response] = (await once(request, 'response')) as [http.IncomingMessage];
  assert.equal(String(await collect(response as never)), '/unix');
  server.close();
  await once(server, 'close');
  const again = mount(http.createServer()).listen(path);
  await once(again, 'listening');
  again.close();
  await once(again, 'close');
});

test('a request body larger than all buffers waits until it is read', limit, async (t) => {
  const server = await up(
    http.createServer((request, response) => {
      let got = 0;
      request.pause();
      setImmediate(() => request.on('data', (chunk) => (got += chunk.length)).resume());
      request.on('end', () => response.end(String(got)));
    }),
    t,
  );
  const request = http.request({ host: '127.0.0.1', port: portOf(server), method: 'POST', agent: false });
  request.end(Buffer.alloc(5_000_000));
  const [response] = (await once(request, 'response')) as [http.IncomingMessage];
  assert.equal(String(await collect(response as never)), '5000000');
});

test(
  'a connection is kept alive for several requests, close() ends the idle ones and waits for the others',
  limit,
  async (t) => {
    let finish: (() => void) | undefined;
    let connections = 0;
    const server = await up(
      http.createServer((request, response) => {
        if (request.url === '/slow') finish = () => response.end('slow');
        else response.end('fast');
      }),
      t,
    );
    server.on('connection', () => connections++);
    const agent = new http.Agent({ keepAlive: true, maxSockets: 2 });
    t.after(() => agent.destroy());
    for (let i = 0; i < 3; i++) assert.equal(await fetchText(server, { agent }), 'fast');
    assert.equal(connections, 1);
    const slow = fetchText(server, { path: '/slow' });
    await until(() => finish !== undefined, 'the slow request');
    const count = await promisify(server.getConnections.bind(server))();
    assert.equal(count, 2);
    let hasClosed = false;
    server.close(() => (hasClosed = true));
    await until(() => Object.keys(agent.freeSockets).length === 0, 'the idle connection ends');
    assert.equal(hasClosed, false);
    finish!();
    assert.equal(await slow, 'slow');
    await until(() => hasClosed, "'close'");
  },
);

test('closeAllConnections ends requests in the middle', limit, async (t) => {
  const server = await up(http.createServer(), t);
  const request = http.get({ host: '127.0.0.1', port: portOf(server), agent: false });
  await once(server, 'request');
  const failed = once(request, 'error');
  const closed = once(server, 'close');
  server.close();
  server.closeAllConnections();
  assert.equal((await failed)[0].code, 'ECONNRESET');
  await closed;
});

test('a client that does not finish its headers is answered 408', limit, async (t) => {
  const server = http.createServer({ headersTimeout: 50, requestTimeout: 60, connectionsCheckingInterval: 10 }, answer);
  await up(server, t);
  const client = nodeNet.connect(portOf(server), '127.0.0.1');
  client.write('GET / HTTP/1.1\r\nHost: x\r\n');
  assert.match(String(await collect(client)), /^HTTP\/1\.1 408 Request Timeout\r\n/);
});

test('an idle connection ends after keepAliveTimeout, and setTimeout counts', limit, async (t) => {
  const server = await up(http.createServer({ keepAliveTimeout: 20 }, answer), t);
  const client = nodeNet.connect(portOf(server), '127.0.0.1');
  client.write('GET /kept HTTP/1.1\r\nHost: x\r\n\r\n');
  assert.match(String(await collect(client)), /1\.1 \/kept 127\.0\.0\.1/);
  server.setTimeout(20);
  const silent = nodeNet.connect(portOf(server), '127.0.0.1').resume();
  await once(silent, 'close');
});

test('maxConnections drops further connections', limit, async (t) => {
  const server = await up(http.createServer(), t);
  server.maxConnections = 1;
  const first = nodeNet.connect(portOf(server), '127.0.0.1');
  t.after(() => void first.destroy());
  await once(server, 'connection');
  const second = nodeNet.connect(portOf(server), '127.0.0.1').on('error', () => {});
  const [dropped] = await once(server, 'drop');
  assert.equal(dropped.remoteFamily, 'IPv4');
  await once(second.resume(), 'close');
});

test('an upgrade hands the socket over, with what came after the head', limit, async (t) => {
  const server = await up(http.createServer(), t);
  server.on('upgrade', (_, socket, head) => {
    socket.write('HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n');
    socket.write(head);
    socket.pipe(socket);
  });
  const client = nodeNet.connect(portOf(server), '127.0.0.1');
  client.write('GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\nearly ');
  const received = collect(client);
  await once(client, 'data');
  client.end('late');
  assert.match(String(await received), /^HTTP\/1\.1 101 .*\r\n\r\nearly late$/s);
});

test('pipelined requests are answered in order', limit, async (t) => {
  const server = await up(
    http.createServer((request, response) => response.end(`<${request.url}>`)),
    t,
  );
  const client = nodeNet.connect(portOf(server), '127.0.0.1');
  const heads = ['/1', '/2', '/3'].map((path) => `GET ${path} HTTP/1.1\r\nHost: x\r\n`);
  client.write(`${heads.join('\r\n')}Connection: close\r\n\r\n`);
  const text = String(await collect(client));
  assert.deepEqual(text.match(/<.+?>/g), ['</1>', '</2>', '</3>']);
});

test('an https server answers, and knows its peer', needsOpenssl, async (t) => {
  const server = await up(https.createServer({ ...pair }, answer), t);
  const options = { protocol: 'https:', rejectUnauthorized: false };
  assert.equal(await fetchText(server, { ...options, path: '/tls' }), '1.1 /tls 127.0.0.1 127.0.0.1 number');
  const closed = once(server, 'close');
  server.close();
  await closed;
});

test('a client that speaks no TLS is a tlsClientError, and its connection ends', needsOpenssl, async (t) => {
  const server = await up(https.createServer({ ...pair }, answer), t);
  const failed = once(server, 'tlsClientError');
  const client = nodeNet.connect(portOf(server), '127.0.0.1').on('error', () => {});
  client.end('GET / HTTP/1.1\r\n\r\n');
  assert.ok((await failed)[0] instanceof Error);
  await once(client.resume(), 'close');
});

test('an http2 server answers without TLS', limit, async (t) => {
  const server = await up(http2.createServer(answer2), t);
  const session = http2.connect(`http://127.0.0.1:${portOf(server)}`);
  t.after(() => session.destroy());
  assert.equal(await ask2(session, '/h2c'), '2.0 /h2c 127.0.0.1 127.0.0.1 number');
  assert.deepEqual(await Promise.all([ask2(session, '/a'), ask2(session, '/b')]), [
    '2.0 /a 127.0.0.1 127.0.0.1 number',
    '2.0 /b 127.0.0.1 127.0.0.1 number',
  ]);
  session.close();
  const closed = once(server, 'close');
  server.close();
  await closed;
});

test('a secure http2 server agrees on a protocol with each client', needsOpenssl, async (t) => {
  const server = await up(http2.createSecureServer({ ...pair, allowHTTP1: true }, answer2), t);
  const session = http2.connect(`https://127.0.0.1:${portOf(server)}`, { rejectUnauthorized: false });
  t.after(() => session.destroy());
  assert.equal(await ask2(session, '/h2'), '2.0 /h2 127.0.0.1 127.0.0.1 number');
  assert.equal(session.alpnProtocol, 'h2');
  const old = { protocol: 'https:', rejectUnauthorized: false, path: '/h1' };
  assert.equal(await fetchText(server, old), '1.1 /h1 127.0.0.1 127.0.0.1 number');
  session.close();
  const closed = once(server, 'close');
  server.close();
  await closed;
});

test('a tls server and a net server can be mounted as well', needsOpenssl, async (t) => {
  const secure = await up(
    tls.createServer({ ...pair }, (socket) => socket.end(`secret for ${socket.remoteAddress}`)),
    t,
  );
  const client = tls.connect({ port: portOf(secure), host: '127.0.0.1', rejectUnauthorized: false });
  assert.equal(String(await collect(client)), 'secret for 127.0.0.1');
  const plain = await up(
    nodeNet.createServer((socket) => socket.end('plain')),
    t,
  );
  assert.equal(String(await collect(nodeNet.connect(portOf(plain), '127.0.0.1'))), 'plain');
});

test('curl speaks HTTP/1.1 and HTTP/2 to it', { ...needsOpenssl, skip: !hasCurl && 'no curl here' }, async (t) => {
  const curl = async (...args: string[]): Promise<string> =>
    (
      await promisify(execFile)('curl', ['--silent', '--show-error', '--max-time', '5', '--noproxy', '*', ...args], {
        env,
      })
    ).stdout;
  const plain = await up(http.createServer(answer), t);
  assert.match(await curl(`http://127.0.0.1:${portOf(plain)}/curl`), /^1\.1 \/curl 127\.0\.0\.1/);
  const h2c = await up(http2.createServer(answer2), t);
  const { stdout: version } = await promisify(execFile)('curl', ['--version'], { env });
  if (version.includes('HTTP2'))
    assert.match(await curl('--http2-prior-knowledge', `http://127.0.0.1:${portOf(h2c)}/curl`), /^2\.0 \/curl/);
  const secure = await up(http2.createSecureServer({ ...pair, allowHTTP1: true }, answer2), t);
  assert.match(await curl('--insecure', '--http1.1', `https://127.0.0.1:${portOf(secure)}/curl`), /^1\.1 \/curl/);
});

test('a server that is unref keeps nothing alive, and mounting twice changes nothing', limit, async (t) => {
  const server = mount(mount(http.createServer(answer)));
  assert.equal(server.unref(), server);
  await up(server, t);
  assert.equal(server.ref(), server);
  assert.match(await fetchText(server), /^1\.1/);
});

test('refuses what is no server, and one that listens already', limit, async () => {
  for (const other of [undefined, null, {}, 'server', http]) {
    assert.throws(() => mount(other as never), { code: 'ERR_INVALID_ARG_TYPE' });
  }
  assert.equal(mount(net.createServer()) instanceof net.Server, true);
  const server = http.createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  if (isOwn) assert.throws(() => mount(server), { code: 'ERR_SERVER_ALREADY_LISTEN' });
  server.close();
  await once(server, 'close');
});
