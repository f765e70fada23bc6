/**
 * A message as bytes. It is made when the message is given to us, once for all who get it: what the sender changes later
 * does not travel, what can't be cloned is refused in the call, and the size of what waits is known.
 *
 * ```
 *   0       4      5      6         8      12
 *   │ bytes │ kind │ form │ name    │ id   │ name … │ payload …
 *   │ u32   │ u8   │ u8   │ u16     │ u32  │ UTF-8  │
 *     of the frame           its bytes  of a question
 * ```
 *
 * Numbers are little-endian. A batch is frames one behind the other.
 *
 * A text and bytes travel as they are: v8.serialize takes 2 µs however small its value is, as much as everything else here.
 */
import { deserialize, serialize } from 'node:v8';
import { MessageError } from './errors.ts';
import { badOption } from './limits.ts';

export const KIND = {
  /** `name` is a topic. */
  PUBLISH: 0,
  /** `name` is that of the handler. */
  ASK: 1,
  ANSWER: 2,
  /** The payload is a `Failure`. */
  FAILURE: 3,
  /** The question is not of interest any more. */
  CANCEL: 4,
  /** `name` is an interest; `id` is 1 if the sender has it, 0 if no longer. */
  INTEREST: 5,
} as const;

export type Kind = (typeof KIND)[keyof typeof KIND];

/** How a payload is written. */
const FORM = { UNDEFINED: 0, TEXT: 1, BUFFER: 2, UINT8ARRAY: 3, CLONE: 4 } as const;

const HEADER_BYTES = 12;
export const MAX_NAME_BYTES = 65_535;
export const KIND_AT = 4;
const FORM_AT = 5;
const NAME_BYTES_AT = 6;
export const ID_AT = 8;

/**
 * @param id an unsigned integer of 32 bits
 * @throws {MILLRACE_ERR_NOT_CLONEABLE} `cause` is what the clone algorithm said
 * @throws {MILLRACE_ERR_BAD_OPTION} the name is no string, or longer than 65,535 bytes
 * @hot
 */
export function encodeFrame(kind: Kind, id: number, name: string, payload: unknown): Buffer {
  if (typeof name !== 'string') throw badOption('the name of a topic or a handler is a string');
  const nameBytes = Buffer.byteLength(name);
  if (nameBytes > MAX_NAME_BYTES)
    throw badOption(`the name of a topic or a handler has at most ${MAX_NAME_BYTES} bytes`);
  const payloadAt = HEADER_BYTES + nameBytes;
  let frame: Buffer;
  // A text with half of a surrogate pair has no UTF-8.
  if (typeof payload === 'string' && payload.isWellFormed()) {
    frame = Buffer.allocUnsafe(payloadAt + Buffer.byteLength(payload));
    frame.write(payload, payloadAt);
    frame[FORM_AT] = FORM.TEXT;
  } else if (payload === undefined) {
    frame = Buffer.allocUnsafe(payloadAt);
    frame[FORM_AT] = FORM.UNDEFINED;
  } else {
    const isBuffer = Buffer.isBuffer(payload);
    const isPlain = isBuffer || (payload instanceof Uint8Array && payload.constructor === Uint8Array);
    const bytes = isPlain ? payload : clone(payload);
    frame = Buffer.allocUnsafe(payloadAt + bytes.length);
    frame.set(bytes, payloadAt);
    frame[FORM_AT] = isBuffer ? FORM.BUFFER : isPlain ? FORM.UINT8ARRAY : FORM.CLONE;
  }
  frame.writeUInt32LE(frame.length, 0);
  frame[KIND_AT] = kind;
  frame.writeUInt16LE(nameBytes, NAME_BYTES_AT);
  frame.writeUInt32LE(id, ID_AT);
  frame.write(name, HEADER_BYTES);
  return frame;
}

function clone(value: unknown): Buffer {
  try {
    return serialize(value);
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new MessageError('NOT_CLONEABLE', `a message can't be cloned: ${why}`, { cause });
  }
}

/** Frames as one piece of memory that can be transferred. */
export function joinFrames(frames: readonly Uint8Array[], bytes: number): Uint8Array<ArrayBuffer> {
  const batch = new Uint8Array(bytes);
  let at = 0;
  for (const frame of frames) {
    batch.set(frame, at);
    at += frame.length;
  }
  return batch;
}

/** A frame within a batch; what it says is read when it is asked for. */
export class Frame {
  readonly #batch: Buffer;
  readonly #start: number;
  readonly end: number;

  constructor(batch: Buffer, start: number) {
    this.#batch = batch;
    this.#start = start;
    this.end = start + batch.readUInt32LE(start);
  }

  get kind(): Kind {
    return this.#batch[this.#start + KIND_AT] as Kind;
  }

  get id(): number {
    return this.#batch.readUInt32LE(this.#start + ID_AT);
  }

  get name(): string {
    const start = this.#start + HEADER_BYTES;
    return this.#batch.toString('utf8', start, start + this.#nameBytes);
  }

  /** In memory of its own: a few bytes that are kept don't keep the batch. */
  payload(): unknown {
    const start = this.#start + HEADER_BYTES + this.#nameBytes;
    switch (this.#batch.readUInt8(this.#start + FORM_AT)) {
      case FORM.UNDEFINED:
        return undefined;
      case FORM.TEXT:
        return this.#batch.toString('utf8', start, this.end);
      case FORM.BUFFER:
        return Buffer.from(Uint8Array.prototype.slice.call(this.#batch, start, this.end).buffer);
      case FORM.UINT8ARRAY:
        return new Uint8Array(this.#batch.subarray(start, this.end));
      default:
        return deserialize(Buffer.from(this.#batch.subarray(start, this.end)));
    }
  }

  get #nameBytes(): number {
    return this.#batch.readUInt16LE(this.#start + NAME_BYTES_AT);
  }
}
