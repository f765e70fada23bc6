/** What tests of sessions share: servers and clients that go away with their test, and raw peers. */
import type { Socket } from 'node:net';
import { type Codec, lines } from 'millrace/framing';
import {
  type DialOptions,
  dial,
  type Refusal,
  type ServeOptions,
  type Session,
  type SessionCloseReason,
  type SessionHandler,
  type SessionServer,
  serve,
} from 'millrace/session';
import { dialling as diallingRaw, type Stage, until, within } from '../../support/net.ts';

export { limit, settled, turns, until, within } from '../../support/net.ts';

/** Text lines: easy to write and to read on the wire. */
export const text = lines({ maxFrameBytes: 1024 * 1024 }).utf8();

export type Serving<In, Out> = {
  readonly server: SessionServer<In, Out>;
  readonly port: number;
  /** In the order in which they began. */
  readonly sessions: Session<In, Out>[];
  readonly refusals: Refusal[];
  readonly reasons: SessionCloseReason[];
  readonly errors: unknown[];
  /** The reason of the next session that is over. */
  closed(): Promise<SessionCloseReason>;
};

/** A server whose sessions, refusals, reasons and errors are kept, closed after the test. */
export async function serving<In = string, Out = In>(
  t: Stage,
  handler: SessionHandler<In, Out>,
  options: Partial<ServeOptions<In, Out>> = {},
): Promise<Serving<In, Out>> {
  const sessions: Session<In, Out>[] = [];
  const refusals: Refusal[] = [];
  const reasons: SessionCloseReason[] = [];
  const errors: unknown[] = [];
  const server = await serve<In, Out>(
    {
      codec: text as unknown as Codec<In, Out>,
      ...(options.path === undefined && { port: 0, host: '127.0.0.1' }),
      onRefused: (refusal) => refusals.push(refusal),
      onClosed: (_, reason) => reasons.push(reason),
      onError: (error) => errors.push(error),
      ...options,
    },
    (session) => {
      sessions.push(session);
      return handler(session);
    },
  );
  t.after(async () => {
    for (const session of server.sessions()) session.abort();
    await within(server.close(), 'closing the server');
  });
  let seen = 0;
  return {
    ...{ server, port: server.port as number, sessions, refusals, reasons, errors },
    async closed() {
      const index = seen++;
      await until(() => reasons.length > index, 'a session is over');
      return reasons[index] as SessionCloseReason;
    },
  };
}

/** A session of a client, aborted after the test. */
export async function dialling<In = string, Out = In>(
  t: Stage,
  to: { port: number },
  options: Partial<DialOptions<In, Out>> = {},
): Promise<Session<In, Out>> {
  const session = await dial<In, Out>({
    codec: text as unknown as Codec<In, Out>,
    ...{ port: to.port, host: '127.0.0.1' },
    ...options,
  });
  t.after(() => session.abort());
  return session;
}

export interface RawPeer {
  readonly socket: Socket;
  /** All that was received, as latin1. */
  received(): string;
  /** What became of it: `end` (FIN), then `close`; or `reset`. */
  readonly events: string[];
  /** Waits until so much was received. */
  has(expected: string): Promise<void>;
  /** Waits until it is over. @returns `received()` */
  over(): Promise<string>;
}

/** A peer that speaks bytes. It stays half open unless told otherwise, and reads unless it is paused. */
export async function raw(t: Stage, to: { port: number }, options: { reads?: boolean } = {}): Promise<RawPeer> {
  const socket = diallingRaw(t, { port: to.port, host: '127.0.0.1' }, { allowHalfOpen: true });
  let received = '';
  const events: string[] = [];
  if (options.reads !== false) socket.on('data', (chunk: Buffer) => (received += chunk.toString('latin1')));
  socket.on('end', () => events.push('end'));
  socket.on('error', (error: NodeJS.ErrnoException) =>
    events.push(error.code === 'ECONNRESET' ? 'reset' : String(error.code)),
  );
  socket.on('close', () => events.push('close'));
  // One that is refused may be reset before it is connected.
  await until(() => !socket.connecting || events.length > 0, 'connected');
  return {
    socket,
    events,
    received: () => received,
    has: (expected) => until(() => received.includes(expected), `the peer has received ${JSON.stringify(expected)}`),
    async over() {
      await until(() => events.includes('close') || events.includes('end'), 'the connection is over');
      return received;
    },
  };
}
