/**
 * What a group refuses or fails with, and why: one class, and one reason for each cause. What a worker itself failed with
 * is its own error, as it was thrown there; docs/errors.md says when each comes and what to do.
 */

/** Every reason, with what it means in a few words. */
export const clusterReasons = {
  BAD_OPTION: 'an option that makes no sense',
  MISUSE: 'a call in the wrong place or at the wrong time',
  ENGINE_NODE: 'not possible on engine node',
  START_TIMEOUT: 'a worker was not ready in time',
  WORKER_EXIT: 'a worker ended without saying why',
  ALL_GAVE_UP: 'no worker is left, and none is started any more',
  GROUP_CLOSED: 'the group is closed, or about to be',
} as const;

export type ClusterReason = keyof typeof clusterReasons;

/** `code` is `MILLRACE_ERR_` and the reason. */
export class ClusterError extends Error {
  readonly reason: ClusterReason;
  readonly code: `MILLRACE_ERR_${ClusterReason}`;

  constructor(reason: ClusterReason, message: string, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause });
    this.name = 'ClusterError';
    this.reason = reason;
    this.code = `MILLRACE_ERR_${reason}`;
  }
}

export const misuse = (message: string): ClusterError => new ClusterError('MISUSE', message);
export const badOption = (name: string, what: string): ClusterError =>
  new ClusterError('BAD_OPTION', `${name} must be ${what}`);
