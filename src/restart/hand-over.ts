/**
 * Established connections on their way to the next process: detached here, sent with what was read and not consumed, and
 * attached there. The peer sees nothing of it.
 */
import type { Server, Socket } from 'node:net';
import { attach, detach } from '../net/handover.ts';
import type { ServerClass } from '../net/server.ts';
import { SocketClass } from '../net/socket.ts';
import { openClaim, type SocketTicket } from '../net/ticket.ts';
import { RestartError } from './errors.ts';
import type { Peer, Received } from './peer.ts';

/** The next process, which serves already. */
export interface HandOver {
  /** Its process id. */
  readonly pid: number;
  /**
   * Hands a connection over: a plain one, of `millrace` (no TLS: its keys can't go along). It is over here at once; what was
   * written is sent first, what has come and was not read is read first there.
   * @param data what the next process has to know about it; anything that JSON can say
   * @throws {RestartError} PEER_LOST: the next process is gone, and the connection is closed
   * @throws {Error} `MILLRACE_ERR_DETACH`, as `net.detach`; the connection lives on
   */
  send(socket: Socket, data?: unknown): Promise<void>;
}

/**
 * Makes a connection that has come from the process before one of a server's: it counts among its connections, is drained
 * with them, and is given to its 'connection' listeners.
 * @throws {RestartError} MISUSE: the server is none of `millrace`, or the socket is over
 */
export function adopt(server: Server, socket: Socket): void {
  const own = server as unknown as Partial<Pick<ServerClass, '_adopt'>>; // also of a server that is mounted
  const it: unknown = socket;
  if (typeof own?._adopt !== 'function' || !(it instanceof SocketClass) || it.destroyed)
    throw new RestartError(
      'MISUSE',
      'adopt takes a server of millrace, and a socket that has come from the process before',
    );
  own._adopt(it);
}

/** A connection that has come from the process before. */
export type OnConnection = (socket: Socket, data: unknown) => void;

export class Connections implements HandOver {
  readonly pid: number;
  readonly #peer: Peer;
  count = 0;

  constructor(peer: Peer, pid: number) {
    this.#peer = peer;
    this.pid = pid;
  }

  async send(socket: Socket, data: unknown = null): Promise<void> {
    // Before the socket is gone: what can't be said must not end it.
    if (JSON.stringify(data) === undefined) throw new RestartError('BAD_OPTION', 'data has to be what JSON can say');
    const { fd, allowHalfOpen, isEnded, received } = (await detach(socket as never)) as SocketTicket;
    if (!this.#peer.say({ is: 'connection', allowHalfOpen, isEnded, data }, [fd], received))
      throw new RestartError('PEER_LOST', 'the next process is gone');
    this.count++;
    await this.#peer.room();
  }
}

/** The other half. @param received a message that says `connection` */
export function socketOf({ message, bytes, descriptors }: Received): { socket: Socket; data: unknown } {
  const { allowHalfOpen, isEnded, data } = message as Extract<Received['message'], { is: 'connection' }>;
  const ticket: SocketTicket = {
    ...{ kind: 'socket', fd: descriptors[0] as number, claim: openClaim() },
    ...{ allowHalfOpen, isEnded, received: bytes },
  };
  return { socket: attach(ticket, { pauseOnConnect: true }) as unknown as Socket, data };
}
