/**
 * Attempts in sequence: an attempt that takes too long is given up, as Node does, and the next address is tried. Attempts
 * that are not given up are those of race.ts.
 *
 * @see https://nodejs.org/api/net.html#socketconnectoptions-connectlistener `autoSelectFamily`
 */
import { ERRNO } from '../engine/abi.ts';
import type { Target } from '../engine/targets.ts';
import { blockedError, connectHandle, lateError, openHandle, type Route, takeHandle } from './attempt.ts';
import { isTraced, trace } from './debug.ts';
import { aggregateConnectError, socketConnectionTimeout } from './errors.ts';
import type { Handle } from './handle.ts';
import type { Socket } from './socket.ts';
import { kAdopt } from './symbols.ts';

export class Attempts {
  readonly #socket: Socket;
  readonly #targets: Target[];
  readonly #port: number;
  readonly #localPort: number | undefined;
  readonly #timeoutMs: number;
  readonly #errors: NodeJS.ErrnoException[] = [];
  #current = 0;
  #timer: NodeJS.Timeout | undefined;

  constructor(socket: Socket, targets: Target[], port: number, localPort: number | undefined, timeoutMs: number) {
    this.#socket = socket;
    this.#targets = targets;
    this.#port = port;
    this.#localPort = localPort;
    this.#timeoutMs = timeoutMs;
    socket.autoSelectFamilyAttemptedAddresses = [];
  }

  next(): void {
    const socket = this.#socket;
    clearTimeout(this.#timer);
    if (!socket.connecting) return;
    const target = this.#targets[this.#current++];
    if (target === undefined) {
      socket.destroy(this.#errors.length === 0 ? socketConnectionTimeout() : aggregateConnectError(this.#errors));
      return;
    }
    const route: Route = { ...target, port: this.#port, localPort: this.#localPort };
    const handle = openHandle(socket, route);
    if (handle instanceof Error) {
      this.#errors.push(handle); // Node tells of it only in the end
      this.next();
      return;
    }
    const blocked = blockedError(socket, route);
    if (blocked !== undefined) {
      handle.close();
      this.#failed(route, blocked);
      return;
    }
    takeHandle(socket, handle);
    socket.autoSelectFamilyAttemptedAddresses?.push(`${route.ip}:${route.port}`);
    socket.emit('connectionAttempt', route.ip, route.port, route.family);
    if (!socket.connecting) return;
    if (this.#current < this.#targets.length)
      this.#timer = setTimeout(() => this.#timedOut(handle, route), this.#timeoutMs);
    connectHandle(handle, route, (error) => {
      clearTimeout(this.#timer);
      if (error === undefined) socket[kAdopt](handle);
      else this.#failed(route, error);
    });
  }

  #failed(route: Route, error: NodeJS.ErrnoException): void {
    this.#errors.push(error);
    this.#socket.emit('connectionAttemptFailed', route.ip, route.port, route.family, error);
    this.next();
  }

  #timedOut(handle: Handle, route: Route): void {
    if (handle.onConnected === null) return;
    if (isTraced) trace('fd %d: not connected within %d ms', handle.fd, this.#timeoutMs);
    this.#errors.push(lateError(ERRNO.ETIMEDOUT, route));
    this.#socket.emit('connectionAttemptTimeout', route.ip, route.port, route.family);
    this.next();
  }
}
