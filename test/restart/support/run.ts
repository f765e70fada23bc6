/** Starts the program of service.ts, and talks to it. */
import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, writeFileSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { folder, once, type Stage, within } from '../../support/net.ts';
import type { Config } from './service.ts';

/** Of tests that start processes: the machine may be busy. */
export const limit = { timeout: 120_000 } as const;
export const WAIT_MS = 60_000;

const program = join(import.meta.dirname, 'service.js');

/** A process, and those that it starts: they write to the same pipe, and it may end long before them. */
export class Program {
  readonly process: ChildProcess;
  readonly lines: string[] = [];
  /** Its own exit code. */
  readonly exited: Promise<number | null>;
  #wake = (): void => {};
  #read = 0;

  constructor(t: Stage, file: string, env: NodeJS.ProcessEnv = {}) {
    const variables: NodeJS.ProcessEnv = { ...process.env, ...env };
    delete variables['NODE_TEST_CONTEXT'];
    this.process = spawn(process.execPath, ['--no-warnings', program, file], {
      env: variables,
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    t.after(() => void this.process.kill('SIGKILL'));
    const output = this.process.stdout as NonNullable<ChildProcess['stdout']>;
    t.after(() => void output.destroy());
    createInterface(output).on('line', (line) => {
      this.lines.push(line);
      // Its children: killed after the test, too.
      const pid = / ready \d+ (\d+)$/.exec(line)?.[1];
      if (pid !== undefined) endsWith(t, Number(pid));
      this.#wake();
    });
    this.exited = new Promise((resolve) => this.process.once('exit', resolve));
  }

  /** The next line with this beginning, in words; those before it are passed over. */
  async heard(beginning: string): Promise<string[]> {
    let found: string | undefined;
    const look = (): boolean => {
      while (found === undefined && this.#read < this.lines.length) {
        const line = this.lines[this.#read++] as string;
        if (line.startsWith(beginning)) found = line;
      }
      return found !== undefined;
    };
    const more = new Promise<void>((resolve) => {
      this.#wake = () => {
        if (look()) resolve();
      };
      this.#wake();
    });
    await within(more, `a line that begins with '${beginning}'; there were: ${this.lines.join(' | ')}`, WAIT_MS);
    return (found as unknown as string).split(' ');
  }
}

export interface Stand {
  /** What the next process that is started will do. */
  configure(config: Partial<Config>): void;
  readonly folder: string;
  start(env?: NodeJS.ProcessEnv): Program;
}

export async function stand(t: Stage, first: Partial<Config> = {}): Promise<Stand> {
  const path = await folder(t);
  const file = join(path, 'config.json');
  let config: Config = { version: 'A', port: 0 };
  const configure = (change: Partial<Config>): void => {
    config = { ...config, ...change };
    writeFileSync(file, JSON.stringify(config));
  };
  configure(first);
  return { configure, folder: path, start: (env) => new Program(t, file, env) };
}

function endsWith(t: Stage, pid: number): void {
  t.after(() => {
    if (existsSync(`/proc/${pid}`)) process.kill(pid, 'SIGKILL');
  });
}

/** A client of Node's own, line by line. */
export class Client {
  readonly socket: Socket;
  #text = '';
  #lines: ((line: string) => void)[] = [];
  #fails: ((error: Error) => void)[] = [];
  error: Error | undefined;

  constructor(t: Stage, to: { port: number } | { path: string }) {
    this.socket = connect('port' in to ? { ...to, host: '127.0.0.1' } : to);
    this.socket.setNoDelay(true);
    this.socket.on('data', (chunk: Buffer) => {
      this.#text += chunk.toString('latin1');
      for (let end = this.#text.indexOf('\n'); end >= 0 && this.#lines.length > 0; end = this.#text.indexOf('\n')) {
        this.#fails.shift();
        this.#lines.shift()?.(this.#text.slice(0, end));
        this.#text = this.#text.slice(end + 1);
      }
    });
    const fail = (error: Error): void => {
      this.error ??= error;
      for (const reject of this.#fails.splice(0)) reject(this.error);
      this.#lines = [];
    };
    this.socket.on('error', fail);
    this.socket.on('close', () => fail(new Error('closed without an answer')));
    t.after(() => void this.socket.destroy());
  }

  /** Its answer, in order. */
  ask(line: string): Promise<string> {
    return new Promise((resolve, reject) => {
      if (this.error !== undefined) {
        reject(this.error);
        return;
      }
      this.#lines.push(resolve);
      this.#fails.push(reject);
      this.socket.write(`${line}\n`);
    });
  }

  async end(): Promise<void> {
    const closed = once(this.socket, 'close', WAIT_MS);
    this.socket.end();
    await closed;
  }
}
