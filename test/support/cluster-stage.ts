/**
 * A primary whose workers are told what to do by a test, over standard input and output, one JSON value a line. For
 * test/net/cluster.test.ts.
 *
 * ```
 *  in   { do: 'fork', policy, listen, maxConnections, dropMaxConnection, holds }   { do: 'ask' }   { do: 'kill', worker }
 *  out  { worker, port } | { worker, code }     { worker: { connections, drops } , … }     { gone: worker }
 * ```
 */
import cluster, { type Worker } from 'node:cluster';
import type { ListenOptions } from 'node:net';
import { createInterface } from 'node:readline';
import net from 'millrace';

export interface Order {
  do: 'fork' | 'ask' | 'kill';
  policy?: 'SCHED_RR' | 'SCHED_NONE';
  listen?: ListenOptions;
  maxConnections?: number;
  dropMaxConnection?: boolean;
  /** Connections stay open. */
  holds?: boolean;
  worker?: number;
}

const say = (value: unknown): boolean => process.stdout.write(`${JSON.stringify(value)}\n`);

if (cluster.isWorker) {
  cluster.worker?.on('error', () => process.exit()); // the test is over
  const order = JSON.parse(process.env['ORDER'] as string) as Order;
  const counts = { connections: 0, drops: 0 };
  const server = net.createServer((socket) => {
    counts.connections++;
    socket.on('error', () => {});
    if (!order.holds) socket.end(String(cluster.worker?.id));
    else socket.resume();
  });
  if (order.maxConnections !== undefined) server.maxConnections = order.maxConnections;
  server.dropMaxConnection = order.dropMaxConnection;
  server.on('drop', () => counts.drops++);
  server.on('error', (error: NodeJS.ErrnoException) => process.send?.({ code: error.code }));
  server.listen(order.listen ?? { port: 0, host: '127.0.0.1' }, () => {
    process.send?.({ port: (server.address() as { port: number }).port });
  });
  process.on('message', () => process.send?.({ counts }));
} else {
  const workers = new Map<number, Worker>();
  const fork = (order: Order): void => {
    cluster.schedulingPolicy = order.policy === 'SCHED_NONE' ? cluster.SCHED_NONE : cluster.SCHED_RR;
    const worker = cluster.fork({ ORDER: JSON.stringify(order) });
    workers.set(worker.id, worker);
    worker.on('message', (message: object) => {
      if (!('counts' in message)) say({ worker: worker.id, ...message });
    });
    // The primary lets go of what only this worker listened on when it has seen both.
    let left = 2;
    const onGone = (): void => {
      workers.delete(worker.id);
      if (--left === 0) say({ gone: worker.id });
    };
    worker.on('exit', onGone).on('disconnect', onGone);
  };
  const ask = async (): Promise<void> => {
    const answers: Record<number, unknown> = {};
    for (const [id, worker] of workers)
      answers[id] = await new Promise((resolve) => {
        worker.once('message', ({ counts }: { counts: unknown }) => resolve(counts));
        worker.send('counts');
      });
    say(answers);
  };
  createInterface({ input: process.stdin })
    .on('line', (line) => {
      const order = JSON.parse(line) as Order;
      if (order.do === 'fork') fork(order);
      else if (order.do === 'kill') workers.get(order.worker as number)?.process.kill('SIGKILL');
      else void ask();
    })
    .on('close', () => process.exit());
}
