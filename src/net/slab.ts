/**
 * What a socket's user gets to see of a receive buffer: a copy, since the buffer goes back to the kernel at once. Small
 * pieces are cut from a slab; a piece that is kept for long keeps no more than one slab alive, so slabs are small.
 */
import type { ReceiveBuffers } from '../engine/buffers.ts';
import { builtins } from '../engine/builtins.ts';

const SLAB_BYTES = 8192;
/** Larger pieces get memory of their own. */
const MOST_SHARED_BYTES = 2048;
/** Up to here a loop over words is faster than a call of `TypedArray.prototype.set` and a view to give it. */
const MOST_LOOPED_BYTES = 256;

/**
 * Memory that several chunks share must not be transferred with one of them: the others would be empty. Node marks the
 * pool of `Buffer.from` for the same reason.
 */
function freshSlab(): Buffer {
  const fresh = Buffer.allocUnsafeSlow(SLAB_BYTES);
  builtins.workerThreads.markAsUntransferable(fresh.buffer);
  return fresh;
}

// The first slab comes with the first piece.
let slab: Buffer = Buffer.alloc(0);
let slabWords: Int32Array = new Int32Array(0);
let used = SLAB_BYTES;

/** @hot */
export function copyOut(buffers: ReceiveBuffers, start: number, length: number): Buffer {
  if (length > MOST_SHARED_BYTES) {
    const own = Buffer.allocUnsafeSlow(length);
    buffers.memory.copy(own, 0, start, start + length);
    return own;
  }
  if (used + length > SLAB_BYTES) {
    slab = freshSlab();
    slabWords = new Int32Array(slab.buffer);
    used = 0;
  }
  const at = used;
  used = (at + length + 7) & ~7;
  if (length <= MOST_LOOPED_BYTES) {
    const { words } = buffers;
    const end = (start + length + 3) >>> 2;
    for (let from = start >>> 2, to = at >>> 2; from < end; from++, to++) slabWords[to] = words[from] as number;
  } else {
    buffers.memory.copy(slab, at, start, start + length);
  }
  return slab.subarray(at, at + length);
}
