/**
 * io_uring_prep_cancel(3), by `user_data`. Its own result says little (the operation may have completed meanwhile, and
 * the order of the two completions is not fixed): only the end of the cancelled operation counts.
 */
import { USER_OP, USER_OP_SHIFT } from '../abi.ts';
import type { Turn } from '../turn.ts';

export function submitCancel(turn: Turn, fd: number, slot: number, generation: number, operation: number): void {
  const target = slot | (operation << USER_OP_SHIFT);
  turn.ring.pushCancel(fd, target, generation, slot | (USER_OP.CANCEL << USER_OP_SHIFT), generation);
}
