/** nock answers the requests of Node's http, https and fetch; connections of millrace's and requests to others go their way. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import http from 'node:http';
import https from 'node:https';
import net from 'node:net';
import { join } from 'node:path';
import { buffer, text } from 'node:stream/consumers';
import nock from 'nock';
import { assertSame, bytes, LARGE, mount, proveMillrace } from './app.mjs';

const [, , folder] = process.argv;
const [key, cert, ca] = ['tls.key', 'tls.crt', 'ca.crt'].map((name) => readFileSync(join(folder, name)));
const large = bytes(LARGE);
nock('https://mocked.invalid').get('/').reply(200, 'by nock, secretly');
nock('http://mocked.invalid').get('/').reply(200, 'by nock').get('/fetch').reply(200, 'by nock, too');
assert.equal(await text(await get('https://mocked.invalid/')), 'by nock, secretly');

async function get(url, options = {}) {
  const [response] = await once((url.startsWith('https:') ? https : http).get(url, options), 'response');
  return response;
}

assert.equal(await text(await get('http://mocked.invalid/')), 'by nock');
assert.equal(await (await fetch('http://mocked.invalid/fetch')).text(), 'by nock, too');

const web = mount(http.createServer((_request, response) => response.end(large))).listen(0, '127.0.0.1');
const secure = https.createServer({ key, cert }, (_request, response) => response.end(large)).listen(0, '127.0.0.1');
const echo = net.createServer((socket) => socket.pipe(socket)).listen(0, '127.0.0.1');
await Promise.all([web, secure, echo].map((server) => once(server, 'listening')));
proveMillrace(3);

assertSame(await buffer(await get(`http://127.0.0.1:${web.address().port}/`)), large, 'a body nobody mocks');
const localhost = `https://localhost:${secure.address().port}/`;
assertSame(await buffer(await get(localhost, { ca, family: 4 })), large, 'a body nobody mocks, over TLS');
const socket = net.connect(echo.address().port, '127.0.0.1');
const reply = buffer(socket);
socket.end(large);
assertSame(await reply, large, 'an echo');
for (const server of [web, secure]) {
  server.close();
  server.closeAllConnections();
}
echo.close();
