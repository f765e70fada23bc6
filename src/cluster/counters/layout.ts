/**
 * Where a figure lies. Each worker writes one row and reads all of them, so nobody waits for anybody; a row begins on a
 * cache line of its own. A row stays when its worker goes, and the next one counts on in it:
 *
 * ```
 *   cell  0                1 …                  1 + n …
 *         owner's id + 1   figures, of all who  what they were when the
 *         0: nobody        had the row          owner began
 * ```
 *
 * A cell is a double: integers up to 2^53 are exact, and a gauge can be a fraction. (An add to a BigInt64Array takes as
 * long, 10 ns, and would give BigInts to everybody; with Atomics it is 40 ns, which one writer a row does not need.)
 */
import { badOption } from '../errors.ts';

/** What is counted: a counter only grows, and outlives its worker; a gauge goes up and down, and ends with it. */
export type CounterKinds = Readonly<Record<string, 'counter' | 'gauge'>>;

export const CELL_BYTES = 8;
/** Two lines: processors fetch them in pairs. */
const ROW_MULTIPLE = 128 / CELL_BYTES;
const MOST_COUNTERS = 1024;

export class Layout {
  readonly kinds: CounterKinds;
  readonly names: readonly string[];
  readonly rowCells: number;
  /** The cell of each name. No prototype: 'constructor' is a name like any other. */
  readonly cells: Readonly<Record<string, number>>;

  /** @throws {MILLRACE_ERR_BAD_OPTION} */
  constructor(kinds: CounterKinds) {
    if (typeof kinds !== 'object' || kinds === null) throw badOption('counters', 'an object');
    this.kinds = { ...kinds };
    this.names = Object.keys(kinds);
    if (this.names.length > MOST_COUNTERS) throw badOption('counters', `at most ${MOST_COUNTERS}`);
    const cells: Record<string, number> = Object.create(null);
    for (const [i, name] of this.names.entries()) {
      if (kinds[name] !== 'counter' && kinds[name] !== 'gauge') throw badOption(name, "'counter' or 'gauge'");
      cells[name] = 1 + i;
    }
    this.cells = cells;
    this.rowCells = Math.ceil((1 + 2 * this.names.length) / ROW_MULTIPLE) * ROW_MULTIPLE;
  }

  /** Somebody's row becomes nobody's: what was counted stays counted, gauges are zero. */
  release(row: Float64Array): void {
    row[0] = 0;
    for (const [i, name] of this.names.entries()) {
      if (this.kinds[name] === 'gauge') row[1 + i] = 0;
      row[1 + this.names.length + i] = row[1 + i] as number;
    }
  }

  /** All rows together. */
  total(cells: Float64Array, name: string): number {
    let sum = 0;
    for (let at = this.cells[name] as number; at < cells.length; at += this.rowCells) sum += cells[at] as number;
    return sum;
  }

  /** What the owner of a row did; `undefined` if it has none. */
  ofOwner(
    cells: Float64Array,
    row: number,
    names: readonly string[],
  ): { id: number; values: Record<string, number> } | undefined {
    const start = row * this.rowCells;
    const owner = cells[start] as number;
    if (owner === 0) return undefined;
    const values: Record<string, number> = {};
    for (const name of names) {
      const at = start + (this.cells[name] as number);
      values[name] = (cells[at] as number) - (cells[at + this.names.length] as number);
    }
    return { id: owner - 1, values };
  }
}
