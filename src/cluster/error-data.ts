/**
 * Errors as data, from a worker to the primary: structured clones of errors lose `code` and the like, and fail on what
 * can't be cloned.
 */

/** What programs look at; more is left behind. */
const FIELDS = ['code', 'errno', 'syscall', 'address', 'port', 'path', 'reason'] as const;
/** How far causes are followed. */
const MOST_CAUSES = 5;

export interface ErrorData {
  readonly name: string;
  readonly message: string;
  readonly stack: string | undefined;
  readonly fields: Record<string, string | number>;
  readonly cause: ErrorData | undefined;
}

/** @param error whatever was thrown */
export function toData(error: unknown, depth = 0): ErrorData {
  if (!(error instanceof Error)) {
    return {
      name: 'Error',
      message: `not an error was thrown: ${textOf(error)}`,
      stack: undefined,
      fields: {},
      cause: undefined,
    };
  }
  const fields: Record<string, string | number> = {};
  for (const name of FIELDS) {
    const value = (error as unknown as Record<string, unknown>)[name];
    if (typeof value === 'string' || typeof value === 'number') fields[name] = value;
  }
  const { cause } = error;
  const hasCause = cause !== undefined && depth < MOST_CAUSES;
  return {
    name: String(error.name),
    message: String(error.message),
    stack: typeof error.stack === 'string' ? error.stack : undefined,
    fields,
    cause: hasCause ? toData(cause, depth + 1) : undefined,
  };
}

export function fromData({ name, message, stack, fields, cause }: ErrorData): Error {
  const error = new Error(message, cause === undefined ? undefined : { cause: fromData(cause) });
  Object.defineProperty(error, 'name', { value: name, writable: true, configurable: true });
  if (stack !== undefined) Object.defineProperty(error, 'stack', { value: stack, writable: true, configurable: true });
  return Object.assign(error, fields);
}

function textOf(value: unknown): string {
  try {
    return String(value);
  } catch {
    return typeof value;
  }
}
