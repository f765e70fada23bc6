import assert from 'node:assert/strict';
import { connect } from 'amqplib';
import { again, assertSame, bytes, LARGE, next, port, proveMillrace, say } from './app.mjs';

const url = `amqp://guest:guest@127.0.0.1:${port}?heartbeat=5`;

async function converse(connection) {
  const channel = await connection.createConfirmChannel();
  const { queue } = await channel.assertQueue('', { exclusive: true });
  const got = [];
  const count = 1001;
  const all = new Promise((resolve) => {
    const onMessage = (message) => {
      channel.ack(message);
      if (got.push(message.content) === count) resolve();
    };
    channel.prefetch(20);
    channel.consume(queue, onMessage);
  });
  const large = bytes(LARGE);
  channel.sendToQueue(queue, large, { contentType: 'application/octet-stream' });
  for (let i = 1; i < count; i++) channel.sendToQueue(queue, Buffer.from(String(i)));
  await channel.waitForConfirms();
  await all;
  assertSame(got[0], large, 'a large message');
  assert.deepEqual(
    got.slice(1).map(String),
    Array.from({ length: count - 1 }, (_, i) => String(i + 1)),
  );
  await channel.close();
}

const connection = await connect(url);
proveMillrace();
await converse(connection);
const error = next(connection, 'error');
const closed = next(connection, 'close');
say('connected');
const [{ code, message }] = await error;
await closed;
say(`lost: ${code ?? message}`);

const newConnection = await again(() => connect(url));
await converse(newConnection);
proveMillrace();
await newConnection.close();
say('connected again');
