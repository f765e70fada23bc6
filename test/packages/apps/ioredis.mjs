import assert from 'node:assert/strict';
import { Redis } from 'ioredis';
import { assertSame, bytes, LARGE, next, port, proveMillrace, say } from './app.mjs';

async function converse(redis) {
  const large = bytes(LARGE);
  await redis.set('large', large);
  assertSame(await redis.getBuffer('large'), large, 'a large value');
  const pipeline = redis.pipeline();
  for (let i = 0; i < 5000; i++) pipeline.set(`key:${i}`, i).get(`key:${i}`);
  const results = await pipeline.exec();
  assert.deepEqual(
    results.filter((_, index) => index % 2 === 1).map(([, value]) => value),
    Array.from({ length: 5000 }, (_, i) => String(i)),
  );
  // Without a pipeline, but in one turn.
  const values = await Promise.all(Array.from({ length: 1000 }, (_, i) => redis.get(`key:${i}`)));
  assert.equal(values[999], '999');
}

async function publish(redis, subscriber, text) {
  const message = next(subscriber, 'message');
  assert.ok((await redis.publish('news', text)) >= 1);
  assert.deepEqual(await message, ['news', text]);
}

const options = { retryStrategy: () => 50, maxRetriesPerRequest: null };
const redis = new Redis({ ...options, port, host: '127.0.0.1' });
const local = new Redis({ ...options, path: process.argv[3] });
const subscriber = new Redis({ ...options, port, host: 'localhost', family: 4 });
await subscriber.subscribe('news');
await converse(redis);
await converse(local);
await publish(redis, subscriber, 'first');
proveMillrace(3);

const clients = [redis, local, subscriber];
const closed = Promise.all(clients.map((client) => next(client, 'close')));
const refused = next(redis, 'error');
for (const client of clients) client.on('error', () => {});
const ready = Promise.all(clients.map((client) => next(client, 'ready')));
say('connected');
await closed;
// Commands of now are for later.
const later = redis.set('later', 'yes');
say(`lost: ${(await refused)[0].code}`);
await ready;
assert.equal(await later, 'OK');
await converse(redis);
await converse(local);
await subscriber.subscribe('news');
await publish(redis, subscriber, 'second');
proveMillrace(3);
await Promise.all(clients.map((client) => client.quit()));
say('connected again');
