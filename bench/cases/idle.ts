// Idle: resident memory (VmRSS) that 10,000 open, silent connections add to the server, per connection. Before garbage
// collection is what a server has after a burst of connects, after it what it needs; the second one is compared.
import { setTimeout as sleep } from 'node:timers/promises';
import { Child, Server } from '../child.ts';
import { residentBytes, withDescriptors } from '../machine.ts';
import type { Rival } from '../rivals.ts';
import type { Bench, Case, Sample } from '../trial.ts';

export const idle: Case = {
  name: 'idle',
  trials: (bench) => [
    {
      title: `idle, ${bench.options.idleConnections} connections`,
      parameters: { connections: bench.options.idleConnections },
      cost: { key: 'bytesPerConnection', head: 'bytes/conn', digits: 0 },
      columns: [
        { head: 'before gc', cell: (median) => median('bytesPerConnectionBeforeGc').toFixed(0) },
        { head: 'JS heap/conn', cell: (median) => median('heapBytesPerConnection').toFixed(0) },
        { head: 'empty MiB', cell: (median) => (median('emptyBytes') / 2 ** 20).toFixed(1) },
        { head: 'full MiB', cell: (median) => (median('fullBytes') / 2 ** 20).toFixed(1) },
      ],
      goals: { 'millrace-io_uring': 1, 'millrace-epoll': 1 },
      run: (rival) => run(bench, rival),
    },
  ],
};

async function run({ options, placement, load }: Bench, rival: Rival): Promise<Sample> {
  const connections = options.idleConnections;
  const limit = 60 + connections / 1000;
  const server = await Server.start(rival, 'echo', [...placement.server, ...withDescriptors(connections)], true);
  try {
    const empty = await settle(server);
    const client = new Child('load', [
      ...placement.load,
      load,
      '--idle',
      '--port',
      String(server.port),
      '--connections',
      String(connections),
      '--limit',
      String(limit),
    ]);
    try {
      await client.read(limit * 1000);
      await untilAccepted(server, connections);
      const beforeGc = residentBytes(server.pid);
      const full = await settle(server);
      const trouble = await client.stop(); // it tells of connections the server did not hold
      if (trouble) throw new Error(trouble);
      return {
        bytesPerConnection: (full.resident - empty.resident) / connections,
        bytesPerConnectionBeforeGc: (beforeGc - empty.resident) / connections,
        heapBytesPerConnection: (full.heap - empty.heap) / connections,
        emptyBytes: empty.resident,
        fullBytes: full.resident,
        socketErrors: full.errors,
      };
    } finally {
      await client.stop();
    }
  } finally {
    await server.stop();
  }
}

/** Open for the load means only that the kernel has them; the server must have accepted them too. */
async function untilAccepted(server: Server, connections: number): Promise<void> {
  if (!server.hasControl) return sleep(2000);
  for (let waitedMs = 0; waitedMs < 20_000; waitedMs += 100) {
    if (Number((await server.ask('stats'))['connections']) === connections) return sleep(500);
    await sleep(100);
  }
  throw new Error(`the server has not accepted ${connections} connections after 20 s`);
}

async function settle(server: Server): Promise<{ resident: number; heap: number; errors: number }> {
  if (!server.hasControl) {
    await sleep(1000);
    return { resident: residentBytes(server.pid), heap: Number.NaN, errors: 0 };
  }
  const answer = await server.ask('gc');
  return { resident: residentBytes(server.pid), heap: Number(answer['heapUsed']), errors: Number(answer['errors']) };
}
