/** The primary's part: which worker has which row. Row 0 is its own. */
import type { Counters, OwnRow } from './counters.ts';
import { type CounterKinds, Layout } from './layout.ts';
import { FileStore, SharedStore, type Store } from './store.ts';

/** What a worker needs to find its row. */
export interface RowConfig {
  readonly kinds: CounterKinds;
  readonly row: number;
  /** For a thread. */
  readonly memory?: SharedArrayBuffer | undefined;
  /** For a process: the primary's number of the file, which it inherits under another. */
  readonly fd?: number | undefined;
}

/** Generations that drain at the same time take rows, too. */
const ROWS_PER_WORKER = 8;
const LEAST_ROWS = 64;

export class Table {
  readonly #counters: Counters;
  readonly #store: Store;
  readonly #rows: (number | undefined)[] = [0];
  readonly #memory: SharedArrayBuffer | undefined;
  readonly #fd: number | undefined;
  readonly #mostRows: number;

  /** @param workers how many there are at a time, for threads */
  constructor(counters: Counters, kind: 'threads' | 'processes', workers: number) {
    const { layout } = counters;
    this.#counters = counters;
    this.#mostRows = kind === 'threads' ? Math.max(LEAST_ROWS, ROWS_PER_WORKER * workers) : Number.POSITIVE_INFINITY;
    if (kind === 'threads') {
      this.#memory = SharedStore.allocate(layout, this.#mostRows);
      this.#store = new SharedStore(layout, this.#memory);
    } else {
      this.#fd = FileStore.create();
      this.#store = new FileStore(layout, this.#fd);
    }
    const own = this.#store.own(0);
    own[0] = 1;
    counters.attach(layout, this.#store, own);
    this.#store.put(0, own);
  }

  /** @throws when more workers drain at a time than there is memory for */
  take(worker: number): RowConfig {
    let row = this.#rows.indexOf(undefined);
    if (row < 0) row = this.#rows.length;
    if (row >= this.#mostRows) throw new Error(`${row} threads have counters already: too many that still drain`);
    this.#rows[row] = worker;
    return { kinds: this.#counters.layout.kinds, row, memory: this.#memory, fd: this.#fd };
  }

  /** The worker is gone, and writes nothing more. */
  release(worker: number): void {
    const row = this.#rows.indexOf(worker, 1);
    if (row < 0) return;
    const { layout } = this.#counters;
    const start = row * layout.rowCells;
    const cells = Float64Array.from(this.#store.read().subarray(start, start + layout.rowCells));
    if (cells.length === layout.rowCells) {
      layout.release(cells);
      this.#store.put(row, cells);
    }
    this.#rows[row] = undefined;
  }

  /** All workers are gone. The primary's counters keep their figures. */
  close(): void {
    this.#counters.detach();
  }
}

/** A worker's row, from what it was told. @param inherited the descriptor of the file in this process */
export function openRow(config: RowConfig, worker: number, inherited: number): OwnRow {
  const layout = new Layout(config.kinds);
  const store = config.memory === undefined ? new FileStore(layout, inherited) : new SharedStore(layout, config.memory);
  const own = store.own(config.row);
  own[0] = worker + 1;
  store.put(config.row, own);
  return { layout, store, own };
}
