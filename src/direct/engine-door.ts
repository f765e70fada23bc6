/** A listening socket on the engine's rings: each accepted descriptor becomes a link. */
import type { AsyncResource } from 'node:async_hooks';
import { decodeIp, decodePath, type IpAddress, SOCKADDR_BYTES } from '../engine/address.ts';
import { Listener } from '../engine/listener.ts';
import { openListener, type Place, removePath, warnOfBackOff } from '../engine/open-listener.ts';
import { errnoException, listenException } from '../engine/system-errors.ts';
import type { Turn } from '../engine/turn.ts';
import { EngineLink } from './engine-link.ts';
import type { Door, DoorKeeper } from './server.ts';

export class EngineDoor extends Listener implements Door {
  readonly address: Readonly<IpAddress> | string;
  readonly #keeper: DoorKeeper;
  readonly #context: AsyncResource;
  /** Of a unix socket that we have made, and remove. */
  readonly #path: string | undefined;
  #hasWarned = false;

  /** Listens. @throws Node's error when that can't be */
  static open(turn: Turn, place: Place, backlog: number, keeper: DoorKeeper, context: AsyncResource): EngineDoor {
    const opened = openListener(turn, place, backlog);
    if (typeof opened === 'number') throw listenException(-opened, 'listen', place.address, place.port);
    const { fd, isUnix, isShared } = opened;
    const address = nameOf(turn, fd);
    const path = isUnix && !isShared ? (place.address ?? undefined) : undefined;
    return new EngineDoor(turn, fd, isUnix, isShared, path, address, keeper, context);
  }

  private constructor(
    turn: Turn,
    fd: number,
    isUnix: boolean,
    isShared: boolean,
    path: string | undefined,
    address: IpAddress | string,
    keeper: DoorKeeper,
    context: AsyncResource,
  ) {
    super(turn, fd, isUnix, isShared);
    this.address = address;
    this.#path = path;
    this.#keeper = keeper;
    this.#context = context;
  }

  override onAccept(fd: number): void {
    if (this.#keeper.isFull) this.turn.ring.native.closeDescriptor(fd);
    else this.#context.runInAsyncScope(this.#accepted, this, fd);
  }

  #accepted(fd: number): void {
    let link: EngineLink;
    try {
      link = new EngineLink(this.turn, fd, this.isUnix, this.#context);
    } catch (error) {
      this.turn.ring.native.closeDescriptor(fd); // more connections than a thread can have
      this.#keeper.onAcceptError(error as Error);
      return;
    }
    this.#keeper.accept(link);
  }

  override onAcceptError(errno: number): void {
    this.#context.runInAsyncScope(() => this.#keeper.onAcceptError(errnoException(errno, 'accept')));
  }

  override onBackOff(errno: number, delayMs: number): void {
    if (this.#hasWarned) return;
    this.#hasWarned = true;
    warnOfBackOff(errno, delayMs);
  }

  override close(): void {
    super.close();
    if (this.#path !== undefined) removePath(this.#path);
  }

  override onClosed(): void {}
}

function nameOf(turn: Turn, fd: number): IpAddress | string {
  const bytes = Buffer.alloc(SOCKADDR_BYTES);
  const sockaddr = bytes.subarray(0, Math.max(0, turn.ring.native.name(fd, false, bytes)));
  return decodeIp(sockaddr) ?? decodePath(sockaddr);
}
