/** What the workers of messages-workers.test.ts run: they publish, ask, count and die when they are asked to. */
import { threadId } from 'node:worker_threads';
import { counters, worker } from 'millrace/cluster';

if (worker === undefined) throw new Error('this is no worker');
const { id, messages } = worker;
const figures = counters({ heard: 'counter', up: 'gauge' });
figures.set('up', 1);

const heard: unknown[] = [];
messages.subscribe('news', (message, { from }) => {
  heard.push([from, message]);
  figures.add('heard');
});
messages.handle('heard', () => heard);
messages.handle('id', () => id);
messages.handle('never', () => new Promise(() => {}));
messages.handle('die', () => {
  if (threadId === 0) process.kill(process.pid, 'SIGKILL');
  else process.exit(7);
});
messages.subscribe('probe', () => {});
/** Numbers up to `count`, each when there is room for it, once both other workers are known to listen. */
messages.handle('tell', async ({ topic, count }: { topic: string; count: number }) => {
  while ((await messages.publish('probe')).workers < 2) await new Promise((resolve) => setImmediate(resolve));
  for (let n = 0; n < count; n++) await messages.publish(topic, n);
  await messages.flushed();
  return messages.peers.map(({ worker: peer }) => peer).sort((a, b) => a - b);
});
messages.handle('relay', (to: number) => messages.ask(to, 'id'));
worker.onDrain(async () => {
  await messages.publish('bye', id);
});
