// Simulated devices, each with a connection of its own. They measure whether or not the gateway is there: a report stays in the
// outbox until it is acknowledged, and is sent again on each new connection until then. To make that hard, connections are cut at
// random, with whatever is on its way.
import { setTimeout as delay } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { dial, type ReconnectingClient } from 'millrace/session';
import { deviceCodec, type ToDevice, type ToGateway } from './messages.ts';

const { values } = parseArgs({
  options: {
    port: { type: 'string', default: '4000' },
    devices: { type: 'string', default: '10000' },
    reports: { type: 'string', default: '30' }, // of each device
    'interval-ms': { type: 'string', default: '1000' },
    'cut-ms': { type: 'string', default: '10000' }, // how long a connection lives, on average; 0: for ever
  },
});
const [port, reports, cutMs] = [Number(values.port), Number(values.reports), Number(values['cut-ms'])];
const clients = new Set<ReconnectingClient<ToDevice, ToGateway>>();
const counts = { measured: 0, acked: 0, orders: 0, cut: 0 };

setInterval(cutSome, 100).unref();
setInterval(() => console.log(JSON.stringify(counts)), 1_000).unref();
await Promise.all(Array.from({ length: Number(values.devices) }, (_, i) => runDevice(`device-${i}`)));
console.log(JSON.stringify(counts));

async function runDevice(device: string): Promise<void> {
  let intervalMs = Number(values['interval-ms']);
  const client = await dial<ToDevice, ToGateway>({
    ...{ port, host: '127.0.0.1', codec: deviceCodec },
    reconnect: {
      maxMs: 5_000,
      onConnect: (session) => session.send({ device }),
      outbox: { idOf: (message) => ('seq' in message ? message.seq : undefined), maxMessages: 100 },
    },
  });
  clients.add(client);
  const obeying = (async () => {
    for await (const message of client) {
      if ('ack' in message) counts.acked += client.ackedThrough(message.ack);
      else {
        intervalMs = message.intervalMs;
        counts.orders++;
        client.trySend({ done: message.order });
      }
    }
  })();
  const firstSeq = Date.now(); // above all numbers of an earlier run
  for (let seq = firstSeq; seq < firstSeq + reports; seq++) {
    await delay(intervalMs * (0.5 + Math.random()));
    counts.measured++;
    await client.send({ seq, celsius: Math.round(200 + 50 * Math.random()) / 10 }); // waits while the outbox is full
  }
  await client.flushed();
  clients.delete(client);
  await client.close();
  await obeying;
}

function cutSome(): void {
  for (const { session } of clients) {
    if (session === undefined || Math.random() * cutMs >= 100) continue;
    session.abort();
    counts.cut++;
  }
}
