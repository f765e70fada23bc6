/**
 * `millrace/direct`: connections as handlers instead of streams. docs/direct.md shows how it is used; api.ts says what
 * everything means.
 */

export type { VerifiedIdentity } from '../tls/verified-identity.ts';
export type {
  CloseReason,
  Connection,
  ConnectionOptions,
  ConnectOptions,
  Handlers,
  ListenOptions,
  OverflowPolicy,
  Server,
  WriteLimits,
  WriteStatus,
} from './api.ts';
export { connect } from './connect.ts';
export { DirectError, type DirectReason, directReasons } from './errors.ts';
export { listen } from './listen.ts';
export { drainsBy } from './server.ts';
export type {
  ServedCertificate,
  TlsClientOptions,
  TlsContext,
  TlsInfo,
  TlsOptions,
  TlsServerOptions,
} from './tls-api.ts';
export { TICK_MS, Wheel, WheelEntry, wheel } from './wheel.ts';
