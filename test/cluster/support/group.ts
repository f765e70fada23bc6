/** A group in a process of its own, seen by a test, and clients of node:net that know who serves them. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import nodeNet, { type NetConnectOpts, type Socket } from 'node:net';
import { fileURLToPath } from 'node:url';
import { engine } from 'millrace';
import type { GroupOptions } from 'millrace/cluster';
import { type Child, start } from '../../support/child.ts';
import type { Stage } from '../../support/net.ts';
import type { Task } from './worker.ts';

/** Processes are started: on a loaded machine that takes its time. */
export const PATIENCE_MS = 120_000;
export const limit = { timeout: PATIENCE_MS } as const;
export const kinds: ('processes' | 'threads')[] = engine === 'node' ? ['processes'] : ['processes', 'threads'];
export const needsOurs = { ...limit, skip: engine === 'node' && 'not on engine node' };

/** What a program says. */
type Said = Record<string, any>;

export interface TestedOptions extends Omit<GroupOptions, 'data' | 'setup'> {
  data?: Task;
  /** By the first line, of at most so many bytes. */
  keyLength?: number;
  /** Of the primary, and of each worker. */
  maxDescriptors?: number;
  /** Node's own, of the primary. */
  flags?: string[];
}

export const anyPort = { port: 0, host: '127.0.0.1' } as const;

export class TestedGroup {
  readonly child: Child;
  /** All that it said and nobody asked for yet. */
  readonly #said: Said[] = [];

  constructor(t: Stage, { maxDescriptors, flags = [], ...options }: TestedOptions) {
    const path = fileURLToPath(new URL(`./primary${import.meta.url.slice(-3)}`, import.meta.url));
    const given = JSON.stringify({ workers: 2, drainMs: 200, ...options });
    const command = [process.execPath, '--no-warnings', ...flags, path, given];
    const limited = ['sh', '-c', `ulimit -n ${maxDescriptors}; exec "$@"`, 'sh', ...command];
    const limits = { lineMs: PATIENCE_MS, exitMs: PATIENCE_MS };
    this.child = start(t, maxDescriptors === undefined ? command : limited, limits);
  }

  /** One that runs. */
  static async start(t: Stage, options: TestedOptions): Promise<TestedGroup> {
    const group = new TestedGroup(t, options);
    const said = await group.next((each) => each['is'] === 'running' || each['is'] === 'failed');
    assert.equal(said['is'], 'running', JSON.stringify(said));
    return group;
  }

  /** The next that is so; what else was said stays for others. */
  async next(isIt: string | ((said: Said) => boolean)): Promise<Said> {
    const matches = typeof isIt === 'string' ? (said: Said) => said['is'] === isIt : isIt;
    for (let i = 0; ; i++) {
      if (i === this.#said.length) this.#said.push(JSON.parse(await this.child.line()) as Said);
      if (matches(this.#said[i] as Said)) return this.#said.splice(i, 1)[0] as Said;
    }
  }

  /** Where a worker listens: the same for all of the first generation. */
  async ports(workers = 2): Promise<(number | string)[]> {
    const all: (number | string)[][] = [];
    for (let i = 0; i < workers; i++) all.push((await this.next('ports'))['ports']);
    for (const each of all) assert.deepEqual(each, all[0]);
    return all[0] as (number | string)[];
  }

  say(what: 'reload' | 'close' | 'info'): void {
    this.child.say(JSON.stringify({ do: what }));
  }

  async info(): Promise<Said> {
    this.say('info');
    return this.next('info');
  }

  /** Drains it, and waits until it has ended. */
  async close(): Promise<Said> {
    this.say('close');
    const { drained } = await this.next('closed');
    assert.equal((await this.child.exit).code, 0);
    return drained as Said;
  }
}

/** A client, and who serves it. */
export class Client {
  readonly socket: Socket;
  readonly #iterator: AsyncIterator<string>;
  slot = -1;
  who = '';
  generation = -1;
  hasFailed: NodeJS.ErrnoException | undefined;

  constructor(t: Stage, socket: Socket) {
    this.socket = socket;
    t.after(() => void socket.destroy());
    socket.on('error', (error) => {
      this.hasFailed = error;
    });
    this.#iterator = linesOf(socket);
  }

  /** The next line; `undefined` at the end, and when the connection is reset. */
  async line(): Promise<string | undefined> {
    const { value, done } = await this.#iterator.next();
    return done === true ? undefined : value;
  }

  async ask(text: string): Promise<string | undefined> {
    this.socket.write(`${text}\n`);
    return this.line();
  }

  async greeted(): Promise<this> {
    this.learn(await this.line());
    return this;
  }

  learn(greeting: string | undefined): void {
    const [slot, who, generation] = (greeting ?? '').split(' ');
    assert.ok(generation !== undefined, `no greeting, but ${greeting} ${this.hasFailed?.message}`);
    this.slot = Number(slot);
    this.who = who as string;
    this.generation = Number(generation);
  }

  get pid(): number {
    return Number(this.who.split('.')[0]);
  }
}

async function* linesOf(socket: Socket): AsyncGenerator<string, undefined> {
  let rest = '';
  try {
    for await (const chunk of socket.setEncoding('utf8')) {
      const found = (rest + chunk).split('\n');
      rest = found.pop() as string;
      yield* found;
    }
  } catch {
    // a reset: `hasFailed` has it
  }
  return undefined;
}

const target = (to: number | string): NetConnectOpts =>
  typeof to === 'string' ? { path: to } : { port: to, host: '127.0.0.1' };

/** Connected; fails if nobody listens. */
export async function connect(t: Stage, to: number | string): Promise<Client> {
  const socket = nodeNet.connect(target(to));
  await once(socket, 'connect');
  return new Client(t, socket);
}

/** Connected and greeted. */
export async function reach(t: Stage, to: number | string): Promise<Client> {
  return (await connect(t, to)).greeted();
}

/** One client for each worker: connects until all were reached. */
export async function reachAll(t: Stage, to: number | string, workers = 2): Promise<Client[]> {
  const found = new Map<number, Client>();
  for (let i = 0; found.size < workers; i++) {
    assert.ok(i < 500, `only ${[...found.keys()]} of ${workers} workers were reached`);
    const client = await reach(t, to);
    if (found.has(client.slot)) client.socket.destroy();
    else found.set(client.slot, client);
  }
  return [...found.values()].sort((a, b) => a.slot - b.slot);
}

/** Nobody listens any more; somebody may for a moment still. */
export async function refused(to: number): Promise<void> {
  for (;;) {
    const socket = nodeNet.connect(target(to));
    const error = await once(socket, 'connect').catch((error: NodeJS.ErrnoException) => error);
    socket.on('error', () => {}).destroy();
    if (!Array.isArray(error) && error.code === 'ECONNREFUSED') return;
  }
}
