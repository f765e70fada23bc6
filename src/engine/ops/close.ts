/**
 * close(2), the last operation of an endpoint: it is submitted when no other is in flight, because closing a descriptor
 * does not end the operations on it (io_uring_cancelation(7)), and its number is reused at once.
 */
import { OP, USER_OP, USER_OP_SHIFT } from '../abi.ts';
import type { Turn } from '../turn.ts';

export function submitClose(turn: Turn, fd: number, slot: number, generation: number): void {
  turn.slots.forget(slot); // the submission closes it now, whoever else is told to close what is left
  turn.ring.push(OP.CLOSE, fd, 0, 0, 0, 0, slot | (USER_OP.CLOSE << USER_OP_SHIFT), generation, 0);
}
