/**
 * Listening in a worker of node:cluster. The primary owns the address and either hands over the listening socket, which
 * we then accept from by ourselves, or (round robin, the default) each accepted connection.
 *
 * `cluster._getServer` is undocumented and has been the same since Node 0.12; there is no documented way for a package.
 * What the primary's answer is handled with asks the handle for its owner, under a symbol of Node's: whether it has room
 * for a connection (if not, another worker gets it), and to close it when the worker disconnects.
 */
import nodeNet from 'node:net';
import type { IpAddress } from '../engine/address.ts';
import { builtins } from '../engine/builtins.ts';
import type { Address } from './listen.ts';
import { type NodeHandle, NodeListener } from './node-handle.ts';
import type { ServerClass } from './server.ts';

const EINVAL = 22;
const EADDRINUSE = 98;

interface ClusterInternals {
  _getServer(
    server: unknown,
    options: Record<string, unknown>,
    callback: (errno: number, handle: NodeHandle | null) => void,
  ): void;
}

/** Asks the primary for an address. `errno` is positive; with one, `handle` is to be closed if there is any. */
export function askPrimary(
  server: ServerClass,
  where: Address & { backlog: number; readableAll?: boolean | undefined; writableAll?: boolean | undefined },
  callback: (errno: number, handle: NodeListener | null) => void,
): void {
  (builtins.cluster as unknown as ClusterInternals)._getServer(server, { ...where }, (errno, node) => {
    if (node === null || errno !== 0) {
      node?.close();
      callback(Math.abs(errno) || EINVAL, null);
      return;
    }
    const listener = NodeListener.share(server, node, where.addressType === -1);
    if (typeof listener === 'number') {
      node.close();
      callback(-listener, null);
      return;
    }
    Object.assign(node, { [ownerSymbol()]: ownerOf(server) });
    callback(isBoundTo(node, where.port) ? 0 : EADDRINUSE, listener);
  });
}

/** bind(2) in the primary may have failed without a word: libuv keeps EADDRINUSE to itself until listen(2). */
function isBoundTo(node: NodeHandle, port: number | undefined): boolean {
  if (port === undefined || port <= 0 || node.getsockname === undefined) return true;
  const name: Partial<IpAddress> = {};
  return node.getsockname(name) === 0 && name.port === port;
}

/**
 * What Node asks the owner of a handle for. With `dropMaxConnection` the connection is taken and dropped here, also on
 * lines that don't know that option.
 */
function ownerOf(server: ServerClass): object {
  return {
    get maxConnections() {
      return server.dropMaxConnection ? undefined : server.maxConnections;
    },
    get _connections() {
      return server._connections;
    },
    close: (done: () => void) => server.close(done),
  };
}

/** Node's `owner_symbol`, which every handle gets that a socket is made with. */
function ownerSymbol(): symbol {
  const handle = {};
  new nodeNet.Socket({ handle, readable: false } as nodeNet.SocketConstructorOpts);
  const symbol = Object.getOwnPropertySymbols(handle).find(({ description }) => description === 'owner_symbol');
  return symbol ?? Symbol('unknown');
}
