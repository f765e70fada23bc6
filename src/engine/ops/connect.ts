/**
 * connect(2). In: a sockaddr, which lies in the send arena until the completion. Out: `res` is 0 or `-errno`.
 */
import { OP, USER_OP, USER_OP_SHIFT } from '../abi.ts';
import type { Connection } from '../connection.ts';

export function submitConnect(connection: Connection, sockaddr: Uint8Array): void {
  const { ring, arena } = connection.turn;
  const offset = arena.take();
  let address: number;
  if (offset >= 0) {
    arena.memory.set(sockaddr, offset);
    address = arena.addressOf(offset);
  } else {
    connection.pieces = Buffer.from(sockaddr); // all slots are taken: memory of its own, held until the completion
    address = ring.native.address(connection.pieces);
  }
  connection.sendSlot = offset; // nothing is sent before the connection stands
  const userLow = connection.slot | (USER_OP.CONNECT << USER_OP_SHIFT);
  ring.push(OP.CONNECT, connection.fd, sockaddr.length, address, 0, 0, userLow, connection.generation, 0);
  connection.begin();
}

export function completeConnect(connection: Connection, res: number): void {
  if (connection.sendSlot >= 0) connection.turn.arena.give(connection.sendSlot);
  connection.sendSlot = -1;
  connection.pieces = null;
  connection.end();
  if (!connection.isClosing) connection.onConnect(-res);
}
