/** Calls over a session, typed from one contract. See docs/requests.md. */
export { type CallerOptions, call } from './caller.ts';
export {
  type Api,
  type Contract,
  type DuplexMethod,
  defineContract,
  type Handlers,
  type Method,
  type OnewayMethod,
  type RequestMethod,
  type StreamMethod,
  type UploadMethod,
  unchecked,
} from './contract.ts';
export { requestsGoodbye } from './envelope.ts';
export { RpcError, type RpcErrorOptions, type RpcReason, rpcReasons } from './errors.ts';
export type { CallOptions, CallStream } from './own-call.ts';
export { type RequestSession, type RequestStats, requestStats } from './peer.ts';
export { type Responder, type ResponderOptions, respond } from './responder.ts';
export type { Context } from './served-call.ts';
export type { RequestTarget, SessionFollower, SessionSource } from './target.ts';
