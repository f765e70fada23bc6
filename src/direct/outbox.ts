/**
 * What waits behind a send that is in flight, or is too large to be gathered in the arena: bytes, in order. Small writes are
 * copied together into blocks; large ones stay where they are. With `keepsWrites` each write stays a piece by itself, so
 * that whole writes can be dropped.
 */
import { keep } from './lent.ts';
import type { Piece } from './link.ts';

/** Up to here a write is copied, and the caller may do with its memory what it likes. */
export const COPIED_BYTES = 4096;
const LEAST_BLOCK_BYTES = 512;
const MOST_BLOCK_BYTES = 65536;
/** Of one send, where writes can be dropped: what the kernel was given can't be. At least one write. */
const MOST_SENT_BYTES = 65536;
/** That wait, where writes can be dropped: each is a piece, and many small ones take far more memory than their bytes. */
const MOST_WRITES = 65536;
const GONE = new Uint8Array(0);

export class Outbox {
  /** That wait. */
  bytes = 0;
  readonly #keepsWrites: boolean;
  #pieces: Uint8Array[] = [];
  /** Pieces before it were dropped. */
  #head = 0;
  /** The last one, as long as there is room in it. */
  #block: Buffer | null = null;
  #blockUsed = 0;

  constructor(keepsWrites: boolean) {
    this.#keepsWrites = keepsWrites;
  }

  /** As many writes wait as may: before one is added, one has to be dropped. */
  get isCrowded(): boolean {
    return this.#keepsWrites && this.#pieces.length - this.#head >= MOST_WRITES;
  }

  /**
   * @param isNext nothing is in flight and nothing waits: this is sent when the turn ends
   * @returns how many bytes that are
   */
  add(chunk: Uint8Array | string, encoding: BufferEncoding, isNext: boolean): number {
    const bytes = typeof chunk === 'string' ? Buffer.from(chunk, encoding) : chunk;
    const length = bytes.byteLength;
    if (length === 0) return 0;
    this.bytes += length;
    if (length <= COPIED_BYTES && !this.#keepsWrites) {
      this.#append(bytes);
      return length;
    }
    this.#seal();
    if (bytes !== chunk)
      this.#pieces.push(bytes); // made of text, and so ours
    else this.#pieces.push(length <= COPIED_BYTES ? Buffer.from(bytes) : keep(bytes, isNext));
    return length;
  }

  #append(bytes: Uint8Array): void {
    const { length } = bytes;
    if (this.#block === null || this.#blockUsed + length > this.#block.length) {
      const before = this.#block?.length ?? 0;
      this.#seal();
      this.#block = Buffer.allocUnsafeSlow(Math.max(LEAST_BLOCK_BYTES, Math.min(2 * before, MOST_BLOCK_BYTES), length));
    }
    this.#block.set(bytes, this.#blockUsed);
    this.#blockUsed += length;
  }

  #seal(): void {
    if (this.#block === null) return;
    this.#pieces.push(this.#block.subarray(0, this.#blockUsed));
    this.#block = null;
    this.#blockUsed = 0;
  }

  /** Takes out what is sent next, in order: everything, or some whole writes if writes can be dropped. */
  take(): Piece[] {
    this.#seal();
    const taken: Piece[] = [];
    let bytes = 0;
    while (this.#head < this.#pieces.length) {
      const chunk = this.#pieces[this.#head] as Uint8Array;
      if (this.#keepsWrites && bytes > 0 && bytes + chunk.byteLength > MOST_SENT_BYTES) break;
      taken.push({ chunk, encoding: 'latin1' });
      bytes += chunk.byteLength;
      this.#pass();
    }
    this.bytes -= bytes;
    this.#compact();
    return taken;
  }

  /** Drops whole writes, oldest first, until so many bytes are gone, or all. @returns how many bytes are gone */
  drop(atLeast: number): number {
    let dropped = 0;
    while (dropped < atLeast && this.#head < this.#pieces.length) {
      dropped += (this.#pieces[this.#head] as Uint8Array).byteLength;
      this.#pass();
    }
    this.bytes -= dropped;
    this.#compact();
    return dropped;
  }

  #pass(): void {
    this.#pieces[this.#head++] = GONE;
  }

  #compact(): void {
    if (this.#head < 32 || this.#head * 2 < this.#pieces.length) return;
    this.#pieces = this.#pieces.slice(this.#head);
    this.#head = 0;
  }
}
