// Takes the reports of many devices and gives them orders. A report is acknowledged when it is on disk, not before; an order is
// given again on each connection of its device, until that says that it is done.
import { parseArgs } from 'node:util';
import { type Session, serve } from 'millrace/session';
import { Journal } from './journal.ts';
import { gatewayCodec, type ToDevice, type ToGateway } from './messages.ts';

const ORDER_EVERY_REPORTS = 10;
const MAX_DEVICES = 15_000;

const { values } = parseArgs({
  options: { port: { type: 'string', default: '4000' }, journal: { type: 'string', default: 'reports.txt' } },
});
const online = new Map<string, Session<ToGateway, ToDevice>>();
const orders = new Map<string, { order: number; intervalMs: number }>();
const counts = { stored: 0, twice: 0, done: 0 };

try {
  const journal = await Journal.open(values.journal);
  // Simulated devices have one address. One whose link died without a word is let go after two minutes.
  const limits = { connections: MAX_DEVICES, perAddress: MAX_DEVICES, idleMs: 120_000 };
  const server = await serve(
    { port: Number(values.port), host: '127.0.0.1', backlog: 4096, codec: gatewayCodec, limits },
    (session) => serveDevice(session, journal),
  );
  console.log(`listening on ${server.address}:${server.port}`);
  const tell = (): void => console.log(JSON.stringify({ online: online.size, ...counts, toDo: orders.size }));
  setInterval(tell, 1_000).unref();
  const end = (): void => void server.drain({ deadlineMs: 5_000 }).then(tell);
  process.once('SIGINT', end).once('SIGTERM', end);
} catch (error) {
  console.error((error as Error).message);
  process.exitCode = 1;
}

async function serveDevice(session: Session<ToGateway, ToDevice>, journal: Journal): Promise<void> {
  const hello = await session.receive();
  if (hello === undefined || !('device' in hello)) return;
  const { device } = hello;
  online.get(device)?.abort(); // it is back before we noticed that it was gone
  online.set(device, session);
  try {
    if (orders.has(device)) await session.send(orders.get(device)!);
    for await (const message of session) {
      if ('done' in message && orders.get(device)?.order === message.done) {
        orders.delete(device);
        counts.done++;
      }
      if (!('seq' in message)) continue;
      const { seq, celsius } = message;
      const isNew = await journal.store(device, seq, celsius);
      counts[isNew ? 'stored' : 'twice']++;
      await session.send({ ack: seq });
      if (!isNew || seq % ORDER_EVERY_REPORTS !== 0) continue;
      orders.set(device, { order: seq, intervalMs: 500 + Math.floor(1_000 * Math.random()) });
      await session.send(orders.get(device)!);
    }
  } finally {
    if (online.get(device) === session) online.delete(device);
  }
}
