/** Programs of a few lines in a process of their own: for what ends a process, or must not. */
import { type ChildProcess, type SpawnOptions, spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { once, type Stage, within } from './net.ts';

/** The folder of package.json: from there, `millrace` resolves to itself. */
export const root: string = (() => {
  let path = import.meta.dirname;
  while (!existsSync(join(path, 'package.json'))) path = dirname(path);
  return path;
})();

export interface Exit {
  code: number | null;
  signal: NodeJS.Signals | null;
  stdout: string;
  stderr: string;
}

export interface Child {
  process: ChildProcess;
  /** The next line of its standard output. */
  line(): Promise<string>;
  /** Writes a line to its standard input. */
  say(text: string): void;
  /** How it ended, with all it printed. */
  exit: Promise<Exit>;
}

export interface ChildOptions extends StartOptions {
  /** For `ulimit -n`. */
  maxDescriptors?: number;
  /** Node's own options. */
  execArgv?: string[];
}

const prelude = `import net from 'millrace';
import process from 'node:process';
const say = (text) => process.stdout.write(text + '\\n');
const heard = (fn) => process.stdin.setEncoding('utf8').on('data', (text) => fn(text.trim()));
`;

/**
 * Runs a JavaScript module in which `net` is the module under test, `say(text)` prints a line and `heard(fn)` is called with
 * what the test says. Killed after the test.
 */
export function run(t: Stage, source: string, { maxDescriptors, execArgv = [], ...options }: ChildOptions = {}): Child {
  const node = [process.execPath, ...execArgv, '--no-warnings', '--input-type=module', '-e', prelude + source];
  const command =
    maxDescriptors === undefined ? node : ['sh', '-c', `ulimit -n ${maxDescriptors}; exec "$@"`, 'sh', ...node];
  return start(t, command, options);
}

export interface StartOptions extends SpawnOptions {
  /** How long each line may take. */
  lineMs?: number;
  /** How long all of it may take. */
  exitMs?: number;
}

/** Runs a command in the folder of package.json. Killed after the test. */
export function start(t: Stage, command: string[], { lineMs, exitMs = 9_000, ...options }: StartOptions = {}): Child {
  const env = { ...process.env, ...options.env };
  // The runner's: with it, the child would believe that it is a test file.
  delete env['NODE_TEST_CONTEXT'];
  const child = spawn(command[0] as string, command.slice(1), {
    cwd: root,
    stdio: ['pipe', 'pipe', 'pipe'],
    ...options,
    env,
  });
  t.after(() => {
    child.kill('SIGKILL');
  });

  let stdout = '';
  let stderr = '';
  let read = 0;
  child.stdin?.on('error', () => {});
  child.stderr?.setEncoding('utf8').on('data', (text: string) => (stderr += text));
  child.stdout?.setEncoding('utf8').on('data', (text: string) => (stdout += text));
  const exit = once(child, 'close', exitMs).then(([code, signal]) => ({ code, signal, stdout, stderr }) as Exit);
  exit.catch(() => {});

  // Whoever waits for a line is woken by more output and by the end.
  let wake = (): void => {};
  child.stdout?.on('data', () => wake());
  child.once('close', () => wake());
  const line = async (): Promise<string> => {
    const more = new Promise<void>((resolve) => {
      wake = () => {
        const ended = child.exitCode !== null || child.signalCode !== null;
        if (stdout.includes('\n', read) || ended) resolve();
      };
      wake();
    });
    await within(more, 'a line of the child', lineMs);
    const end = stdout.indexOf('\n', read);
    if (end < 0) {
      const { code, signal } = await exit;
      throw new Error(`the child ended (${signal ?? code}) without a line: ${stderr}`);
    }
    const text = stdout.slice(read, end);
    read = end + 1;
    return text;
  };
  return { process: child, line, say: (text) => child.stdin?.write(`${text}\n`), exit };
}
