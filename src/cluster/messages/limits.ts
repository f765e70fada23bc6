/** How much may wait for one other worker: what was not given to it yet, and what it has not acknowledged. */
import { MessageError } from './errors.ts';

/** Every limit is for each pair of workers, in one direction. */
export interface MessageLimits {
  /** From here on `publish` resolves only when as little waits as the low marks say. Default 1 MiB. */
  highBytes?: number;
  /** Default a quarter of `highBytes`. */
  lowBytes?: number;
  /** Default 1024. */
  highMessages?: number;
  /** Default a quarter of `highMessages`. */
  lowMessages?: number;
  /** What does not fit into this is dropped or refused. Default 16 MiB. Also the largest message. */
  maxBytes?: number;
  /** Default 65,536. */
  maxMessages?: number;
  /** Questions that wait for their answers. Default 4096. */
  maxAsks?: number;
}

export type MessageRules = Readonly<Required<MessageLimits>>;

/** @throws {MILLRACE_ERR_BAD_OPTION} */
export function rulesOf(limits: MessageLimits = {}): MessageRules {
  if (typeof limits !== 'object' || limits === null) throw badOption('limits are an object');
  const highBytes = limits.highBytes ?? 1 << 20;
  const highMessages = limits.highMessages ?? 1024;
  const rules = {
    highBytes,
    lowBytes: limits.lowBytes ?? Math.floor(highBytes / 4),
    highMessages,
    lowMessages: limits.lowMessages ?? Math.floor(highMessages / 4),
    maxBytes: limits.maxBytes ?? Math.max(highBytes, 16 << 20),
    maxMessages: limits.maxMessages ?? Math.max(highMessages, 65_536),
    maxAsks: limits.maxAsks ?? 4096,
  };
  for (const [name, value] of Object.entries(rules)) {
    const least = name === 'lowBytes' || name === 'lowMessages' ? 0 : 1;
    if (!Number.isSafeInteger(value) || value < least) throw badOption(`${name} is an integer of at least ${least}`);
  }
  if (rules.lowBytes >= highBytes || rules.lowMessages >= highMessages)
    throw badOption('the low marks are below the high marks');
  if (rules.maxBytes < highBytes || rules.maxMessages < highMessages)
    throw badOption('maxBytes and maxMessages are not below the high marks');
  if (rules.maxBytes > 2 ** 30) throw badOption('maxBytes is at most 2^30');
  return rules;
}

export function badOption(message: string): MessageError {
  return new MessageError('BAD_OPTION', message);
}
