/** Both ends of secure connections of the direct tier: ours, and those of node:tls. */
import type { Socket } from 'node:net';
import nodeTls, { type ConnectionOptions, type TLSSocket } from 'node:tls';
import { type Connection, type ConnectOptions, connect, type ListenOptions, type Server } from 'millrace/direct';
import { keep, once, type Stage, until, within } from '../../support/net.ts';
import { certificates } from '../../support/tls.ts';
import { serve } from './direct.ts';

type TlsServerOptions = NonNullable<ListenOptions['tls']>;
type TlsClientOptions = Exclude<NonNullable<ConnectOptions['tls']>, true>;

/** What `handshakeError` was told. */
export type Refused = { errors: NodeJS.ErrnoException[]; server: Server };

/** A server with the certificate for localhost unless another is given. */
export async function serveTls<Data = unknown>(
  t: Stage,
  options: ListenOptions<Data> = {},
  tls: TlsServerOptions = {},
): Promise<Refused & { server: Server<Data> }> {
  const errors: NodeJS.ErrnoException[] = [];
  const own = tls.secureContext === undefined && tls.pfx === undefined ? certificates.server : {};
  const server = await serve<Data>(
    t,
    Object.assign(options, {
      tls: { ...own, ...tls },
      handshakeError: (error: Error) => void errors.push(error),
    }),
  );
  return { server, errors };
}

const portOf = (server: Server): number => server.port as number;

/** A client of ours that trusts our authority and expects localhost. Terminated after the test. */
export async function dialTls<Data = unknown>(
  t: Stage,
  port: number | Server,
  tls: TlsClientOptions | true = {},
  options: ConnectOptions<Data> = {},
): Promise<Connection<Data>> {
  const own = tls === true ? true : { ca: certificates.ca, servername: 'localhost', ...tls };
  const where = { port: typeof port === 'number' ? port : portOf(port), hostname: '127.0.0.1' };
  const connection = await within(connect<Data>({ ...where, ...options, tls: own }), 'the connection');
  t.after(async () => {
    connection.terminate();
    await until(() => connection.isClosed, 'the end of the connection');
  });
  return connection;
}

/** A client of node:tls on its way. */
export function peerTls(t: Stage, server: Server, options: ConnectionOptions = {}): TLSSocket {
  const to = options.socket ? {} : { host: '127.0.0.1', port: portOf(server) };
  return keep(t, nodeTls.connect({ ...to, servername: 'localhost', ca: certificates.ca, ...options }));
}

/** One whose handshake is done. */
export async function peered(...args: Parameters<typeof peerTls>): Promise<TLSSocket> {
  const socket = peerTls(...args);
  await once(socket, 'secureConnect');
  socket.on('error', () => {});
  return socket;
}

/** A server of node:tls. */
export async function nodeServer(
  t: Stage,
  options: nodeTls.TlsOptions = {},
  listener: (socket: TLSSocket) => void = () => {},
): Promise<number> {
  const server = nodeTls.createServer({ ...certificates.server, ...options }, listener);
  // Not the plain sockets inside: Node 20 and 24 crash when one is destroyed under its TLS socket in the handshake.
  t.after(() => void server.close());
  server.on('secureConnection', (socket) => keep(t, socket).on('error', () => {}));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return (server.address() as { port: number }).port;
}

/** That a socket is at its end, whichever way. */
export const gone = (socket: Socket): Promise<void> => until(() => socket.closed, 'the end of a socket');
