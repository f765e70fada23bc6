/**
 * Listening through a handle of Node's own: what a cluster's primary hands out, what another process sends, and what a
 * server of Node's had until now. A handle that accepts by itself gives us each connection, whose descriptor we duplicate;
 * of one that does not accept yet the listening descriptor is duplicated, and we accept by ourselves.
 *
 * In: `onconnection` of the handle. Out: `server._accept(handle)`.
 */
import { AsyncResource } from 'node:async_hooks';
import type { IpAddress } from '../engine/address.ts';
import { choice } from '../engine/engine.ts';
import type { Turn } from '../engine/turn.ts';
import { newHandle } from './handle.ts';
import type { ServerClass } from './server.ts';
import { ServerHandle } from './server-handle.ts';

const turn = choice.turn as Turn;

/** A handle of Node's: a listening socket, or the stand-in of a round-robin one, which has no descriptor. */
export interface NodeHandle {
  fd?: number;
  onconnection?: (errno: number, client: NodeHandle) => void;
  listen(backlog: number): number;
  close(): void;
  ref?(): void;
  unref?(): void;
  getsockname?(out: Partial<IpAddress>): number;
}

/** Whether it is a listening handle of Node's, as `nodeServer._handle` is one. */
export function isNodeHandle(value: unknown): value is NodeHandle {
  const { fd, listen, close, onconnection } = value as Partial<NodeHandle>;
  return (
    !(value instanceof ServerHandle) &&
    typeof fd === 'number' &&
    typeof listen === 'function' &&
    typeof close === 'function' &&
    typeof onconnection === 'function'
  );
}

export class NodeListener {
  server: ServerClass;
  readonly isUnix: boolean;
  readonly #node: NodeHandle;
  readonly #own: ServerHandle | null;
  readonly #context = new AsyncResource('TCPSERVERWRAP', { requireManualDestroy: true });

  private constructor(server: ServerClass, node: NodeHandle, isUnix: boolean, own: ServerHandle | null) {
    this.server = server;
    this.isUnix = isUnix;
    this.#node = node;
    this.#own = own;
  }

  /** A handle that another server of this process accepts with: its connections are `server`'s from now on. */
  static takeOver(server: ServerClass, node: NodeHandle): NodeListener {
    return new NodeListener(server, node, node.getsockname === undefined, null);
  }

  /** A handle that nobody in this process accepts with. @returns `-errno` if there is no descriptor for it */
  static share(server: ServerClass, node: NodeHandle, isUnix: boolean): NodeListener | number {
    if (node.fd === undefined || node.fd < 0) return new NodeListener(server, node, isUnix, null);
    const fd = turn.ring.native.duplicate(node.fd);
    if (fd < 0) return fd;
    return new NodeListener(server, node, isUnix, new ServerHandle(turn, fd, isUnix, server, true));
  }

  get fd(): number {
    return this.#own?.fd ?? this.#node.fd ?? -1;
  }

  /** @returns 0 or `-errno` */
  listen(backlog: number): number {
    if (this.#own !== null) return this.#own.listen(backlog);
    this.#node.onconnection = (errno, client) => {
      if (errno === 0) this.#adopt(client);
    };
    return this.#node.listen(backlog);
  }

  accept(): void {
    this.#own?.accept();
  }

  /** Takes a connection over from Node: a second descriptor of it, and the first is closed. */
  #adopt(client: NodeHandle): void {
    const fd = turn.ring.native.duplicate(client.fd ?? -1);
    client.close();
    if (fd < 0) {
      process.emitWarning(`a connection was dropped: no descriptor for it (errno ${-fd})`, 'MillraceWarning');
      return;
    }
    turn.ring.native.setBlocking(fd, turn.ring.kind === 'io_uring');
    const handle = newHandle(turn, fd, this.isUnix, false, this.#context.asyncId());
    this.#context.runInAsyncScope(this.server._accept, this.server, handle);
  }

  address(): IpAddress | null {
    if (this.#own !== null) return this.#own.address();
    const out: Partial<IpAddress> = {};
    this.#node.getsockname?.(out);
    const { address, family, port } = out as IpAddress;
    return address === undefined ? null : { address, family, port };
  }

  close(): void {
    this.#own?.close();
    this.#node.close();
    this.#context.emitDestroy();
  }

  ref(): void {
    this.#own?.ref();
    this.#node.ref?.();
  }

  unref(): void {
    this.#own?.unref();
    this.#node.unref?.();
  }
}
