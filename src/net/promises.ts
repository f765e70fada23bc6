/**
 * Node's `net.promises`, made for whichever `net` it is: `connect` and `listen` that are awaited.
 *
 * @see https://nodejs.org/api/net.html#netpromises-api
 */
import { once } from 'node:events';
import type nodeNet from 'node:net';
import { normalizeArgs } from './args.ts';
import { validateAbortSignal, validateObject } from './validate.ts';

/** What `net.promises` is made of. */
interface Base<S extends nodeNet.Socket, V extends nodeNet.Server> {
  connect(options: object): S;
  createServer(options: object, listener?: (socket: S) => void): V;
  isIP: typeof nodeNet.isIP;
  isIPv4: typeof nodeNet.isIPv4;
  isIPv6: typeof nodeNet.isIPv6;
  BlockList: typeof nodeNet.BlockList;
  SocketAddress: typeof nodeNet.SocketAddress;
}

/** Options of `createServer` and of `server.listen`; without a place to listen, a free port. */
export interface PromisesListenOptions<S> extends nodeNet.ServerOpts, nodeNet.ListenOptions {
  fd?: number | undefined;
  connectionListener?: ((socket: S) => void) | undefined;
}

export interface NetPromises<S extends nodeNet.Socket, V extends nodeNet.Server> {
  /**
   * A socket that is connected. When the connection fails or `signal` is aborted before it stands, the promise is
   * rejected and the socket destroyed; a later abort has no effect.
   */
  connect(options: nodeNet.NetConnectOpts): Promise<S>;
  connect(path: string): Promise<S>;
  connect(port: number, host?: string): Promise<S>;
  /**
   * A server that listens. When that fails, or `signal` is aborted before, the promise is rejected and the server closed;
   * a later abort closes the server.
   */
  listen(options?: PromisesListenOptions<S>): Promise<V>;
  readonly isIP: typeof nodeNet.isIP;
  readonly isIPv4: typeof nodeNet.isIPv4;
  readonly isIPv6: typeof nodeNet.isIPv6;
  readonly BlockList: typeof nodeNet.BlockList;
  readonly SocketAddress: typeof nodeNet.SocketAddress;
}

export function promisesOf<S extends nodeNet.Socket, V extends nodeNet.Server>(net: Base<S, V>): NetPromises<S, V> {
  async function connect(...args: unknown[]): Promise<S> {
    const [options] = normalizeArgs(args);
    const signal = checkedSignal(options);
    // The signal is ours: a socket that had it would be destroyed by it long after it is connected.
    const socket = net.connect({ ...options, signal: undefined });
    try {
      await once(socket, 'connect', { signal });
    } catch (error) {
      socket.destroy();
      throw error;
    }
    return socket;
  }

  async function listen(options: PromisesListenOptions<S> = {}): Promise<V> {
    validateObject(options, 'options');
    const signal = checkedSignal(options);
    const server = net.createServer(options, options.connectionListener);
    try {
      const { port, path, fd, handle } = options;
      const hasPlace = port !== undefined || path !== undefined || fd !== undefined || handle !== undefined;
      server.listen(hasPlace ? options : { ...options, port: 0 });
      await once(server, 'listening', { signal });
    } catch (error) {
      if (!signal?.aborted) server.close(); // else the abort does it
      throw error;
    }
    return server;
  }

  const { isIP, isIPv4, isIPv6, BlockList, SocketAddress } = net;
  return { connect, listen, isIP, isIPv4, isIPv6, BlockList, SocketAddress };
}

/** @throws the reason of a signal that is aborted already */
function checkedSignal(options: { signal?: AbortSignal | undefined }): AbortSignal | undefined {
  const { signal } = options;
  validateAbortSignal(signal, 'options.signal');
  signal?.throwIfAborted();
  return signal;
}
