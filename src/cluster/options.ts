/** What a user of `run` may say, checked, and what holds where nothing is said. */
import { createRequire } from 'node:module';
import { availableParallelism } from 'node:os';
import { isAbsolute } from 'node:path';
import { pathToFileURL } from 'node:url';
import { isMainThread } from 'node:worker_threads';
import { choice } from '../engine/engine.ts';
import type { GroupEvents } from './api.ts';
import type { KeyRules } from './balance/key.ts';
import { Counters } from './counters/index.ts';
import { badOption, ClusterError, misuse } from './errors.ts';
import { checkLimits, type MessageLimits, type Messages } from './messages/index.ts';
import type { Worker } from './worker.ts';

/** Who gets a connection. See docs/cluster.md. */
export type Balance = 'kernel' | 'least-connections' | KeyBalance;

/** By what a client sends first. */
export interface KeyBalance {
  /**
   * Reads the key from the first bytes, which are lent until it returns: the same key, the same worker.
   * `undefined`: more bytes are needed. What it throws, or no key within `maxHeadBytes` and `timeoutMs`, sends the
   * connection to the worker with the fewest.
   */
  key(head: Uint8Array): string | number | undefined;
  /** 512 unless given, at most 65,536. */
  maxHeadBytes?: number | undefined;
  /** 2,000 unless given. */
  timeoutMs?: number | undefined;
}

export interface RestartOptions {
  /** Before the first attempt after a failure; each further one waits twice as long. 100 unless given. */
  minDelayMs?: number | undefined;
  /** 10,000 unless given. */
  maxDelayMs?: number | undefined;
  /** So many failures in a row, and there is no further attempt. 10 unless given. */
  maxFailures?: number | undefined;
  /** A worker that was ready for so long is no failure when it dies, and is replaced at once. 1,000 unless given. */
  healthyAfterMs?: number | undefined;
}

export interface GroupOptions extends GroupEvents {
  /** How many; `auto`, unless given: `os.availableParallelism()`. */
  workers?: number | 'auto' | undefined;
  /**
   * `processes` unless given: a crash takes one worker. Threads share memory and start faster; what takes the process
   * takes all of them.
   */
  kind?: 'processes' | 'threads' | undefined;
  /** The module that each worker runs: a `file:` URL or an absolute path. One of `entry` and `setup`. */
  entry?: URL | string | undefined;
  /**
   * What each worker does: the program's main module runs in each of them, too, and there `run` calls this and does not
   * return. One group of a process only.
   */
  setup?: ((worker: Worker) => void | Promise<void>) | undefined;
  /** `kernel` unless given. */
  balance?: Balance | undefined;
  /** How long connections may take to end when a worker is drained; what is left is destroyed. 30,000 unless given. */
  drainMs?: number | undefined;
  /** How long a worker may take until it is ready. 30,000 unless given. */
  startMs?: number | undefined;
  restart?: RestartOptions | undefined;
  /** SIGTERM and SIGINT drain everything, SIGHUP reloads. `true` unless given; in the main thread only. */
  signals?: boolean | undefined;
  /** Of the workers, besides that of this process. */
  env?: Record<string, string> | undefined;
  /** Node's own options for the workers. Those of this process unless given. */
  execArgv?: readonly string[] | undefined;
  /** How much may wait between two of the workers, and the primary. */
  messages?: MessageLimits | undefined;
  /**
   * Called before the first worker is started: the place to `handle` what workers ask the primary while they start.
   * What it throws, `run` rejects with.
   */
  onStart?: ((messages: Messages) => void) | undefined;
  /** Figures of all workers, from `counters()`. */
  counters?: Counters | undefined;
  /** For `worker.data`: anything that can be cloned, for processes as JSON. */
  data?: unknown;
}

export interface Rules {
  readonly count: number;
  readonly kind: 'processes' | 'threads';
  /** The module to import. */
  readonly entry: string;
  readonly hasSetup: boolean;
  readonly balance: 'kernel' | 'least-connections' | KeyRules;
  readonly drainMs: number;
  readonly startMs: number;
  readonly minDelayMs: number;
  readonly maxDelayMs: number;
  readonly maxFailures: number;
  readonly healthyAfterMs: number;
  readonly signals: boolean;
  readonly env: Record<string, string>;
  /** `undefined`: a thread has those of its process by itself. */
  readonly execArgv: readonly string[] | undefined;
  readonly data: unknown;
  readonly messages: MessageLimits;
  readonly counters: Counters | undefined;
  readonly onStart: (messages: Messages) => void;
}

const MOST_WORKERS = 1024;
/** The longest time that a timer knows. */
const MOST_MS = 2 ** 31 - 1;
const MOST_HEAD_BYTES = 65_536;

