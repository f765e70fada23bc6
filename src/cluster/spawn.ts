/**
 * Starting a worker: a process of its own, or a thread. Out: a `Spawned`, which hides the difference.
 *
 * ```
 *             control, bus                          descriptors
 *  process    the process channel, advanced         a unix socket pair, descriptor 4 of the worker
 *  thread     a MessagePort each                    the same pair, within the process
 * ```
 *
 * On engine `node` processes are forked by node:cluster, which shares the ports; there is no channel of descriptors.
 */
import { type ChildProcess, fork } from 'node:child_process';
import cluster from 'node:cluster';
import { fileURLToPath } from 'node:url';
import { MessageChannel, Worker } from 'node:worker_threads';
import { type ChannelEnd, discardEnd, openEnds } from '../engine/descriptor-channel.ts';
import { choice } from '../engine/engine.ts';
import { type Link, portLink, processLink } from './link.ts';
import type { Rules } from './options.ts';
import type { ThreadData, WorkerConfig } from './protocol.ts';

export interface Spawned {
  readonly pid: number | undefined;
  readonly threadId: number | undefined;
  readonly control: Link;
  readonly bus: Link;
  /** Our end of the channel of descriptors; the caller's. -1 on engine `node`. */
  readonly descriptor: number;
  /** On engine `node`: what it listens on. Otherwise the primary knows by itself. */
  readonly ports: Set<number>;
  /** Called once. `error` is what a thread threw, or why there is no process. */
  onExit: (code: number | null, signal: NodeJS.Signals | null, error: unknown) => void;
  kill(): void;
}

const main = new URL(`./worker-main${import.meta.url.slice(-3)}`, import.meta.url);

/** @throws when there is no descriptor, port or memory for it */
export function spawn(config: WorkerConfig, rules: Rules): Spawned {
  if (choice.turn === null) return forkByCluster(config, rules);
  const { native } = choice.turn.ring;
  const [near, far] = openEnds(native);
  try {
    if (rules.kind === 'threads') return startThread(config, rules, near, far);
    const child = fork(main, [JSON.stringify(config)], {
      ...commonOf(rules),
      stdio: stdioOf(config, far.fd),
    });
    discardEnd(native, far);
    return forked(child, near);
  } catch (error) {
    native.closeDescriptor(near);
    discardEnd(native, far);
    throw error;
  }
}

function commonOf({ env, execArgv }: Rules) {
  const serialization = 'advanced' as const;
  return { env: { ...process.env, ...env }, execArgv: [...(execArgv ?? [])], serialization };
}

function stdioOf({ counters }: WorkerConfig, channel: number | 'ignore'): (number | 'inherit' | 'ipc' | 'ignore')[] {
  const counted = counters?.fd === undefined ? [] : [counters.fd];
  return ['inherit', 'inherit', 'inherit', 'ipc', channel, ...counted];
}

/** What the program has set up node:cluster for stays as it is. */
function forkByCluster(config: WorkerConfig, rules: Rules): Spawned {
  const { env, ...common } = commonOf(rules);
  const { settings } = cluster;
  const previous = { ...settings };
  cluster.setupPrimary({
    ...common,
    stdio: stdioOf(config, 'ignore'),
    exec: fileURLToPath(main),
    args: [JSON.stringify(config)],
  });
  try {
    const worker = cluster.fork(env);
    const spawned = forked(worker.process, -1);
    // node:cluster answers a worker that has just died: it repeats the error of the process here, and that it died is told anyway.
    worker.on('error', () => {});
    worker.on('listening', ({ port }) => {
      if (port > 0) spawned.ports.add(port);
    });
    return spawned;
  } finally {
    for (const key of Object.keys(settings)) delete (settings as Record<string, unknown>)[key];
    Object.assign(settings, previous);
  }
}

function forked(child: ChildProcess, descriptor: number): Spawned {
  const spawned: Spawned = {
    pid: child.pid,
    threadId: undefined,
    control: processLink('control', child),
    bus: processLink('bus', child),
    descriptor,
    ports: new Set(),
    onExit() {},
    kill: () => void child.kill('SIGKILL'),
  };
  let isOver = false;
  const end = (code: number | null, signal: NodeJS.Signals | null, error: unknown): void => {
    if (isOver) return;
    isOver = true;
    spawned.onExit(code, signal, error);
  };
  // 'exit' may come before the last messages, 'close' after all of them.
  child.once('close', (code, signal) => end(code, signal, undefined));
  child.on('error', (error) => {
    if (child.pid === undefined) end(null, null, error); // it never was
  });
  return spawned;
}

function startThread(config: WorkerConfig, rules: Rules, near: number, far: ChannelEnd): Spawned {
  const control = new MessageChannel();
  const bus = new MessageChannel();
  const data: ThreadData = { millrace: config, control: control.port2, bus: bus.port2, end: far, env: rules.env };
  const thread = new Worker(main, {
    // A thread that is given none has those of its process; given, V8's own (--max-old-space-size) would be refused, and
    // given an `env`, it would have none. So what is added to the environment it adds itself: thread-env.ts.
    ...(rules.execArgv === undefined ? {} : { execArgv: [...rules.execArgv] }),
    ...{ workerData: data, name: `millrace ${config.id}` },
    transferList: [control.port2, bus.port2],
  });
  let error: unknown;
  const spawned: Spawned = {
    pid: undefined,
    threadId: thread.threadId,
    control: portLink('control', control.port1),
    bus: portLink('bus', bus.port1),
    descriptor: near,
    ports: new Set(),
    onExit() {},
    kill: () => void thread.terminate(),
  };
  thread.on('error', (thrown) => {
    error = thrown;
  });
  thread.once('exit', (code) => {
    if (choice.turn !== null) discardEnd(choice.turn.ring.native, far); // it never took it
    spawned.onExit(code, null, error);
  });
  return spawned;
}
