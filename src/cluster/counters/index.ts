/** Live figures of all workers: see counters.ts. */
export { Counters, counters, setOwnRow, type WorkerFigures } from './counters.ts';
export type { CounterKinds } from './layout.ts';
export { openRow, type RowConfig, Table } from './table.ts';
