/**
 * A worker, as the primary has it: from its start to its end.
 *
 * ```
 *  starting ──ready──> ready ──drain──> draining ──> gone
 *      └── failed, too slow ──> killed ───────────────┘
 * ```
 */
import type { Drained } from '../engine/serving.ts';
import type { WorkerExit } from './api.ts';
import { fromData, toData } from './error-data.ts';
import { ClusterError } from './errors.ts';
import type { Link } from './link.ts';
import type { Rules } from './options.ts';
import type { FromPrimary, FromWorker, WorkerConfig } from './protocol.ts';
import { type Spawned, spawn } from './spawn.ts';

/** Who is told about a member. */
export interface MemberOwner {
  /** It drains, and wasn't told to by us. */
  onDraining(member: Member): void;
  onLoad(member: Member): void;
  onExit(member: Member, exit: WorkerExit): void;
}

/** What a worker may take beyond its deadline to say goodbye. */
const GRACE_MS = 2_000;

export class Member {
  readonly id: number;
  readonly slot: number;
  readonly generation: number;
  readonly pid: number | undefined;
  readonly threadId: number | undefined;
  readonly bus: Link;
  /** Our end of its channel of descriptors, or -1. */
  readonly descriptor: number;
  /** What it listens on, where node:cluster shares the ports. */
  readonly ports: ReadonlySet<number>;
  /** Rejects with what it failed with. */
  readonly ready: Promise<void>;
  readonly exited: Promise<WorkerExit>;
  state: 'starting' | 'ready' | 'draining' | 'gone' = 'starting';
  /** When it was ready, by `performance.now()`. */
  readyAtMs: number | undefined;
  /** Open connections, as it last said. */
  connections = 0;
  /** Connections that it has received from us, as it last said. */
  taken = 0;
  drained: Drained | undefined;
  error: Error | undefined;
  readonly #spawned: Spawned;
  readonly #owner: MemberOwner;
  readonly #startMs: number;
  #timer: NodeJS.Timeout;
  #isTold = false;
  #onReady!: () => void;
  #onFailed!: (error: Error) => void;
  #onExited!: (exit: WorkerExit) => void;

  constructor(config: WorkerConfig, rules: Rules, owner: MemberOwner) {
    const spawned = spawn(config, rules);
    this.id = config.id;
    this.slot = config.slot;
    this.generation = config.generation;
    this.pid = spawned.pid;
    this.threadId = spawned.threadId;
    this.bus = spawned.bus;
    this.descriptor = spawned.descriptor;
    this.ports = spawned.ports;
    this.#spawned = spawned;
    this.#owner = owner;
    this.#startMs = rules.startMs;
    this.ready = new Promise((resolve, reject) => {
      this.#onReady = resolve;
      this.#onFailed = reject;
    });
    this.ready.catch(() => {}); // who waits for it is told all the same
    this.exited = new Promise((resolve) => {
      this.#onExited = resolve;
    });
    spawned.control.onMessage = (message) => this.#onMessage(message as FromWorker);
    spawned.onExit = (code, signal, error) => this.#onExit(code, signal, error);
    this.#timer = setTimeout(() => this.#onTooSlow(), rules.startMs);
  }

  #onMessage(message: FromWorker): void {
    switch (message.is) {
      case 'ready':
        this.onReady();
        return;
      case 'failed':
        this.error ??= fromData(message.error);
        return;
      case 'draining':
        if (this.state === 'draining' || this.state === 'gone') return;
        this.state = 'draining';
        this.#owner.onDraining(this);
        return;
      case 'drained':
        this.drained = message.drained;
        this.#post({ is: 'exit' });
        return;
      case 'load':
        this.connections = message.connections;
        this.taken = message.taken;
        this.#owner.onLoad(this);
        return;
    }
  }

  /** It says so behind what it says about listening. @internal */
  onReady(): void {
    if (this.state !== 'starting') return;
    clearTimeout(this.#timer);
    this.state = 'ready';
    this.readyAtMs = performance.now();
    this.#onReady();
  }

  #post(message: FromPrimary): void {
    this.#spawned.control.post(message);
  }

  #onTooSlow(): void {
    this.error ??= new ClusterError(
      'START_TIMEOUT',
      `worker ${this.id} was not ready within ${this.#startMs} ms: its module, its setup or what it listens on isn't done`,
    );
    this.kill();
  }

  #onExit(code: number | null, signal: NodeJS.Signals | null, thrown: unknown): void {
    clearTimeout(this.#timer);
    this.#spawned.control.close();
    this.bus.close();
    this.state = 'gone';
    this.connections = 0;
    const isMeant = this.drained !== undefined || this.#isTold;
    if (thrown !== undefined) this.error ??= thrown instanceof Error ? thrown : fromData(toData(thrown));
    const how = signal === null ? `exit code ${code}` : `signal ${signal}`;
    if (!isMeant) this.error ??= new ClusterError('WORKER_EXIT', `worker ${this.id} ended: ${how}`);
    const exit: WorkerExit = { code, signal, error: this.error };
    this.#onFailed(this.error ?? new ClusterError('GROUP_CLOSED', `worker ${this.id} was stopped before it was ready`));
    this.#onExited(exit);
    this.#owner.onExit(this, exit);
  }

  /** Drains it, and kills it if it takes much longer than it may. Resolves when it is gone. */
  drain(deadlineMs: number): Promise<WorkerExit> {
    if (this.#isTold || this.state === 'gone') return this.exited;
    this.#isTold = true;
    if (this.state === 'starting') {
      this.kill();
      return this.exited;
    }
    this.state = 'draining';
    this.#post({ is: 'drain', deadlineMs });
    this.#timer = setTimeout(() => this.kill(), Math.min(deadlineMs + GRACE_MS, 2 ** 31 - 1));
    return this.exited;
  }

  /** Ends it now. What it has open is reset. */
  kill(): void {
    if (this.state !== 'gone') this.#spawned.kill();
  }
}
