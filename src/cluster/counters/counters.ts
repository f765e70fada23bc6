/** Figures of all workers, live: each adds to its own, everybody reads everybody's, and nobody sends a message for it. */
import { badOption, misuse } from '../errors.ts';
import { type CounterKinds, Layout } from './layout.ts';
import { SharedStore, type Store } from './store.ts';

/** The figures of one worker. `worker` is its id, 0 is the primary. */
export interface WorkerFigures<Name extends string = string> {
  readonly worker: number;
  readonly values: Record<Name, number>;
}

/** See {@link counters}. */
export class Counters<Name extends string = string> {
  /** @internal */
  readonly layout: Layout;
  #own: Float64Array;
  #cells: Layout['cells'];
  #all: Layout;
  #store: Store;

  /** @internal */
  constructor(kinds: CounterKinds) {
    this.layout = this.#all = new Layout(kinds);
    this.#cells = this.layout.cells;
    this.#store = new SharedStore(this.layout, new ArrayBuffer(this.layout.rowCells * 8));
    this.#own = this.#store.own(0);
    this.#own[0] = 1;
  }

  /**
   * Adds to a figure of this worker.
   *
   * @param by not negative for a counter
   * @throws {MILLRACE_ERR_BAD_OPTION} there is no such figure, or a counter was to go down
   * @hot
   */
  add(name: Name, by = 1): void {
    const cell = this.#cells[name];
    if (cell === undefined) throw unknownName(name);
    if (!(by >= 0 && by < Number.POSITIVE_INFINITY)) this.#needGauge(name, by);
    this.#own[cell] = (this.#own[cell] as number) + by;
    this.#store.touched();
  }

  /**
   * Sets a gauge of this worker.
   *
   * @throws {MILLRACE_ERR_BAD_OPTION} there is no such gauge, or the value is no number
   */
  set(name: Name, value: number): void {
    const cell = this.#cells[name];
    if (cell === undefined) throw unknownName(name);
    this.#needGauge(name, value);
    this.#own[cell] = value;
    this.#store.touched();
  }

  /** This worker's own. For a counter, since the worker began. @throws {MILLRACE_ERR_BAD_OPTION} */
  get(name: Name): number {
    const cell = this.#cells[name];
    if (cell === undefined) throw unknownName(name);
    return (this.#own[cell] as number) - (this.#own[cell + this.#all.names.length] as number);
  }

  /** Of all: counters also of workers that are gone, gauges of those that live. @throws {MILLRACE_ERR_BAD_OPTION} */
  total(name: Name): number {
    if (this.#cells[name] === undefined) throw unknownName(name);
    return this.#all.total(this.#store.read(), name);
  }

  /** All totals at once. */
  totals(): Record<Name, number> {
    const cells = this.#store.read();
    const all = this.layout.names.map((name) => [name, this.#all.total(cells, name)]);
    return Object.fromEntries(all) as Record<Name, number>;
  }

  /** The figures of each that lives, by id. Counters begin at 0 with each worker. */
  workers(): WorkerFigures<Name>[] {
    const cells = this.#store.read();
    const found: WorkerFigures<Name>[] = [];
    for (let row = 0; (row + 1) * this.#all.rowCells <= cells.length; row++) {
      const owner = this.#all.ofOwner(cells, row, this.layout.names);
      if (owner !== undefined) found.push({ worker: owner.id, values: owner.values as Record<Name, number> });
    }
    return found.sort((a, b) => a.worker - b.worker);
  }

  /**
   * From now on these are figures of a group. What was counted before counts.
   * @param all the layout of the group, which may have more of them
   * @param own the row, which nobody else writes
   * @internal
   */
  attach(all: Layout, store: Store, own: Float64Array): void {
    for (const name of this.layout.names) {
      if (all.kinds[name] !== this.layout.kinds[name])
        throw badOption(`counters.${name}`, `what run() was given: ${all.kinds[name] ?? 'no such figure'}`);
      const from = this.layout.cells[name] as number;
      const to = all.cells[name] as number;
      const [base, newBase] = [from + this.layout.names.length, to + all.names.length];
      own[to] = (own[to] as number) + (this.#own[from] as number);
      own[newBase] = (own[newBase] as number) + (this.#own[base] as number);
    }
    this.#cells = this.layout.names.length === all.names.length ? all.cells : subset(all, this.layout.names);
    this.#all = all;
    this.#store = store;
    this.#own = own;
    store.touched();
  }

  /** The group is gone: its totals stay, in one row. @internal */
  detach(): void {
    const all = this.#all;
    const cells = new Float64Array(all.rowCells);
    cells[0] = this.#own[0] as number;
    for (const [i, name] of all.names.entries()) {
      const total = this.total(name as Name);
      cells[1 + i] = total;
      cells[1 + all.names.length + i] = total - this.get(name as Name);
    }
    this.#store.close();
    this.#store = new SharedStore(all, cells.buffer);
    this.#own = this.#store.own(0);
  }

  #needGauge(name: Name, value: number): void {
    if (this.layout.kinds[name] !== 'gauge')
      throw badOption(`'${name}', a counter,`, 'added to, by a finite number that is not negative');
    if (!Number.isFinite(value)) throw badOption(`the value of '${name}'`, 'a finite number');
  }
}

/** What this thread has of its group, if it is a worker. */
export interface OwnRow {
  readonly layout: Layout;
  readonly store: Store;
  readonly own: Float64Array;
}

let ofThisWorker: OwnRow | 'none' | undefined;

/** @internal */
export function setOwnRow(row: OwnRow | 'none' | undefined): void {
  ofThisWorker = row;
}

/**
 * Declares figures. The primary gives them to `run({ counters })`; a worker that declares the same (or some of them) adds
 * to its own and reads everybody's. Without a group they are this thread's own.
 *
 * @example
 * ```ts
 * import { counters } from 'millrace/cluster';
 * export const figures = counters({ messages: 'counter', connections: 'gauge' });
 * figures.add('messages');
 * figures.set('connections', 5);
 * console.log(figures.total('messages'), figures.workers());
 * ```
 *
 * @throws {MILLRACE_ERR_BAD_OPTION} a kind that there isn't; in a worker, a figure that the group was not started with
 * @throws {MILLRACE_ERR_MISUSE} in a worker of a group without counters
 */
export function counters<Kinds extends CounterKinds>(kinds: Kinds): Counters<keyof Kinds & string> {
  const made = new Counters<keyof Kinds & string>(kinds);
  if (ofThisWorker === 'none') throw misuse('the group was started without counters: run({ counters })');
  if (ofThisWorker !== undefined) made.attach(ofThisWorker.layout, ofThisWorker.store, ofThisWorker.own);
  return made;
}

function subset(all: Layout, names: readonly string[]): Layout['cells'] {
  const cells: Record<string, number> = Object.create(null);
  for (const name of names) cells[name] = all.cells[name] as number;
  return cells;
}

function unknownName(name: string): Error {
  return badOption(`'${name}'`, 'the name of a figure that was declared');
}
