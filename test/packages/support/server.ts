/**
 * Servers that are installed on this machine, run for one test: on a free port, with a folder of their own, without
 * root's rights, killed by their process id. What is not installed is a reason to skip the test, and says so.
 */
import { type ChildProcess, type SpawnOptions, spawn, spawnSync } from 'node:child_process';
import {
  accessSync,
  chmodSync,
  chownSync,
  constants,
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
} from 'node:fs';
import net from 'node:net';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { once, type Stage, within } from '../../support/net.ts';
import { serverPort } from './port.ts';

/** How long a server may take until it listens. RabbitMQ on a busy machine takes the most. */
const START_MS = 60_000;

/** For `spawn`; empty for the user that runs the tests. */
export type User = Pick<SpawnOptions, 'uid' | 'gid'>;

/** Who the servers are when the tests run as root: PostgreSQL, for one, refuses to be root. */
const NOBODY = 65534;
export const asNobody: User = process.getuid?.() === 0 ? { uid: NOBODY, gid: NOBODY } : {};

/** Where Debian keeps servers that are not meant for users' shells. */
const folders = [
  // Debian's wrapper of the same name in /usr/sbin changes to a user of its own.
  '/usr/lib/rabbitmq/bin',
  ...(process.env['PATH'] ?? '').split(delimiter),
  '/usr/sbin',
  ...postgres(),
];

function postgres(): string[] {
  const path = '/usr/lib/postgresql';
  const versions = existsSync(path) ? readdirSync(path).sort((a, b) => Number(b) - Number(a)) : [];
  return versions.map((version) => join(path, version, 'bin'));
}

/** The path of an installed program. */
export function find(program: string): string | undefined {
  return folders.map((folder) => join(folder, program)).find(isExecutable);
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

/** For a test's `skip`: why these programs can't be run here, or false if they can. */
export function missing(...programs: string[]): string | false {
  const absent = programs.filter((program) => find(program) === undefined);
  return absent.length > 0 && `${absent.join(', ')} not installed`;
}

export interface ServerOptions {
  /** Runs once, before the first start: it makes the folder ready. */
  prepare?(server: InstalledServer): void;
  /** The arguments of the server's program. */
  arguments(server: InstalledServer): string[];
  env?(server: InstalledServer): NodeJS.ProcessEnv;
  /** Runs with the rights of the test, be it root. */
  keepsRights?: boolean;
  /** How to end it at once, if not by SIGKILL: a signal on which it ends its children itself. */
  killSignal?: NodeJS.Signals;
}

/** One server of one test, started and killed as often as the test likes. */
export class InstalledServer {
  readonly folder: string;
  readonly port: number;
  readonly #program: string;
  readonly #options: ServerOptions;
  readonly #user: User;
  #child: ChildProcess | undefined;
  #output = '';

  constructor(program: string, port: number, options: ServerOptions) {
    this.#program = find(program) as string;
    this.port = port;
    this.#options = options;
    this.folder = mkdtempSync(join(tmpdir(), 'mr-'));
    this.#user = options.keepsRights ? {} : asNobody;
    if (this.#user.uid !== undefined) chownSync(this.folder, this.#user.uid, NOBODY);
    chmodSync(this.folder, 0o700);
  }

  /** Runs another program of the server's, to its end. */
  run(program: string, ...args: string[]): void {
    const { status, stdout, stderr } = spawnSync(find(program) as string, args, {
      cwd: this.folder,
      env: this.#env(),
      encoding: 'utf8',
      timeout: START_MS,
      ...this.#user,
    });
    if (status !== 0) throw new Error(`${program} ended with ${status}: ${stdout}${stderr}`);
  }

  /** Starts the server; it listens when this is done. */
  async start(): Promise<void> {
    this.#output = '';
    const child = spawn(this.#program, this.#options.arguments(this), {
      cwd: this.folder,
      env: this.#env(),
      stdio: ['ignore', 'pipe', 'pipe'],
      ...this.#user,
    });
    this.#child = child;
    child.stdout?.setEncoding('utf8').on('data', (text: string) => (this.#output += text));
    child.stderr?.setEncoding('utf8').on('data', (text: string) => (this.#output += text));
    const end = performance.now() + START_MS;
    while (!(await answers(this.port))) {
      const isOver = child.exitCode !== null || child.signalCode !== null || performance.now() > end;
      if (isOver) throw new Error(`${this.#program} does not listen: ${this.#output}`);
      // There is no event for "it listens" that all servers have.
      await wait(50);
    }
  }

  /** Ends the server and its own children without a chance to say goodbye, and waits until it is gone. */
  async kill(): Promise<void> {
    const child = this.#child;
    this.#child = undefined;
    if (child?.pid === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const gone = once(child, 'exit');
    const children = this.#options.killSignal === undefined ? descendants(child.pid) : [];
    child.kill(this.#options.killSignal ?? 'SIGKILL');
    for (const pid of children) killIfThere(pid);
    await within(gone, `the end of ${this.#program}`).catch(() => child.kill('SIGKILL'));
  }

  async remove(): Promise<void> {
    await this.kill();
    rmSync(this.folder, { recursive: true, force: true, maxRetries: 5 });
  }

  #env(): NodeJS.ProcessEnv {
    const { NODE_TEST_CONTEXT: _, NODE_OPTIONS: __, ...env } = process.env;
    return { ...env, HOME: this.folder, LC_ALL: 'C.UTF-8', ...this.#options.env?.(this) };
  }
}

/** Starts an installed server that is killed and removed after the test. */
export async function startServer(t: Stage, program: string, options: ServerOptions): Promise<InstalledServer> {
  const server = new InstalledServer(program, await serverPort(), options);
  t.after(() => server.remove());
  options.prepare?.(server);
  await server.start();
  return server;
}

/** The processes that a process has started, and theirs: sshd has one for each connection, which lives on without it. */
function descendants(pid: number): number[] {
  const path = `/proc/${pid}/task/${pid}/children`;
  const children = existsSync(path) ? readFileSync(path, 'utf8').trim().split(' ').filter(Boolean).map(Number) : [];
  return children.flatMap((child) => [child, ...descendants(child)]);
}

function killIfThere(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch {
    // It has ended with its parent.
  }
}

/** Whether somebody accepts connections there. */
function answers(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const probe = net.connect(port, '127.0.0.1', () => {
      probe.destroy();
      resolve(true);
    });
    probe.on('error', () => resolve(false));
  });
}
