/**
 * An agent of `https` that connects by millrace. What Node's `createConnection` does with a connection (sessions that are kept
 * for the next one, proxies) stays Node's: it calls `tls.connect` of Node's module, and for that moment this is ours.
 *
 * docs/decisions/0088-https-on-our-tls.md
 */
import nodeNet from 'node:net';
import nodeTls from 'node:tls';
import { connect } from '../tls/index.ts';

type CreateConnection = (this: unknown, ...args: unknown[]) => unknown;

/** Who replaces it (nock, msw) wants to answer what agents ask: their connections are Node's for as long as that lasts. */
const { connect: nodesConnect } = nodeNet.Socket.prototype;

/** Node's way to make a connection for an agent, with ours inside. */
export function connectingByOurs(create: CreateConnection): CreateConnection {
  return function createConnection(this: unknown, ...args: unknown[]): unknown {
    if (nodeNet.Socket.prototype.connect !== nodesConnect) return create.apply(this, args);
    const nodes = nodeTls.connect;
    const restore = (): void => {
      nodeTls.connect = nodes;
    };
    nodeTls.connect = ((...given: Parameters<typeof connect>) => {
      restore(); // what ours leaves to Node's tls is not to come back here
      return connect(...given);
    }) as typeof connect;
    try {
      return create.apply(this, args);
    } finally {
      restore();
    }
  };
}
