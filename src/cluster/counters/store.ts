/**
 * Where the rows are. Threads share memory. Processes can't share a SharedArrayBuffer, so they share a file in memory:
 * each writes its own row a moment after it has changed, and at its end, and whoever wants to know reads all rows.
 */
import { closeSync, fstatSync, mkdtempSync, openSync, readSync, rmdirSync, unlinkSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { CELL_BYTES, type Layout } from './layout.ts';

/** How old a figure of another process can be. A worker that is killed loses what it did in this time. */
export const REFRESH_MS = 100;

export interface Store {
  /** The cells of a row, for its one writer. */
  own(row: number): Float64Array;
  /** They were changed. @hot */
  touched(): void;
  /** All rows, as they are now. */
  read(): Float64Array;
  /** Writes a row that has no writer any more. */
  put(row: number, cells: Float64Array): void;
  close(): void;
}

export class SharedStore implements Store {
  readonly #cells: Float64Array;
  readonly #layout: Layout;

  constructor(layout: Layout, memory: SharedArrayBuffer | ArrayBuffer) {
    this.#layout = layout;
    this.#cells = new Float64Array(memory);
  }

  /** @returns memory for so many rows */
  static allocate(layout: Layout, rows: number): SharedArrayBuffer {
    return new SharedArrayBuffer(rows * layout.rowCells * CELL_BYTES);
  }

  get rows(): number {
    return this.#cells.length / this.#layout.rowCells;
  }

  own(row: number): Float64Array {
    return this.#cells.subarray(row * this.#layout.rowCells, (row + 1) * this.#layout.rowCells);
  }

  touched(): void {}

  read(): Float64Array {
    return this.#cells;
  }

  put(row: number, cells: Float64Array): void {
    this.#cells.set(cells, row * this.#layout.rowCells);
  }

  close(): void {}
}

export class FileStore implements Store {
  readonly fd: number;
  readonly #layout: Layout;
  #row = -1;
  #own = new Float64Array(0);
  #timer: NodeJS.Timeout | undefined;
  readonly #flush = (): void => {
    this.#timer = undefined;
    this.put(this.#row, this.#own);
  };

  /** @param fd becomes the store's */
  constructor(layout: Layout, fd: number) {
    this.#layout = layout;
    this.fd = fd;
  }

  /** A file without a name: it is gone when the last process that has it is. */
  static create(): number {
    for (const folder of ['/dev/shm', tmpdir()]) {
      let path: string;
      try {
        path = mkdtempSync(join(folder, 'millrace-'));
      } catch {
        continue; // none, or not ours to write
      }
      try {
        const fd = openSync(join(path, 'counters'), 'wx+', 0o600);
        unlinkSync(join(path, 'counters'));
        return fd;
      } finally {
        rmdirSync(path);
      }
    }
    throw new Error(`no file for counters can be made in ${tmpdir()}`);
  }

  own(row: number): Float64Array {
    const { rowCells } = this.#layout;
    this.#row = row;
    // From behind the end come zeros.
    this.#own = new Float64Array(rowCells);
    readSync(this.fd, this.#own, 0, this.#own.byteLength, row * this.#own.byteLength);
    process.on('exit', this.#flush);
    return this.#own;
  }

  /** @hot */
  touched(): void {
    this.#timer ??= setTimeout(this.#flush, REFRESH_MS).unref();
  }

  read(): Float64Array {
    const cells = new Float64Array(Math.floor(fstatSync(this.fd).size / CELL_BYTES));
    const bytes = new Uint8Array(cells.buffer);
    let at = 0;
    for (let got = 1; got > 0 && at < bytes.length; at += got)
      got = readSync(this.fd, bytes, at, bytes.length - at, at);
    // Ours are newer than what is written.
    if (this.#row >= 0 && (this.#row + 1) * this.#own.length <= cells.length)
      cells.set(this.#own, this.#row * this.#own.length);
    return cells;
  }

  put(row: number, cells: Float64Array): void {
    const bytes = new Uint8Array(cells.buffer, cells.byteOffset, cells.byteLength);
    const start = row * bytes.length;
    for (let at = 0; at < bytes.length; ) at += writeSync(this.fd, bytes, at, bytes.length - at, start + at);
  }

  close(): void {
    process.off('exit', this.#flush);
    clearTimeout(this.#timer);
    if (this.#row >= 0) this.#flush();
    closeSync(this.fd);
  }
}
