// A simulated device for sensors.ts: it measures at its own pace whether or not the collector is there. Readings wait in a queue
// that forgets the oldest first, and the connection is made again after a failure: soon at first, then more and more patiently,
// never two devices at the same moment (so that a restarted collector isn't hit by all of them at once).
//
//   node .build/examples/sensor.js --port 4000 --device boiler --interval-ms 500 --count 20

import { parseArgs } from 'node:util';
import { createConnection, type Socket } from 'millrace';

const MAX_WAITING = 1_000;
const RETRY_MS = { first: 100, most: 10_000 };

const { values } = parseArgs({
  options: {
    port: { type: 'string', default: '4000' },
    host: { type: 'string', default: '127.0.0.1' },
    device: { type: 'string', default: 'sensor-1' },
    'interval-ms': { type: 'string', default: '1000' },
    count: { type: 'string', default: 'Infinity' },
  },
});
const count = Number(values.count);

const waiting: string[] = [];
let measured = 0;
let celsius = 20;
let socket: Socket | undefined; // only while connected
let retryMs = RETRY_MS.first;

const clock = setInterval(measure, Number(values['interval-ms']));
connect();

function measure(): void {
  celsius += Math.random() - 0.5;
  waiting.push(`${JSON.stringify({ device: values.device, celsius: Number(celsius.toFixed(1)) })}\n`);
  if (waiting.length > MAX_WAITING) waiting.shift();
  if (++measured >= count) clearInterval(clock);
  deliver();
}

/** Hands over what waits, as far as the socket takes it: a slow link fills our bounded queue, not the socket's memory. */
function deliver(): void {
  if (!socket?.writable) return;
  while (waiting.length > 0 && !socket.writableNeedDrain) socket.write(waiting.shift()!);
  if (waiting.length === 0 && measured >= count) socket.end();
}

function connect(): void {
  const attempt = createConnection({ port: Number(values.port), host: values.host, keepAlive: true }, () => {
    console.log('connected');
    socket = attempt;
    retryMs = RETRY_MS.first;
    deliver();
  });
  attempt.on('drain', deliver);
  attempt.on('data', (chunk: Buffer) =>
    process.stdout.write(`the collector says ${JSON.stringify(chunk.toString())}\n`),
  );
  attempt.on('error', () => {}); // 'close' follows, and says all we need
  attempt.on('close', () => {
    const isDone = attempt.writableFinished && measured >= count;
    socket = undefined;
    if (isDone) return console.log(`delivered ${measured} readings`);
    const jitteredMs = Math.round(retryMs * (0.5 + Math.random()));
    console.log(`no connection, trying again in ${jitteredMs} ms`);
    setTimeout(connect, jitteredMs);
    retryMs = Math.min(2 * retryMs, RETRY_MS.most);
  });
}
