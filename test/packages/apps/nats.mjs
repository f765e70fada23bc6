import assert from 'node:assert/strict';
import { connect } from '@nats-io/transport-node';
import { assertSame, bytes, port, proveMillrace, say } from './app.mjs';

/** The server's own limit for a payload. */
const MAX_PAYLOAD = 1024 * 1024;

const isTls = process.argv[3] === 'tls';
const connection = await connect({
  servers: `127.0.0.1:${port}`,
  maxReconnectAttempts: -1,
  reconnectTimeWait: 50,
  ...(isTls ? { tls: { rejectUnauthorized: false } } : {}),
});

async function converse() {
  const large = bytes(MAX_PAYLOAD);
  const service = connection.subscribe('echo');
  const serving = (async () => {
    for await (const message of service) message.respond(message.data);
  })();
  const reply = await connection.request('echo', large, { timeout: 20_000 });
  assertSame(Buffer.from(reply.data), large, 'a large payload');
  const replies = await Promise.all(
    Array.from({ length: 1000 }, (_, i) => connection.request('echo', String(i), { timeout: 20_000 })),
  );
  assert.deepEqual(
    replies.map((message) => message.string()),
    Array.from({ length: 1000 }, (_, i) => String(i)),
  );
  service.unsubscribe();
  await serving;
}

const statuses = connection.status()[Symbol.asyncIterator]();
async function status(type) {
  for (;;) {
    const { value } = await statuses.next();
    if (value.type === type) return;
  }
}

proveMillrace();
await converse();
say('connected');
await status('disconnect');
say('lost: disconnect');
await status('reconnect');
await converse();
proveMillrace();
await connection.drain();
say('connected again');
