/**
 * What requests look like on the wire: arrays that begin with a small integer, so that any codec that carries values
 * will do. docs/requests.md has the same table for those who write the other side.
 *
 *   [0, method, input?]                              ONEWAY   nothing comes back
 *   [1, id, method, deadlineMs, credit, input?]      CALL     id: 1, 2, … as the caller counts; 0 ms: no deadline
 *   [2, id, item?]                                   ITEM     of the sender's stream; takes one from its credit
 *   [3, id, count]                                   CREDIT   the receiver may send so many more items
 *   [4, id, value?]                                  DONE     the sender's stream has ended; from the responder: the answer
 *   [5, id, code, message, data?]                    FAIL     the call is over; from the caller: it is cancelled
 *   [6, id]                                          STOP     from the responder: no more items, please
 *   [7]                                              GOODBYE  the sender takes no new calls
 *
 * The sign of `id` says whose call it is: positive in messages of the caller, negative in those of the responder. What
 * is missing at the end is `undefined`, and what stands behind is ignored.
 */
export const KIND = { ONEWAY: 0, CALL: 1, ITEM: 2, CREDIT: 3, DONE: 4, FAIL: 5, STOP: 6, GOODBYE: 7 } as const;

/** The longest time that `setTimeout` can wait: 24.8 days. */
export const MAX_DEADLINE_MS = 2 ** 31 - 1;
/** The most items that may be asked for in advance. */
export const MAX_CREDIT = 2 ** 31 - 1;

/** Says goodbye: the peer makes no new calls, and those under way are finished. The frame for `drain({ goodbye })`. */
export const requestsGoodbye: readonly [7] = Object.freeze([KIND.GOODBYE] as const);

export function oneway(method: string, input: unknown): unknown[] {
  return ending([KIND.ONEWAY, method], input);
}

export function callOf(id: number, method: string, deadlineMs: number, credit: number, input: unknown): unknown[] {
  return ending([KIND.CALL, id, method, deadlineMs, credit], input);
}

export function item(id: number, value: unknown): unknown[] {
  return ending([KIND.ITEM, id], value);
}

export function credit(id: number, count: number): unknown[] {
  return [KIND.CREDIT, id, count];
}

export function done(id: number, value?: unknown): unknown[] {
  return ending([KIND.DONE, id], value);
}

export function fail(id: number, code: string, message: string, data?: unknown): unknown[] {
  // A message can be set to anything, and anything else would break the protocol.
  return ending([KIND.FAIL, id, code, String(message)], data);
}

export function stop(id: number): unknown[] {
  return [KIND.STOP, id];
}

/** JSON has no `undefined`, and would make a `null` of it. */
function ending(message: unknown[], value: unknown): unknown[] {
  if (value !== undefined) message.push(value);
  return message;
}

/** An integer from `least` to `most`, and not -0. */
export function isCount(value: unknown, least: number, most: number = Number.MAX_SAFE_INTEGER): value is number {
  return Number.isInteger(value) && (value as number) >= least && (value as number) <= most;
}
