/**
 * Node's errors, as Node makes them: classes, codes, texts and the order of the fields. Nothing of this can be imported
 * from Node, and programs compare all of it.
 *
 * @see https://nodejs.org/api/errors.html
 */
import { builtins } from '../engine/builtins.ts';

export {
  aggregateConnectError,
  errnoException,
  hostPortException,
  listenException,
  overlappingConnectError,
} from '../engine/system-errors.ts';

/** A Node error with a code: its stack says `TypeError [ERR_X]: …`, its name says `TypeError`. */
export function coded<T extends Error>(
  Base: new (message: string) => T,
  code: string,
  message: string,
): T & { code: string } {
  const error = new Base(message) as T & { code: string };
  const { name } = error;
  error.name = `${name} [${code}]`;
  void error.stack; // V8 renders the header now, while the name has the code in it
  error.name = name;
  // `name` was an own property for a moment only: Node's errors inherit theirs.
  delete (error as { name?: string }).name;
  error.code = code;
  return error;
}

// ---- Node's own errors ----

export const invalidArgType = (name: string, expected: string, got: unknown): TypeError =>
  coded(TypeError, 'ERR_INVALID_ARG_TYPE', `The ${noun(name)} must be ${expected}.${received(got)}`);

export const invalidArgValue = (name: string, got: unknown, reason = 'is invalid'): TypeError => {
  const text = builtins.util.inspect(got);
  const shown = text.length > 128 ? `${text.slice(0, 128)}...` : text;
  const what = name.includes('.') ? 'property' : 'argument';
  return coded(TypeError, 'ERR_INVALID_ARG_VALUE', `The ${what} '${name}' ${reason}. Received ${shown}`);
};

export const outOfRange = (name: string, range: string, got: unknown): RangeError =>
  coded(
    RangeError,
    'ERR_OUT_OF_RANGE',
    `The value of "${name}" is out of range. It must be ${range}. Received ${builtins.util.inspect(got)}`,
  );

export const badPort = (name: string, port: unknown, allowZero = true): RangeError =>
  coded(
    RangeError,
    'ERR_SOCKET_BAD_PORT',
    `${name} should be ${allowZero ? '>=' : '>'} 0 and < 65536. Received ${determine(port)}.`,
  );

export const missingArgs = (...names: string[]): TypeError => {
  const list = names.map((name) => `"${name}"`).join(' or ');
  return coded(TypeError, 'ERR_MISSING_ARGS', `The ${list} argument must be specified`);
};

export const invalidIpAddress = (ip: unknown): TypeError =>
  coded(TypeError, 'ERR_INVALID_IP_ADDRESS', builtins.util.format('Invalid IP address: %s', ip));

export const invalidAddressFamily = (family: unknown, host: unknown, port: unknown): RangeError =>
  Object.assign(
    coded(
      RangeError,
      'ERR_INVALID_ADDRESS_FAMILY',
      `Invalid address family: ${String(family)} ${String(host)}:${String(port)}`,
    ),
    { host, port },
  );

export const ipBlocked = (ip: string): NodeJS.ErrnoException =>
  coded(Error, 'ERR_IP_BLOCKED', `IP(${ip}) is blocked by net.BlockList`);

export const invalidFdType = (type: string): TypeError =>
  coded(TypeError, 'ERR_INVALID_FD_TYPE', `Unsupported fd type: ${type}`);

export const invalidHandleType = (): TypeError =>
  coded(TypeError, 'ERR_INVALID_HANDLE_TYPE', 'This handle type cannot be sent');

export const serverAlreadyListen = (): Error =>
  coded(Error, 'ERR_SERVER_ALREADY_LISTEN', 'Listen method has been called more than once without closing.');

export const serverNotRunning = (): Error => coded(Error, 'ERR_SERVER_NOT_RUNNING', 'Server is not running.');

export const socketHandleAdopted = (): Error =>
  coded(Error, 'ERR_SOCKET_HANDLE_ADOPTED', 'The bound socket has already been adopted by a server or socket');

export const featureUnavailable = (feature: string): TypeError =>
  coded(
    TypeError,
    'ERR_FEATURE_UNAVAILABLE_ON_PLATFORM',
    `The feature ${feature} is unavailable on the current platform, which is being used to run Node.js`,
  );

export const socketClosed = (): Error => coded(Error, 'ERR_SOCKET_CLOSED', 'Socket is closed');

export const socketClosedBeforeConnection = (): Error =>
  coded(Error, 'ERR_SOCKET_CLOSED_BEFORE_CONNECTION', 'Socket closed before the connection was established');

export const socketConnectionTimeout = (): Error =>
  coded(Error, 'ERR_SOCKET_CONNECTION_TIMEOUT', 'Socket connection timeout');

/** A write after the peer's FIN when half-open sockets are not allowed. */
export const endedByPeer = (): Error =>
  Object.assign(new Error('This socket has been ended by the other party'), { code: 'EPIPE' });

export const abortError = (reason: unknown): Error => {
  const error = new Error('The operation was aborted', reason === undefined ? undefined : { cause: reason });
  error.name = 'AbortError';
  return Object.assign(error, { code: 'ABORT_ERR' });
};

/** A string with the encoding 'buffer'. */
export const notABuffer = (): TypeError => coded(TypeError, 'ERR_INVALID_ARG_TYPE', 'Second argument must be a buffer');

function noun(name: string): string {
  return name.endsWith(' argument') ? name : `"${name}" ${name.includes('.') ? 'property' : 'argument'}`;
}

function received(value: unknown): string {
  return ` Received ${determine(value)}`;
}

/** "an instance of Foo", "type number (5)", "undefined": what Node says about a wrong value. */
function determine(value: unknown): string {
  if (value === null || value === undefined) return String(value);
  if (typeof value === 'function') return `function ${value.name}`;
  if (typeof value === 'object') {
    const name = value.constructor?.name;
    return name ? `an instance of ${name}` : builtins.util.inspect(value, { depth: -1 });
  }
  const text = builtins.util.inspect(value, { colors: false });
  return `type ${typeof value} (${text.length > 28 ? `${text.slice(0, 25)}...` : text})`;
}
