/**
 * What the direct tier refuses, and why: one class, and one reason for each cause. Errors of the system are Node's own, with
 * Node's codes; docs/errors.md says when each comes and what to do.
 */

/** Every reason, with what it means in a few words. */
export const directReasons = {
  BAD_OPTION: 'an option that makes no sense',
  BAD_CHUNK: 'neither bytes nor text in an encoding that is known',
  MISUSE: 'a call at the wrong time',
  TLS_TRUNCATED: 'the peer has ended a secure connection without saying so',
} as const;

export type DirectReason = keyof typeof directReasons;

/** The error of everything here. `code` is `MILLRACE_ERR_` and the reason. */
export class DirectError extends Error {
  readonly reason: DirectReason;
  readonly code: `MILLRACE_ERR_${DirectReason}`;

  constructor(reason: DirectReason, message: string) {
    super(message);
    this.name = 'DirectError';
    this.reason = reason;
    this.code = `MILLRACE_ERR_${reason}`;
  }
}
