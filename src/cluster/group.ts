/**
 * A group of workers: it starts them, replaces those that die, reloads and drains them.
 *
 * In: `Rules`. Out: `Member`s in `Slot`s, and what becomes of them as events. What they listen on is kept by `Balancer`.
 */
import { type Drained, enter, leave, type Serving } from '../engine/serving.ts';
import type { GroupEvents, WorkerExit, WorkerInfo } from './api.ts';
import { Balancer } from './balance/balancer.ts';
import { Table } from './counters/index.ts';
import { ClusterError } from './errors.ts';
import { Member, type MemberOwner } from './member.ts';
import { Bus, Hub, type Messages, PRIMARY } from './messages/index.ts';
import type { Rules } from './options.ts';
import type { WorkerConfig } from './protocol.ts';
import { onSignals } from './signals.ts';
import { infoOf, Slot, type SlotOwner } from './slot.ts';

export class Group implements AsyncDisposable, Serving {
  readonly #rules: Rules;
  readonly #events: GroupEvents;
  readonly #slots: Slot[] = [];
  /** All that live, also those that drain. */
  readonly #members = new Set<Member>();
  readonly #balancer: Balancer;
  readonly #bus: Bus;
  readonly #hub: Hub;
  readonly #table: Table | undefined;
  readonly #drained = { closed: 0, cut: 0 };
  #state: 'starting' | 'running' | 'closing' | 'closed' = 'starting';
  #generation = 0;
  #lastId = 0;
  #reloading: Promise<void> | undefined;
  #closing: Promise<Drained> | undefined;
  #failure: Error | undefined;
  #offSignals: () => void = () => {};
  #onClosed!: () => void;
  #onFailed!: (error: Error) => void;
  /**
   * Resolves when the group is closed. Rejects if it failed: every place gave up. Nobody has to wait for it; but then
   * the failure of the group is an 'unhandledRejection'.
   */
  readonly closed: Promise<void> = new Promise((resolve, reject) => {
    this.#onClosed = resolve;
    this.#onFailed = reject;
  });

  /** @internal */
  constructor(rules: Rules, events: GroupEvents) {
    this.#rules = rules;
    this.#events = events;
    this.#balancer = new Balancer(rules);
    this.#bus = new Bus(PRIMARY, rules.messages);
    this.#hub = new Hub(this.#bus, rules.kind);
    if (rules.counters !== undefined) this.#table = new Table(rules.counters, rules.kind, rules.count);
    const owner = this.#slotOwner(rules);
    for (let i = 0; i < rules.count; i++) this.#slots.push(new Slot(i, owner));
  }