/** @throws {ClusterError} BAD_OPTION, MISUSE, ENGINE_NODE */
export function rulesOf(options: GroupOptions): Rules {
  if (typeof options !== 'object' || options === null) throw badOption('options', 'an object');
  const { workers = 'auto', kind = 'processes', entry, setup, restart = {}, signals = true, env = {} } = options;
  if (kind !== 'processes' && kind !== 'threads') throw badOption('kind', "'processes' or 'threads'");
  if ((entry === undefined) === (setup === undefined)) throw badOption('one of entry and setup', 'given');
  if (setup !== undefined && typeof setup !== 'function') throw badOption('setup', 'a function');
  if (typeof restart !== 'object' || restart === null) throw badOption('restart', 'an object');
  if (typeof signals !== 'boolean') throw badOption('signals', 'a boolean');
  if (typeof env !== 'object' || env === null) throw badOption('env', 'an object');
  const minDelayMs = integer('restart.minDelayMs', restart.minDelayMs, 100, 0, MOST_MS);
  const balance = balanceOf(options.balance);
  const { messages = {}, counters, onStart = () => {} } = options;
  if (typeof onStart !== 'function') throw badOption('onStart', 'a function');
  checkLimits(messages);
  if (counters !== undefined && !(counters instanceof Counters))
    throw badOption('counters', 'what counters() returned');
  if (choice.turn === null) refuseOnNode(kind, balance);
  return {
    count: workers === 'auto' ? availableParallelism() : integer('workers', workers, 1, 1, MOST_WORKERS),
    ...{ kind, balance, env, data: options.data, messages, counters, onStart },
    entry: entry === undefined ? mainModule() : moduleOf(entry),
    hasSetup: setup !== undefined,
    drainMs: integer('drainMs', options.drainMs, 30_000, 0, MOST_MS),
    startMs: integer('startMs', options.startMs, 30_000, 1, MOST_MS),
    minDelayMs,
    maxDelayMs: integer('restart.maxDelayMs', restart.maxDelayMs, Math.max(10_000, minDelayMs), minDelayMs, MOST_MS),
    maxFailures: integer('restart.maxFailures', restart.maxFailures, 10, 1, MOST_MS),
    healthyAfterMs: integer('restart.healthyAfterMs', restart.healthyAfterMs, 1_000, 0, MOST_MS),
    signals: signals && isMainThread,
    execArgv: execArgvOf(options.execArgv, kind),
  };
}

function integer(name: string, value: number | undefined, otherwise: number, least: number, most: number): number {
  if (value === undefined) return otherwise;
  if (!Number.isInteger(value) || value < least || value > most)
    throw badOption(name, `an integer from ${least} to ${most}`);
  return value;
}

function balanceOf(balance: Balance = 'kernel'): Rules['balance'] {
  if (balance === 'kernel' || balance === 'least-connections') return balance;
  if (typeof balance !== 'object' || balance === null || typeof balance.key !== 'function')
    throw badOption('balance', "'kernel', 'least-connections' or { key: a function }");
  return {
    key: (head) => balance.key(head),
    maxHeadBytes: integer('balance.maxHeadBytes', balance.maxHeadBytes, 512, 1, MOST_HEAD_BYTES),
    timeoutMs: integer('balance.timeoutMs', balance.timeoutMs, 2_000, 1, MOST_MS),
  };
}

/** Handles of Node's go to processes only, and node:cluster has a way of its own to spread connections. */
function refuseOnNode(kind: string, balance: Rules['balance']): void {
  if (kind === 'threads') throw new ClusterError('ENGINE_NODE', `threads can't share a port: ${choice.reason}`);
  if (balance !== 'kernel')
    throw new ClusterError('ENGINE_NODE', `connections are spread by node:cluster: ${choice.reason}`);
}

function moduleOf(entry: URL | string): string {
  if (entry instanceof URL && entry.protocol === 'file:') return entry.href;
  if (typeof entry === 'string' && entry.startsWith('file:')) return entry;
  if (typeof entry === 'string' && isAbsolute(entry)) return pathToFileURL(entry).href;
  throw badOption('entry', "a file: URL or an absolute path: new URL('./server.js', import.meta.url)");
}

function mainModule(): string {
  const main = process.argv[1];
  if (!isMainThread || main === undefined)
    throw misuse('setup needs a main module that workers can run: give an entry');
  try {
    return pathToFileURL(createRequire(main).resolve(main)).href;
  } catch {
    throw misuse(`setup needs a main module that workers can run, and ${main} is none: give an entry`);
  }
}

/** What says where the program itself comes from is no option for workers; inspectors need a port of their own each. */
function execArgvOf(given: readonly string[] | undefined, kind: Rules['kind']): Rules['execArgv'] {
  if (given !== undefined) {
    if (!Array.isArray(given) || given.some((each) => typeof each !== 'string'))
      throw badOption('execArgv', 'an array of strings');
    return given;
  }
  if (kind === 'threads') return undefined;
  const kept: string[] = [];
  const all = process.execArgv;
  for (let i = 0; i < all.length; i++) {
    const each = all[i] as string;
    if (each === '-e' || each === '--eval' || each === '-p' || each === '--print') i++;
    else if (!/^--(input-type|test|watch)\b/.test(each)) kept.push(each);
  }
  return kept.some((each) => each.startsWith('--inspect')) ? [...kept, '--inspect-port=0'] : kept;
}
