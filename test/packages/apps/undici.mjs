import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import net from 'node:net';
import { Agent, Client, Pool, request } from 'undici';
import { again, assertSame, bytes, LARGE, port, proveMillrace, say } from './app.mjs';

const origin = `http://127.0.0.1:${port}`;
const large = bytes(LARGE);
const digest = createHash('sha256').update(large).digest('hex');

/** undici's connector: any function that gives a connected socket. */
function connect({ hostname, port }, callback) {
  const socket = net.connect({ host: hostname, port, noDelay: true });
  socket.once('connect', () => callback(null, socket)).once('error', callback);
}

async function converse(dispatcher) {
  const get = async (path) => {
    const { statusCode, body } = await request(`${origin}${path}`, { dispatcher });
    assert.equal(statusCode, 200);
    return Buffer.from(await body.arrayBuffer());
  };
  assert.deepEqual(JSON.parse(await get('/hello/world')), { hello: 'world', from: '127.0.0.1' });
  assertSame(await get('/large'), large, 'a large body');
  assertSame(await get('/stream'), large.subarray(0, 3_000_000), 'a streamed body');
  const reply = await request(`${origin}/digest`, {
    ...{ dispatcher, method: 'POST', body: large, headers: { 'content-type': 'application/octet-stream' } },
  });
  assert.deepEqual(await reply.body.json(), { digest });
  const many = await Promise.all(Array.from({ length: 300 }, (_, i) => get(`/hello/${i}`)));
  many.forEach((body, i) => {
    assert.equal(JSON.parse(body).hello, String(i));
  });
  // A body that is thrown away ends its connection in the middle.
  const { body } = await request(`${origin}/large`, { dispatcher });
  body.on('error', () => {}).destroy();
  assert.equal(JSON.parse(await get('/hello/after')).hello, 'after');
}

const dispatchers = [
  new Agent({ connect, connections: 5 }),
  new Client(origin, { connect, pipelining: 10 }),
  // Its own connector, which uses net.connect too.
  new Pool(origin, { connections: 3 }),
];
for (const dispatcher of dispatchers) await converse(dispatcher);
proveMillrace(3);
const lost = Promise.all(
  dispatchers.map(
    (dispatcher) => new Promise((resolve) => dispatcher.once('disconnect', (...args) => resolve(args.at(-1)))),
  ),
);
// undici's idle connections keep no process alive.
const alive = setInterval(() => {}, 1000);
say('connected');
const errors = await lost;
clearInterval(alive);
say(`lost: ${[...new Set(errors.map((error) => error.code))].join(' ')}`);
for (const dispatcher of dispatchers) await again(() => converse(dispatcher));
proveMillrace(3);
await Promise.all(dispatchers.map((dispatcher) => dispatcher.close()));
say('connected again');
