/**
 * Which connections `server.closeIdleConnections()` may close. Node's http server knows where a request ends; raw TCP has
 * no such thing, so idle means: nobody would lose a byte that is here. Nothing that was received waits to be read, in
 * the stream or in the kernel; nothing that was written waits to be sent; and the program has not corked the socket,
 * which is how it can say "I am about to answer".
 */
import type { SocketClass } from './socket.ts';
import { kOnRead } from './symbols.ts';

export function isIdle(socket: SocketClass): boolean {
  const handle = socket._handle;
  if (handle === null) return false;
  const hasToRead = socket.readableLength > 0 || socket[kOnRead]?.hasRest === true || handle.unread > 0;
  const hasToSend = socket.writableLength > 0 || socket.writableCorked > 0 || handle.writeQueueSize > 0;
  return !hasToRead && !hasToSend;
}
