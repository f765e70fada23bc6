/**
 * Sessions that know whose they are. A resumed session skips the host name check, so what a client is given as a session
 * names the server it was made with, and is used for no other; as Node does since its security releases of 2026.
 */
import type { ConnectionOptions } from './options.ts';

/** Node's own mark, so that either takes the other's. */
const PREFIX = Buffer.from('\0nodejs:tls:session:1\0');

interface Identity {
  servername?: string | undefined;
  host?: string | undefined;
  socket?: unknown;
  isServer?: boolean | undefined;
  rejectUnauthorized?: boolean | undefined;
}

/** The name that the certificate is checked against. */
export function serverIdentity(options: Identity): string {
  return options.servername || options.host || (options.socket as { _host?: string } | undefined)?._host || 'localhost';
}

export function wrapSession(session: Buffer, options: Identity): Buffer {
  const name = Buffer.from(serverIdentity(options));
  const length = Buffer.alloc(2);
  length.writeUInt16BE(name.length);
  return Buffer.concat([PREFIX, length, name, session]);
}

/** @returns what OpenSSL may resume; undefined if the session is another server's, or nobody's whom we would verify */
export function sessionForReuse(given: unknown, options: Identity | ConnectionOptions): Buffer | undefined {
  const session = typeof given === 'string' ? Buffer.from(given, 'latin1') : given;
  if (!Buffer.isBuffer(session)) return undefined;
  const start = PREFIX.length + 2;
  if (session.length < start || Buffer.compare(session.subarray(0, PREFIX.length), PREFIX) !== 0)
    return options.rejectUnauthorized === false ? session : undefined;
  const end = start + session.readUInt16BE(PREFIX.length);
  if (session.length < end) return undefined;
  return session.toString('utf8', start, end) === serverIdentity(options) ? session.subarray(end) : undefined;
}
