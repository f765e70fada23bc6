/** Clients that reconnect. See docs/reconnecting.md. */
export type { BackoffOptions } from './backoff.ts';
export { ReconnectingClient, reconnecting } from './client.ts';
export { type DialAddress, type DialReconnectOptions, dial } from './dial.ts';
export {
  type ReconnectClock,
  type ReconnectingOptions,
  type ReconnectOptions,
  systemReconnectClock,
} from './options.ts';
export type { MessageId, OutboxOptions, OutboxPolicy } from './outbox.ts';
export type { ClientCloseReason, ClientEvents, ClientState } from './states.ts';
