/**
 * Errors of system calls, as Node makes them: texts, and the order of the fields. `errno` is positive here and negative in
 * the error, as in Node.
 *
 * @see https://nodejs.org/api/errors.html#class-systemerror
 */
import { builtins } from './builtins.ts';

type Fields = Record<string, unknown>;

function systemError(errno: number): [name: string, text: string] {
  return builtins.util.getSystemErrorMap().get(-errno) ?? [`Unknown system error ${-errno}`, ''];
}

/** `read ECONNRESET` */
export function errnoException(errno: number, syscall: string): NodeJS.ErrnoException {
  const [code] = systemError(errno);
  return Object.assign(new Error(`${syscall} ${code}`), { errno: -errno, code, syscall });
}

/** `connect ECONNREFUSED 127.0.0.1:1` */
export function hostPortException(
  errno: number,
  syscall: string,
  address: string | undefined,
  port: number | undefined,
  local?: string,
): NodeJS.ErrnoException {
  const [code] = systemError(errno);
  const details = port !== undefined && port > 0 ? ` ${address}:${port}` : address ? ` ${address}` : '';
  const from = local === undefined ? '' : ` - Local (${local})`;
  const fields: Fields = { errno: -errno, code, syscall, address };
  if (port) fields['port'] = port;
  return Object.assign(new Error(`${syscall} ${code}${details}${from}`), fields);
}

/** `listen EADDRINUSE: address already in use 127.0.0.1:3000` */
export function listenException(
  errno: number,
  syscall: string,
  address: string | null | undefined,
  port: number | undefined,
): NodeJS.ErrnoException {
  const [code, text] = systemError(errno);
  const details = port && port > 0 ? ` ${address}:${port}` : address ? ` ${address}` : '';
  const fields: Fields = { code, errno: -errno, syscall, address };
  if (port) fields['port'] = port;
  return Object.assign(new Error(`${syscall} ${code}: ${text}${details}`), fields);
}

/** All attempts of one connect failed (autoSelectFamily). `code` is the first one's. */
export function aggregateConnectError(errors: NodeJS.ErrnoException[]): AggregateError & { code: string | undefined } {
  const error = new AggregateError(errors) as AggregateError & { code: string | undefined };
  error.code = errors[0]?.code;
  return error;
}

/** All attempts of a connect that overlapped them failed; unlike Node's, the message says how. */
export function overlappingConnectError(
  { host, port }: { host: string; port: number },
  errors: NodeJS.ErrnoException[],
): AggregateError & { code: string | undefined } {
  const error = aggregateConnectError(errors);
  const details = errors.map(({ message }) => message).join('; ');
  const message = `all ${errors.length} attempts to connect to ${host}:${port} failed: ${details}`;
  Object.defineProperty(error, 'message', { value: message, writable: true, configurable: true });
  return error;
}
