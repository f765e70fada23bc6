/**
 * The next process, as the serving one sees it: from its start, or its asking, until it serves or has failed. Whatever goes
 * wrong is an error with a reason, and leaves nothing behind.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { setTimeout as delay } from 'node:timers/promises';
import { discardEnd, MOST_DESCRIPTORS, openEnds } from '../engine/descriptor-channel.ts';
import { listeningSockets } from '../engine/listener-source.ts';
import type { Turn } from '../engine/turn.ts';
import { RestartError } from './errors.ts';
import type { Rules } from './options.ts';
import { Peer, type Received } from './peer.ts';
import { type MessageName, PROTOCOL, type SocketRecord } from './protocol.ts';
import { LISTEN_VARIABLES, systemdNameOf } from './systemd.ts';

/** The variable that says by which descriptor the process before can be spoken to. */
export const VARIABLE = 'MILLRACE_RESTART_FD';
const FD_OF_CHILD = 3;
/** How long the exit of a process is waited for, whose socket was closed: it says more. */
const EXIT_MS = 2000;

export class Successor {
  readonly peer: Peer;
  readonly #turn: Turn;
  readonly #child: ChildProcess | undefined;
  readonly #exited: Promise<RestartError> | undefined;
  pid = 0;

  /** Starts one. @throws {RestartError} START_FAILED */
  static start(turn: Turn, { command, env, cwd }: Rules): Successor {
    const { native } = turn.ring;
    const [program, ...args] = command;
    const [near, far] = openEnds(native);
    const variables: NodeJS.ProcessEnv = { ...process.env, ...env, [VARIABLE]: String(FD_OF_CHILD) };
    for (const name of LISTEN_VARIABLES) delete variables[name];
    try {
      const child = spawn(program, args, {
        ...(cwd === undefined ? {} : { cwd }),
        env: variables,
        stdio: ['inherit', 'inherit', 'inherit', far.fd],
      });
      return new Successor(turn, near, child);
    } catch (error) {
      native.closeDescriptor(near);
      throw new RestartError('START_FAILED', `${program} could not be started: ${(error as Error).message}`, {
        cause: error,
      });
    } finally {
      discardEnd(native, far);
    }
  }

  /** @param fd of a socket to it @param child if we have started it */
  constructor(turn: Turn, fd: number, child?: ChildProcess) {
    this.#turn = turn;
    this.#child = child;
    this.peer = new Peer(turn, fd);
    if (child === undefined) return;
    this.#exited = new Promise((resolve) => {
      child.once('exit', (exitCode, signal) => {
        const how = signal === null ? `with code ${exitCode}` : `by ${signal}`;
        resolve(
          new RestartError('EXITED', `the next process has exited ${how} before it was ready`, { exitCode, signal }),
        );
      });
      child.once('error', (cause) => {
        resolve(new RestartError('START_FAILED', `the next process could not be started: ${cause.message}`, { cause }));
      });
    });
  }

  /** Gives it the listening sockets, and waits until it serves. @throws {RestartError} it does not */
  async bringUp(readyMs: number): Promise<void> {
    const late = new RestartError('READY_TIMEOUT', `the next process was not ready within ${readyMs} ms`);
    const limit = new AbortController();
    const timer = setTimeout(() => limit.abort(late), readyMs);
    // A program that can't be started, or has exited, may say so long before its socket does.
    void this.#exited?.then((error) => {
      if (error.reason === 'START_FAILED') limit.abort(error);
    });
    try {
      const hello = await this.#hear('hello', limit.signal);
      if (hello.protocol !== PROTOCOL) {
        this.peer.say({
          is: 'refused',
          protocol: PROTOCOL,
          message: `version ${PROTOCOL} of the protocol is spoken here`,
        });
        throw new RestartError(
          'PROTOCOL',
          `the next process speaks version ${hello.protocol} of the protocol, not ${PROTOCOL}`,
        );
      }
      this.pid = hello.pid;
      this.#giveSockets();
      await this.#hear('ready', limit.signal);
      this.peer.say({ is: 'granted' });
      await this.#hear('serving', limit.signal);
    } catch (error) {
      const { message } = error as Error;
      this.peer.say({ is: 'aborted', message });
      void this.peer.end();
      this.#child?.kill('SIGKILL'); // it serves nobody
      throw error;
    } finally {
      clearTimeout(timer);
      this.#child?.unref();
    }
  }

  async #hear<Name extends MessageName>(
    name: Name,
    signal: AbortSignal,
  ): Promise<Extract<Received['message'], { is: Name }>> {
    const received = await this.peer.next(signal);
    if (received === undefined) throw await this.#whyGone();
    const { message } = received;
    if (message.is === 'failed')
      throw new RestartError('FAILED', `the next process has failed before it was ready: ${message.message}`);
    if (message.is === name) return message as Extract<Received['message'], { is: Name }>;
    this.#close(received);
    throw new RestartError('PROTOCOL', `the next process said ${message.is} in place of ${name}`);
  }

  #close({ descriptors }: Received): void {
    for (const fd of descriptors) this.#turn.ring.native.closeDescriptor(fd);
  }

  async #whyGone(): Promise<RestartError> {
    const lost = new RestartError('PEER_LOST', 'the next process has closed the connection before it was ready');
    if (this.#exited === undefined) return lost;
    return Promise.race([this.#exited, delay(EXIT_MS, lost)]);
  }

  #giveSockets(): void {
    const { native } = this.#turn.ring;
    const all = [...listeningSockets];
    for (const socket of all) socket.share(true);
    do {
      const some = all.splice(0, MOST_DESCRIPTORS);
      const records: SocketRecord[] = [];
      const copies: number[] = [];
      for (const { place, fd } of some) {
        const copy = native.duplicate(fd);
        if (copy < 0) continue; // no descriptor left here: it can't listen there, and says so
        records.push({ place, name: systemdNameOf(place.fd) });
        copies.push(copy);
      }
      this.peer.say({ is: 'sockets', sockets: records, isLast: all.length === 0 }, copies);
    } while (all.length > 0);
  }
}
