/**
 * Listening in a worker of node:cluster. The primary owns the address and either hands over the listening socket, which
 * we then accept from by ourselves, or (round robin, the default) each accepted connection. Both come as handles of
 * Node's, whose descriptor we duplicate.
 *
 * `cluster._getServer` is undocumented and has been the same since Node 0.12; there is no documented way for a package.
 */
import { AsyncResource } from 'node:async_hooks';
import { builtins } from '../engine/builtins.ts';
import { choice } from '../engine/engine.ts';
import type { Turn } from '../engine/turn.ts';
import type { IpAddress } from './address.ts';
import { Handle } from './handle.ts';
import type { ServerClass } from './server.ts';
import { type Place, ServerHandle } from './server-handle.ts';

const turn = choice.turn as Turn;

/** A handle of Node's: a listening socket, or the stand-in of a round-robin one. */
interface NodeHandle {
  fd?: number;
  onconnection?: (errno: number, client: NodeHandle) => void;
  listen(backlog: number): number;
  close(done?: () => void): void;
  ref?(): void;
  unref?(): void;
  getsockname?(out: Partial<IpAddress>): number;
}

interface ClusterInternals {
  _getServer(
    server: unknown,
    options: Record<string, unknown>,
    callback: (errno: number, handle: NodeHandle | null, reply?: unknown) => void,
  ): void;
}

export class ClusterHandle {
  readonly #server: ServerClass;
  readonly #node: NodeHandle;
  readonly #backlog: number;
  readonly #isUnix: boolean;
  readonly #context = new AsyncResource('TCPSERVERWRAP', { requireManualDestroy: true });
  #own: ServerHandle | null = null;

  private constructor(server: ServerClass, node: NodeHandle, backlog: number, isUnix: boolean) {
    this.#server = server;
    this.#node = node;
    this.#backlog = backlog;
    this.#isUnix = isUnix;
  }

  /** Asks the primary for an address. `errno` is positive. */
  static ask(
    server: ServerClass,
    place: Place,
    backlog: number,
    callback: (errno: number, handle: ClusterHandle | null) => void,
  ): void {
    const query = {
      address: place.address,
      port: place.port,
      addressType: place.family,
      fd: place.fd,
      flags: place.ipv6Only ? 1 : 0, // UV_TCP_IPV6ONLY
      backlog,
    };
    (builtins.cluster as unknown as ClusterInternals)._getServer(server, query, (errno, node) => {
      if (node === null || errno !== 0) callback(Math.abs(errno) || 22, null);
      else callback(0, new ClusterHandle(server, node, backlog, place.family === -1));
      if (node !== null) closeWithServer(server, node);
    });
  }

  start(): void {
    const fd = this.#node.fd;
    if (fd !== undefined && fd >= 0) {
      this.#own = new ServerHandle(turn, turn.ring.native.duplicate(fd), this.#isUnix, this.#server);
      turn.ring.native.listen(this.#own.fd, this.#backlog || 511);
      turn.ring.native.setBlocking(this.#own.fd, turn.ring.kind === 'io_uring');
      this.#own.accept();
      return;
    }
    this.#node.onconnection = (errno, client) => {
      if (errno === 0) this.#adopt(client);
    };
    this.#node.listen(this.#backlog || 511);
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
    this.#context.runInAsyncScope(
      this.#server._accept,
      this.#server,
      new Handle(turn, fd, this.#isUnix, false, this.#context.asyncId()),
    );
  }

  address(): IpAddress | null {
    if (this.#own !== null) return this.#own.address();
    const out: Partial<IpAddress> = {};
    this.#node.getsockname?.(out);
    const { address, family, port } = out as IpAddress;
    return { address, family, port };
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

/**
 * `worker.disconnect()` closes the handles that the worker has, with a callback, and would close the owner of each (the
 * server) if that were Node's own. Ours is closed here instead, and the callback comes when that is done.
 */
function closeWithServer(server: ServerClass, node: NodeHandle): void {
  const close = node.close;
  let isAsked = false;
  node.close = function (this: NodeHandle, done?: () => void) {
    if (typeof done !== 'function' || isAsked) {
      close.call(this);
      return;
    }
    isAsked = true;
    server.close(() => done());
  };
}
