/**
 * The argument forms of `listen`, `connect` and `createConnection`: `(options[, cb])`, `(path[, …][, cb])`,
 * `(port[, host][, …][, cb])`.
 */
import nodeNet from 'node:net';

export type Callback = (...args: never[]) => void;

/** Options and callback; marked, so that arguments are normalised once. */
export type Normalized = [options: Record<string, unknown>, callback: Callback | null] & { [mark: symbol]: boolean };

/** Node's own mark, so that either's `_normalizeArgs` can be given to the other's `connect`. */
const isNormalized: symbol =
  Object.getOwnPropertySymbols((nodeNet as { _normalizeArgs?(args: []): object })._normalizeArgs?.([]) ?? {})[0] ??
  Symbol('normalized');

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
  const result = [options, typeof last === 'function' ? (last as Callback) : null] as unknown as Normalized;
  result[isNormalized] = true;
  return result;
}
