/**
 * Lines: frames that end with a newline. It is a byte that is never part of another character, so lines are found
 * before they are text.
 */
import { Codec } from './codec.ts';
import { ByteSearch, DelimitedFraming, type DelimitedOptions, type Delimiters, SequenceSearch } from './delimited.ts';
import { oneOf } from './options.ts';
import { bytesPayload } from './payload.ts';

export interface LinesOptions extends Omit<DelimitedOptions, 'unterminated'> {
  /**
   * What ends a line. `any`, unless given: LF, and a CR in front of it is removed. `lf`: LF, and a CR is a character as
   * any other. `crlf`: only CR LF, as many protocols demand; a lone LF is part of the line. Written is LF for `any` and
   * `lf`.
   */
  newline?: 'any' | 'lf' | 'crlf' | undefined;
  /** What happens to a last line without a newline: `emit` unless given, or `error` (`TRUNCATED`). */
  unterminated?: 'emit' | 'error' | undefined;
}

const LF = 0x0a;
const CRLF = Buffer.from('\r\n');
const unterminated = 'emit';
const newlines: Record<NonNullable<LinesOptions['newline']>, Delimiters> = {
  any: { tail: Buffer.of(LF), search: () => new ByteSearch(LF), endsWithCr: true, unterminated },
  lf: { tail: Buffer.of(LF), search: () => new ByteSearch(LF), endsWithCr: false, unterminated },
  crlf: { tail: CRLF, search: () => new SequenceSearch([CRLF]), endsWithCr: false, unterminated },
};

/**
 * Lines, without their newlines. An empty line is an empty frame.
 *
 * @example
 * ```ts
 * import { lines } from 'millrace/framing';
 *
 * const decoder = lines({ maxFrameBytes: 4096 }).utf8().decoder((line) => console.log(line));
 * decoder.push(Buffer.from('one\r\ntw'));
 * decoder.push(Buffer.from('o\n'));
 * ```
 */
export function lines(options: LinesOptions = {}): Codec<Buffer, Uint8Array> {
  const newline = oneOf('newline', options.newline ?? 'any', ['any', 'lf', 'crlf']);
  return new Codec(new DelimitedFraming(options, newlines[newline]), bytesPayload);
}
