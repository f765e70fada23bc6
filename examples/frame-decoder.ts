// Bytes in as TCP happens to cut them, frames out. Used by length-prefixed.ts; made to be copied.
//
//    0        1        2        3        4                    4 + length
//   +--------+--------+--------+--------+----------- - - ---+
//   |      length of the body, big-endian      |  body      |
//   +--------+--------+--------+--------+----------- - - ---+
//
// Linear time: every byte is copied once, to where it stays.
// Bounded memory: a length is checked when it is declared, not when its bytes have arrived; then one body is held, no more.

const HEADER_BYTES = 4;

export class FrameDecoder {
  readonly maxFrameBytes: number;
  readonly #header = Buffer.alloc(HEADER_BYTES);
  /** What is being filled: the header, or a body of exactly the declared length. */
  #part = this.#header;
  #filled = 0;

  constructor(maxFrameBytes = 64 * 1024) {
    this.maxFrameBytes = maxFrameBytes;
  }

  /** Whether the stream may end here: a frame that has begun is missing bytes. */
  get isBetweenFrames(): boolean {
    return this.#part === this.#header && this.#filled === 0;
  }

  /**
   * Yields the body of each frame that is complete with this chunk; it belongs to the caller. The chunk may be reused afterwards.
   * @throws {RangeError} when a frame declares more than `maxFrameBytes`; the decoder is of no use after that.
   */
  *push(chunk: Buffer): Generator<Buffer, void, undefined> {
    let at = 0;
    for (;;) {
      const copied = chunk.copy(this.#part, this.#filled, at);
      at += copied;
      this.#filled += copied;
      if (this.#filled < this.#part.length) return; // needs more
      this.#filled = 0;

      if (this.#part === this.#header) {
        const bytes = this.#header.readUInt32BE();
        if (bytes > this.maxFrameBytes)
          throw new RangeError(`a frame of ${bytes} bytes is over the limit of ${this.maxFrameBytes}`);
        this.#part = Buffer.allocUnsafe(bytes);
      } else {
        const body = this.#part;
        this.#part = this.#header;
        yield body;
      }
    }
  }
}

/** One frame, ready to be written. */
export function frame(body: string | Buffer): Buffer {
  const bytes = Buffer.byteLength(body);
  const whole = Buffer.allocUnsafe(HEADER_BYTES + bytes);
  whole.writeUInt32BE(bytes);
  if (typeof body === 'string') whole.write(body, HEADER_BYTES);
  else body.copy(whole, HEADER_BYTES);
  return whole;
}
