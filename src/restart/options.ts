/** What `restartable` can be told, with its defaults, and whether that makes sense. */
import type { Drained } from '../engine/serving.ts';
import { RestartError } from './errors.ts';
import type { HandOver } from './hand-over.ts';
import { checkPath } from './named-socket.ts';

export interface RestartableOptions {
  /** The signal that starts the next version; `false`: none does. Default `'SIGHUP'`. */
  signal?: NodeJS.Signals | false | undefined;
  /** What is started: a program and its arguments. Default: this process's own, with the same options and arguments. */
  command?: readonly [string, ...string[]] | undefined;
  /** Variables of the next process besides ours. */
  env?: NodeJS.ProcessEnv | undefined;
  /** Where it is started. Default: where this process is now. */
  cwd?: string | undefined;
  /**
   * A path for a unix socket, at which a process that somebody else has started asks for the listening sockets of this one,
   * and asked itself when it started. None.
   */
  path?: string | undefined;
  /** How long the next process may take until it is ready. Default 60,000. */
  readyMs?: number | undefined;
  /** How long connections may take to come to an end of their own, once the next process serves. Default 30,000. */
  drainMs?: number | undefined;
  /** Whether this process exits when it is drained, with `process.exitCode`. Default true. */
  exit?: boolean | undefined;
  /** Hands established connections to the next process, which has `onConnection`; before draining. */
  onHandOver?: ((next: HandOver) => void | Promise<void>) | undefined;
  /** A restart that nobody waits for has failed: by signal, or by `path`. Default: a warning of the process. */
  onError?: ((error: Error) => void) | undefined;
  /** All is over here; `exit` follows. */
  onDrained?: ((drained: Drained) => void) | undefined;
}

export interface Rules {
  readonly signal: NodeJS.Signals | undefined;
  readonly command: readonly [string, ...string[]];
  readonly env: NodeJS.ProcessEnv;
  readonly cwd: string | undefined;
  readonly path: string | undefined;
  readonly readyMs: number;
  readonly drainMs: number;
  readonly exits: boolean;
  readonly onHandOver: RestartableOptions['onHandOver'];
  readonly onError: (error: Error) => void;
  readonly onDrained: (drained: Drained) => void;
}

const MOST_MS = 2 ** 31 - 1;

/** @throws {RestartError} BAD_OPTION */
export function rulesOf(options: RestartableOptions): Rules {
  const { signal = 'SIGHUP', command, env = {}, cwd, path, exit = true } = options;
  if (signal !== false && (typeof signal !== 'string' || !signal.startsWith('SIG')))
    throw bad('signal', "the name of a signal, as 'SIGHUP', or false", signal);
  if (command !== undefined && !(Array.isArray(command) && command.length > 0 && command.every(isText)))
    throw bad('command', 'a program and its arguments', command);
  if (typeof env !== 'object' || env === null) throw bad('env', 'an object', env);
  if (cwd !== undefined && !isText(cwd)) throw bad('cwd', 'a path', cwd);
  if (typeof exit !== 'boolean') throw bad('exit', 'true or false', exit);
  for (const name of ['onHandOver', 'onError', 'onDrained'] as const)
    if (options[name] !== undefined && typeof options[name] !== 'function')
      throw bad(name, 'a function', options[name]);
  return {
    signal: signal === false ? undefined : signal,
    command: command ?? [process.execPath, ...process.execArgv, ...process.argv.slice(1)],
    env,
    cwd,
    path: path === undefined ? undefined : checkPath(path),
    readyMs: milliseconds('readyMs', options.readyMs, 60_000),
    drainMs: milliseconds('drainMs', options.drainMs, 30_000),
    exits: exit,
    onHandOver: options.onHandOver,
    onError: options.onError ?? warn,
    onDrained: options.onDrained ?? (() => {}),
  };
}

export function milliseconds(name: string, value: unknown, byDefault: number): number {
  if (value === undefined) return byDefault;
  if (typeof value === 'number' && value >= 0 && value <= MOST_MS) return value;
  throw bad(name, `a number of milliseconds from 0 to ${MOST_MS}`, value);
}

const isText = (value: unknown): value is string => typeof value === 'string' && value !== '';

function bad(name: string, what: string, value: unknown): RestartError {
  return new RestartError('BAD_OPTION', `${name} has to be ${what}, not ${String(value)}`);
}

/** What nobody else is told. */
export function warn(error: Error): void {
  const { code = '' } = error as NodeJS.ErrnoException;
  process.emitWarning(`restart: ${error.message} (${code}); this process goes on`, {
    type: 'MillraceWarning',
    code: 'MILLRACE_WARN_RESTART',
  });
}
