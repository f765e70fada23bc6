/**
 * `request.socket.remoteAddress` where Node puts a `JSStreamSocket` between a socket of ours and its TLS or HTTP/2: its
 * handle has no addresses. It gets those of the socket inside, as soon as it can be seen.
 */
import type { Server, Socket } from 'node:net';

const ENOTCONN = 107;

type NameGetter = (out: object) => number;
type Names = { getsockname?: NameGetter; getpeername?: NameGetter };
/** Node's wrapper: its handle is C++'s, the stream is what it wraps. */
interface Wrapper {
  _handle?: Names | null;
  stream?: { _handle?: Required<Names> | null };
}

interface Secure {
  _handle?: { _parentWrap?: Wrapper } | null;
}

export function lendAddresses(server: Server): void {
  // https, http2 and tls: the wrapper is what the TLS handle is around.
  server.prependListener('secureConnection', (secure: Secure) => lend(secure._handle?._parentWrap));
  // http2 without TLS: the session has the wrapper for its socket.
  server.prependListener('session', (session: { encrypted?: boolean; socket: Socket }) => {
    if (!session.encrypted) lend(session.socket as unknown as Wrapper);
  });
}

function lend(wrapper: Wrapper | undefined): void {
  const handle = wrapper?._handle;
  const inside = wrapper?.stream;
  if (handle == null || inside === undefined) return;
  handle.getsockname = (out) => inside._handle?.getsockname(out) ?? -ENOTCONN;
  handle.getpeername = (out) => inside._handle?.getpeername(out) ?? -ENOTCONN;
}
