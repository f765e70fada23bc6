/** Servers and clients of `tls` that go away with their test; of the module under test, or of Node's own. */
import nodeNet, { type AddressInfo } from 'node:net';
import type nodeTls from 'node:tls';
import tls, { engine } from 'millrace/tls';
import { authority } from './authority.ts';
import { keep, limit, once, type Stage, take } from './net.ts';

export type Tls = typeof nodeTls;

const made = authority();
export const needsOpenssl = { ...limit, skip: made === undefined && 'no openssl here' };
/** For what Node's own TLS does otherwise. */
export const needsOwn = { ...needsOpenssl, skip: needsOpenssl.skip || (engine === 'node' && "Node's own TLS") };
/** Only to be used in tests with `needsOpenssl`. */
export const certificates: NonNullable<typeof made> = made as NonNullable<typeof made>;

/** Of ours and Node's own, who is server and client; as a title has it. */
export function castings(own: Tls, node: Tls): [string, Tls, Tls][] {
  return [
    ['both ends', own, own],
    ['the server', own, node],
    ['the client', node, own],
  ];
}

/** A listening server on 127.0.0.1 with the certificate for localhost unless others are given. */
export async function secure(
  t: Stage,
  options: nodeTls.TlsOptions = {},
  listener: (socket: nodeTls.TLSSocket) => void = () => {},
  module: Tls = tls,
): Promise<nodeTls.Server> {
  const server = module.createServer({ ...certificates.server, ...options }, listener);
  // Not the plain sockets inside: Node 20 and 24 crash when one is destroyed under its TLS socket in the handshake.
  t.after(() => void server.close());
  server.on('secureConnection', (socket) => keep(t, socket).on('error', () => {}));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return server;
}

/** A client on its way, which trusts our authority and expects localhost unless told otherwise. */
export function securing(
  t: Stage,
  server: nodeTls.Server,
  options: nodeTls.ConnectionOptions = {},
  module: Tls = tls,
): nodeTls.TLSSocket {
  const { port } = server.address() as AddressInfo;
  const to = options.socket ? {} : { host: '127.0.0.1', port };
  return keep(t, module.connect({ ...to, servername: 'localhost', ca: certificates.ca, ...options }));
}

/** A client whose handshake is done. */
export async function secured(...args: Parameters<typeof securing>): Promise<nodeTls.TLSSocket> {
  const socket = securing(...args);
  await once(socket, 'secureConnect');
  return socket;
}

/** The error that ends a client's handshake. */
export async function refused(...args: Parameters<typeof securing>): Promise<NodeJS.ErrnoException> {
  const [error] = await once(securing(...args), 'error');
  return error as NodeJS.ErrnoException;
}

/** The first flight of a client, as it goes over the wire. */
export async function helloOf(t: Stage): Promise<Buffer> {
  const listener = nodeNet.createServer().listen(0, '127.0.0.1');
  t.after(() => void listener.close());
  await once(listener, 'listening');
  const accepted = once(listener, 'connection');
  const client = securing(t, listener as never).on('error', () => {});
  const [peer] = (await accepted) as [nodeNet.Socket];
  const [first] = await once(peer, 'data');
  const length = 5 + (first as Buffer).readUInt16BE(3);
  const hello =
    (first as Buffer).length >= length ? first : Buffer.concat([first, await take(peer, length - first.length)]);
  peer.destroy();
  client.destroy();
  return hello;
}
