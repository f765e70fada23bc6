/**
 * A listening socket as `server._handle`, which makes a handle of each accepted descriptor.
 *
 * In: an open descriptor, from server.ts. Out: `server._accept(handle)`.
 */
import { AsyncResource } from 'node:async_hooks';
import { decodeIp, type IpAddress, SOCKADDR_BYTES } from '../engine/address.ts';
import { choice } from '../engine/engine.ts';
import { Listener } from '../engine/listener.ts';
import { warnOfBackOff } from '../engine/open-listener.ts';
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

  constructor(owner: Turn, fd: number, isUnix: boolean, server: ServerClass, isShared = false) {
    super(owner, fd, isUnix, isShared);
    this.server = server;
    this.#context = new AsyncResource(isUnix ? 'PIPESERVERWRAP' : 'TCPSERVERWRAP', { requireManualDestroy: true });
  }

  /** What Node's handle calls for a connection; monitors and tests put themselves in between. `errno` is 0. */
  onconnection = (_errno: number, handle: Handle): void => this.server._accept(handle);

  /** listen(2), which may be called again. @returns 0 or `-errno` */
  listen(backlog: number): number {
    return turn.ring.native.listen(this.fd, backlog);
  }

  /** The socket's own context is that of no listener, as in Node; 'connection' is emitted in that of `listen`. */
  override onAccept(fd: number): void {
    const handle = newHandle(this.turn, fd, this.isUnix, false, this.#context.asyncId());
    this.#context.runInAsyncScope(this.onconnection, this, 0, handle);
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
    const bytes = Buffer.alloc(SOCKADDR_BYTES);
    const length = turn.ring.native.name(this.fd, false, bytes);
    if (length < 0) return length;
    const ip = decodeIp(bytes.subarray(0, length));
    if (ip !== undefined) Object.assign(out, { address: ip.address, family: ip.family, port: ip.port });
    return 0;
  }
}
