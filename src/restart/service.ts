/**
 * A process that can be replaced by its next version without refusing anyone. The states of its life:
 *
 * ```
 *  starting ──ready()──> serving ──restart()──> restarting ──the next one serves──> draining ──> over
 *                           ^────────────────── it failed ──┘
 * ```
 *
 * While it starts and another one serves, its servers listen and accept nobody: should it fail, no connection is lost with it.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { isMainThread } from 'node:worker_threads';
import { choice } from '../engine/engine.ts';
import { hasListenerSource, holdAccepting, listeningSockets, setListenerSource } from '../engine/listener-source.ts';
import { type Drained, drainAll, settled } from '../engine/serving.ts';
import type { Turn } from '../engine/turn.ts';
import { RestartError } from './errors.ts';
import { Connections, type OnConnection } from './hand-over.ts';
import { Inherited } from './inherited.ts';
import { NamedSocket } from './named-socket.ts';
import { milliseconds, type RestartableOptions, type Rules, rulesOf, warn } from './options.ts';
import { Predecessor } from './predecessor.ts';
import { PROTOCOL } from './protocol.ts';
import { Successor, VARIABLE } from './successor.ts';
import { notify, type ServiceState } from './systemd.ts';

/** Runs when this process is drained; what it returns is waited for, within the deadline. */
export type OnDrain = (deadlineMs: number) => void | Promise<void>;

type State = 'starting' | 'serving' | 'restarting' | 'draining' | 'over';

/** Why there can be no restart now. */
const REFUSALS = {
  starting: ['NOT_READY', 'ready() has not been called yet'],
  restarting: ['IN_PROGRESS', 'a restart is under way already'],
  draining: ['HANDED_OVER', 'the next process serves already'],
  over: ['HANDED_OVER', 'this process is drained'],
} as const;

export class Service {
  readonly #rules: Rules;
  /** Null on engine `node`. */
  readonly #turn: Turn | null;
  readonly #inherited: Inherited | undefined;
  readonly #predecessor: Predecessor | undefined;
  readonly #release: () => void;
  readonly #hooks: OnDrain[] = [];
  readonly #onSignal = (): void => void this.restart().catch(this.#rulesOnError);
  readonly #onCrash = (error: unknown): void => this.#predecessor?.fail(textOf(error));
  #onConnection: OnConnection | undefined;
  #named: NamedSocket | undefined;
  #state: State = 'starting';
  #draining: Promise<Drained> | undefined;

  /** @internal */
  static async open(options: RestartableOptions): Promise<Service> {
    const rules = rulesOf(options);
    if (!isMainThread) throw new RestartError('MISUSE', 'a process is restarted by its main thread');
    if (hasListenerSource())
      throw new RestartError(
        'MISUSE',
        'restartable() is called once, and in a group by the primary: not in its workers',
      );
    const { turn } = choice;
    if (turn === null) {
      if (process.env[VARIABLE] !== undefined)
        throw new RestartError('NOT_SUPPORTED', `this process can't take over: engine node, ${choice.reason}`);
      return new Service(rules, null, undefined, undefined);
    }
    const predecessor = Predecessor.find(turn, rules.path);
    if (predecessor === undefined) return new Service(rules, turn, undefined, undefined);
    const previous = setListenerSource(undefined);
    const inherited = new Inherited(turn.ring.native, previous);
    setListenerSource(previous);
    await predecessor.inherit(inherited);
    setListenerSource(inherited);
    return new Service(rules, turn, predecessor, inherited);
  }

