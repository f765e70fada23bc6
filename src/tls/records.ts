/**
 * Memory that records are encrypted into when they don't fit into the send arena: buffers that go round instead of one for
 * each write. It holds encrypted bytes only.
 *
 * In: `take` by src/tls/handle.ts. Out: to the kernel, until the send's completion; then `give`.
 */

/** Plain bytes of one buffer: four full records. */
export const PLAIN_BYTES_OF_BUFFER = 65536;
/** And what their records need beyond: see `RECORD_OVERHEAD` in handle.ts. */
const BUFFER_BYTES = PLAIN_BYTES_OF_BUFFER + 1024;
const MOST_FREE = 64;

const free: Buffer[] = [];

/** @hot */
export function takeBuffer(): Buffer {
  return free.pop() ?? Buffer.allocUnsafeSlow(BUFFER_BYTES);
}

/** Only when the kernel reads it no more. @hot */
export function giveBuffer(buffer: Buffer): void {
  if (free.length < MOST_FREE) free.push(buffer);
}
