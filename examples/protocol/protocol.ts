// The protocol, in one object that both sides import: what may be asked, and what is answered. Types and checks come from it.
//
//    0              4                                        on the wire: a length, then MessagePack, which has a type
//   +--------------+----------------------------- - - -+     for bytes where JSON has none
//   | body length  | [1, id, "put", deadline, …, {…}]  |
//   +--------------+----------------------------- - - -+     docs/requests.md has the arrays
import { decode, encode } from '@msgpack/msgpack';
import { lengthPrefixed } from 'millrace/framing';
import { defineContract } from 'millrace/session';
import * as v from 'valibot';

export const MAX_FILE_BYTES = 256 * 1024;

export const codec = lengthPrefixed({ lengthFieldLength: 4, maxFrameBytes: MAX_FILE_BYTES + 1024 }).withPayload<
  unknown,
  unknown
>({
  // A copy, for what `decode` makes of bytes are views, and this memory is lent to us for the moment only.
  read: (bytes, start, end) => decode(Buffer.from(bytes.subarray(start, end))),
  write: (message) => encode(message),
});

const Name = v.pipe(v.string(), v.regex(/^[\w.-]{1,64}$/, 'a name is 1 to 64 letters, digits, _ . or -'));
const Bytes = v.custom<Uint8Array>(
  (value) => value instanceof Uint8Array && value.length <= MAX_FILE_BYTES,
  `at most ${MAX_FILE_BYTES} bytes`,
);

export const store = defineContract({
  put: {
    kind: 'request',
    input: v.object({ name: Name, bytes: Bytes }),
    output: v.object({ revision: v.number() }),
    deadlineMs: 5_000,
  },
  get: {
    kind: 'request',
    input: v.object({ name: Name }),
    output: v.object({ revision: v.number(), bytes: Bytes }),
    deadlineMs: 5_000,
  },
  list: {
    kind: 'stream',
    input: v.object({ prefix: v.string() }),
    items: v.object({ name: Name, size: v.number() }),
  },
});
