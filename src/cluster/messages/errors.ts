/** How messages between workers fail: one class, one reason for each cause. docs/errors.md says what to do about each. */

/** Every reason, with what it means in a few words. */
export const messageReasons = {
  WORKER_GONE: 'the worker ended before it answered',
  UNKNOWN_WORKER: 'there is no worker of this id',
  UNKNOWN_HANDLER: 'nobody handles questions of this name',
  ASK_TIMEOUT: 'there was no answer in time',
  ASK_FAILED: 'the handler threw',
  QUEUE_FULL: 'more waits for a worker than may',
  MESSAGE_TOO_LARGE: 'a message is larger than all that may wait',
  NOT_CLONEABLE: 'a value that the structured clone algorithm refuses',
  MESSAGES_CLOSED: 'this end was closed',
  BAD_OPTION: 'an option or an argument that makes no sense',
  MISUSE: 'a call at the wrong time',
} as const;

export type MessageReason = keyof typeof messageReasons;

/** What an error carries besides its message. */
export interface MessageErrorData {
  /** The other worker; 0 is the primary. */
  worker?: number | undefined;
  /** The limit that was passed, in the unit of its option. */
  limit?: number | undefined;
  /** A handler may have been called. */
  mayHaveRun?: boolean;
  cause?: unknown;
}

/** The error of everything here. `code` is `MILLRACE_ERR_` and the reason. */
export class MessageError extends Error {
  readonly reason: MessageReason;
  readonly code: `MILLRACE_ERR_${MessageReason}`;
  readonly worker: number | undefined;
  readonly limit: number | undefined;
  /** The handler may have been called: only without that is it safe to ask anything once more. */
  readonly mayHaveRun: boolean;

  constructor(reason: MessageReason, message: string, data: MessageErrorData = {}) {
    super(message, 'cause' in data ? { cause: data.cause } : undefined);
    this.name = 'MessageError';
    this.reason = reason;
    this.code = `MILLRACE_ERR_${reason}`;
    this.worker = data.worker;
    this.limit = data.limit;
    this.mayHaveRun = data.mayHaveRun ?? false;
  }
}

/** How a worker is called in the text of an error. */
export function nameOf(id: number): string {
  return id === 0 ? 'the primary' : `worker ${id}`;
}
