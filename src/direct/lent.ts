/**
 * Memory that is shown to a `data` handler and belongs to somebody else afterwards. What is larger than a copy is worth is
 * sent from where it lies, and so has to be asked: is that lent?
 */
import { LARGE_BUFFER_BYTES, type LargeBuffers } from '../engine/large-buffers.ts';

/** Kept views show what they are worth: each is memory of its own, overwritten when the handler has returned. */
export const isPoisoned: boolean = process.env['MILLRACE_DEBUG_VIEWS'] === '1';
const POISON = 0xdb;

/** What shows a view, and to whom. */
interface Reader {
  onData(view: Buffer): void;
}

let lent: ArrayBufferLike | null = null;
/** Where a large buffer that is lent can be had for good: its owner, and its place there. */
let large: LargeBuffers | null = null;
let largeId = 0;

/** Shows `view` to `reader` for the length of the call. @hot */
export function lend(view: Buffer, reader: Reader): void {
  if (isPoisoned) {
    lendPoisoned(view, reader);
    return;
  }
  lent = view.buffer;
  reader.onData(view);
  lent = null;
}

/** Shows bytes that were made of lent ones: decrypted. What they were made of is not theirs to keep. @hot */
export function lendMade(view: Buffer, reader: Reader): void {
  large = null;
  lend(view, reader);
}

/** Likewise `length` bytes of a large buffer. @hot */
export function lendLarge(buffers: LargeBuffers, id: number, length: number, reader: Reader): void {
  large = buffers;
  largeId = id;
  lend(buffers.at(id).subarray(0, length), reader);
  large = null;
}

function lendPoisoned(view: Buffer, reader: Reader): void {
  const copy = Buffer.allocUnsafeSlow(view.length);
  copy.set(view);
  large = null;
  lent = copy.buffer;
  reader.onData(copy);
  lent = null;
  copy.fill(POISON);
}

/** Large buffers that writes keep until they are sent, by their memory. */
const kept = new WeakMap<ArrayBufferLike, { buffers: LargeBuffers; buffer: Buffer; pieces: number }>();

/**
 * The bytes of a chunk in memory that stays as it is until `sent` is told: its own, unless that is lent. A large buffer is
 * kept as it is, and its owner gets another one, if the chunk is sent next or is at least half of it: what waits for long
 * must not keep much more memory than it has bytes.
 */
export function keep(chunk: Uint8Array, isNext: boolean): Uint8Array {
  const memory = chunk.buffer;
  if (memory !== lent) {
    const known = kept.get(memory);
    if (known !== undefined) known.pieces++;
    return chunk;
  }
  if (large === null || !(isNext || chunk.byteLength >= LARGE_BUFFER_BYTES / 2)) return Buffer.from(chunk);
  kept.set(memory, { buffers: large, buffer: large.replace(largeId), pieces: 1 });
  large = null;
  lent = null;
  return chunk;
}

/** A chunk that was kept is sent: a large buffer goes back when nothing in it waits any more. */
export function sent(chunk: Uint8Array): void {
  const known = kept.get(chunk.buffer);
  if (known === undefined || --known.pieces > 0) return;
  kept.delete(chunk.buffer);
  known.buffers.recycle(known.buffer);
}
