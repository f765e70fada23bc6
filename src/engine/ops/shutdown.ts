/** shutdown(2) of the sending side: the peer reads the end of the stream. Out: `res` is 0 or `-errno`. */
import { OP, SHUT_WR, USER_OP, USER_OP_SHIFT } from '../abi.ts';
import type { Connection } from '../connection.ts';

export function submitShutdown(connection: Connection): void {
  const userLow = connection.slot | (USER_OP.SHUTDOWN << USER_OP_SHIFT);
  connection.turn.ring.push(OP.SHUTDOWN, connection.fd, 0, 0, SHUT_WR, 0, userLow, connection.generation, 0);
  connection.begin();
}

export function completeShutdown(connection: Connection, res: number): void {
  connection.end();
  if (!connection.isClosing) connection.onShutdown(-res);
}
