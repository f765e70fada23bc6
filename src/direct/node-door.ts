/** A listening socket of node:net, for the engine `node`. */
import type { AsyncResource } from 'node:async_hooks';
import { createServer, type ListenOptions, type Server, type Socket } from 'node:net';
import type { IpAddress } from '../engine/address.ts';
import { hasListenerSource } from '../engine/listener-source.ts';
import type { Place } from '../engine/open-listener.ts';
import { NodeLink } from './node-link.ts';
import type { Door, DoorKeeper } from './server.ts';

export class NodeDoor implements Door {
  readonly address: Readonly<IpAddress> | string;
  readonly #server: Server;

  /** Listens. @throws Node's error when that can't be */
  static async open(place: Place, backlog: number, keeper: DoorKeeper, context: AsyncResource): Promise<NodeDoor> {
    const server = createServer({ allowHalfOpen: true, pauseOnConnect: true });
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen(listenOptionsOf(place, backlog), () => {
        server.off('error', reject);
        resolve();
      });
    });
    return new NodeDoor(server, keeper, context);
  }

  private constructor(server: Server, keeper: DoorKeeper, context: AsyncResource) {
    const address = server.address();
    const isUnix = address === null || typeof address === 'string';
    this.address = isUnix ? (address ?? '') : { ...address, family: address.family === 'IPv6' ? 'IPv6' : 'IPv4' };
    this.#server = server;
    server.on('error', (error) => context.runInAsyncScope(() => keeper.onAcceptError(error)));
    server.on('connection', (socket: Socket) => {
      if (keeper.isFull) socket.destroy();
      else context.runInAsyncScope(() => keeper.accept(new NodeLink(socket, isUnix, context)));
    });
  }

  stopped(callback: () => void): void {
    callback();
  }

  close(): void {
    this.#server.close();
  }

  ref(): void {
    this.#server.ref();
  }

  unref(): void {
    this.#server.unref();
  }
}

/** In a worker of node:cluster the address is our own, as with the other engines; but not in one of millrace/cluster. */
function listenOptionsOf({ fd, family, address, port, ipv6Only, reusePort }: Place, backlog: number): ListenOptions {
  if (fd !== undefined) return { fd, backlog } as ListenOptions;
  const exclusive = !hasListenerSource();
  if (family === -1) return { path: address as string, backlog, exclusive };
  const host = address === null ? {} : { host: address };
  return { ...host, port: port ?? 0, backlog, ipv6Only, reusePort, exclusive };
}
