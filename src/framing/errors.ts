/**
 * What a codec refuses, and why: one class, and one reason for each cause. Limits and metrics of sessions use the same
 * reasons; docs/errors.md says when each comes and what to do.
 */
import type { StandardSchemaV1 } from './standard-schema.ts';

/** Every reason, with what it means in a few words. */
export const framingReasons = {
  FRAME_TOO_LARGE: 'a frame is, or says it is, larger than the limit',
  BAD_LENGTH: 'a length that cannot be one',
  TRUNCATED: 'the input ended in the middle of a frame',
  BAD_UTF8: 'the bytes of a frame are not UTF-8',
  BAD_JSON: 'the text of a frame is not JSON, or JSON that is not taken',
  SCHEMA: 'the schema does not accept a message',
  BAD_PAYLOAD: 'a message that cannot be sent in this framing',
  BAD_CODEC: 'a framing broke the contract of FrameFinder',
  BAD_OPTION: 'an option that makes no sense',
  MISUSE: 'a call at the wrong time',
} as const;

export type FramingReason = keyof typeof framingReasons;

/** What an error carries besides its message. */
export interface FramingErrorData {
  /** The limit that was passed, in bytes. */
  limitBytes?: number;
  /** How many bytes were there, or were declared. */
  gotBytes?: number;
  /** What the schema had to say. */
  issues?: readonly StandardSchemaV1.Issue[];
  cause?: unknown;
}

/** The error of everything here. `code` is `MILLRACE_ERR_` and the reason. */
export class FramingError extends Error {
  readonly reason: FramingReason;
  readonly code: `MILLRACE_ERR_${FramingReason}`;
  readonly limitBytes: number | undefined;
  readonly gotBytes: number | undefined;
  readonly issues: readonly StandardSchemaV1.Issue[] | undefined;

  constructor(reason: FramingReason, message: string, data: FramingErrorData = {}) {
    super(message, 'cause' in data ? { cause: data.cause } : undefined);
    this.name = 'FramingError';
    this.reason = reason;
    this.code = `MILLRACE_ERR_${reason}`;
    this.limitBytes = data.limitBytes;
    this.gotBytes = data.gotBytes;
    this.issues = data.issues;
  }
}

export function tooLarge(gotBytes: number, limitBytes: number): FramingError {
  return new FramingError('FRAME_TOO_LARGE', `a frame of ${gotBytes} bytes is over the limit of ${limitBytes}`, {
    gotBytes,
    limitBytes,
  });
}

/** For frames without a declared length: nobody knows yet how long it would have become. */
export function tooLong(limitBytes: number): FramingError {
  return new FramingError('FRAME_TOO_LARGE', `a frame is longer than ${limitBytes} bytes`, { limitBytes });
}
