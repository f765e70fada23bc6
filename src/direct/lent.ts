/**
 * Memory that is shown to a `data` handler and belongs to somebody else afterwards. What is larger than a copy is worth is
 * sent from where it lies, and so has to be asked: is that lent?
 */

/** Kept views show what they are worth: each is memory of its own, overwritten when the handler has returned. */
export const isPoisoned: boolean = process.env['MILLRACE_DEBUG_VIEWS'] === '1';
const POISON = 0xdb;

let lent: ArrayBufferLike | null = null;

/** Shows `view` to `see` for the length of the call. @hot */
export function lend(view: Buffer, see: { onData(view: Buffer): void }): void {
  if (isPoisoned) {
    lendPoisoned(view, see);
    return;
  }
  lent = view.buffer;
  see.onData(view);
  lent = null;
}

function lendPoisoned(view: Buffer, see: { onData(view: Buffer): void }): void {
  const copy = Buffer.allocUnsafeSlow(view.length);
  copy.set(view);
  lent = copy.buffer;
  see.onData(copy);
  lent = null;
  copy.fill(POISON);
}

/** Whether a chunk lies in what is lent at this moment. */
export const isLent = (chunk: Uint8Array): boolean => chunk.buffer === lent;
