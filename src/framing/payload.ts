/** What the bytes of a frame mean. It sees whole frames only, so no character and no number is ever cut. */
import { isUtf8 } from 'node:buffer';
import { isUint8Array } from 'node:util/types';
import { FramingError } from './errors.ts';

/** Turns the bytes of one frame into a message, and a message into the bytes or the text of one frame. */
export interface Payload<In, Out = In> {
  /**
   * Reads the frame that lies in `bytes` from `start` to `end`. The memory is lent for this call: what is kept has to
   * be a copy. What it throws ends the decoder, unless `onBadPayload` takes it.
   */
  read(bytes: Buffer, start: number, end: number): In;
  /**
   * Reads a frame that is ASCII and a string already. Only for payloads that are text; it has to say the same as
   * `read`. The string may be a part of a longer one (at most 8 KiB, or the frame), which it keeps alive.
   */
  readText?(text: string): In;
  /** What stands in the frame for this message: bytes, or text that will be UTF-8. */
  write(message: Out): Uint8Array | string;
}

/** Bytes as they are. A decoder that hands out bytes doesn't call `read`: it knows a cheaper way to own them. */
export const bytesPayload: Payload<Buffer, Uint8Array> = {
  read: (bytes, start, end) => Buffer.from(bytes.subarray(start, end)),
  write(message) {
    if (isUint8Array(message)) return message;
    throw new FramingError('BAD_PAYLOAD', 'a message of a codec without utf8() or json() is a Uint8Array');
  },
};

/** Text. Bytes that aren't UTF-8 are refused, a byte order mark is a character like any other. */
export const utf8Payload: Payload<string> = {
  read(bytes, start, end) {
    const text = bytes.toString('utf8', start, end);
    // What is wrong was replaced by U+FFFD; who finds none has been given UTF-8. Who finds one may have been sent it.
    if (text.includes('\ufffd') && !isUtf8(bytes.subarray(start, end))) {
      throw new FramingError('BAD_UTF8', `a frame of ${end - start} bytes is not UTF-8`, { gotBytes: end - start });
    }
    return text;
  },
  readText: (text) => text,
  write(message) {
    if (typeof message !== 'string') throw new FramingError('BAD_PAYLOAD', 'a message of utf8() is a string');
    // A lone surrogate would arrive as U+FFFD, that is: as something else.
    if (message.isWellFormed()) return message;
    throw new FramingError('BAD_PAYLOAD', 'a string with half of a surrogate pair is no text');
  },
};
