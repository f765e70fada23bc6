/** nock answers the requests of Node's http and fetch; connections of millrace's and requests to others go their way. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import http from 'node:http';
import net from 'node:net';
import { buffer, text } from 'node:stream/consumers';
import nock from 'nock';
import { assertSame, bytes, LARGE, mount, proveMillrace } from './app.mjs';

const large = bytes(LARGE);
nock('http://mocked.invalid').get('/').reply(200, 'by nock').get('/fetch').reply(200, 'by nock, too');

async function get(url) {
  const [response] = await once(http.get(url), 'response');
  return response;
}

assert.equal(await text(await get('http://mocked.invalid/')), 'by nock');
assert.equal(await (await fetch('http://mocked.invalid/fetch')).text(), 'by nock, too');

const web = mount(http.createServer((_request, response) => response.end(large))).listen(0, '127.0.0.1');
const echo = net.createServer((socket) => socket.pipe(socket)).listen(0, '127.0.0.1');
await Promise.all([once(web, 'listening'), once(echo, 'listening')]);
proveMillrace(2);

assertSame(await buffer(await get(`http://127.0.0.1:${web.address().port}/`)), large, 'a body nobody mocks');
const socket = net.connect(echo.address().port, '127.0.0.1');
const reply = buffer(socket);
socket.end(large);
assertSame(await reply, large, 'an echo');
web.close();
web.closeAllConnections();
echo.close();
