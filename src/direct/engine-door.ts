/** A listening socket on the engine's rings: each accepted descriptor becomes a link. */
import type { AsyncResource } from 'node:async_hooks';
import { decodeIp, decodePath, type IpAddress } from '../engine/address.ts';
import { Listener } from '../engine/listener.ts';
import {
  givenListener,
  type Opened,
  openListener,
  type Place,
  removePath,
  warnOfBackOff,
} from '../engine/open-listener.ts';
import { errnoException, listenException } from '../engine/system-errors.ts';
import type { Turn } from '../engine/turn.ts';
import { EngineLink } from './engine-link.ts';
import type { Door, DoorKeeper } from './server.ts';

export class EngineDoor extends Listener implements Door {
  readonly address: Readonly<IpAddress> | string;
  readonly #keeper: DoorKeeper;
  readonly #context: AsyncResource;
  /** Of a unix socket. */
  readonly #path: string | undefined;
  #hasWarned = false;

  /** Listens. @throws Node's error when that can't be */
  static async open(
    turn: Turn,
    place: Place,
    backlog: number,
    keeper: DoorKeeper,
    context: AsyncResource,
  ): Promise<EngineDoor> {
    const requested = { ...place };
    const opened = (await givenListener(turn, place, backlog)) ?? openListener(turn, place, backlog);
    if (typeof opened === 'number') throw listenException(-opened, 'listen', place.address, place.port);
    return new EngineDoor(turn, opened, requested, keeper, context);
  }

  private constructor(turn: Turn, opened: Opened, requested: Place, keeper: DoorKeeper, context: AsyncResource) {
    super(turn, opened.fd, opened.isUnix, opened.isShared, opened.inlet);
    this.keepsPath = opened.keepsPath;
    this.listed(requested);
    this.address = nameOf(this.sockaddr());
    this.#path = opened.isUnix ? (requested.address ?? undefined) : undefined;
    this.#keeper = keeper;
    this.#context = context;
  }

  override get isFull(): boolean {
    return this.#keeper.isFull;
  }

  override onAccept(fd: number, head?: Uint8Array): void {
    if (this.#keeper.isFull) this.turn.ring.native.closeDescriptor(fd);
    else this.#context.runInAsyncScope(this.#accepted, this, fd, head);
  }

  #accepted(fd: number, head: Uint8Array | undefined): void {
    let link: EngineLink;
    try {
      link = new EngineLink(this.turn, fd, this.isUnix, this.#context);
      if (head !== undefined) link.preload(head);
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
    if (this.#path !== undefined && !this.keepsPath) removePath(this.#path);
  }

  override onClosed(): void {}
}

function nameOf(sockaddr: Buffer | number): IpAddress | string {
  if (typeof sockaddr === 'number') return '';
  return decodeIp(sockaddr) ?? decodePath(sockaddr);
}
