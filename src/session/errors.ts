/** The error of everything here; the reasons stand in reasons.ts, and docs/errors.md says what to do about each. */
import type { SessionCloseReason, SessionReason } from './reasons.ts';

export interface SessionErrorData {
  /** The limit that was passed, in the unit of its option. */
  limit?: number | undefined;
  cause?: unknown;
}

/** `code` is `MILLRACE_ERR_` and the reason. */
export class SessionError extends Error {
  readonly reason: SessionReason;
  readonly code: `MILLRACE_ERR_${SessionReason}`;
  readonly limit: number | undefined;

  constructor(reason: SessionReason, message: string, data: SessionErrorData = {}) {
    super(message, data.cause === undefined ? undefined : { cause: data.cause });
    this.name = 'SessionError';
    this.reason = reason;
    this.code = `MILLRACE_ERR_${reason}`;
    this.limit = data.limit;
  }
}

export function errorOf({ reason, message, cause, limit }: SessionCloseReason): SessionError {
  return new SessionError(reason, message, { cause, limit });
}

export function misuse(message: string): SessionError {
  return new SessionError('MISUSE', message);
}

export function badOption(message: string): SessionError {
  return new SessionError('BAD_OPTION', message);
}
