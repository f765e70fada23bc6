/** `tls` and `https` of an unmodified application under `millrace/register`: whose they are, and how to leave them to Node. */
import assert from 'node:assert/strict';
import test from 'node:test';
import nodeTls from 'node:tls';
import { engine } from 'millrace/tls';
import { certificates, needsOpenssl } from '../support/tls.ts';
import { Application, WAYS } from './application.ts';

/** A test starts several processes. */
const limit = { ...needsOpenssl, timeout: 60_000 };
const isOwn = engine === 'openssl';

const DOORS = `
const doors = {
  'import tls': tls,
  'import { connect }': connect === tls.connect ? tls : connect,
  'import *': all.default,
  'import()': (await import('tls')).default,
  'createRequire()': require('tls'),
  "createRequire()('node:')": require('node:tls'),
  getBuiltinModule: process.getBuiltinModule('tls'),
  "getBuiltinModule('node:')": process.getBuiltinModule('node:tls'),
};
for (const [door, got] of Object.entries(doors)) console.log(door, got === millrace ? 'millrace' : 'node');`;

const doors = {
  'app.mjs': `
import tls, { connect } from 'tls';
import * as all from 'node:tls';
import millrace from 'millrace/tls';
import { createRequire } from 'node:module';
const require = createRequire(import.meta.url);
${DOORS}`,
  'app.cjs': `
const tls = require('tls');
const { connect } = require('node:tls');
(async () => {
  const all = await import('node:tls');
  const { default: millrace } = await import('millrace/tls');
  ${DOORS}
})();`,
};

for (const way of WAYS) {
  for (const program of ['app.mjs', 'app.cjs']) {
    test(`${way[0]}: every door of ${program} to tls leads to millrace, and nothing is printed`, limit, async (t) => {
      const { stdout, stderr, status } = await new Application(t, doors).node(t, [...way, program]);
      assert.equal(stderr, '');
      assert.equal(status, 0);
      const lines = stdout.trim().split('\n');
      assert.equal(lines.length, 8);
      assert.deepEqual(
        lines.filter((line) => !line.endsWith(isOwn ? ' millrace' : ' node')),
        [],
      );
    });
  }
}

test('an importing module has the names of tls, which is an ordinary object', limit, async (t) => {
  const application = new Application(t, {
    'app.mjs': `import * as all from 'tls';
    console.log(JSON.stringify([Object.keys(all), all.default.hasOwnProperty('connect')]));`,
  });
  const { stdout } = await application.node(t, ['--import', 'millrace/register', 'app.mjs']);
  const [names, isOrdinary] = JSON.parse(stdout) as [string[], boolean];
  assert.equal(isOrdinary, true);
  assert.deepEqual(
    Object.keys(nodeTls).filter((name) => !names.includes(name)),
    [],
  );
});

/** A server and a client of `https`, of `tls` and of `http2`, and whose sockets they have. */
const program = {
  'key.pem': '',
  'app.cjs': `
const { readFileSync } = require('node:fs');
const { once } = require('node:events');
const [https, http2, tls, net] = ['https', 'http2', 'tls', 'net'].map(require);
const [key, cert, ca] = ['key.pem', 'cert.pem', 'ca.pem'].map((name) => readFileSync(name));
const isOurs = (socket, millrace) => Object.getPrototypeOf(socket) === millrace.TLSSocket.prototype ? 'millrace' : 'node';
(async () => {
  const { default: millrace } = await import('millrace/tls');
  const say = (what, socket) => console.log(what, isOurs(socket, millrace));

  const server = new (class extends https.Server {})({ key, cert }, (request, response) => {
    say('https server', request.socket);
    response.end('answer');
  });
  server.addContext('other.example', { key, cert });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const to = { port: server.address().port, host: '127.0.0.1', servername: 'localhost', ca };
  const [response] = await once(https.get(to), 'response');
  say('https.get', response.socket);
  for await (const chunk of response) console.log(String(chunk), server instanceof tls.Server, server instanceof net.Server);
  const [error] = await once(https.get({ ...to, servername: 'wrong.example' }), 'error');
  console.log(error.code);
  const { ca: _, ...untrusted } = to;
  console.log((await once(https.get({ ...untrusted, agent: new https.Agent() }), 'error'))[0].code);
  https.globalAgent.destroy();
  server.close();
  await once(server, 'close');

  const secure = http2.createSecureServer({ key, cert });
  secure.on('secureConnection', (socket) => say('http2 server', socket));
  secure.on('request', (request, response) => response.end(request.socket.alpnProtocol));
  secure.listen(0, '127.0.0.1');
  await once(secure, 'listening');
  const session = http2.connect('https://localhost:' + secure.address().port, { ca, host: '127.0.0.1', servername: 'localhost' });
  const stream = session.request({ ':path': '/' });
  for await (const chunk of stream) console.log(String(chunk));
  session.close();
  secure.close();
  await once(secure, 'close');

  const plain = tls.createServer({ key, cert }, (socket) => { say('tls server', socket); socket.end('bytes'); });
  plain.listen(0, '127.0.0.1');
  await once(plain, 'listening');
  const client = tls.connect({ ...to, port: plain.address().port });
  for await (const chunk of client) console.log(String(chunk));
  say('tls.connect', client);
  plain.close();
})();`,
};

function withKeys(files: Record<string, string>): Record<string, string> {
  const { key, cert } = certificates.server;
  return { ...files, 'key.pem': String(key), 'cert.pem': String(cert), 'ca.pem': String(certificates.ca) };
}

const expected = (https: string, tls: string): string =>
  [
    ...[`https server ${https}`, `https.get ${https}`, 'answer true true', 'ERR_TLS_CERT_ALTNAME_INVALID'],
    ...['UNABLE_TO_VERIFY_LEAF_SIGNATURE', `http2 server ${https}`, 'h2', `tls server ${tls}`, 'bytes'],
    ...[`tls.connect ${tls}`, ''],
  ].join('\n');

test(
  'servers and clients of an application are secured by millrace, and refuse what Node refuses',
  limit,
  async (t) => {
    const application = new Application(t, withKeys(program));
    for (const way of WAYS) {
      const { stdout, stderr } = await application.node(t, [...way, 'app.cjs']);
      assert.equal(stderr, '');
      const whose = 'millrace'; // on engine node, the class is Node's and the export of millrace/tls as well
      assert.equal(stdout, expected(whose, whose));
    }
  },
);

test('MILLRACE_REGISTER says what is put on millrace', { ...limit, skip: limit.skip || !isOwn }, async (t) => {
  const application = new Application(t, withKeys(program));
  const run = async (parts: string) =>
    await application.node(t, ['--import', 'millrace/register', 'app.cjs'], { MILLRACE_REGISTER: parts });
  assert.equal((await run('net')).stdout, expected('node', 'node'));
  assert.equal((await run('net, tls')).stdout, expected('node', 'millrace'));
  assert.equal((await run('https')).stdout, expected('millrace', 'node'));
});

test('MILLRACE_REGISTER with a name that is none ends the program, and says what there is', limit, async (t) => {
  const application = new Application(t, { 'app.cjs': 'console.log("it runs")' });
  for (const way of WAYS) {
    const { stdout, stderr, status } = await application.node(t, [...way, 'app.cjs'], { MILLRACE_REGISTER: 'net,ssl' });
    assert.equal(stdout, '');
    assert.notEqual(status, 0);
    assert.match(stderr, /MILLRACE_REGISTER has 'ssl'; there are net, tls, https/);
    assert.match(stderr, /MILLRACE_ERR_REGISTER/);
  }
});