  /** Starts all workers. @throws what the first one that fails fails with; nothing is left then @internal */
  async start(): Promise<void> {
    if (this.#rules.signals) {
      this.#offSignals = onSignals({
        close: () => void this.close(),
        kill: () => this.#killAll(),
        reload: () => void this.reload().catch(() => {}), // told by onReload
      });
    }
    try {
      await allReady(this.#slots.map((slot) => this.#spawnIn(slot)));
    } catch (error) {
      this.#killAll();
      await this.close();
      throw error;
    }
    if (this.#state !== 'starting') return;
    this.#state = 'running';
    enter(this);
  }

  // ------------------------------------------------------------------------------------------------------------ figures

  /** One for each place: who serves there, or that somebody is about to. */
  get workers(): readonly WorkerInfo[] {
    return this.#slots.map((slot) => slot.info());
  }

  /** The first port that the workers listen on. */
  get port(): number | undefined {
    return this.ports[0];
  }

  /** All of them, in the order in which they were asked for. */
  get ports(): readonly number[] {
    return [...new Set([...this.#balancer.ports, ...[...this.#members].flatMap(({ ports }) => [...ports])])];
  }

  /** Messages to and from the workers. */
  get messages(): Messages {
    return this.#bus;
  }

  /** How often the group was reloaded. */
  get generation(): number {
    return this.#generation;
  }

  // -------------------------------------------------------------------------------------------------------- its workers

  #slotOwner(rules: Rules): SlotOwner {
    return {
      rules,
      start: (slot) => this.#startAgain(slot),
      gaveUp: (slot, member, error) => this.#onGaveUp(slot, member, error),
    };
  }

  readonly #memberOwner: MemberOwner = {
    onDraining: (member) => this.#onDraining(member),
    onLoad: (member) => this.#balancer.loaded(member),
    onExit: (member, exit) => this.#onExit(member, exit),
  };

  #spawn(slot: Slot, generation: number): Member {
    const { kind, entry, hasSetup, drainMs, signals, data, messages } = this.#rules;
    const id = ++this.#lastId;
    const config = {
      id,
      slot: slot.index,
      generation,
      kind,
      entry,
      hasSetup,
      drainMs,
      signals,
      data,
      messages,
      counters: this.#table?.take(id),
      args: process.argv.slice(2),
    };
    const member = this.#memberOf(config);
    this.#members.add(member);
    this.#hub.join(id, member.bus);
    this.#balancer.joined(member);
    member.ready.then(
      () => {
        this.#prune();
        this.#tell(() => this.#events.onOnline?.(infoOf(member, slot)));
      },
      () => {},
    );
    return member;
  }

  #memberOf(config: WorkerConfig): Member {
    try {
      return new Member(config, this.#rules, this.#memberOwner);
    } catch (error) {
      this.#table?.release(config.id);
      throw error;
    }
  }

  #spawnIn(slot: Slot): Member {
    const member = this.#spawn(slot, this.#generation);
    slot.member = member;
    this.#balancer.serves(member);
    return member;
  }

  /** There may be no descriptor or memory for a process just now: that is a failure like its death. */
  #startAgain(slot: Slot): void {
    if (this.#state !== 'running') return;
    try {
      this.#spawnIn(slot);
    } catch (error) {
      const nobody = { readyAtMs: undefined } as Member;
      slot.died(nobody, { code: null, signal: null, error: error as Error });
    }
  }

  #onDraining(member: Member): void {
    const slot = this.#slots[member.slot] as Slot;
    this.#balancer.leaves(member);
    if (slot.member === member && this.#state === 'running') slot.left();
  }

  #onExit(member: Member, exit: WorkerExit): void {
    const slot = this.#slots[member.slot] as Slot;
    this.#members.delete(member);
    this.#hub.leave(member.id);
    this.#table?.release(member.id);
    this.#balancer.gone(member);
    if (member.drained !== undefined) {
      this.#drained.closed += member.drained.closed;
      this.#drained.cut += member.drained.cut;
    }
    const { onExit } = this.#events;
    if (onExit !== undefined) this.#tell(() => onExit(infoOf(member, slot), exit));
    else if (exit.error !== undefined && this.#state === 'running') warn(`worker ${member.id} died`, exit.error);
    if (slot.member === member && this.#state === 'running') slot.died(member, exit);
    else this.#prune();
  }

  /** What nobody listens on is let go when nobody is about to come back to it. */
  #prune(): void {
    if (this.#state !== 'running' || this.#reloading !== undefined) return;
    if (this.#slots.every(({ member, hasGivenUp }) => hasGivenUp || member?.state === 'ready')) this.#balancer.prune();
  }

  #onGaveUp(slot: Slot, member: Member, error: Error): void {
    const { onGaveUp } = this.#events;
    if (onGaveUp !== undefined) this.#tell(() => onGaveUp(slot.info(), error));
    else warn(`worker ${member.id ?? ''} failed too often and is not started again`, error);
    if (this.#reloading === undefined) this.#failIfAllGaveUp(error);
  }

  #failIfAllGaveUp(error: Error): void {
    if (!this.#slots.every(({ hasGivenUp }) => hasGivenUp)) return;
    this.#failure = new ClusterError('ALL_GAVE_UP', 'every worker failed too often', error);
    void this.close();
  }

  #tell(callback: () => void): void {
    try {
      callback();
    } catch (error) {
      process.nextTick(() => {
        throw error;
      });
    }
  }

  // -------------------------------------------------------------------------------------------------------------- reload

  /**
   * Starts a new worker for each place, which runs the code as it is now; when all are ready, they take over, and the old
   * ones are drained. If one of them fails, the new ones are ended and the old ones go on.
   *
   * @returns when the new workers have taken over; the old ones may still drain
   * @throws what the first new worker that fails fails with
   * @throws {ClusterError} GROUP_CLOSED
   */
  reload(): Promise<void> {
    this.#reloading ??= this.#reload().finally(() => {
      this.#reloading = undefined;
    });
    return this.#reloading;
  }

  async #reload(): Promise<void> {
    if (this.#state !== 'running') throw new ClusterError('GROUP_CLOSED', 'the group is not running');
    const generation = this.#generation + 1;
    const fresh: Member[] = [];
    try {
      for (const slot of this.#slots) fresh.push(this.#spawn(slot, generation));
      await allReady(fresh);
      if ((this.#state as string) !== 'running')
        throw new ClusterError('GROUP_CLOSED', 'the group was closed meanwhile');
    } catch (error) {
      for (const member of fresh) void member.drain(this.#rules.drainMs);
      this.#reloaded(error as Error);
      this.#failIfAllGaveUp(error as Error);
      throw error;
    }
    this.#generation = generation;
    for (const [i, slot] of this.#slots.entries()) {
      const old = slot.member;
      const next = fresh[i] as Member;
      slot.replace(next);
      this.#balancer.serves(next);
      if (old === undefined) continue;
      this.#balancer.leaves(old);
      void old.drain(this.#rules.drainMs);
    }
    this.#reloaded(undefined);
  }

  #reloaded(error: Error | undefined): void {
    const { onReload } = this.#events;
    if (onReload !== undefined) this.#tell(() => onReload(error));
    else if (error !== undefined) warn('the group was not reloaded, the old workers serve', error);
  }

  // ------------------------------------------------------------------------------------------------------------- the end

  /**
   * Drains all workers: nobody new is accepted, connections have `drainMs` to end. Then the workers end, and all is free.
   * @returns how many connections came to an end of their own, and how many were cut, in all workers that were drained
   */
  close(): Promise<Drained> {
    this.#closing ??= this.#close(this.#rules.drainMs);
    return this.#closing;
  }

  /** Of all workers; a moment old. */
  get connectionCount(): number {
    let count = 0;
    for (const { connections } of this.#members) count += connections;
    return count;
  }

  /** As `close`, for whoever drains all that listens in this thread. @internal */
  async drain(deadlineMs: number): Promise<number> {
    this.#closing ??= this.#close(deadlineMs);
    return (await this.#closing).cut;
  }

  async #close(deadlineMs: number): Promise<Drained> {
    this.#state = 'closing';
    leave(this);
    for (const slot of this.#slots) slot.stop();
    await this.#balancer.stop();
    await Promise.all([...this.#members].map((member) => member.drain(deadlineMs)));
    this.#balancer.close();
    this.#bus.close();
    this.#table?.close();
    this.#offSignals();
    this.#state = 'closed';
    if (this.#failure === undefined) this.#onClosed();
    else this.#onFailed(this.#failure);
    return { ...this.#drained };
  }

  #killAll(): void {
    for (const member of this.#members) member.kill();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}

/** One that is lost while others still start is a failure, too. @throws what the first one that fails fails with */
async function allReady(members: readonly Member[]): Promise<void> {
  await Promise.all(members.map(({ ready }) => ready));
  const lost = members.find(({ state }) => state !== 'ready');
  if (lost !== undefined) throw lost.error ?? new ClusterError('WORKER_EXIT', `worker ${lost.id} has left already`);
}

function warn(what: string, error: Error): void {
  const said = error.stack?.includes(error.message) ? error.stack : `${error.name}: ${error.message}`;
  process.emitWarning(`${what}: ${said}`, { type: 'MillraceWarning', code: 'MILLRACE_WARN_CLUSTER' });
}
