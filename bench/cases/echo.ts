// Echo: each connection keeps `inFlight` messages on their way; cost is the server's CPU time per message.
import { Child, Server } from '../child.ts';
import { withDescriptors } from '../machine.ts';
import type { Rival } from '../rivals.ts';
import type { Bench, Case, Column, Sample, Trial } from '../trial.ts';

const defaults = [
  { size: 64, connections: 50 },
  { size: 64, connections: 1000 },
  { size: 16_384, connections: 50 },
];

export const echo: Case = {
  name: 'echo',
  trials: (bench) => {
    const { sizes, connections } = bench.options;
    if (!sizes && !connections) return defaults.map((pair) => trial(bench, pair.size, pair.connections));
    return (sizes ?? [64]).flatMap((size) => (connections ?? [50, 1000]).map((count) => trial(bench, size, count)));
  },
};

function trial(bench: Bench, size: number, connections: number): Trial {
  const { inFlight } = bench.options;
  const isGoal = size === 64 && inFlight === 1 && (connections === 50 || connections === 1000);
  return {
    title: `echo, ${size} B x ${connections} connections, ${inFlight} in flight`,
    parameters: { size, connections, inFlight },
    cost: { key: 'cpuUsPerMessage', head: 'CPU µs/msg', digits: 2 },
    columns,
    goals: isGoal ? { 'millrace-io_uring': 0.6, 'millrace-epoll': 0.75 } : {},
    run: (rival) => run(bench, rival, size, connections),
  };
}

const columns: readonly Column[] = [
  { head: 'msg/s', cell: (median) => Math.round(median('messagesPerSecond')).toLocaleString('en') },
  { head: 'p50 µs', cell: (median) => median('p50Us').toFixed(0) },
  { head: 'p99 µs', cell: (median) => median('p99Us').toFixed(0) },
  { head: 'busy: server, load', cell: (median) => `${percent(median('serverBusy'))}, ${percent(median('loadBusy'))}` },
  { head: 'saturated', cell: (median) => saturated(median) },
  { head: 'faults/msg', cell: (median) => median('faultsPerMessage').toFixed(2) },
  { head: 'server waited', cell: (median) => percent(median('serverWaited')) },
];

const percent = (share: number): string => `${(share * 100).toFixed(0)} %`;

/** A process counts as saturated if it hardly ever slept: it ran, or wanted to run and somebody else had its CPU. */
function saturated(median: (key: string) => number): string {
  const server = median('serverBusy') + median('serverWaited') > 0.95;
  const load = median('loadBusy') + median('loadWaited') > 0.95;
  return server && load ? 'both' : server ? 'server' : load ? 'load' : 'neither';
}

async function run(
  { options, placement, load }: Bench,
  rival: Rival,
  size: number,
  connections: number,
): Promise<Sample> {
  const server = await Server.start(rival, 'echo', [...placement.server, ...withDescriptors(connections)]);
  try {
    const limit = options.warmupSeconds + options.seconds + 20;
    const flags = {
      port: server.port,
      pid: server.pid,
      connections,
      size,
      'in-flight': options.inFlight,
      warmup: options.warmupSeconds,
      seconds: options.seconds,
      limit,
    };
    const client = new Child('load', [
      ...placement.load,
      load,
      ...Object.entries(flags).flatMap(([name, value]) => [`--${name}`, String(value)]),
    ]);
    try {
      const result = (await client.read((limit + 5) * 1000)) as unknown as LoadResult;
      const socketErrors = server.hasControl ? Number((await server.ask('stats'))['errors']) : 0;
      return {
        cpuUsPerMessage: result.server.cpuUsPerMessage,
        userShare: result.server.userSeconds / (result.server.userSeconds + result.server.systemSeconds),
        faultsPerMessage: result.server.faultsPerMessage,
        messages: result.messages,
        seconds: result.seconds,
        messagesPerSecond: result.messagesPerSecond,
        p50Us: result.latencyUs.p50,
        p90Us: result.latencyUs.p90,
        p99Us: result.latencyUs.p99,
        p999Us: result.latencyUs.p999,
        maxUs: result.latencyUs.max,
        serverBusy: result.server.busy,
        serverWaited: result.server.waited,
        loadBusy: result.load.busy,
        loadWaited: result.load.waited,
        socketErrors,
      };
    } finally {
      await client.stop();
    }
  } finally {
    await server.stop();
  }
}

/** What load.c prints. */
interface LoadResult {
  messages: number;
  seconds: number;
  messagesPerSecond: number;
  latencyUs: { p50: number; p90: number; p99: number; p999: number; max: number };
  server: {
    cpuUsPerMessage: number;
    userSeconds: number;
    systemSeconds: number;
    faultsPerMessage: number;
    busy: number;
    waited: number;
  };
  load: { busy: number; waited: number };
}
