/**
 * millrace: the API of Node's `net` on an engine of its own. Every export has the name and the type of Node's;
 * what is ours besides stands in src/net/api.ts. Where there is no engine for this machine, it is Node's `net` underneath.
 *
 * @see https://nodejs.org/api/net.html
 */
import type nodeNet from 'node:net';
import { choice, type EngineName } from './engine/engine.ts';
import type * as api from './net/api.ts';
import { fallbackNet } from './net/fallback.ts';
import { additions, helpers, ownNet } from './net/net.ts';

export type * from 'node:net';
export type {
  AttachOptions,
  HappyEyeballs,
  HappyEyeballsOptions,
  ServerTicket,
  SocketTicket,
  TcpInfo,
  Ticket,
} from './net/api.ts';
export type { EngineName };

export type BlockList = api.BlockList;
export type BoundSocket = nodeNet.BoundSocket;
export type Server = api.Server;
export type Socket = api.Socket;
export type SocketAddress = nodeNet.SocketAddress;
type Net = api.Net;

/** What runs underneath: `io_uring`, `epoll`, or `node` for Node's own sockets. */
export const engine: EngineName = choice.name;
/** Why, in a sentence. */
export const engineReason: string = choice.reason;

/** Types as members of the default export: `net.Socket`, `net.Server`, as with Node's. */
declare namespace net {
  export type AddressInfo = nodeNet.AddressInfo;
  export type BlockList = api.BlockList;
  export type BoundSocket = nodeNet.BoundSocket;
  export type IpcNetConnectOpts = nodeNet.IpcNetConnectOpts;
  export type IpcSocketConnectOpts = nodeNet.IpcSocketConnectOpts;
  export type IPVersion = nodeNet.IPVersion;
  export type ListenOptions = nodeNet.ListenOptions;
  export type LookupFunction = nodeNet.LookupFunction;
  export type NetConnectOpts = nodeNet.NetConnectOpts;
  export type OnReadOpts = nodeNet.OnReadOpts;
  export type Server = api.Server;
  export type ServerOpts = nodeNet.ServerOpts;
  export type Socket = api.Socket;
  export type SocketAddress = nodeNet.SocketAddress;
  export type SocketConnectOpts = nodeNet.SocketConnectOpts;
  export type SocketConstructorOpts = nodeNet.SocketConstructorOpts;
  export type SocketReadyState = nodeNet.SocketReadyState;
  export type TcpNetConnectOpts = nodeNet.TcpNetConnectOpts;
  export type TcpSocketConnectOpts = nodeNet.TcpSocketConnectOpts;
}

const net: Net & typeof additions & { readonly engine: EngineName; readonly engineReason: string } = Object.assign(
  {},
  choice.turn === null ? fallbackNet : (ownNet as unknown as Net),
  helpers,
  additions,
  { engine, engineReason },
);

export const BlockList: Net['BlockList'] = net.BlockList;
/** Where the engine is Node's own: only on its lines that have it. */
export const BoundSocket: Net['BoundSocket'] = net.BoundSocket;
export const Server: Net['Server'] = net.Server;
export const Socket: Net['Socket'] = net.Socket;
export const SocketAddress: Net['SocketAddress'] = net.SocketAddress;
export const Stream: Net['Socket'] = net.Socket;
export const attach: Net['attach'] = net.attach;
export const connect: Net['connect'] = net.connect;
export const createConnection: Net['createConnection'] = net.createConnection;
export const createServer: Net['createServer'] = net.createServer;
export const detach: Net['detach'] = net.detach;
export const discard: Net['discard'] = net.discard;
export const getDefaultAutoSelectFamily: Net['getDefaultAutoSelectFamily'] = net.getDefaultAutoSelectFamily;
export const getDefaultAutoSelectFamilyAttemptTimeout: Net['getDefaultAutoSelectFamilyAttemptTimeout'] =
  net.getDefaultAutoSelectFamilyAttemptTimeout;
export const getDefaultHappyEyeballs: typeof net.getDefaultHappyEyeballs = net.getDefaultHappyEyeballs;
export const isIP: Net['isIP'] = net.isIP;
export const isIPv4: Net['isIPv4'] = net.isIPv4;
export const isIPv6: Net['isIPv6'] = net.isIPv6;
export const promises: Net['promises'] = net.promises;
export const setDefaultAutoSelectFamily: Net['setDefaultAutoSelectFamily'] = net.setDefaultAutoSelectFamily;
export const setDefaultAutoSelectFamilyAttemptTimeout: Net['setDefaultAutoSelectFamilyAttemptTimeout'] =
  net.setDefaultAutoSelectFamilyAttemptTimeout;
export const setDefaultHappyEyeballs: typeof net.setDefaultHappyEyeballs = net.setDefaultHappyEyeballs;
export const socketpair: Net['socketpair'] = net.socketpair;

export default net;
/** `require('millrace')` gives the same object as `import net from 'millrace'`. */
export { net as 'module.exports' };
