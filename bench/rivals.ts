// Who is measured. A rival is a command that starts a server as described at the head of servers/echo.ts; a new one,
// in any language, is one entry here.

export interface Rival {
  name: string;
  /** Command and arguments for a server that serves this case, or `undefined` if the rival can't. */
  command(server: 'echo', options: { gc: boolean }): string[] | undefined;
  env?: Record<string, string>;
  /** The engine its first line has to name. */
  engine: string;
  /** Only runs when it is named. */
  isOptional?: boolean;
}

/** Ratios are against this one. */
export const baseline = 'node';

function ours(name: string, impl: string, engine: string, env?: Record<string, string>): Rival {
  return {
    name,
    engine,
    command: (server, { gc }) => [
      process.execPath,
      ...(gc ? ['--expose-gc'] : []),
      new URL(`servers/${server}.js`, import.meta.url).pathname,
      '--impl',
      impl,
    ],
    ...(env ? { env } : {}),
  };
}

export const rivals: readonly Rival[] = [
  ours('node', 'node-net', 'node:net'),
  ours('millrace-io_uring', 'millrace', 'io_uring', { MILLRACE_ENGINE: 'io_uring' }),
  ours('millrace-epoll', 'millrace', 'epoll', { MILLRACE_ENGINE: 'epoll' }),
  // node:net again, by another name: how far its ratio is from 1 is what the machine's noise alone can do.
  { ...ours('millrace-node', 'millrace', 'node', { MILLRACE_ENGINE: 'node' }), isOptional: true },
];
