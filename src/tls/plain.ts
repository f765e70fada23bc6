/**
 * Memory that records are decrypted into. A large piece is handed out where it lies, and the next goes behind it; a small one
 * is copied from there, so that a piece that is kept for long keeps no more than eight times its size alive.
 *
 * In: `room`, which the native part writes to. Out: `take`, to the stream. src/net/slab.ts does it for bytes that came plain.
 */
import { builtins } from '../engine/builtins.ts';
import { copyOut } from '../net/slab.ts';

const SLAB_BYTES = 65536;
/** RFC 8446, 5.1: the most that one record holds; less room is of no use. */
export const RECORD_BYTES = 16384;
const LEAST_HANDED_OUT = SLAB_BYTES / 8;
/**
 * V8 counts slabs, but they fill no part of its young generation: without other garbage, every 64 MB of them bring a full
 * collection, which costs more than the records do, where a young one would have freed them. Some words of garbage with each
 * slab let the young one come first: docs/decisions/0081-tls-cost.md.
 */
const GARBAGE_WORDS = 2400;
export let garbage: unknown[] = [];

// The first slab comes with the first record.
export let slab: Buffer = Buffer.alloc(0);
/** Where the next records go to in `slab`. */
export let slabStart = 0;
let words: Int32Array = new Int32Array(0);
/** What `copyOut` takes for receive buffers. */
let source = { memory: slab, words } as unknown as Parameters<typeof copyOut>[0];

/** Sees to it that a record fits behind `slabStart`. @hot */
export function makeRoom(): void {
  if (slab.length - slabStart >= RECORD_BYTES) return;
  slab = Buffer.allocUnsafeSlow(SLAB_BYTES);
  builtins.workerThreads.markAsUntransferable(slab.buffer); // several connections have pieces of it
  words = new Int32Array(slab.buffer);
  source = { memory: slab, words } as unknown as Parameters<typeof copyOut>[0];
  slabStart = 0;
  garbage = new Array(GARBAGE_WORDS);
}

/** What was decrypted last, for good. @hot */
export function takePlain(length: number): Buffer {
  const start = slabStart;
  if (length < LEAST_HANDED_OUT) return copyOut(source, start, length);
  slabStart = (start + length + 7) & ~7;
  return slab.subarray(start, start + length);
}
