/**
 * `millrace/session`: typed messages over connections, with limits, heartbeats and an orderly end. docs/sessions.md
 * shows how it is used; api.ts says what a session does, limits.ts what it may take, reasons.ts why it ends.
 */
export type {
  ServedCertificate,
  TlsClientOptions,
  TlsInfo,
  TlsServerOptions,
  VerifiedIdentity,
} from '../direct/index.ts';
export type {
  Hold,
  ProxyInfo,
  SendOptions,
  SendStatus,
  Session,
  SessionPeer,
  WaitOptions,
} from './api.ts';
export { type Clock, systemClock } from './clock.ts';
export type { DialOptions } from './dial.ts';
export type { CutSession, DrainOptions, DrainResult } from './drain.ts';
export { SessionError, type SessionErrorData } from './errors.ts';
export type { Heartbeat } from './heartbeat.ts';
export type { OverflowPolicy, ServerLimits, SessionLimits, WatermarkOptions, WriteBufferOptions } from './limits.ts';
export { MemoryBudget, processMemory } from './memory.ts';
export type { ServerMetrics } from './metrics.ts';
export type { ProxyProtocolOptions } from './proxy-stage.ts';
export {
  type ClosingReason,
  closings,
  isGoodEnd,
  misuses,
  type RefusalReason,
  refusals,
  type SessionCloseReason,
  type SessionReason,
} from './reasons.ts';
export * from './reconnect/index.ts';
export * from './requests/index.ts';
export { type ServeOptions, type SessionOptions, serve } from './serve.ts';
export type { Refusal, ServerEvents, SessionHandler, SessionServer } from './server.ts';
