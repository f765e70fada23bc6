// What the programs of this folder share: their packages, which the benchmark has installed elsewhere, and a client's run.
import { createRequire } from 'node:module';
import net from 'node:net';

/** A package of package.json. Its type is what the caller uses of it. */
export function load<T>(name: string): T {
  const folder = process.env['BENCH_PACKAGES'];
  if (!folder) throw new Error('BENCH_PACKAGES must name the folder with the packages of bench/programs');
  return createRequire(`${folder}/`)(name) as T;
}

/** What `node:net` is here: Node's own, or, under millrace/register, ours. */
export const engine: string = (net as { engine?: string }).engine ?? 'node:net';

/**
 * Runs `round`, which completes some operations and gives their number, for the warm-up and the measured phase, and prints a
 * line as the load generator would: CPU time is this process's (user + system, all threads).
 */
export async function measure(round: () => Promise<number>, warmupSeconds: number, seconds: number): Promise<void> {
  const now = (): number => performance.now() / 1000;
  for (const end = now() + warmupSeconds; now() < end; ) await round();
  const times: number[] = [];
  const began = now();
  const cpu = process.cpuUsage();
  let operations = 0;
  for (let at = began; at < began + seconds; ) {
    operations += await round();
    times.push(now() - at);
    at = now();
  }
  const used = process.cpuUsage(cpu);
  const took = now() - began;
  times.sort((a, b) => a - b);
  const percentile = (share: number): number => (times[Math.floor(share * (times.length - 1))] ?? 0) * 1e6;
  const latencyUs = { p50: percentile(0.5), p90: percentile(0.9), p99: percentile(0.99), p999: percentile(0.999) };
  const server = {
    cpuUsPerOperation: (used.user + used.system) / operations,
    userSeconds: used.user / 1e6,
    systemSeconds: used.system / 1e6,
    busy: (used.user + used.system) / 1e6 / took,
  };
  console.log(JSON.stringify({ engine, operations, seconds: took, perSecond: operations / took, latencyUs, server }));
}
