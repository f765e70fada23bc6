/**
 * The `onread` option: bytes go into memory of the user's and no 'data' is emitted.
 *
 * @see https://nodejs.org/api/net.html#new-netsocketoptions
 */
import { isUint8Array } from 'node:util/types';

export interface OnReadOptions {
  buffer: Uint8Array | (() => Uint8Array);
  callback(bytesWritten: number, buffer: Uint8Array): boolean | void;
}

export class OnRead {
  #buffer: Uint8Array;
  /** Bytes that had come already when the callback said stop. */
  #rest: Buffer | null = null;
  readonly #next: (() => Uint8Array) | null;
  readonly #callback: OnReadOptions['callback'];

  private constructor(buffer: Uint8Array, next: (() => Uint8Array) | null, callback: OnReadOptions['callback']) {
    this.#buffer = buffer;
    this.#next = next;
    this.#callback = callback;
  }

  /** @returns null when the option is not what it should be: Node ignores it then */
  static from(options: unknown): OnRead | null {
    if (options === null || typeof options !== 'object') return null;
    const { buffer, callback } = options as OnReadOptions;
    if (typeof callback !== 'function') return null;
    if (isUint8Array(buffer)) return new OnRead(buffer, null, callback);
    if (typeof buffer !== 'function') return null;
    const first: unknown = buffer();
    return isUint8Array(first) ? new OnRead(first, buffer, callback) : null;
  }

  /** Hands bytes over, in as many calls as the user's buffer needs. @returns whether more is wanted */
  take(memory: Buffer, start: number, length: number): boolean {
    if (this.#rest !== null) {
      this.#rest = Buffer.concat([this.#rest, memory.subarray(start, start + length)]); // was on its way: a bounded few
      return false;
    }
    for (const end = start + length; start < end; ) {
      const count = Math.min(end - start, this.#buffer.length);
      memory.copy(this.#buffer, 0, start, start + count);
      start += count;
      const wantsMore = this.#callback(count, this.#buffer) !== false;
      if (this.#next !== null) {
        const next: unknown = this.#next();
        if (isUint8Array(next)) this.#buffer = next;
      }
      if (!wantsMore) {
        if (start < end) this.#rest = Buffer.from(memory.subarray(start, end));
        return false;
      }
    }
    return true;
  }

  /** Hands over what came after the user said stop. @returns whether more is wanted */
  takeRest(): boolean {
    const rest = this.#rest;
    if (rest === null) return true;
    this.#rest = null;
    return this.take(rest, 0, rest.length);
  }
}
