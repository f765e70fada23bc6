/**
 * The types that `millrace` shows: Node's, as @types/node has them, with what is ours added. Each can stand where Node's
 * is expected.
 */
import type nodeNet from 'node:net';
import type { TcpInfo } from '../engine/tcp-info.ts';
import type { BlockListConstructor, CompleteBlockList } from './block-list.ts';
import type { HappyEyeballs } from './defaults.ts';
import type { SocketPairOptions } from './pair.ts';
import type { NetPromises } from './promises.ts';
import type { AttachOptions, ServerTicket, SocketTicket, Ticket } from './ticket.ts';

export type { AttachOptions, HappyEyeballs, ServerTicket, SocketTicket, TcpInfo, Ticket };

/** Node's `net.BlockList`, as its newest line has it. */
export type BlockList = CompleteBlockList;

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

/** Node's `net.Socket`, and ours. */
export interface Socket extends nodeNet.Socket {
  /**
   * How long sent bytes may stay unacknowledged before the kernel gives the connection up (tcp(7), TCP_USER_TIMEOUT), in
   * milliseconds; 0 is the system's default. Before the connection stands it is remembered. Ours.
   * @throws {ERR_OUT_OF_RANGE} not an integer from 0 to 2147483647
   */
  setUserTimeout(ms: number): this;
  /** What the kernel knows of a TCP connection (tcp(7), TCP_INFO), or `undefined` if there is none. Ours. */
  tcpInfo(): TcpInfo | undefined;
}

/** What a server emits: its sockets are ours. */
export interface ServerEventMap extends Omit<nodeNet.ServerEventMap, 'connection'> {
  connection: [socket: Socket];
}

/** Node's `net.Server`, its additions of later lines, and ours. */
export interface Server extends nodeNet.Server {
  on<E extends keyof ServerEventMap>(eventName: E, listener: (...args: ServerEventMap[E]) => void): this;
  // biome-ignore lint/suspicious/noExplicitAny: as @types/node has it
  on(eventName: string | symbol, listener: (...args: any[]) => void): this;
  once<E extends keyof ServerEventMap>(eventName: E, listener: (...args: ServerEventMap[E]) => void): this;
  // biome-ignore lint/suspicious/noExplicitAny: as @types/node has it
  once(eventName: string | symbol, listener: (...args: any[]) => void): this;

  /** In a worker of a cluster: connections over `maxConnections` are dropped, not given to another worker. */
  dropMaxConnection: boolean | undefined;

  /**
   * Connections as they come, from the call on. Ends when the server emits 'close', throws what it emits as 'error'.
   * Connections that come while the loop's body runs wait in memory. Leaving the loop leaves the server as it is, and
   * what waited is open and in nobody's hands: `closeAllConnections()` reaches it.
   * @see https://nodejs.org/api/net.html#serversymbolasynciterator
   */
  [Symbol.asyncIterator](): AsyncIterableIterator<Socket, undefined, void>;

  /** Destroys every connection that was accepted and still exists; also after `close()`. Ours, named as `http.Server`'s. */
  closeAllConnections(): void;

  /**
   * Destroys every connection on which nothing is under way: all that was received has been read (also what waits in the
   * kernel), all that was written has been sent, and the socket is not corked. What a program still computes can't be
   * seen: who answers later corks the socket until it does. Also after `close()`. Ours, named as `http.Server`'s.
   */
  closeIdleConnections(): void;
}

/** `net.Socket` as a value. */
export type SocketConstructor = Omit<typeof nodeNet.Socket, 'prototype'> & {
  new (options?: nodeNet.SocketConstructorOpts): Socket;
  readonly prototype: Socket;
};

/** `net.Server` as a value. */
export type ServerConstructor = Omit<typeof nodeNet.Server, 'prototype'> & {
  new (connectionListener?: (socket: Socket) => void): Server;
  new (options?: nodeNet.ServerOpts, connectionListener?: (socket: Socket) => void): Server;
  readonly prototype: Server;
};

interface Connect {
  (options: nodeNet.TcpNetConnectOpts & HappyEyeballsOptions, connectionListener?: () => void): Socket;
  (options: nodeNet.NetConnectOpts, connectionListener?: () => void): Socket;
  (port: number, host?: string, connectionListener?: () => void): Socket;
  (path: string, connectionListener?: () => void): Socket;
}

interface Ours {
  readonly BlockList: BlockListConstructor;
  readonly Socket: SocketConstructor;
  readonly Stream: SocketConstructor;
  readonly Server: ServerConstructor;
  readonly connect: Connect;
  readonly createConnection: Connect;
  createServer(connectionListener?: (socket: Socket) => void): Server;
  createServer(options?: nodeNet.ServerOpts, connectionListener?: (socket: Socket) => void): Server;

  /** @see https://nodejs.org/api/net.html#netpromises-api */
  readonly promises: NetPromises<Socket, Server>;

  /**
   * Two sockets of AF_UNIX that are connected with each other; both begin without reading.
   * @throws {ERR_INVALID_ARG_TYPE}, {ERR_FEATURE_UNAVAILABLE_ON_PLATFORM}, and the errors of socketpair(2)
   */
  socketpair(options?: SocketPairOptions): [Socket, Socket];

  /**
   * Takes a connection or a listening socket away from this thread, without closing it: all that was written is sent
   * first, what was received and not read goes with the ticket, which any thread of this process can `attach`. The object
   * given is over: 'close' is emitted. A server's connections stay where they are.
   * @throws {MILLRACE_ERR_DETACH} what is given can't be handed over; `message` says why
   * @throws {ERR_SOCKET_CLOSED} it was destroyed before all was sent
   */
  detach(socket: nodeNet.Socket): Promise<SocketTicket>;
  detach(server: nodeNet.Server): Promise<ServerTicket>;

  /**
   * Makes a socket or a server of a ticket, in whichever thread it came to.
   * @throws {MILLRACE_ERR_TICKET} it is not a ticket, or was used already
   */
  attach(ticket: SocketTicket, options?: AttachOptions): Socket;
  attach(ticket: ServerTicket, options?: AttachOptions): Server;
  attach(ticket: Ticket, options?: AttachOptions): Socket | Server;

  /**
   * Closes what a ticket stands for, if nobody wants it.
   * @throws {MILLRACE_ERR_TICKET} it is not a ticket, or was used already
   */
  discard(ticket: Ticket): void;
}

/** All that `millrace` exports, but for the name of the engine. */
export type Net = Omit<typeof nodeNet, keyof Ours> & Ours;
