/**
 * `millrace/cluster`: all cores, as processes or threads that share what they listen on. docs/cluster.md shows how it is
 * used; options.ts and api.ts say what everything means.
 */
export type { Drained } from '../engine/serving.ts';
export type { GroupEvents, WorkerExit, WorkerInfo } from './api.ts';
export { ClusterError, type ClusterReason, clusterReasons } from './errors.ts';
export type { Group } from './group.ts';
export type { Messages } from './messages/index.ts';
export type { Balance, GroupOptions, KeyBalance, RestartOptions } from './options.ts';
export { run } from './run.ts';
export { type OnDrain, type Worker, worker } from './worker.ts';
