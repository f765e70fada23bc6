/**
 * `millrace/cluster`: all cores, as processes or threads that share what they listen on. docs/cluster.md shows how it is
 * used; options.ts and api.ts say what everything means.
 */
export type { Drained } from '../engine/serving.ts';
export type { GroupEvents, WorkerExit, WorkerInfo } from './api.ts';
export { type CounterKinds, Counters, counters, type WorkerFigures } from './counters/index.ts';
export { ClusterError, type ClusterReason, clusterReasons } from './errors.ts';
export type { Group } from './group.ts';
export {
  type Answer,
  type AskAllOptions,
  type Asked,
  type AskOptions,
  MessageError,
  type MessageLimits,
  type MessageReason,
  type Messages,
  messageReasons,
  type PeerFigures,
  type Published,
  type PublishOptions,
  type Received,
  type SubscribeOptions,
  type Subscription,
} from './messages/index.ts';
export type { Balance, GroupOptions, KeyBalance, RestartOptions } from './options.ts';
export { run } from './run.ts';
export { type OnDrain, type Worker, worker } from './worker.ts';
