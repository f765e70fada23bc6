// Bytes in as TCP happens to cut them, lines out. A line that is too long is reported once, at the byte that is one too many,
// and skipped up to its newline; the next one is good again. Memory: one line. Time: linear, also for bytes that come singly.
// A newline is never part of another UTF-8 character, and a line is decoded when it is whole: what isn't UTF-8 becomes U+FFFD.

const LF = 0x0a;

export const TOO_LONG = Symbol('a line that is too long');

export class LineDecoder {
  readonly #line: Buffer;
  #lineBytes = 0;
  #isSkipping = false;

  constructor(maxLineBytes: number) {
    this.#line = Buffer.alloc(maxLineBytes);
  }

  /** The lines that are complete with this chunk, without their newlines. */
  *push(chunk: Buffer): Generator<string | typeof TOO_LONG, void, undefined> {
    let start = 0;
    while (start < chunk.length) {
      const newline = chunk.indexOf(LF, start);
      const end = newline === -1 ? chunk.length : newline;
      if (!this.#isSkipping && !this.#keep(chunk, start, end)) {
        this.#isSkipping = true;
        this.#lineBytes = 0;
        yield TOO_LONG;
      }
      if (newline === -1) return;
      start = newline + 1;
      if (this.#isSkipping) this.#isSkipping = false;
      else yield this.#take();
    }
  }

  /** The last line, where the sender has ended without a newline. */
  *end(): Generator<string, void, undefined> {
    if (this.#lineBytes > 0) yield this.#take();
  }

  #keep(chunk: Buffer, start: number, end: number): boolean {
    if (this.#lineBytes + end - start > this.#line.length) return false;
    this.#lineBytes += chunk.copy(this.#line, this.#lineBytes, start, end);
    return true;
  }

  #take(): string {
    const text = this.#line.toString('utf8', 0, this.#lineBytes);
    this.#lineBytes = 0;
    return text.endsWith('\r') ? text.slice(0, -1) : text;
  }
}
