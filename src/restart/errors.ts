/** What a restart refuses or fails with, and why: one class, and one reason for each cause. docs/errors.md has them all. */

/** Every reason, with what it means in a few words. */
export const restartReasons = {
  BAD_OPTION: 'an option that makes no sense',
  MISUSE: 'a call at the wrong time, or in the wrong thread',
  NOT_SUPPORTED: 'the engine of this process cannot hand anything over',
  IN_PROGRESS: 'a restart is under way already',
  NOT_READY: 'ready() has not been called yet',
  HANDED_OVER: 'the next process serves already',
  START_FAILED: 'the next process could not be started',
  EXITED: 'the next process has exited before it was ready',
  FAILED: 'the next process has failed with an exception before it was ready',
  READY_TIMEOUT: 'the next process was not ready in time',
  PROTOCOL: 'the other process speaks another version of the protocol, or none',
  WRONG_USER: 'the other process belongs to another user',
  PEER_LOST: 'the other process, or the connection to it, is gone',
  REFUSED: 'the serving process does not hand over now',
  ABORTED: 'the serving process has given this one up',
  SILENT: 'the serving process does not answer',
  NOTIFY_FAILED: 'the service manager could not be told',
} as const;

export type RestartReason = keyof typeof restartReasons;

/** What an error carries besides its message. */
export interface RestartErrorData {
  /** EXITED: how. */
  exitCode?: number | null;
  signal?: NodeJS.Signals | null;
  cause?: unknown;
}

/** The error of everything here. `code` is `MILLRACE_ERR_` and the reason. */
export class RestartError extends Error {
  readonly reason: RestartReason;
  readonly code: `MILLRACE_ERR_${RestartReason}`;
  readonly exitCode: number | null | undefined;
  readonly signal: NodeJS.Signals | null | undefined;

  constructor(reason: RestartReason, message: string, data: RestartErrorData = {}) {
    super(message, 'cause' in data ? { cause: data.cause } : undefined);
    this.name = 'RestartError';
    this.reason = reason;
    this.code = `MILLRACE_ERR_${reason}`;
    this.exitCode = data.exitCode;
    this.signal = data.signal;
  }
}
