/**
 * A listening socket as `server._handle`, which makes a handle of each accepted descriptor.
 *
 * In: an open descriptor, from server.ts. Out: `server._accept(handle)`.
 */
import { AsyncResource } from 'node:async_hooks';
import { decodeIp, type IpAddress } from '../engine/address.ts';
import { choice } from '../engine/engine.ts';
import { Listener } from '../engine/listener.ts';
import type { Inlet } from '../engine/listener-source.ts';
import { type Opened, type Place, warnOfBackOff } from '../engine/open-listener.ts';
import type { Turn } from '../engine/turn.ts';
import { errnoException } from './errors.ts';
import { type Handle, newHandle } from './handle.ts';
import type { ServerClass } from './server.ts';

const turn = choice.turn as Turn;

/** A listening socket of our own: `server._handle`. */
export class ServerHandle extends Listener {
  /** Whose connections these are: another server may take the handle over. */
  server: ServerClass;
  readonly #context: AsyncResource;
  #hasWarned = false;

  /** @param requested the place, as it was asked for, if `opened` has another by now */
  static of(owner: Turn, opened: Opened, server: ServerClass, requested: Place = opened.place): ServerHandle {
    const { fd, isUnix, isShared, inlet, keepsPath } = opened;
    const handle = new ServerHandle(owner, fd, isUnix, server, isShared, inlet);
    handle.keepsPath = keepsPath;
    handle.listed(requested);
    return handle;
  }

  constructor(
    owner: Turn,
    fd: number,
    isUnix: boolean,
    server: ServerClass,
    isShared = false,
    inlet: Inlet | null = null,
  ) {
    super(owner, fd, isUnix, isShared, inlet);
    this.server = server;
    this.#context = new AsyncResource(isUnix ? 'PIPESERVERWRAP' : 'TCPSERVERWRAP', { requireManualDestroy: true });
  }

  /** What Node's handle calls for a connection; monitors and tests put themselves in between. `errno` is 0. */
  onconnection = (_errno: number, handle: Handle): void => this.server._accept(handle);

  /** listen(2), which may be called again. @returns 0 or `-errno` */
  listen(backlog: number): number {
    return this.inlet === null ? turn.ring.native.listen(this.fd, backlog) : 0;
  }

  /** The socket's own context is that of no listener, as in Node; 'connection' is emitted in that of `listen`. */
  override onAccept(fd: number, head?: Uint8Array): void {
    const handle = newHandle(this.turn, fd, this.isUnix, false, this.#context.asyncId());
    if (head !== undefined) handle.preload(head);
    this.#context.runInAsyncScope(this.onconnection, this, 0, handle);
  }

  /** With `dropMaxConnection` the connection is taken, and dropped here. */
  override get isFull(): boolean {
    const { maxConnections, dropMaxConnection, _connections } = this.server;
    return maxConnections != null && !dropMaxConnection && _connections >= maxConnections;
  }

  override onAcceptError(errno: number): void {
    this.#context.runInAsyncScope(() => this.server.emit('error', errnoException(errno, 'accept')));
  }

  override onBackOff(errno: number, delayMs: number): void {
    if (this.#hasWarned) return;
    this.#hasWarned = true;
    warnOfBackOff(errno, delayMs);
  }

  override onClosed(): void {
    this.#context.emitDestroy();
  }

  address(): IpAddress | null {
    const out: Partial<IpAddress> = {};
    const result = this.getsockname(out);
    if (result < 0) throw errnoException(-result, 'address');
    return out.address === undefined ? null : (out as IpAddress);
  }

  getsockname(out: Partial<IpAddress>): number {
    const sockaddr = this.sockaddr();
    if (typeof sockaddr === 'number') return sockaddr;
    const ip = decodeIp(sockaddr);
    if (ip !== undefined) Object.assign(out, { address: ip.address, family: ip.family, port: ip.port });
    return 0;
  }
}
