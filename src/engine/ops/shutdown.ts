/**
 * shutdown(2) of the sending side: the peer reads the end of the stream. It follows the last send's completion, so
 * nothing is overtaken.
 *
 * A no-op goes through the ring, and the call is made when that completes: io_uring would have the operation done by a
 * worker thread of the kernel (it is always forced to be asynchronous), while the call itself never blocks. So the owner
 * knows before any completion that the FIN causes at the other end, should that be in this process, too.
 */
import { OP, SHUT_WR, USER_OP, USER_OP_SHIFT } from '../abi.ts';
import type { Connection } from '../connection.ts';

export function submitShutdown(connection: Connection): void {
  const userLow = connection.slot | (USER_OP.SHUTDOWN << USER_OP_SHIFT);
  connection.turn.ring.push(OP.NOP, -1, 0, 0, 0, 0, userLow, connection.generation, 0);
  connection.begin();
}

export function completeShutdown(connection: Connection): void {
  const { isClosing, turn } = connection;
  if (!isClosing) turn.ring.native.shutdown(connection.fd, SHUT_WR); // ENOTCONN after a reset is told by the read side
  connection.end();
  if (!isClosing) connection.onShutdown();
}
