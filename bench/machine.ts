// What the figures were taken on, and the means to hold a process on one CPU with enough descriptors.
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { cpus, loadavg, release, totalmem } from 'node:os';
import type { Options } from './options.ts';

export interface Placement {
  /** Goes before a command, so that it runs on one CPU; empty if nothing is pinned. */
  server: string[];
  load: string[];
  /** A sentence for the report. */
  about: string;
}

/** Decides which CPUs the two processes get. */
export function place(pin: Options['pin']): Placement {
  if (pin === 'off') return { server: [], load: [], about: 'not pinned (--pin off)' };
  if (spawnSync('taskset', ['--version'], { stdio: 'ignore' }).error)
    return { server: [], load: [], about: 'not pinned: taskset is missing' };
  const [first, second] = allowedCpus();
  const server = pin?.server ?? first;
  const load = pin?.load ?? second;
  if (server === undefined || load === undefined)
    return { server: [], load: [], about: 'not pinned: there is only one CPU' };
  return {
    server: ['taskset', '-c', String(server)],
    load: ['taskset', '-c', String(load)],
    about: `server on CPU ${server}, load on CPU ${load}`,
  };
}

const spareDescriptors = 256;
const hardLimit = (): string | undefined =>
  /^Max open files\s+\S+\s+(\S+)/m.exec(readFileSync('/proc/self/limits', 'utf8'))?.[1];

/** Goes before a command that has to hold this many connections. Node raises its soft limit to the hard one by itself. */
export function withDescriptors(connections: number): string[] {
  const wanted = connections + spareDescriptors;
  const hard = hardLimit();
  return hard === 'unlimited' || Number(hard) >= wanted ? [] : ['prlimit', `--nofile=${wanted}:${wanted}`];
}

/** The most connections a process can hold here: by its hard limit, or by what that can be raised to; whole thousands. */
export function mostConnections(wanted: number): number {
  const prefix = withDescriptors(wanted);
  if (prefix.length === 0 || spawnSync(prefix[0] ?? '', [...prefix.slice(1), 'true'], { stdio: 'ignore' }).status === 0)
    return wanted;
  return Math.max(1000, Math.floor((Number(hardLimit()) - 2 * spareDescriptors) / 1000) * 1000);
}

/** Resident memory of a process, in bytes. */
export function residentBytes(pid: number): number {
  const kilobytes = /^VmRSS:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1];
  if (kilobytes === undefined) throw new Error(`process ${pid} shows no VmRSS`);
  return Number(kilobytes) * 1024;
}

/** For the result file. */
export function describeMachine(): Record<string, unknown> {
  const git = spawnSync('git', ['describe', '--always', '--dirty'], {
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  return {
    kernel: release(),
    arch: process.arch,
    cpu: cpus()[0]?.model ?? 'unknown',
    cpus: cpus().length,
    memoryBytes: totalmem(),
    loadAverage: loadavg(),
    node: process.version,
    commit: git.status === 0 ? git.stdout.trim() : null,
  };
}

function allowedCpus(): number[] {
  const list = /^Cpus_allowed_list:\s+(\S+)/m.exec(readFileSync('/proc/self/status', 'utf8'))?.[1] ?? '';
  return list.split(',').flatMap((range) => {
    const [from = 0, to = from] = range.split('-').map(Number);
    return Array.from({ length: to - from + 1 }, (_, i) => from + i);
  });
}
