// Starts a compiled program of this repository as a child process, and peers to talk to it.
//
// The peers are sockets of node:net, so that never both ends of a conversation are ours. Nothing here sleeps: a test waits for a
// line of output, for bytes, or for an end, and a wait that comes to nothing fails with all that was seen until then.
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync } from 'node:fs';
import net from 'node:net';
import type { TestContext } from 'node:test';
import { fileURLToPath } from 'node:url';

const WAIT_MS = 10_000;
const LISTENING = /listening on \[?([^\s\]]+?)\]?:(\d+)$/;

/** One wait: resolves when `attempt` finds something, is asked again at every `check()`, rejects after WAIT_MS or by `fail()`. */
class Waiting {
  readonly #open = new Set<{ check(): void; fail(why: string): void }>();

  check(): void {
    for (const wait of [...this.#open]) wait.check();
  }

  fail(why: string): void {
    for (const wait of [...this.#open]) wait.fail(why);
  }

  for<T>(attempt: () => T | undefined, describe: () => string): Promise<T> {
    return new Promise((resolve, reject) => {
      const close = (): void => {
        clearTimeout(timer);
        this.#open.delete(wait);
      };
      const wait = {
        check(): void {
          const found = attempt();
          if (found === undefined) return;
          close();
          resolve(found);
        },
        fail(why: string): void {
          close();
          reject(new Error(`${describe()}: ${why}`));
        },
      };
      const timer = setTimeout(() => wait.fail(`not within ${WAIT_MS} ms`), WAIT_MS);
      this.#open.add(wait);
      wait.check();
    });
  }
}

export interface Exit {
  code: number | null;
  signal: NodeJS.Signals | null;
}

/** A running program; ended with its test, whatever happens. */
export class Program {
  readonly child: ChildProcess;
  readonly ended: Promise<Exit>;
  stdout = '';
  stderr = '';
  readonly #waiting = new Waiting();
  /** Where in stdout the next `line()` starts to look. */
  #read = 0;

  constructor(
    t: TestContext,
    path: string,
    args: readonly string[],
    env: NodeJS.ProcessEnv,
    stdin: 'ignore' | 'pipe' = 'ignore',
  ) {
    // From .build/test/support to .build/examples; and from test/support to examples where Node runs TypeScript itself.
    const file = fileURLToPath(new URL(`../../${path}${import.meta.url.slice(-3)}`, import.meta.url));
    this.child = spawn(process.execPath, [file, ...args], {
      stdio: [stdin, 'pipe', 'pipe'],
      env: { ...process.env, ...env },
    });
    this.child.stdout!.setEncoding('utf8').on('data', (text: string) => {
      this.stdout += text;
      this.#waiting.check();
    });
    this.child.stderr!.setEncoding('utf8').on('data', (text: string) => {
      this.stderr += text;
    });
    this.ended = new Promise((resolve) => {
      this.child.once('close', (code, signal) => {
        this.#waiting.fail(`the program ended with ${signal ?? code}`);
        resolve({ code, signal });
      });
    });
    t.after(() => this.stop('SIGKILL'));
  }

  /** The next line of stdout that matches; lines before it are passed over. */
  line(pattern: RegExp): Promise<RegExpExecArray> {
    return this.#waiting.for(
      () => {
        for (;;) {
          const end = this.stdout.indexOf('\n', this.#read);
          if (end === -1) return undefined;
          const line = this.stdout.slice(this.#read, end);
          this.#read = end + 1;
          const match = pattern.exec(line);
          if (match) return match;
        }
      },
      () => `waiting for ${pattern}\n--- stdout\n${this.stdout}--- stderr\n${this.stderr}---`,
    );
  }

  /** Where the program says it listens. */
  async address(): Promise<{ host: string; port: number }> {
    const [, host, port] = await this.line(LISTENING);
    return { host: host!, port: Number(port) };
  }

  /** Sends a signal, if the program still runs, and waits until it has ended and all its output is here. */
  stop(signal: NodeJS.Signals = 'SIGTERM'): Promise<Exit> {
    if (this.child.exitCode === null && this.child.signalCode === null) this.child.kill(signal);
    return this.ended;
  }

  /** Resident memory in bytes, or 0 where there is no /proc. */
  residentBytes(): number {
    const file = `/proc/${this.child.pid}/status`;
    const status = existsSync(file) ? readFileSync(file, 'utf8') : '';
    return Number(/VmRSS:\s+(\d+) kB/.exec(status)?.[1] ?? 0) * 1024;
  }
}

/** Starts `examples/echo` or `apps/chat/main`, say, with these arguments. */
export function start(
  t: TestContext,
  path: string,
  args: readonly string[] = [],
  env: NodeJS.ProcessEnv = {},
  stdin: 'ignore' | 'pipe' = 'ignore',
): Program {
  return new Program(t, path, args, env, stdin);
}

/** The other end of a conversation: a socket of node:net that keeps what it receives until it is asked for. */
export class Peer {
  readonly socket: net.Socket;
  /** Resolves when nothing more can come: 'end' by the program, or a reset. */
  readonly ended: Promise<void>;
  #received = Buffer.alloc(0);
  #hasEnded = false;
  readonly #waiting = new Waiting();

  constructor(socket: net.Socket) {
    this.socket = socket;
    this.ended = new Promise((resolve) => {
      const end = (): void => {
        this.#hasEnded = true;
        this.#waiting.check();
        this.#waiting.fail('the connection ended');
        resolve();
      };
      socket.once('end', end).once('close', end);
    });
    socket.on('error', () => {}); // 'close' follows
    socket.on('data', (chunk: Buffer) => {
      this.#received = Buffer.concat([this.#received, chunk]);
      this.#waiting.check();
    });
  }

  write(data: string | Uint8Array): void {
    this.socket.write(data);
  }

  /** The next `count` bytes. */
  bytes(count: number): Promise<Buffer> {
    return this.#waiting.for(
      () => (this.#received.length < count ? undefined : this.#take(count)),
      () => `waiting for ${count} bytes, got ${this.#received.length}`,
    );
  }

  /** The next line, without its newline. */
  line(): Promise<string> {
    return this.#waiting.for(
      () => {
        const end = this.#received.indexOf(0x0a);
        return end === -1 ? undefined : this.#take(end + 1).toString('utf8', 0, end);
      },
      () => `waiting for a line, got ${JSON.stringify(this.#received.toString())}`,
    );
  }

  /** The next `count` lines. */
  async lines(count: number): Promise<string[]> {
    const lines: string[] = [];
    while (lines.length < count) lines.push(await this.line());
    return lines;
  }

  /** Everything that still comes until the program ends the connection. */
  async rest(): Promise<string> {
    await this.#waiting.for(
      () => (this.#hasEnded ? true : undefined),
      () => `waiting for the end, got ${JSON.stringify(this.#received.toString())}`,
    );
    return this.#take(this.#received.length).toString();
  }

  #take(count: number): Buffer {
    const taken = this.#received.subarray(0, count);
    this.#received = this.#received.subarray(count);
    return taken;
  }
}

/** A connected peer, gone with its test. Nagle is off: every write is a segment of its own. */
export async function connect(t: TestContext, address: { host: string; port: number }): Promise<Peer> {
  const socket = net.connect({ ...address, noDelay: true });
  const peer = new Peer(socket);
  t.after(() => socket.destroy());
  await once(socket, 'connect');
  return peer;
}

/** A peer that is connected and reads nothing, ever. */
export async function connectDeaf(t: TestContext, address: { host: string; port: number }): Promise<net.Socket> {
  const socket = net.connect({ ...address, noDelay: true });
  socket.on('error', () => {});
  t.after(() => socket.destroy());
  await once(socket, 'connect');
  return socket; // no 'data' listener: never flowing
}
