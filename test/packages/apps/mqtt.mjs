import assert from 'node:assert/strict';
import mqtt from 'mqtt';
import { assertSame, bytes, LARGE, next, port, proveMillrace, say } from './app.mjs';

/** A listener and a speaker, one version of the protocol each. */
const clients = process.argv.slice(3).map((version) =>
  mqtt.connect(`mqtt://127.0.0.1:${port}`, {
    clientId: `client-${version}`,
    protocolVersion: Number(version),
    protocolId: version === '3' ? 'MQIsdp' : 'MQTT',
    reconnectPeriod: 50,
    keepalive: 5,
  }),
);
for (const client of clients) client.on('error', () => {});

/** Topics of its own for each conversation: to a known one, mqtt subscribes by itself and without saying when it is done. */
let round = 0;

async function converse([listener, speaker]) {
  round += 1;
  const large = bytes(LARGE);
  for (const qos of [0, 1, 2]) {
    const topic = `news/${round}/${qos}`;
    await listener.subscribeAsync(topic, { qos });
    const message = next(listener, 'message');
    await speaker.publishAsync(topic, large, { qos });
    const [gotTopic, payload] = await message;
    assert.equal(gotTopic, topic);
    assertSame(payload, large, `a large message, QoS ${qos}`);
  }
  const numbers = [];
  const all = new Promise((resolve) => {
    const onMessage = (_, payload) => {
      if (numbers.push(Number(payload)) < 1000) return;
      listener.off('message', onMessage);
      resolve();
    };
    listener.on('message', onMessage);
  });
  await Promise.all([
    ...Array.from({ length: 1000 }, (_, i) => speaker.publishAsync(`news/${round}/1`, String(i), { qos: 1 })),
    all,
  ]);
  assert.deepEqual(
    numbers,
    Array.from({ length: 1000 }, (_, i) => i),
  );
}

await Promise.all(clients.map((client) => next(client, 'connect')));
proveMillrace(2);
await converse(clients);
await converse(clients.toReversed());
const closed = Promise.all(clients.map((client) => next(client, 'close')));
const reconnected = Promise.all(clients.map((client) => next(client, 'connect')));
say('connected');
await closed;
say('lost: close');
await reconnected;
await converse(clients);
proveMillrace(2);
await Promise.all(clients.map((client) => client.endAsync()));
say('connected again');
