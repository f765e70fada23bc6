/** A socket that the primary accepts from itself, for workers. It can be paused: who comes then waits in the kernel. */
import { Listener } from '../../engine/listener.ts';
import { warnOfBackOff } from '../../engine/open-listener.ts';
import { errnoException } from '../../engine/system-errors.ts';
import type { Turn } from '../../engine/turn.ts';

/** Who gets the connections; each descriptor is the owner's. */
export type OnAccepted = (fd: number) => void;

export class Acceptor {
  readonly #turn: Turn;
  readonly #fd: number;
  readonly #isUnix: boolean;
  readonly #isShared: boolean;
  readonly #onAccepted: OnAccepted;
  #listener: AcceptingListener | undefined;
  #stopping: Promise<void> = Promise.resolve();

  /** @param fd a listening socket, which stays the caller's */
  constructor(turn: Turn, fd: number, isUnix: boolean, isShared: boolean, onAccepted: OnAccepted) {
    this.#turn = turn;
    this.#fd = fd;
    this.#isUnix = isUnix;
    this.#isShared = isShared;
    this.#onAccepted = onAccepted;
  }

  /** Accepts, unless it does. Without a descriptor or memory for it, nothing happens: it is asked again. */
  start(): void {
    if (this.#listener !== undefined) return;
    const fd = this.#turn.ring.native.duplicate(this.#fd);
    if (fd < 0) return;
    this.#turn.ring.native.setBlocking(fd, !this.#isShared && this.#turn.ring.kind === 'io_uring');
    this.#listener = new AcceptingListener(this.#turn, fd, this.#isUnix, this.#isShared, this.#onAccepted);
    this.#listener.unref();
    this.#listener.accept();
  }

  /** Accepts no more. Resolves when no connection comes any more: those on their way come first. */
  stop(): Promise<void> {
    const listener = this.#listener;
    this.#listener = undefined;
    if (listener === undefined) return this.#stopping;
    const before = this.#stopping;
    this.#stopping = new Promise<void>((resolve) => {
      listener.stopped(() => {
        listener.close();
        resolve();
      });
    }).then(() => before);
    return this.#stopping;
  }
}

class AcceptingListener extends Listener {
  readonly #onAccepted: OnAccepted;
  #hasWarned = false;

  constructor(turn: Turn, fd: number, isUnix: boolean, isShared: boolean, onAccepted: OnAccepted) {
    super(turn, fd, isUnix, isShared);
    this.#onAccepted = onAccepted;
  }

  override get isFull(): boolean {
    return false;
  }

  override onAccept(fd: number): void {
    this.#onAccepted(fd);
  }

  override onAcceptError(errno: number): void {
    process.emitWarning(`a group can't accept any more: ${errnoException(errno, 'accept').message}`, {
      ...{ type: 'MillraceWarning', code: 'MILLRACE_WARN_ACCEPT' },
    });
  }

  override onBackOff(errno: number, delayMs: number): void {
    if (this.#hasWarned) return;
    this.#hasWarned = true;
    warnOfBackOff(errno, delayMs);
  }

  override onClosed(): void {}
}
