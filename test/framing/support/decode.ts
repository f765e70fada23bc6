/** What the tests of codecs share. */
import { type Codec, FramingError } from 'millrace/framing';

export const limit = { timeout: 20_000 } as const;

export const hex = (text: string): Buffer => Buffer.from(text.replaceAll(' ', ''), 'hex');
export const bytes = (...texts: string[]): Buffer[] => texts.map((text) => Buffer.from(text));

/** All frames of the chunks and of their end, or those before the error, and its reason. */
export function decode<T>(
  codec: Codec<T, never>,
  ...chunks: (Uint8Array | string)[]
): { frames: T[]; reason: string | undefined; skipped: number } {
  const frames: T[] = [];
  const decoder = codec.decoder((frame) => frames.push(frame));
  const result = { frames, reason: undefined as string | undefined, skipped: 0 };
  try {
    for (const chunk of chunks) decoder.push(typeof chunk === 'string' ? Buffer.from(chunk) : chunk);
    decoder.end();
  } catch (error) {
    if (!(error instanceof FramingError)) throw error;
    result.reason = error.reason;
  }
  result.skipped = decoder.skippedFrames;
  return result;
}

/** The reason of the FramingError that is thrown. */
export function reasonOf(run: () => unknown): string {
  try {
    run();
  } catch (error) {
    if (error instanceof FramingError) return error.reason;
    throw error;
  }
  return 'none';
}