  private constructor(
    rules: Rules,
    turn: Turn | null,
    predecessor: Predecessor | undefined,
    inherited: Inherited | undefined,
  ) {
    this.#rules = rules;
    this.#turn = turn;
    this.#predecessor = predecessor;
    this.#inherited = inherited;
    this.#release = predecessor === undefined ? () => {} : holdAccepting();
    if (rules.signal !== undefined) process.on(rules.signal, this.#onSignal);
    if (predecessor !== undefined) process.on('uncaughtExceptionMonitor', this.#onCrash);
  }

  get #rulesOnError(): (error: Error) => void {
    return this.#rules.onError;
  }

  /** Whether another process has handed over to this one. */
  get hasPredecessor(): boolean {
    return this.#predecessor !== undefined;
  }

  /**
   * Connections that the process before hands over come here; paused, and each with what was said about it. Without it they
   * are closed. To be called before `ready()`.
   */
  onConnection(fn: OnConnection): void {
    this.#onConnection = fn;
  }

  /** Adds what is to be done when this process is drained, beside its servers. What it throws is a warning of the process. */
  onDrain(fn: OnDrain): void {
    this.#hooks.push(fn);
  }

  /**
   * This process listens wherever it wants to, and is able to serve: it accepts from now on, and the process before does not
   * any more. What that one listened on and this one does not is closed. systemd is told.
   * @throws {RestartError} ABORTED, SILENT, PROTOCOL: the process before goes on, and this one should exit; MISUSE
   */
  async ready(): Promise<void> {
    if (this.#state !== 'starting') throw new RestartError('MISUSE', 'ready() was called already');
    await settled(); // whoever was told to listen does
    const isOther = this.#predecessor !== undefined && (await this.#predecessor.isGranted());
    process.off('uncaughtExceptionMonitor', this.#onCrash);
    this.#inherited?.closeUnclaimed();
    this.#release();
    this.#state = 'serving';
    if (this.#rules.path !== undefined && this.#turn !== null) this.#openNamed(this.#turn, this.#rules.path);
    if (isOther) {
      const predecessor = this.#predecessor as Predecessor;
      const takenOver = predecessor.takeOver((socket, data) => {
        if (this.#onConnection === undefined) socket.destroy();
        else this.#onConnection(socket, data);
      });
      void takenOver.then(() => this.#inherited?.own());
      if (predecessor.isParent) return; // which tells systemd who is the service now: only it may
    } else {
      this.#inherited?.own();
    }
    await this.#notify({ ready: true, mainPid: process.pid });
  }

  #openNamed(turn: Turn, path: string): void {
    try {
      this.#named = NamedSocket.open(turn, path, (fd) => void this.#onAsked(turn, fd), this.#rules.onError);
    } catch (error) {
      this.#rules.onError(error as Error); // it serves; only the next one can't ask
    }
  }

  /** What can be told, and is no reason to stop serving if not. */
  async #notify(state: ServiceState): Promise<void> {
    try {
      await notify(state);
    } catch (error) {
      warn(error as Error);
    }
  }

  // ---- the next process ----

  /**
   * Starts the next version, and resolves when it serves. This process is then drained in the background, and exits.
   * @throws {RestartError} why it does not: this process goes on as if nothing had been
   */
  async restart(): Promise<void> {
    this.#checkMayRestart();
    if (this.#turn === null)
      throw new RestartError('NOT_SUPPORTED', `engine node hands nothing over: ${choice.reason}`);
    const turn = this.#turn;
    this.#state = 'restarting';
    await this.#notify({ reloading: true });
    try {
      await this.#bringUp(Successor.start(turn, this.#rules), true);
    } catch (error) {
      this.#goOn();
      await this.#notify({ ready: true, status: `restart failed: ${(error as Error).message}` });
      throw error;
    }
  }

  #checkMayRestart(): void {
    if (this.#state === 'serving') return;
    const [reason, message] = REFUSALS[this.#state];
    throw new RestartError(reason, message);
  }

  /** A process that somebody else has started wants to be the next one. */
  async #onAsked(turn: Turn, fd: number): Promise<void> {
    const successor = new Successor(turn, fd);
    try {
      this.#checkMayRestart();
    } catch (error) {
      successor.peer.say({ is: 'refused', protocol: PROTOCOL, message: (error as Error).message });
      void successor.peer.end();
      return;
    }
    this.#state = 'restarting';
    try {
      await this.#bringUp(successor, false);
    } catch (error) {
      this.#goOn();
      this.#rules.onError(error as Error);
    }
  }

  #goOn(): void {
    if (this.#state !== 'restarting') return; // drained meanwhile
    this.#state = 'serving';
    for (const socket of listeningSockets) socket.share(false);
  }

  async #bringUp(successor: Successor, isChild: boolean): Promise<void> {
    await successor.bringUp(this.#rules.readyMs);
    for (const socket of listeningSockets) socket.keepsPath = true;
    this.#state = 'draining';
    await this.#notify(isChild ? { mainPid: successor.pid, ready: true } : { stopping: true });
    void this.#finish(successor);
  }

  async #finish({ peer, pid }: Successor): Promise<void> {
    peer.ref(false);
    this.close();
    try {
      await this.#rules.onHandOver?.(new Connections(peer, pid));
    } catch (error) {
      this.#rules.onError(error as Error);
    }
    const drained = await this.drain();
    peer.say({ is: 'done' });
    // What is on its way to the next process must not end with this one; unless that one hangs.
    await Promise.race([peer.end(), delay(this.#rules.drainMs, undefined, { ref: false })]);
    this.#rules.onDrained(drained);
    if (this.#rules.exits) process.exit();
  }

  // ---- the end ----

  /**
   * Stops accepting, waits until all connections have come to an end of their own, and destroys what is left at the deadline.
   * Also for SIGTERM. A second call gets the result of the first.
   * @param deadlineMs default: `drainMs`
   */
  drain(deadlineMs?: number): Promise<Drained> {
    this.#draining ??= this.#drain(milliseconds('deadlineMs', deadlineMs, this.#rules.drainMs));
    return this.#draining;
  }

  async #drain(deadlineMs: number): Promise<Drained> {
    this.#state = 'draining';
    this.close();
    const limit = new AbortController();
    const deadline = new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, deadlineMs);
      limit.signal.addEventListener('abort', () => clearTimeout(timer));
    });
    const hooks = Promise.all(
      this.#hooks.map(async (hook) => {
        try {
          await hook(deadlineMs);
        } catch (error) {
          warn(error as Error);
        }
      }),
    );
    const [drained] = await Promise.all([drainAll(deadlineMs), Promise.race([hooks, deadline])]);
    limit.abort();
    this.#state = 'over';
    return drained;
  }

  /** Can't be restarted any more: the signal and the path are given up. Servers go on. */
  close(): void {
    if (this.#rules.signal !== undefined) process.off(this.#rules.signal, this.#onSignal);
    this.#named?.close();
    this.#named = undefined;
  }
}

function textOf(error: unknown): string {
  return error instanceof Error ? `${error.name}: ${error.message}` : String(error);
}
