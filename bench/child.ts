// A child process that talks in JSON lines: a server, or the load. Everything waits with a time limit, and nothing started
// here outlives the benchmark.
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { withDescriptors } from './machine.ts';
import type { Kind, Prepared, Rival } from './rivals.ts';

export type Line = Record<string, unknown>;

const running = new Set<ChildProcess>();
process.on('exit', () => {
  for (const child of running) child.kill('SIGKILL');
});
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => process.exit(130));

export class Child {
  readonly #name: string;
  readonly #process: ChildProcess;
  readonly #lines: AsyncIterator<string>;
  readonly #exited: Promise<unknown>;
  #stderr = '';

  constructor(name: string, command: string[], env: Readonly<Record<string, string>> = {}) {
    const [file = '', ...args] = command;
    this.#name = name;
    const child = spawn(file, args, { stdio: ['pipe', 'pipe', 'pipe'], env: { ...process.env, ...env } });
    this.#process = child;
    running.add(child);
    this.#exited = once(child, 'exit').catch((error: Error) => (this.#stderr += error.message)); // 'error': could not be started
    void this.#exited.then(() => running.delete(child));
    child.stdin?.on('error', () => {}); // it may have ended already; the missing answer says so
    child.stderr?.setEncoding('utf8').on('data', (text: string) => (this.#stderr = (this.#stderr + text).slice(-4000)));
    if (!child.stdout) throw new Error(`${name} has no stdout`);
    this.#lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  }

  /** The next line it prints. @throws {Error} with what it wrote to stderr, if it ends or stays silent. */
  async read(timeoutMs: number): Promise<Line> {
    const next = await within(timeoutMs, this.#lines.next());
    if (next === 'late') throw new Error(`${this.#name} said nothing for ${timeoutMs} ms${this.#said()}`);
    if (next.done) {
      await within(1000, this.#exited);
      throw new Error(`${this.#name} ended (${this.#process.signalCode ?? this.#process.exitCode})${this.#said()}`);
    }
    return JSON.parse(next.value) as Line;
  }

  /** Sends a line and waits for the answer. */
  async ask(question: string, timeoutMs = 10_000): Promise<Line> {
    this.#process.stdin?.write(`${question}\n`);
    return this.read(timeoutMs);
  }

  /** Closes its stdin, which tells it to end, and sees to it that it does. Gives what went wrong with it, if anything did. */
  async stop(): Promise<string | undefined> {
    this.#process.stdin?.end();
    if ((await within(3000, this.#exited)) === 'late') {
      this.#process.kill('SIGKILL');
      await within(3000, this.#exited);
    }
    return this.#process.exitCode === 0
      ? undefined
      : `${this.#name} ended (${this.#process.signalCode ?? this.#process.exitCode})${this.#said()}`;
  }

  /** Ends what does not end with its stdin: SIGTERM, then SIGKILL. */
  async kill(): Promise<void> {
    this.#process.kill('SIGTERM');
    if ((await within(5000, this.#exited)) === 'late') this.#process.kill('SIGKILL');
    await within(3000, this.#exited);
  }

  #said(): string {
    const text = this.#stderr.trim();
    return text === '' ? '' : `: ${text}`;
  }
}

export interface Serving {
  kind: Kind;
  parameter?: string;
  /** The most connections it must hold. */
  connections: number;
  /** Of a server that speaks TLS: the folder with `key.pem` and `cert.pem`. */
  certificate?: string;
  /** Whether it will be asked to collect garbage. */
  gc?: boolean;
}

export class Server extends Child {
  port = 0;
  pid = 0;

  /** Starts a rival and waits until it listens. @throws {Error} if it does not, or runs on another engine than it should. */
  static async start(rival: Rival, prepared: Prepared, serving: Serving, placement: string[]): Promise<Server> {
    const [file = '', ...args] = prepared.command;
    const server = new Server(
      rival.name,
      [
        ...[...placement, ...withDescriptors(serving.connections)],
        ...[file, ...(serving.gc ? prepared.gc : []), ...args],
        ...[serving.kind, ...(serving.parameter === undefined ? [] : [serving.parameter])],
      ],
      serving.certificate === undefined ? rival.env : { ...rival.env, BENCH_CERTIFICATE: serving.certificate },
    );
    try {
      const hello = await server.read(10_000);
      if (hello['engine'] !== rival.engine)
        throw new Error(`${rival.name} should run on ${rival.engine}, but runs on ${String(hello['engine'])}`);
      server.port = Number(hello['port']);
      server.pid = Number(hello['pid']);
      return server;
    } catch (error) {
      await server.stop();
      throw error;
    }
  }
}

async function within<T>(timeoutMs: number, promise: Promise<T>): Promise<T | 'late'> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<'late'>((resolve) => {
    timer = setTimeout(resolve, timeoutMs, 'late');
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}
