/**
 * millrace: the API of Node's `net` on an engine of its own. Every export has the name and the type of Node's;
 * `engine`, `engineReason` and the default of `happyEyeballs` are ours. Where there is no engine for this machine, it is Node's `net` itself.
 *
 * @see https://nodejs.org/api/net.html
 */
import nodeNet from 'node:net';
import { choice, type EngineName } from './engine/engine.ts';
import {
  additions,
  type BlockListConstructor,
  type CompleteBlockList,
  type HappyEyeballs,
  helpers,
  ownNet,
} from './net/net.ts';

export type * from 'node:net';
export type { EngineName, HappyEyeballs };

export type BlockList = CompleteBlockList;
export type Server = nodeNet.Server;
export type Socket = nodeNet.Socket;
export type SocketAddress = nodeNet.SocketAddress;

/** An option of `connect`, `createConnection` and `socket.connect` that is ours. */
export interface HappyEyeballsOptions {
  /**
   * Overlaps the attempts to connect to the addresses of a name, as RFC 8305 has it: after a delay (250 ms) the next
   * address is tried beside the one before, at once if that failed; the first connection wins and the others are closed.
   * Node's attempts are given up after `autoSelectFamilyAttemptTimeout` instead, which loses peers that are far away.
   *
   * All addresses of the name are tried; with `family` or `localAddress`, all of that family. There is no
   * 'connectionAttemptTimeout', since no attempt is given up: `timeout` or `signal` limit them all. If all fail, the
   * `AggregateError` has every error in the order of the attempts, and a message that lists them.
   *
   * `false` unless `setDefaultHappyEyeballs` says otherwise; without effect where the engine is `node`.
   *
   * @throws {ERR_INVALID_ARG_TYPE} neither a boolean nor an object
   * @throws {ERR_INVALID_ARG_VALUE} together with `autoSelectFamily: false`
   * @throws {ERR_OUT_OF_RANGE} a delay that is not from 10 to 2000 ms
   * @see https://www.rfc-editor.org/rfc/rfc8305
   */
  happyEyeballs?: boolean | HappyEyeballs | undefined;
}

type Connect = typeof nodeNet.connect &
  ((options: nodeNet.TcpNetConnectOpts & HappyEyeballsOptions, listener?: () => void) => nodeNet.Socket);

type Net = Omit<typeof nodeNet, 'BlockList' | 'connect' | 'createConnection'> & {
  BlockList: BlockListConstructor;
  connect: Connect;
  createConnection: Connect;
};

/** What runs underneath: `io_uring`, `epoll`, or `node` for Node's own sockets. */
export const engine: EngineName = choice.name;
/** Why, in a sentence. */
export const engineReason: string = choice.reason;

/** Types as members of the default export: `net.Socket`, `net.Server`, as with Node's. */
declare namespace net {
  export type AddressInfo = nodeNet.AddressInfo;
  export type BlockList = CompleteBlockList;
  export type IpcNetConnectOpts = nodeNet.IpcNetConnectOpts;
  export type IpcSocketConnectOpts = nodeNet.IpcSocketConnectOpts;
  export type IPVersion = nodeNet.IPVersion;
  export type ListenOptions = nodeNet.ListenOptions;
  export type LookupFunction = nodeNet.LookupFunction;
  export type NetConnectOpts = nodeNet.NetConnectOpts;
  export type OnReadOpts = nodeNet.OnReadOpts;
  export type Server = nodeNet.Server;
  export type ServerOpts = nodeNet.ServerOpts;
  export type Socket = nodeNet.Socket;
  export type SocketAddress = nodeNet.SocketAddress;
  export type SocketConnectOpts = nodeNet.SocketConnectOpts;
  export type SocketConstructorOpts = nodeNet.SocketConstructorOpts;
  export type SocketReadyState = nodeNet.SocketReadyState;
  export type TcpNetConnectOpts = nodeNet.TcpNetConnectOpts;
  export type TcpSocketConnectOpts = nodeNet.TcpSocketConnectOpts;
}

const net: Net & typeof additions & { readonly engine: EngineName; readonly engineReason: string } = Object.assign(
  {},
  choice.turn === null ? nodeNet : (ownNet as unknown as Net),
  helpers,
  additions,
  { engine, engineReason },
);

export const BlockList: Net['BlockList'] = net.BlockList;
export const Server: Net['Server'] = net.Server;
export const Socket: Net['Socket'] = net.Socket;
export const SocketAddress: Net['SocketAddress'] = net.SocketAddress;
export const Stream: Net['Socket'] = net.Socket;
export const connect: Net['connect'] = net.connect;
export const createConnection: Net['createConnection'] = net.createConnection;
export const createServer: Net['createServer'] = net.createServer;
export const getDefaultAutoSelectFamily: Net['getDefaultAutoSelectFamily'] = net.getDefaultAutoSelectFamily;
export const getDefaultAutoSelectFamilyAttemptTimeout: Net['getDefaultAutoSelectFamilyAttemptTimeout'] =
  net.getDefaultAutoSelectFamilyAttemptTimeout;
export const getDefaultHappyEyeballs: typeof net.getDefaultHappyEyeballs = net.getDefaultHappyEyeballs;
export const isIP: Net['isIP'] = net.isIP;
export const isIPv4: Net['isIPv4'] = net.isIPv4;
export const isIPv6: Net['isIPv6'] = net.isIPv6;
export const setDefaultAutoSelectFamily: Net['setDefaultAutoSelectFamily'] = net.setDefaultAutoSelectFamily;
export const setDefaultAutoSelectFamilyAttemptTimeout: Net['setDefaultAutoSelectFamilyAttemptTimeout'] =
  net.setDefaultAutoSelectFamilyAttemptTimeout;
export const setDefaultHappyEyeballs: typeof net.setDefaultHappyEyeballs = net.setDefaultHappyEyeballs;

export default net;
/** `require('millrace')` gives the same object as `import net from 'millrace'`. */
export { net as 'module.exports' };
