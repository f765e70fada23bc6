/**
 * What the tests of the direct tier share: servers and connections that go away with their test, peers of node:net (so that
 * never both ends of a conversation are ours), and a book in which handlers write what they were told.
 */
import net, { type Socket } from 'node:net';
import {
  type CloseReason,
  type Connection,
  type ConnectOptions,
  connect,
  type Handlers,
  type ListenOptions,
  listen,
  type Server,
} from 'millrace/direct';
import { keep, once, type Stage, until, within } from '../../support/net.ts';

/** A server that is terminated after the test. Port 0 of 127.0.0.1 unless told otherwise. */
export async function serve<Data = unknown>(t: Stage, options: ListenOptions<Data> = {}): Promise<Server<Data>> {
  const isElsewhere = options.path !== undefined || options.fd !== undefined || options.port !== undefined;
  const server = await listen<Data>(isElsewhere ? options : Object.assign(options, { port: 0, hostname: '127.0.0.1' }));
  t.after(async () => {
    server.terminateAll();
    await within(server.close(), 'the end of the server');
  });
  return server;
}

/** Where to connect to reach a server. */
export function where(server: Server): { port: number; hostname: string } | { path: string } {
  const { address } = server;
  return typeof address === 'string' ? { path: address } : { port: address.port, hostname: '127.0.0.1' };
}

/** A connection of ours, terminated after the test. */
export async function dial<Data = unknown>(
  t: Stage,
  server: Server,
  options: ConnectOptions<Data> = {},
): Promise<Connection<Data>> {
  const connection = await within(connect<Data>(Object.assign(options, where(server))), 'the connection');
  t.after(async () => {
    connection.terminate();
    await until(() => connection.isClosed, 'the end of the connection');
  });
  return connection;
}

/** A peer: a socket of node:net that stays half-open, destroyed after the test. Its errors are nobody's business. */
export async function peer(t: Stage, server: Server, options: { paused?: boolean } = {}): Promise<Socket> {
  const { address } = server;
  const to = typeof address === 'string' ? { path: address } : { port: address.port, host: '127.0.0.1' };
  const socket = keep(t, net.connect({ ...to, allowHalfOpen: true, noDelay: true }));
  await once(socket, 'connect');
  socket.on('error', () => {});
  if (options.paused) socket.pause();
  return socket;
}

/** What handlers were told, in order. */
export class Book<Data = unknown> {
  readonly lines: string[] = [];
  readonly received: Buffer[] = [];
  readonly errors: unknown[] = [];
  reasons: CloseReason[] = [];
  connections: Connection<Data>[] = [];

  /** Handlers that write into the book, and then do what they are given. */
  handlers(more: Handlers<Data> = {}): Required<Omit<Handlers<Data>, 'timeout'>> {
    return {
      open: (c) => {
        this.connections.push(c);
        this.lines.push('open');
        more.open?.(c);
      },
      data: (c, view) => {
        this.received.push(Buffer.from(view));
        if (this.lines.at(-1) !== 'data') this.lines.push('data');
        more.data?.(c, view);
      },
      secure: (c) => {
        this.lines.push('secure');
        more.secure?.(c);
      },
      drain: (c) => {
        this.lines.push('drain');
        more.drain?.(c);
      },
      end: (c) => {
        this.lines.push('end');
        more.end?.(c);
      },
      close: (c, reason) => {
        this.reasons.push(reason);
        this.lines.push(`close:${reason.kind}`);
        more.close?.(c, reason);
      },
      error: (c, error) => {
        this.errors.push(error);
        this.lines.push('error');
        more.error?.(c, error);
      },
    };
  }

  get text(): string {
    return Buffer.concat(this.received).toString();
  }

  get bytes(): number {
    return this.received.reduce((sum, { length }) => sum + length, 0);
  }

  /** The first connection, when there is one. */
  async connection(): Promise<Connection<Data>> {
    await until(() => this.connections.length > 0, 'a connection');
    return this.connections[0] as Connection<Data>;
  }

  /** The first reason, when there is one. */
  async closed(): Promise<CloseReason> {
    await until(() => this.reasons.length > 0, `'close' after ${this.lines.join(' ')}`);
    return this.reasons[0] as CloseReason;
  }

  async until(line: string): Promise<void> {
    await until(() => this.lines.includes(line), `${line} after ${this.lines.join(' ')}`);
  }
}
