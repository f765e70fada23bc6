// Idle: resident memory (VmRSS) that open, silent connections add to the server, per connection: after garbage collection, and
// before it, which is what a server has after a burst of connects. And what a message costs among idle neighbours.
import { freemem } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import { Child, Server, type Serving } from '../child.ts';
import { columns, load } from '../drive.ts';
import { mostConnections, residentBytes, withDescriptors } from '../machine.ts';
import type { Prepared, Rival } from '../rivals.ts';
import type { Bench, Case, Sample, Trial } from '../trial.ts';

/** 100,000, or, where the limit of descriptors can't be raised so far, what it allows: titles and ids tell the number. */
const many = (): number => mostConnections(100_000);

export const idle: Case = {
  name: 'idle',
  trials: (bench) => (bench.options.idleConnections ?? [10_000, many()]).map((count) => memory(bench, count)),
};

export const neighbours: Case = {
  name: 'neighbours',
  trials: (bench) => [0, ...(bench.options.idleConnections ?? [many()])].map((count) => cost(bench, count)),
};

/** How memory is shown. */
export const memoryColumns: Pick<Trial, 'cost' | 'columns'> = {
  cost: { key: 'bytesPerConnection', head: 'bytes/conn', digits: 0 },
  columns: [
    { head: 'before gc', cell: (median) => median('bytesPerConnectionBeforeGc').toFixed(0) },
    { head: 'empty MiB', cell: (median) => (median('emptyBytes') / 2 ** 20).toFixed(1) },
    { head: 'full MiB', cell: (median) => (median('fullBytes') / 2 ** 20).toFixed(1) },
  ],
};

function memory(bench: Bench, connections: number): Trial {
  return {
    id: `idle-${connections}`,
    title: `idle, ${connections.toLocaleString('en')} connections`,
    parameters: { connections },
    ...memoryColumns,
    kind: 'echo',
    isQuick: connections === 10_000 || bench.options.idleConnections !== undefined,
    ...(connections === 10_000 ? { breadth: 'all' as const } : {}),
    maxRuns: connections > 20_000 ? 1 : 2,
    overheadSeconds: 2 + connections / 5000,
    run: (rival, prepared) => measureIdle(bench, rival, prepared, { kind: 'echo', connections }),
  };
}

/** What connections that stay silent add to a server. */
export async function measureIdle(bench: Bench, rival: Rival, prepared: Prepared, serving: Serving): Promise<Sample> {
  const { connections } = serving;
  const server = await Server.start(rival, prepared, { ...serving, gc: true }, bench.placement.server);
  try {
    const empty = await settle(server);
    return await among(bench, server, connections, async () => {
      const beforeGc = residentBytes(server.pid);
      const full = await settle(server);
      return {
        bytesPerConnection: (full.resident - empty.resident) / connections,
        bytesPerConnectionBeforeGc: (beforeGc - empty.resident) / connections,
        emptyBytes: empty.resident,
        fullBytes: full.resident,
        socketErrors: full.errors,
      };
    });
  } finally {
    await server.stop();
  }
}

const active = 50;

function cost(bench: Bench, idleOnes: number): Trial {
  return {
    id: `neighbours-${idleOnes}`,
    title: `echo, 64 B x ${active} connections, ${idleOnes.toLocaleString('en')} idle ones beside them`,
    parameters: { connections: active, idle: idleOnes, size: 64 },
    cost: { key: 'cpuUsPerOperation', head: 'CPU µs/msg', digits: 2 },
    columns: columns('msg'),
    kind: 'echo',
    isQuick: false,
    breadth: 'narrow',
    maxRuns: 2,
    overheadSeconds: 1 + idleOnes / 5000,
    run: async (rival: Rival, prepared: Prepared) => {
      const plan = {
        kind: 'echo',
        mode: 'echo',
        connections: idleOnes + active,
        flags: { connections: active, size: 64 },
      } as const;
      const server = await Server.start(rival, prepared, plan, bench.placement.server);
      try {
        return await among(bench, server, idleOnes, () => load(bench, server, plan));
      } finally {
        await server.stop();
      }
    },
  };
}

/** Does something while a server holds so many idle connections. */
async function among(bench: Bench, server: Server, connections: number, act: () => Promise<Sample>): Promise<Sample> {
  if (connections === 0) return act();
  // Two sockets in the kernel for each, and what the server keeps: 20 KB are ample for all rivals.
  if (freemem() < connections * 20_000)
    throw new Error(
      `${connections} connections could need ${Math.ceil((connections * 20_000) / 1e9)} GB of free memory`,
    );
  const limit = 60 + connections / 500;
  const flags = { port: server.port, connections, limit };
  const client = new Child('load', [
    ...[...bench.placement.load, ...withDescriptors(connections), bench.load, 'idle'],
    ...Object.entries(flags).flatMap(([name, value]) => [`--${name}`, String(value)]),
  ]);
  try {
    await client.read(limit * 1000);
    await untilAccepted(server, connections);
    const sample = await act();
    const trouble = await client.stop(); // it tells of connections the server did not hold
    if (trouble) throw new Error(trouble);
    return sample;
  } finally {
    await client.stop();
  }
}

/** Open for the load means only that the kernel has them; the server must have accepted them too. */
async function untilAccepted(server: Server, connections: number): Promise<void> {
  for (let waitedMs = 0; waitedMs < 30_000; waitedMs += 100) {
    if (Number((await server.ask('stats'))['connections']) === connections) return sleep(500);
    await sleep(100);
  }
  throw new Error(`the server has not accepted ${connections} connections after 30 s`);
}

async function settle(server: Server): Promise<{ resident: number; errors: number }> {
  const answer = await server.ask('gc', 30_000);
  return { resident: residentBytes(server.pid), errors: Number(answer['errors']) };
}
