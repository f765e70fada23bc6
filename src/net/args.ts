/**
 * The argument forms of `listen`, `connect` and `createConnection`: `(options[, cb])`, `(path[, …][, cb])`,
 * `(port[, host][, …][, cb])`.
 */
export type Callback = (...args: never[]) => void;

/** Options and callback; marked, so that arguments are normalised once. */
export type Normalized = [options: Record<string, unknown>, callback: Callback | null] & { [isNormalized]?: true };

const isNormalized: unique symbol = Symbol('normalized');

/** A number that is not negative, or `false`. */
export function toNumber(value: unknown): number | false {
  const number = Number(value);
  return number >= 0 ? number : false;
}

export const isPath = (value: unknown): value is string => typeof value === 'string' && toNumber(value) === false;

export function normalizeArgs(args: readonly unknown[]): Normalized {
  const [first, second] = args;
  if (Array.isArray(first) && (first as Normalized)[isNormalized]) return first as Normalized;
  let options: Record<string, unknown> = {};
  if (typeof first === 'object' && first !== null) {
    options = first as Record<string, unknown>;
  } else if (isPath(first)) {
    options['path'] = first;
  } else if (args.length > 0) {
    options['port'] = first;
    if (typeof second === 'string') options['host'] = second;
  }
  const last = args.at(-1);
  const result: Normalized = [options, typeof last === 'function' ? (last as Callback) : null];
  result[isNormalized] = true;
  return result;
}
