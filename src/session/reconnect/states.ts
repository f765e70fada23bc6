/** What a client that reconnects is doing, and why it has ended. */

/** Nothing follows `closed`. */
export type ClientState<Session, Address> =
  | { readonly kind: 'connecting'; readonly address: Address; readonly attempt: number }
  | { readonly kind: 'connected'; readonly address: Address; readonly session: Session }
  | {
      readonly kind: 'waiting';
      readonly delayMs: number;
      /** The attempt that comes then; from 1 on after a connection that had lasted. */
      readonly attempt: number;
      /** Why the last one failed: of the system, what `onConnect` threw, or the reason of the session's end. */
      readonly error: unknown;
    }
  | { readonly kind: 'closed'; readonly reason: ClientCloseReason };

export interface ClientCloseReason {
  readonly reason: /** `close()` */
    | 'CLOSED'
    /** `abort()`, or the client's signal */
    | 'ABORTED'
    /** `maxAttempts` have failed, or `shouldRetry` said no. */
    | 'GAVE_UP';
  readonly message: string;
  /** What `close()` or `abort()` was given; why the last attempt failed. */
  readonly cause?: unknown;
  /** Messages in the outbox: nobody was given them, or nobody has acknowledged them. See `unsent()`. */
  readonly unsentMessages: number;
}

/** The listeners' arguments. */
export interface ClientEvents<Session, Address, Out> {
  connecting: [Extract<ClientState<Session, Address>, { kind: 'connecting' }>];
  connected: [Extract<ClientState<Session, Address>, { kind: 'connected' }>];
  waiting: [Extract<ClientState<Session, Address>, { kind: 'waiting' }>];
  closed: [Extract<ClientState<Session, Address>, { kind: 'closed' }>];
  /** A message that had been taken and will not be sent: it gave way to newer ones, or (with an error) has no frame. */
  dropped: [message: Out, error: unknown];
}
