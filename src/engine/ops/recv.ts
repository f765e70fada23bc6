/**
 * recv(2), multishot with provided buffers (Linux 6.0): armed once, a completion for every piece that arrives.
 *
 * In:  a connected descriptor. Out: `res` bytes in the buffer whose id stands in the flags; 0 is the peer's FIN.
 * Without `CQE_F.MORE` the operation is over and, if its owner still wants bytes, armed again. No bundles: kernels
 * 6.13.11 to 6.14.8 deliver them out of order (liburing issues 1409 and 1423). Pipes know no recv(2): read(2) there.
 *
 * A descriptor that somebody else opened may be O_NONBLOCK, and may have to stay so, since the flag belongs to all who
 * share the open file. io_uring then says EAGAIN instead of waiting: a poll waits, and the receive follows it.
 */
import { CQE_BUFFER_SHIFT, CQE_F, ERRNO, OP, POLL, RECV_MULTISHOT, SQE_F, USER_OP, USER_OP_SHIFT } from '../abi.ts';
import { BUFFER_GROUP } from '../buffers.ts';
import type { Connection } from '../connection.ts';
import { LARGE_BUFFER_GROUP, type LargeBuffers } from '../large-buffers.ts';

const RECV = OP.RECV | (SQE_F.BUFFER_SELECT << 8);
const READ = OP.READ | (SQE_F.BUFFER_SELECT << 8);
const RECV_AGAIN_AND_AGAIN = RECV | (RECV_MULTISHOT << 16);

/**
 * How many bytes one submission may bring: what can still come after the owner has said stop. Without it a fast sender
 * would fill every buffer of the thread before the cancellation is seen.
 */
const MOST_BYTES = 65536;

/**
 * A receive that fills a small buffer is followed by receives into large ones, until two in a row bring less than a small
 * one holds: the first may only have brought the rest of a message whose beginning is in the small buffer.
 */
const LARGE_RECEIVES = 2;

/** @hot */
export function submitRecv(connection: Connection): void {
  const { turn } = connection;
  const { ring } = turn;
  connection.isReceiving = true;
  connection.inFlight++;
  connection.isLarge = connection.largeReceives > 0 && !connection.isDry && turn.large !== null;
  if (connection.isLarge) {
    const userLow = connection.slot | (USER_OP.RECV_LARGE << USER_OP_SHIFT);
    const operation = connection.isPipe ? READ : RECV;
    ring.push(operation, connection.fd, 0, 0, 0, 0, userLow, connection.generation, LARGE_BUFFER_GROUP);
    return;
  }
  // A multishot receive may miss the end of a unix socket's stream (liburing issue 1549): one shot at a time there. The
  // same where it can't be limited (before Linux 6.17) and the peer has just sent more than one buffer holds.
  const isSingle = connection.isUnix || (connection.isFlooded && !ring.limitsReceive);
  const operation = !isSingle ? RECV_AGAIN_AND_AGAIN : connection.isPipe ? READ : RECV;
  const limit = !isSingle && ring.limitsReceive ? MOST_BYTES : 0;
  const userLow = connection.slot | (USER_OP.RECV << USER_OP_SHIFT);
  if (connection.isDry) ring.push(OP.POLL_ADD, connection.fd, 0, 0, 0, POLL.IN, userLow, connection.generation, 0);
  else ring.push(operation, connection.fd, 0, 0, 0, 0, userLow, connection.generation, BUFFER_GROUP, limit);
}

/** Ends the receive that is armed; bytes that are on their way already still arrive. */
export function cancelRecv(connection: Connection): void {
  if (connection.isCancellingRecv) return;
  connection.isCancellingRecv = true;
  connection.cancel(connection.isLarge ? USER_OP.RECV_LARGE : USER_OP.RECV);
}

/** @hot */
export function completeRecv(connection: Connection, res: number, flags: number): void {
  if ((flags & CQE_F.MORE) === 0) disarmed(connection);
  const { turn } = connection;
  if (flags & CQE_F.BUFFER) turn.buffers.lent++;
  if (res === -ERRNO.ENOBUFS && !connection.isClosing) {
    turn.starve(connection); // no buffer was left: nothing is wrong
    return;
  }
  const isPolled = connection.isDry;
  connection.isDry = res === -ERRNO.EAGAIN;
  try {
    if (isPolled && res > 0) return; // something is there: finally, the receive
    if (res > 0) {
      connection.isFlooded = res === turn.buffers.bufferBytes;
      connection.largeReceives = connection.isFlooded ? LARGE_RECEIVES : 0;
      if (!connection.isClosing)
        connection.onData(turn.buffers, (flags >>> CQE_BUFFER_SHIFT) * turn.buffers.bufferBytes, res);
    } else if (!connection.isClosing) {
      finish(connection, res);
    }
  } finally {
    // Also when a listener threw: the connection lives on.
    if (flags & CQE_F.BUFFER) turn.buffers.give(flags >>> CQE_BUFFER_SHIFT);
    connection.rearm();
  }
}

/** @hot */
export function completeLargeRecv(connection: Connection, res: number, flags: number): void {
  disarmed(connection);
  const { turn } = connection;
  const large = turn.large as LargeBuffers;
  if (flags & CQE_F.BUFFER) large.lent++;
  connection.isDry = res === -ERRNO.EAGAIN;
  if (res >= turn.buffers.bufferBytes) connection.largeReceives = LARGE_RECEIVES;
  else if (res > 0) connection.largeReceives--;
  if (res === -ERRNO.ENOBUFS && !connection.isClosing) {
    large.grow();
    connection.largeReceives = 0; // meanwhile a small one does
    connection.rearm();
    return;
  }
  try {
    if (res > 0) {
      if (!connection.isClosing) connection.onLargeData(large, flags >>> CQE_BUFFER_SHIFT, res);
    } else if (!connection.isClosing) {
      finish(connection, res);
    }
  } finally {
    if (flags & CQE_F.BUFFER) large.give(flags >>> CQE_BUFFER_SHIFT);
    connection.rearm();
  }
}

/** @hot */
function disarmed(connection: Connection): void {
  connection.isReceiving = false;
  connection.isCancellingRecv = false;
  connection.inFlight--;
}

function finish(connection: Connection, res: number): void {
  if (res === -ERRNO.ECANCELED || res === -ERRNO.EINTR || res === -ERRNO.EAGAIN) return;
  connection.wantRead(false);
  if (res === 0) connection.onEnd();
  else connection.onReadError(-res);
}
