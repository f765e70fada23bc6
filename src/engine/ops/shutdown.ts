/**
 * shutdown(2) of the sending side: the peer reads the end of the stream. It follows the last send's completion, so
 * nothing is overtaken.
 *
 * It is not submitted: io_uring has this operation done by a worker thread of the kernel (it is always forced to be
 * asynchronous), while the call itself never blocks. The turn makes the call and completes it like any other operation,
 * when the ticks of the present owner have run.
 */
import { SHUT_WR, USER_OP } from '../abi.ts';
import type { Connection } from '../connection.ts';

export function submitShutdown(connection: Connection): void {
  connection.begin();
  connection.turn.completeLater(connection, USER_OP.SHUTDOWN);
}

export function completeShutdown(connection: Connection): void {
  const { isClosing, turn } = connection;
  if (!isClosing) turn.ring.native.shutdown(connection.fd, SHUT_WR); // ENOTCONN after a reset is told by the read side
  connection.end();
  if (!isClosing) connection.onShutdown();
}
