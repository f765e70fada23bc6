/** Arguments: port, 'cat' (a server that has that command) or 'sftp' (one that has files in a folder), user, key, folder. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import net from 'node:net';
import { join } from 'node:path';
import { buffer } from 'node:stream/consumers';
import ssh2 from 'ssh2';
import { again, assertSame, bytes, LARGE, next, port, proveMillrace, say } from './app.mjs';

const [, , , way, username, keyFile, folder] = process.argv;
const large = bytes(LARGE);

const echo = net.createServer((socket) => socket.pipe(socket)).listen(0, '127.0.0.1');
await once(echo, 'listening');

async function connect() {
  const client = new ssh2.Client();
  // One failure may have several errors: refused, then closed before the handshake.
  client.on('error', () => {});
  const isReady = once(client, 'ready');
  client.connect({
    ...{ host: '127.0.0.1', port, username, readyTimeout: 20_000, keepaliveInterval: 1000 },
    ...(keyFile === undefined ? { password: 'secret' } : { privateKey: readFileSync(keyFile) }),
  });
  await isReady;
  return client;
}

/** Calls a method of ssh2, whose last argument is a callback. */
function call(object, method, ...args) {
  return new Promise((resolve, reject) => {
    object[method](...args, (error, result) => (error ? reject(error) : resolve(result)));
  });
}

async function runCat(client) {
  const stream = await call(client, 'exec', 'cat');
  const exit = next(stream, 'exit');
  const output = buffer(stream);
  stream.end(large);
  assertSame(await output, large, 'the output of a command');
  assert.equal((await exit)[0], 0);
}

async function copyFiles(client) {
  const sftp = await call(client, 'sftp');
  const path = join(folder, 'large');
  await call(sftp, 'writeFile', path, large);
  assert.equal((await call(sftp, 'stat', path)).size, LARGE);
  assertSame(await call(sftp, 'readFile', path), large, 'a file');
  const stream = sftp.createReadStream(path);
  const closed = next(stream, 'close');
  assertSame(await buffer(stream), large, 'a streamed file');
  await closed;
  sftp.end();
}

async function forward(client) {
  const stream = await call(client, 'forwardOut', '127.0.0.1', 1, '127.0.0.1', echo.address().port);
  const reply = buffer(stream);
  stream.end(large);
  assertSame(await reply, large, 'what went through a forwarded connection');
}

async function converse(client) {
  await (way === 'cat' ? runCat(client) : copyFiles(client));
  await Promise.all([forward(client), forward(client), forward(client)]);
}

const client = await connect();
proveMillrace(2);
await converse(client);
const errors = [];
client.on('error', (error) => errors.push(error.code ?? error.message));
const closed = next(client, 'close');
say('connected');
await closed;
say(`lost: ${['close', ...errors].join(' ')}`);

const newClient = await again(connect);
await converse(newClient);
proveMillrace(2);
const end = next(newClient, 'close');
newClient.end();
await end;
echo.close();
say('connected again');
