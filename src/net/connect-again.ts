/**
 * `connect()` on a socket that has a connection, or is getting one: Node hands the call to the same descriptor, and what
 * comes of it is what the kernel and libuv answer. They answer the same on every Node line.
 */
import { ERRNO } from '../engine/abi.ts';
import type { IpAddress } from '../engine/address.ts';
import { hostPortException } from './errors.ts';
import type { Handle } from './handle.ts';
import type { Socket } from './socket.ts';
import { kAdopt, kBound } from './symbols.ts';

/** The handle of a connection that stands, or of an attempt under way. */
export function standingHandle(socket: Socket): Handle | null {
  const handle = socket._handle;
  const isWaiting = socket[kBound]?.isUsed === false; // a BoundSocket's, and this is the first attempt
  return handle !== null && handle.fd >= 0 && !isWaiting ? handle : null;
}

/** The second call, after its 'connectionAttempt'. */
export function connectAgain(
  socket: Socket,
  handle: Handle,
  address: string,
  port: number | undefined,
  family: number | undefined,
): void {
  if (handle.isUnix) {
    // libuv forgets the first attempt, and tells the error of a pipe's connect later.
    handle.onConnected = null;
    const error = hostPortException(handle.isPipe ? ERRNO.ENOTSOCK : ERRNO.EISCONN, 'connect', address, port);
    setImmediate(() => {
      if (socket.destroyed) return;
      socket.emit('connectionAttemptFailed', address, port, family, error);
      socket.destroy(error);
    });
  } else if (port !== undefined && handle.mayConnectAgain) {
    // connect(2) of a descriptor whose connection came about meanwhile (EINPROGRESS) says 0 once more, wherever it is to
    // go: the connection stays, and is announced again.
    handle.mayConnectAgain = false;
    setImmediate(() => {
      if (socket.connecting && socket._handle === handle) socket[kAdopt](handle);
    });
  } else {
    const errno = port === undefined ? ERRNO.EINVAL : handle.isConnecting ? ERRNO.EALREADY : ERRNO.EISCONN;
    handle.turn.ring.enter(); // the first attempt may not have begun: it has a local address after that
    const local: Partial<IpAddress> = {};
    handle.getsockname(local);
    socket.destroy(hostPortException(errno, 'connect', address, port, `${local.address}:${local.port}`));
  }
}
