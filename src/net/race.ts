/**
 * Attempts that overlap (RFC 8305 section 5): an attempt that takes long goes on, the next one starts beside it, and the
 * first that connects is the connection. An addition of ours, the option `happyEyeballs`; Node's own attempts.ts gives
 * every attempt but the last up after a time, so that a peer that is merely far away is never reached.
 *
 * ```
 *   0 ms      ::1 ────────────────────────────────────────────── closed
 *   delay       192.0.2.1 ── refused
 *   at once                 192.0.2.2 ──────────────── connected ──> socket[kAdopt](handle)
 * ```
 *
 * While attempts are under way none of them is the socket's handle: the socket has its race instead, and closes it when
 * it is destroyed.
 */
import type { Target } from '../engine/targets.ts';
import { blockedError, connectHandle, openHandle, type Route, takeHandle } from './attempt.ts';
import { overlappingConnectError } from './errors.ts';
import type { Handle } from './handle.ts';
import type { Socket } from './socket.ts';
import { kAdopt, kRace } from './symbols.ts';

/** What all attempts of a race have in common. */
export interface Course {
  host: string;
  port: number;
  localAddress: string | undefined;
  localPort: number | undefined;
}

export class Race {
  readonly #socket: Socket;
  readonly #targets: Target[];
  readonly #course: Course;
  readonly #delayMs: number;
  /** Attempts under way. */
  readonly #running = new Set<Handle>();
  /** By attempt. */
  readonly #errors: NodeJS.ErrnoException[] = [];
  #started = 0;
  #timer: NodeJS.Timeout | undefined;

  /** Starts the first attempt. @param targets in the order of their attempts */
  static start(socket: Socket, targets: Target[], course: Course, delayMs: number): void {
    socket[kRace]?.close();
    const race = new Race(socket, targets, course, delayMs);
    socket[kRace] = race;
    socket.autoSelectFamilyAttemptedAddresses = [];
    race.#next();
  }

  private constructor(socket: Socket, targets: Target[], course: Course, delayMs: number) {
    this.#socket = socket;
    this.#targets = targets;
    this.#course = course;
    this.#delayMs = delayMs;
  }

  /** Gives up every attempt; `onClosed` is called when the last descriptor is closed. */
  close(onClosed?: () => void): void {
    clearTimeout(this.#timer);
    if (this.#socket[kRace] === this) this.#socket[kRace] = null;
    let open = this.#running.size;
    if (open === 0) onClosed?.();
    for (const handle of this.#running) {
      handle.close(() => {
        if (--open === 0) onClosed?.();
      });
    }
    this.#running.clear();
  }

  get #isOver(): boolean {
    return this.#socket[kRace] !== this;
  }

  #next(): void {
    clearTimeout(this.#timer);
    const socket = this.#socket;
    const number = this.#started;
    const target = this.#targets[number];
    if (target === undefined) {
      if (this.#running.size === 0) socket.destroy(overlappingConnectError(this.#course, this.#errors));
      return;
    }
    this.#started++;
    const { port, localAddress, localPort } = this.#course;
    const route: Route = { ...target, port, localAddress, localPort };
    const blocked = blockedError(socket, route);
    const handle = blocked ?? openHandle(socket, route);
    if (handle instanceof Error) {
      this.#failed(number, route, handle);
      return;
    }
    this.#running.add(handle);
    socket.autoSelectFamilyAttemptedAddresses?.push(`${route.ip}:${port}`);
    socket.emit('connectionAttempt', route.ip, port, route.family);
    if (this.#isOver) return;
    if (this.#started < this.#targets.length) this.#timer = setTimeout(() => this.#next(), this.#delayMs);
    connectHandle(handle, route, (error) => {
      this.#running.delete(handle);
      if (error === undefined) {
        this.#won(handle);
        return;
      }
      handle.close();
      this.#failed(number, route, error);
    });
  }

  /** RFC 8305 section 5: the next attempt does not wait for the rest of the delay. */
  #failed(number: number, route: Route, error: NodeJS.ErrnoException): void {
    this.#errors[number] = error;
    this.#socket.emit('connectionAttemptFailed', route.ip, route.port, route.family, error);
    if (!this.#isOver) this.#next();
  }

  #won(handle: Handle): void {
    const socket = this.#socket;
    this.close();
    takeHandle(socket, handle);
    socket[kAdopt](handle);
  }
}
