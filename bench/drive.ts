// One run of a rival: its server in a process of its own on one CPU, the load on another, the numbers of both.
import { Child, Server } from './child.ts';
import { withDescriptors } from './machine.ts';
import type { Kind, Prepared, Rival } from './rivals.ts';
import type { Bench, Column, Sample } from './trial.ts';

export interface Drive {
  kind: Kind;
  /** The server's: see servers/server.ts. */
  parameter?: string;
  /** Of a server that speaks TLS: the folder with `key.pem` and `cert.pem`. */
  certificate?: string;
  /** The load's: see load/main.c. */
  mode: string;
  flags: Readonly<Record<string, number | string>>;
  /** The most connections at once. */
  connections: number;
}

export async function drive(bench: Bench, rival: Rival, prepared: Prepared, plan: Drive): Promise<Sample> {
  const server = await Server.start(rival, prepared, plan, bench.placement.server);
  try {
    return await load(bench, server, plan);
  } finally {
    await server.stop();
  }
}

/** Drives a server that runs already. */
export async function load({ options, placement, load: path }: Bench, server: Server, plan: Drive): Promise<Sample> {
  const limit = options.warmupSeconds + options.seconds + 25;
  const flags = {
    ...plan.flags,
    port: server.port,
    pid: server.pid,
    warmup: options.warmupSeconds,
    seconds: options.seconds,
    limit,
  };
  const client = new Child('load', [
    ...placement.load,
    ...withDescriptors(plan.connections),
    path,
    plan.mode,
    ...Object.entries(flags).flatMap(([name, value]) => [`--${name}`, String(value)]),
  ]);
  try {
    const result = (await client.read((limit + 5) * 1000)) as unknown as LoadResult;
    const { errors } = await server.ask('stats');
    return toSample(result, Number(errors));
  } finally {
    await client.stop();
  }
}

export function toSample({ latencyUs, server, load, ...rest }: LoadResult, socketErrors: number): Sample {
  return {
    cpuUsPerOperation: server.cpuUsPerOperation,
    userShare: server.userSeconds / (server.userSeconds + server.systemSeconds),
    faultsPerOperation: server.faultsPerOperation,
    operations: rest.operations,
    seconds: rest.seconds,
    perSecond: rest.perSecond,
    meanUs: latencyUs.mean,
    p50Us: latencyUs.p50,
    p90Us: latencyUs.p90,
    p99Us: latencyUs.p99,
    p999Us: latencyUs.p999,
    maxUs: latencyUs.max,
    serverBusy: server.busy,
    serverWaited: server.waited,
    loadBusy: load.busy,
    loadWaited: load.waited,
    socketErrors,
  };
}

/** What the load prints: clock.c. */
export interface LoadResult {
  operations: number;
  seconds: number;
  perSecond: number;
  latencyUs: { mean: number; p50: number; p90: number; p99: number; p999: number; max: number };
  server: {
    cpuUsPerOperation: number;
    userSeconds: number;
    systemSeconds: number;
    faultsPerOperation: number;
    busy: number;
    waited: number;
  };
  load: { busy: number; waited: number };
}

const percent = (share: number): string => (Number.isNaN(share) ? '-' : `${(share * 100).toFixed(0)} %`);

/** A process counts as saturated if it hardly ever slept: it ran, or wanted to run and somebody else had its CPU. */
export function saturated(median: (key: string) => number): string {
  const server = median('serverBusy') + median('serverWaited') > 0.95;
  const load = median('loadBusy') + median('loadWaited') > 0.95;
  return server && load ? 'both' : server ? 'server' : load ? 'load' : 'neither';
}

/** Columns of a driven trial; `per` is what an operation is called. */
export const columns = (per: string): readonly Column[] => [
  { head: `${per}/s`, cell: (median) => Math.round(median('perSecond')).toLocaleString('en') },
  { head: 'p50 µs', cell: (median) => median('p50Us').toFixed(0) },
  { head: 'p99 µs', cell: (median) => median('p99Us').toFixed(0) },
  { head: 'busy: server, load', cell: (median) => `${percent(median('serverBusy'))}, ${percent(median('loadBusy'))}` },
  { head: 'saturated', cell: saturated },
  { head: `faults/${per}`, cell: (median) => median('faultsPerOperation').toFixed(2) },
  { head: 'server waited', cell: (median) => percent(median('serverWaited')) },
];
