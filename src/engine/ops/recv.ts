/**
 * recv(2), multishot with provided buffers (Linux 6.0): armed once, a completion for every piece that arrives.
 *
 * In:  a connected descriptor. Out: `res` bytes in the buffer whose id stands in the flags; 0 is the peer's FIN.
 * Without `CQE_F.MORE` the operation is over and, if its owner still wants bytes, armed again.
 */
import { CQE_BUFFER_SHIFT, CQE_F, ERRNO, OP, RECV_MULTISHOT, SQE_F, USER_OP, USER_OP_SHIFT } from '../abi.ts';
import { BUFFER_GROUP } from '../buffers.ts';
import type { Connection } from '../connection.ts';

const RECV = OP.RECV | (SQE_F.BUFFER_SELECT << 8);
const RECV_AGAIN_AND_AGAIN = RECV | (RECV_MULTISHOT << 16);

/**
 * How many bytes one submission may bring: what can still come after the owner has said stop. Without it a fast sender
 * would fill every buffer of the thread before the cancellation is seen.
 */
const MOST_BYTES = 65536;

/** @hot */
export function submitRecv(connection: Connection): void {
  const { ring } = connection.turn;
  // A multishot receive may miss the end of a unix socket's stream (liburing issue 1549): one shot at a time there. The
  // same where it can't be limited (before Linux 6.17) and the peer has just sent more than one buffer holds.
  const isSingle = connection.isUnix || (connection.isFlooded && !ring.limitsReceive);
  const operation = isSingle ? RECV : RECV_AGAIN_AND_AGAIN;
  const limit = !isSingle && ring.limitsReceive ? MOST_BYTES : 0;
  const userLow = connection.slot | (USER_OP.RECV << USER_OP_SHIFT);
  ring.push(operation, connection.fd, 0, 0, 0, 0, userLow, connection.generation, BUFFER_GROUP, limit);
  connection.isReceiving = true;
  connection.inFlight++;
}

/** Ends the receive that is armed; bytes that are on their way already still arrive. */
export function cancelRecv(connection: Connection): void {
  if (connection.isCancellingRecv) return;
  connection.isCancellingRecv = true;
  connection.cancel(USER_OP.RECV);
}

/** @hot */
export function completeRecv(connection: Connection, res: number, flags: number): void {
  if ((flags & CQE_F.MORE) === 0) {
    connection.isReceiving = false;
    connection.isCancellingRecv = false;
    connection.inFlight--;
  }
  if (res > 0) {
    const { buffers } = connection.turn;
    const id = flags >>> CQE_BUFFER_SHIFT;
    connection.isFlooded = res === buffers.bufferBytes;
    buffers.lent++;
    try {
      if (!connection.isClosing) connection.onData(buffers, id * buffers.bufferBytes, res);
    } finally {
      buffers.lent--;
      buffers.give(id);
    }
  } else {
    // The end of the stream may have taken a buffer too.
    if (flags & CQE_F.BUFFER) connection.turn.buffers.give(flags >>> CQE_BUFFER_SHIFT);
    if (!connection.isClosing) {
      if (res === -ERRNO.ENOBUFS) {
        connection.turn.starve(connection); // no buffer was left: nothing is wrong
        return;
      }
      if (res === 0) {
        connection.wantRead(false);
        connection.onEnd();
      } else if (res !== -ERRNO.ECANCELED && res !== -ERRNO.EINTR) {
        connection.wantRead(false);
        connection.onReadError(-res);
      }
    }
  }
  connection.rearm();
}
