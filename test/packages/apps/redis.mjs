import assert from 'node:assert/strict';
import { createClient, RESP_TYPES } from 'redis';
import { assertSame, bytes, LARGE, next, port, proveMillrace, say } from './app.mjs';

const reconnectStrategy = () => 50;
const redis = createClient({ socket: { host: '127.0.0.1', port, reconnectStrategy } });
const local = createClient({ socket: { path: process.argv[3], reconnectStrategy } });
const subscriber = redis.duplicate();
const clients = [redis, local, subscriber];

async function converse(client) {
  const raw = client.withTypeMapping({ [RESP_TYPES.BLOB_STRING]: Buffer });
  const large = bytes(LARGE);
  await client.set('large', large);
  assertSame(await raw.get('large'), large, 'a large value');
  const values = await Promise.all(
    Array.from({ length: 5000 }, async (_, i) => {
      client.set(`key:${i}`, String(i));
      return client.get(`key:${i}`);
    }),
  );
  assert.deepEqual(
    values,
    Array.from({ length: 5000 }, (_, i) => String(i)),
  );
}

let heard;
async function publish(text) {
  const message = new Promise((resolve) => (heard = resolve));
  assert.equal(await redis.publish('news', text), 1);
  assert.equal(await message, text);
}

const refused = next(redis, 'error');
for (const client of clients) client.on('error', () => {});
await Promise.all(clients.map((client) => client.connect()));
await subscriber.subscribe('news', (text) => heard(text));
await converse(redis);
await converse(local);
await publish('first');
proveMillrace(3);

const ready = Promise.all(clients.map((client) => next(client, 'ready')));
say('connected');
const [error] = await refused;
say(`lost: ${error.code ?? `close (${error.name}: ${error.message})`}`);
await ready;
await converse(redis);
await converse(local);
await publish('second');
proveMillrace(3);
await Promise.all(clients.map((client) => client.close()));
say('connected again');
