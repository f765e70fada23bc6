/**
 * What runs first in a worker, and then the program's own module. Told how in `process.argv[2]` (a process) or in
 * `workerData` (a thread).
 */
import './thread-env.ts';
import { fileURLToPath } from 'node:url';
import { isMainThread, workerData } from 'node:worker_threads';
import { builtins } from '../engine/builtins.ts';
import { inheritedEnd, takeEnd } from '../engine/descriptor-channel.ts';
import { choice } from '../engine/engine.ts';
import { setListenerSource } from '../engine/listener-source.ts';
import { connectionCount, settled } from '../engine/serving.ts';
import { WorkerSource } from './balance/worker-source.ts';
import { openRow, setOwnRow } from './counters/index.ts';
import { toData } from './error-data.ts';
import { type Link, type ProcessChannel, portLink, processLink } from './link.ts';
import { joinHub, PRIMARY } from './messages/index.ts';
import {
  DESCRIPTOR_OF_CHANNEL,
  DESCRIPTOR_OF_COUNTERS,
  type FromPrimary,
  type FromWorker,
  type ThreadData,
  type WorkerConfig,
} from './protocol.ts';
import { setupInWorker } from './run.ts';
import { setWorker, ThisWorker } from './worker.ts';

/** How often the primary is told of our load, if it has changed. */
const REPORT_MS = 250;

const thread = isMainThread ? undefined : (workerData as ThreadData);
const config: WorkerConfig = thread?.millrace ?? (JSON.parse(process.argv[2] as string) as WorkerConfig);
process.argv = [process.argv[0] as string, fileURLToPath(config.entry), ...config.args];

const control = linkOf('control');
const worker = new ThisWorker(config);
const joined = joinHub(worker.messages, linkOf('bus'));
setOwnRow(config.counters === undefined ? 'none' : openRow(config.counters, config.id, DESCRIPTOR_OF_COUNTERS));
const source = openSource();
setWorker(worker);
const say = (message: FromWorker): void => void control.post(message);

/** The thread's own ports and the process's channel: these keep it alive until it is told to go. */
function linkOf(name: 'control' | 'bus'): Link {
  if (thread === undefined) return processLink(name, process as unknown as ProcessChannel);
  const link = portLink(name, thread[name]);
  if (name === 'control') thread[name].ref();
  return link;
}

function openSource(): WorkerSource | undefined {
  const { turn } = choice;
  if (turn === null) {
    setListenerSource({ open: () => undefined }); // node:cluster shares the ports
    return undefined;
  }
  const fd = thread === undefined ? inheritedEnd(turn.ring.native, DESCRIPTOR_OF_CHANNEL) : takeEnd(thread.end);
  const opened = new WorkerSource(turn, fd, () => void drain(config.drainMs));
  setListenerSource(opened);
  return opened;
}

// ---- its end ----

let draining: Promise<void> | undefined;
/** Whoever wants it first says how long it may take. */
function drain(deadlineMs: number): Promise<void> {
  draining ??= leave(deadlineMs);
  return draining;
}

async function leave(deadlineMs: number): Promise<void> {
  say({ is: 'draining' });
  await source?.left(deadlineMs);
  const drained = await worker.drain(deadlineMs);
  say({ is: 'drained', drained }); // and the answer is 'exit'
}

/** The primary is gone: nobody replaces or drains us, and the next primary wants the port. */
const orphaned = (): void => void drain(config.drainMs).then(() => process.exit());

control.onMessage = (message) => {
  const order = message as FromPrimary;
  if (order.is === 'drain') void drain(order.deadlineMs);
  else process.exit();
};
control.onClosed = orphaned;
if (choice.turn === null) builtins.cluster.worker!.exitedAfterDisconnect = true; // or Node would exit at once

if (thread === undefined) {
  // What it dies of is told first. A thread's error is told by Node.
  process.on('uncaughtExceptionMonitor', (error) => say({ is: 'failed', error: toData(error) }));
  if (config.signals) {
    // A terminal, or a service manager, sends them to all processes at once.
    const leave = (): void => void drain(config.drainMs);
    process
      .on('SIGTERM', leave)
      .on('SIGINT', leave)
      .on('SIGHUP', () => {});
  }
}

// ---- its load ----

let told: { connections: number; taken: number } = { connections: 0, taken: 0 };
setInterval(() => {
  source?.check();
  const now = { connections: connectionCount(), taken: source?.taken ?? 0 };
  if (now.connections === told.connections && now.taken === told.taken) return;
  told = now;
  say({ is: 'load', ...now });
}, REPORT_MS).unref();

// ---- its program ----

async function start(): Promise<void> {
  if (config.hasSetup) await setupInWorker(worker, () => import(config.entry));
  else await import(config.entry);
  await settled();
  // Whoever waits for us may ask us: the primary knows what we handle.
  await joined;
  await worker.messages.flushed(PRIMARY);
  if (source === undefined) say({ is: 'ready' });
  else source.ready();
}

start().catch((error: unknown) => {
  say({ is: 'failed', error: toData(error) });
  // Node prints it, and ends the worker; unless the program listens for such errors, and then we end it.
  setImmediate(() => {
    setImmediate(() => process.exit(1));
    throw error;
  });
});
