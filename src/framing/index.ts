/**
 * `millrace/framing`: codecs, from bytes to messages and back. Pure bytes: nothing here knows of sockets, so it works
 * on whatever yields bytes.
 *
 * A codec is made once (`lengthPrefixed({ lengthFieldLength: 4 }).json(Message)`) and used in three forms: a decoder
 * that is pushed chunks, Node.js streams, and `for await`. See docs/framing.md.
 */
export { Codec, custom } from './codec.ts';
export { Decoder, type DecoderOptions } from './decoder.ts';
export { type DelimitedOptions, delimited } from './delimited.ts';
export { FramingError, type FramingErrorData, type FramingReason, framingReasons } from './errors.ts';
export { fixed } from './fixed.ts';
export { FrameReader } from './frame-reader.ts';
export type { FrameFinder, Framing, Input } from './framing.ts';
export type { JsonOptions } from './json.ts';
export { type LengthPrefixedOptions, lengthPrefixed } from './length-prefixed.ts';
export { type LinesOptions, lines } from './lines.ts';
export { netstring } from './netstring.ts';
export type { LimitOptions } from './options.ts';
export type { Payload } from './payload.ts';
export type { StandardSchemaV1 } from './standard-schema.ts';
export { DecodeStream, type DecodeStreamOptions, EncodeStream, type EncodeStreamOptions } from './streams.ts';
export { varintPrefixed } from './varint-prefixed.ts';
