// Bytes in as TCP happens to cut them, lines out. Used by lines.ts, chat.ts, sensors.ts and game.ts; made to be copied.
//
// Linear time: every byte is searched once, and copied once only if its line came in several pieces.
// Bounded memory: between two chunks it holds at most `maxLineBytes`, and refuses a longer line before it has arrived.
// Right for UTF-8: the byte 0x0a is never part of another character, and a line becomes text only once it is whole.

const LF = 0x0a;
const CR = 0x0d;

export class LineDecoder {
  readonly maxLineBytes: number;
  /** The start of a line whose end has not come yet: the first `#keptBytes` bytes. */
  #kept = Buffer.alloc(0);
  #keptBytes = 0;

  constructor(maxLineBytes = 64 * 1024) {
    this.maxLineBytes = maxLineBytes;
  }

  /**
   * Yields each line that is complete with this chunk, without its `\n` or `\r\n`. The chunk may be reused afterwards.
   * @throws {RangeError} when a line is longer than `maxLineBytes`; the decoder is of no use after that.
   */
  *push(chunk: Buffer): Generator<string, void, undefined> {
    let start = 0;
    for (let end = chunk.indexOf(LF); end !== -1; end = chunk.indexOf(LF, start)) {
      yield this.#finish(chunk.subarray(start, end));
      start = end + 1;
    }
    this.#keep(chunk.subarray(start));
  }

  /** The last line, when the peer has ended without a newline. */
  *end(): Generator<string, void, undefined> {
    if (this.#keptBytes > 0) yield this.#finish(Buffer.alloc(0));
  }

  #finish(rest: Buffer): string {
    if (this.#keptBytes === 0) {
      this.#check(rest.length);
      return text(rest);
    }
    this.#keep(rest);
    const line = text(this.#kept.subarray(0, this.#keptBytes));
    this.#keptBytes = 0;
    return line;
  }

  #keep(piece: Buffer): void {
    const bytes = this.#keptBytes + piece.length;
    this.#check(bytes);
    if (bytes > this.#kept.length) {
      // Doubling keeps the copying linear, also when the bytes come one at a time.
      const larger = Buffer.alloc(Math.min(this.maxLineBytes, Math.max(bytes, 2 * this.#kept.length, 128)));
      this.#kept.copy(larger, 0, 0, this.#keptBytes);
      this.#kept = larger;
    }
    piece.copy(this.#kept, this.#keptBytes);
    this.#keptBytes = bytes;
  }

  #check(bytes: number): void {
    if (bytes > this.maxLineBytes) throw new RangeError(`a line is longer than ${this.maxLineBytes} bytes`);
  }
}

function text(line: Buffer): string {
  const end = line.at(-1) === CR ? line.length - 1 : line.length;
  return line.toString('utf8', 0, end);
}
