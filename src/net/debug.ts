/**
 * `NODE_DEBUG=millrace`, as `NODE_DEBUG=net` of Node: a line for whatever begins, ends or fails. Nothing is said of
 * single messages. Whether to say anything is read once: `if (isTraced)` in front of each call costs nothing.
 */
import { debuglog } from 'node:util';

const log = debuglog('millrace');

export const isTraced: boolean = log.enabled;

/** One line, written to stderr at once. @param format as of util.format */
export function trace(format: string, ...values: unknown[]): void {
  log(format, ...values);
}
