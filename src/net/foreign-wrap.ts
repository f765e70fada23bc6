/**
 * Node's own `tls` and `http2` take a socket of ours as any stream, and put a `JSStreamSocket` around it. With its own
 * sockets they take the handle over, so that the socket never sees the peer's FIN; ours does, and would end its writable
 * side by itself (`allowHalfOpen: false`) while the wrapper still has records to send. The wrapper ends the stream when
 * it is done.
 *
 * A wrapper is known by its 'end' listener, which tells the handle that the stream is over. Nothing public says so.
 * `allowHalfOpen` itself stays as it is until the FIN comes: the wrapper takes its own over from the socket.
 */

import type { EventEmitter } from 'node:events';

export function isWrapped(socket: EventEmitter): boolean {
  return socket.listeners('end').some((listener) => Function.prototype.toString.call(listener).includes('emitEOF'));
}
