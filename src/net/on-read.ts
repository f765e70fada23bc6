/**
 * The `onread` option: bytes go into memory of the user's and no 'data' is emitted.
 *
 * @see https://nodejs.org/api/net.html#new-netsocketoptions
 */
import { isUint8Array } from 'node:util/types';
import type { Handle } from './handle.ts';
import type { SocketClass } from './socket.ts';
import { kOnEnd } from './symbols.ts';

export interface OnReadOptions {
  buffer: Uint8Array | (() => Uint8Array);
  callback(this: SocketClass, bytesWritten: number, buffer: Uint8Array): unknown;
}

export class OnRead {
  #buffer: Uint8Array;
  /** Bytes that had come already when the callback said stop. */
  #rest: Buffer | null = null;
  /** The FIN came behind them. */
  #hasEnd = false;
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
  take(socket: SocketClass, memory: Buffer, start: number, length: number): boolean {
    const end = start + length;
    if (this.#rest !== null) {
      this.#rest = Buffer.concat([this.#rest, memory.subarray(start, end)]); // was on its way: a bounded few
      return false;
    }
    while (start < end) {
      const count = Math.min(end - start, this.#buffer.length);
      memory.copy(this.#buffer, 0, start, start + count);
      start += count;
      const wantsMore = this.#callback.call(socket, count, this.#buffer) !== false;
      if (this.#next !== null) {
        const next: unknown = this.#next();
        if (isUint8Array(next)) this.#buffer = next;
      }
      if (wantsMore && !socket.isPaused()) continue;
      if (start < end) this.#rest = Buffer.from(memory.subarray(start, end));
      return false;
    }
    return true;
  }

  /** Bytes wait that the callback did not want yet. */
  get hasRest(): boolean {
    return this.#rest !== null;
  }

  /** What waits, for somebody else. */
  takeRest(): Buffer | null {
    const rest = this.#rest;
    this.#rest = null;
    return rest;
  }

  /** The peer's FIN, which waits for the bytes before it. @returns whether it waits */
  end(): boolean {
    this.#hasEnd = this.#rest !== null;
    return this.#hasEnd;
  }

  /** The user wants to go on: first what came after he said stop. */
  resume(socket: SocketClass, handle: Handle): void {
    const rest = this.#rest;
    this.#rest = null;
    if (rest !== null && !this.take(socket, rest, 0, rest.length)) return;
    if (this.#hasEnd) {
      this.#hasEnd = false;
      socket[kOnEnd]();
    } else {
      handle.readStart();
    }
  }
}
