/**
 * The errors of calls. An `RpcError` that a handler throws crosses the wire as it is: code, message, data. What this
 * module itself refuses has a code of the table below, on both sides of the wire; docs/errors.md says what to do.
 */

/** Every code of ours without `MILLRACE_ERR_`, with what it means in a few words. */
export const rpcReasons = {
  CANCELLED: 'the caller does not want the answer any more',
  DEADLINE: 'there was no answer in time',
  OVERLOADED: 'more calls than are taken at a time',
  DRAINING: 'the peer takes no new calls: it goes away',
  UNKNOWN_METHOD: 'the responder has no such method',
  BAD_INPUT: 'the schema does not accept what the caller sent',
  BAD_OUTPUT: 'the schema does not accept what the responder sent',
  INTERNAL: 'the handler threw something that was not meant for its caller',
  CALL_CLOSED: 'the session ended before the answer',
  PROTOCOL: 'the peer sent what the protocol does not allow',
  BAD_CONTRACT: 'a contract, a handler or an option that makes no sense',
  CALL_MISUSE: 'a call at the wrong time',
} as const;

export type RpcReason = keyof typeof rpcReasons;

/** What the responder says before a handler has run. */
const refusals: ReadonlySet<string> = new Set(
  (['OVERLOADED', 'DRAINING', 'UNKNOWN_METHOD', 'BAD_INPUT'] satisfies RpcReason[]).map(codeOf),
);

export interface RpcErrorOptions {
  /** Crosses the wire with code and message: anything the codec carries. */
  data?: unknown;
  /** Stays on this side. */
  cause?: unknown;
}

/**
 * How a call fails; thrown by a handler, how it means its call to fail.
 *
 * `code` is a string of yours, or one of ours, which begin with `MILLRACE_ERR_`.
 */
export class RpcError extends Error {
  readonly code: string;
  /** What came with it. */
  readonly data: unknown;
  /** It came over the wire. */
  readonly isRemote: boolean = false;
  /** The handler may have been called: only without that is it safe to make any call once more. */
  readonly mayHaveRun: boolean = true;

  constructor(code: string, message: string = code, options: RpcErrorOptions = {}) {
    super(message, 'cause' in options ? { cause: options.cause } : undefined);
    this.name = 'RpcError';
    this.code = String(code);
    this.data = options.data;
  }
}

type Flags = { isRemote?: boolean; mayHaveRun?: boolean };

/** An error of ours, on this side. */
export function rpcError(
  reason: RpcReason,
  message: string = rpcReasons[reason],
  { isRemote = false, mayHaveRun = true, ...options }: RpcErrorOptions & Flags = {},
): RpcError {
  return Object.assign(new RpcError(codeOf(reason), message, options), { isRemote, mayHaveRun });
}

/** What came over the wire, as an error. */
export function remoteError(code: string, message: string, data: unknown): RpcError {
  const flags: Flags = { isRemote: true, mayHaveRun: !refusals.has(code) };
  return Object.assign(new RpcError(code, message, { data }), flags);
}

export function codeOf(reason: RpcReason): string {
  return `MILLRACE_ERR_${reason}`;
}
