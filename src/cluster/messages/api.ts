/** What users see of messages between workers. */

export interface PublishOptions {
  /** Also to subscribers in this worker. Default `false`. */
  self?: boolean;
  /**
   * For a worker that has no room (`maxBytes`, `maxMessages`): `drop` (the default) goes without it and counts, `refuse`
   * gives the message to nobody and rejects.
   */
  whenFull?: 'drop' | 'refuse';
}

/** What became of a message. */
export interface Published {
  /** How many workers with a subscription it was given to. */
  workers: number;
  /** How many didn't get it because too much waits for them already. */
  dropped: number;
}

export interface SubscribeOptions {
  /** What the handler threw, or its promise was rejected with. Default: a warning of the process, once a topic. */
  onError?: (error: unknown) => void;
}

/** Ends with `close()`, or `using`. */
export interface Subscription {
  /** Every other worker of now knows of it. */
  readonly ready: Promise<void>;
  close(): void;
  [Symbol.dispose](): void;
}

/** Where a message came from: the id of a worker, or 0, the primary. */
export interface Received {
  readonly from: number;
}

/** A question, for its handler. */
export interface Asked extends Received {
  /** Aborted when nobody waits for the answer any more. */
  readonly signal: AbortSignal;
}

export interface AskOptions {
  /** Default 30,000; `Infinity` waits for as long as the worker lives. */
  timeoutMs?: number;
  /** Ends the wait, and aborts the handler's signal. The question is rejected with the reason of the signal. */
  signal?: AbortSignal;
}

export interface AskAllOptions extends AskOptions {
  /** Also this worker. Default `false`. */
  self?: boolean;
}

/** The answer of one worker to `askAll`, or why there is none. */
export type Answer<Value> =
  | { readonly worker: number; readonly value: Value; readonly error?: undefined }
  | { readonly worker: number; readonly value?: undefined; readonly error: unknown };

/** Figures of what lies between this worker and another one. */
export interface PeerFigures {
  /** 0 is the primary. */
  readonly worker: number;
  readonly bufferedBytes: number;
  readonly bufferedMessages: number;
  readonly unanswered: number;
  /** Messages that it didn't get because too much waited. */
  readonly dropped: number;
}

/**
 * Messages between the workers and the primary.
 *
 * A message is anything that can be cloned by `v8.serialize`: objects, Map, Set, Date, Error, bytes; no functions, and
 * nothing that is shared or transferred. It is cloned in the call. From one worker to another everything arrives in the
 * order in which it was sent, questions and answers included.
 */
export interface Messages {
  /** Of this worker; 0 in the primary. */
  readonly id: number;

  /**
   * Gives a message to every other worker that has subscribed to the topic.
   *
   * Resolves at once, or, if much waits for one of them, when little does: whoever awaits it has bounded what waits.
   *
   * @throws {MILLRACE_ERR_NOT_CLONEABLE} (rejects, as with all of these)
   * @throws {MILLRACE_ERR_MESSAGE_TOO_LARGE}
   * @throws {MILLRACE_ERR_QUEUE_FULL} with `whenFull: 'refuse'`
   * @throws {MILLRACE_ERR_MESSAGES_CLOSED}
   */
  publish(topic: string, message?: unknown, options?: PublishOptions): Promise<Published>;

  /** Calls the handler with each message of the topic. Several of one topic share the message, as one object. */
  subscribe<Message>(
    topic: string,
    handler: (message: Message, received: Received) => unknown,
    options?: SubscribeOptions,
  ): Subscription;

  /**
   * Asks one worker by its id, the primary, or `'any'`: the other worker that handles this and has the fewest of our
   * questions.
   *
   * @throws {MILLRACE_ERR_UNKNOWN_WORKER}
   * @throws {MILLRACE_ERR_UNKNOWN_HANDLER}
   * @throws {MILLRACE_ERR_WORKER_GONE} `mayHaveRun` says whether it can have got the question
   * @throws {MILLRACE_ERR_ASK_TIMEOUT}
   * @throws {MILLRACE_ERR_ASK_FAILED} the handler threw; `cause` is a copy of its error
   * @throws {MILLRACE_ERR_NOT_CLONEABLE} the question, or the answer
   * @throws {MILLRACE_ERR_MESSAGE_TOO_LARGE}
   * @throws {MILLRACE_ERR_QUEUE_FULL}
   * @throws {MILLRACE_ERR_MESSAGES_CLOSED}
   */
  ask<Value>(to: number | 'any' | 'primary', name: string, question?: unknown, options?: AskOptions): Promise<Value>;

  /** Asks every other worker, not the primary. Never rejects because one of them fails. */
  askAll<Value>(name: string, question?: unknown, options?: AskAllOptions): Promise<Answer<Value>[]>;

  /**
   * Answers the questions of a name with what the handler returns or its promise resolves with.
   *
   * @throws {MILLRACE_ERR_MISUSE} there is a handler of this name
   */
  handle<Question>(name: string, handler: (question: Question, asked: Asked) => unknown): Subscription;

  /**
   * Resolves when all that was sent up to now was received: its handlers have returned (not: their promises).
   * @param worker only what was sent to this one; 0 is the primary
   */
  flushed(worker?: number): Promise<void>;

  /** The others, for metrics. */
  readonly peers: readonly PeerFigures[];
}
