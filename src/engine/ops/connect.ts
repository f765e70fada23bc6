/**
 * connect(2). In: a sockaddr, which lies in the send arena until the completion. Out: `res` is 0 or `-errno`.
 */
import { OP, USER_OP, USER_OP_SHIFT } from '../abi.ts';
import type { Connection } from '../connection.ts';

export function submitConnect(connection: Connection, sockaddr: Uint8Array): boolean {
  const { ring, arena } = connection.turn;
  const offset = arena.take();
  if (offset < 0) return false;
  arena.memory.set(sockaddr, offset);
  connection.sendSlot = offset; // nothing is sent before the connection stands
  const userLow = connection.slot | (USER_OP.CONNECT << USER_OP_SHIFT);
  ring.push(
    OP.CONNECT,
    connection.fd,
    sockaddr.length,
    arena.addressOf(offset),
    0,
    0,
    userLow,
    connection.generation,
    0,
  );
  connection.begin();
  return true;
}

export function completeConnect(connection: Connection, res: number): void {
  connection.turn.arena.give(connection.sendSlot);
  connection.sendSlot = -1;
  connection.end();
  if (!connection.isClosing) connection.onConnect(-res);
}
