/**
 * The process before, as the one that starts sees it: found, asked for its listening sockets, told when this one is ready,
 * and listened to until it is drained.
 */
import { fstatSync } from 'node:fs';
import { inheritedEnd } from '../engine/descriptor-channel.ts';
import type { Turn } from '../engine/turn.ts';
import { RestartError } from './errors.ts';
import type { OnConnection } from './hand-over.ts';
import { socketOf } from './hand-over.ts';
import type { Inherited } from './inherited.ts';
import { askAt } from './named-socket.ts';
import { Peer, type Received } from './peer.ts';
import { PROTOCOL } from './protocol.ts';
import { VARIABLE } from './successor.ts';

/** How long the process before may take to answer. */
const ANSWER_MS = 30_000;

export class Predecessor {
  readonly #peer: Peer;
  readonly #turn: Turn;
  /** Whether it has started this process. */
  readonly isParent: boolean;

  /**
   * Finds it: the one that has started this process, or whoever listens at `path`.
   * @returns undefined if there is none
   * @throws {RestartError} WRONG_USER, SILENT, PROTOCOL
   */
  static find(turn: Turn, path: string | undefined): Predecessor | undefined {
    const { native } = turn.ring;
    const given = process.env[VARIABLE];
    if (given !== undefined) {
      delete process.env[VARIABLE]; // our children are not its next process
      return new Predecessor(turn, inheritedEnd(native, descriptorOf(given)), true);
    }
    const fd = path === undefined ? undefined : askAt(native, path);
    return fd === undefined ? undefined : new Predecessor(turn, fd, false);
  }

  private constructor(turn: Turn, fd: number, isParent: boolean) {
    this.#turn = turn;
    this.isParent = isParent;
    this.#peer = new Peer(turn, fd);
  }

  /** Asks for its listening sockets. @throws {RestartError} REFUSED, PROTOCOL, PEER_LOST, SILENT */
  async inherit(inherited: Inherited): Promise<void> {
    try {
      this.#peer.say({ is: 'hello', protocol: PROTOCOL, pid: process.pid });
      for (let isLast = false; !isLast; ) {
        const received = await this.#answer();
        if (received === undefined) throw new RestartError('PEER_LOST', 'the serving process is gone');
        const { message, descriptors } = received;
        if (message.is === 'refused') {
          const isOther = message.protocol !== PROTOCOL;
          throw new RestartError(isOther ? 'PROTOCOL' : 'REFUSED', `the serving process refuses: ${message.message}`);
        }
        if (message.is !== 'sockets') throw this.#unexpected(received);
        inherited.add(message.sockets, descriptors);
        isLast = message.isLast;
      }
    } catch (error) {
      inherited.closeUnclaimed();
      this.#peer.close();
      throw error;
    }
    this.#peer.ref(false); // whether the process lives on is its own affair, until ready()
  }

  /** It is told why this process is about to end. */
  fail(message: string): void {
    this.#peer.say({ is: 'failed', message });
  }

  /**
   * Asks whether this process may serve from now on.
   * @returns whether the process before goes on until it is drained; if not, it is gone already
   * @throws {RestartError} ABORTED, SILENT, PROTOCOL
   */
  async isGranted(): Promise<boolean> {
    this.#peer.ref(true);
    try {
      this.#peer.say({ is: 'ready' });
      const received = await this.#answer();
      if (received === undefined) return false; // it died: nobody serves but us
      const { message } = received;
      if (message.is === 'aborted')
        throw new RestartError('ABORTED', `the serving process has given this one up: ${message.message}`);
      if (message.is !== 'granted') throw this.#unexpected(received);
      return true;
    } catch (error) {
      this.#peer.close();
      throw error;
    } finally {
      this.#peer.ref(false);
    }
  }

  /** We accept; it tells what else it has for us. Resolves when it accepts no more. */
  async takeOver(onConnection: OnConnection): Promise<void> {
    this.#peer.say({ is: 'serving' });
    for (;;) {
      const received = await this.#peer.next().catch(() => undefined);
      if (received?.message.is !== 'connection') {
        if (received !== undefined) this.#close(received);
        break;
      }
      const { socket, data } = socketOf(received);
      try {
        onConnection(socket, data);
      } catch (error) {
        socket.destroy();
        process.nextTick(() => {
          throw error; // as if a 'connection' listener had thrown
        });
      }
    }
    this.#peer.close();
  }

  async #answer(): Promise<Received | undefined> {
    const limit = new AbortController();
    const silent = new RestartError('SILENT', `the serving process has not answered within ${ANSWER_MS} ms`);
    const timer = setTimeout(() => limit.abort(silent), ANSWER_MS);
    try {
      return await this.#peer.next(limit.signal);
    } finally {
      clearTimeout(timer);
    }
  }

  #unexpected(received: Received): RestartError {
    this.#close(received);
    return new RestartError('PROTOCOL', `the serving process said ${received.message.is} out of turn`);
  }

  #close({ descriptors }: Received): void {
    for (const fd of descriptors) this.#turn.ring.native.closeDescriptor(fd);
  }
}

/** @throws {RestartError} PROTOCOL: the variable is there, and no socket behind it */
function descriptorOf(text: string): number {
  const fd = Number(text);
  try {
    if (Number.isInteger(fd) && fd > 2 && fstatSync(fd).isSocket()) return fd;
  } catch {
    // it is not open
  }
  throw new RestartError('PROTOCOL', `${VARIABLE}=${text} names no socket: has it been handed on by accident?`);
}
