/** What a client that reconnects needs of the world, under the test's control: time, chance, and a network in memory. */
import {
  type ReconnectClock,
  type ReconnectingClient,
  type ReconnectingOptions,
  reconnecting,
  type Session,
} from 'millrace/session';
import { deferred, type MemorySession, pair, settle } from './pair.ts';

export class TestClock implements ReconnectClock {
  #nowMs = 0;
  readonly #timers = new Set<{ atMs: number; run: () => void }>();

  nowMs(): number {
    return this.#nowMs;
  }

  after(delayMs: number, run: () => void): () => void {
    const timer = { atMs: this.#nowMs + delayMs, run };
    this.#timers.add(timer);
    return () => this.#timers.delete(timer);
  }

  get pending(): number {
    return this.#timers.size;
  }

  async advance(byMs: number): Promise<void> {
    await settle();
    const endMs = this.#nowMs + byMs;
    for (;;) {
      const due = [...this.#timers].filter(({ atMs }) => atMs <= endMs).sort((a, b) => a.atMs - b.atMs)[0];
      if (due === undefined) break;
      this.#nowMs = due.atMs;
      this.#timers.delete(due);
      due.run();
      await settle();
    }
    this.#nowMs = endMs;
    await settle();
  }
}

/** An attempt to connect that the test decides. */
export interface Attempt {
  readonly address: string;
  readonly signal: AbortSignal;
  /** Connects. @returns the server's end */
  accept(): Promise<MemorySession>;
  refuse(error?: Error): Promise<void>;
  readonly isSettled: boolean;
}

export class Network {
  readonly clock = new TestClock();
  readonly attempts: Attempt[] = [];
  /** Connections of the client that are open, and the most there ever were. */
  open = 0;
  mostOpen = 0;
  /** Attempts under way and connections. */
  #live = 0;
  mostLive = 0;
  /** Accepts, or refuses, at once. */
  answer: ((attempt: Attempt) => void) | undefined;

  readonly connect = (address: string, signal: AbortSignal): Promise<Session<any, any>> => {
    this.mostLive = Math.max(this.mostLive, ++this.#live);
    const { promise, resolve, reject } = deferred<Session<any, any>>();
    let isSettled = false;
    const attempt: Attempt = {
      address,
      signal,
      accept: async () => {
        isSettled = true;
        const { client, server } = pair();
        this.mostOpen = Math.max(this.mostOpen, ++this.open);
        void client.closed.then(() => {
          this.open -= 1;
          this.#live -= 1;
        });
        resolve(client as unknown as Session<any, any>);
        await settle();
        return server;
      },
      refuse: async (error = new Error(`refused: ${address}`)) => {
        isSettled = true;
        this.#live -= 1;
        reject(error);
        await settle();
      },
      get isSettled() {
        return isSettled;
      },
    };
    this.attempts.push(attempt);
    this.answer?.(attempt);
    return promise;
  };

  get last(): Attempt {
    return this.attempts.at(-1) as Attempt;
  }

  /** A client on this network, and its states as they come. */
  client(options: Partial<ReconnectingOptions<any, any, string>> = {}): {
    client: ReconnectingClient<any, any, string>;
    log: string[];
  } {
    const client = reconnecting<any, any, string>({
      addresses: ['a'],
      connect: this.connect,
      clock: this.clock,
      random: () => 0.5,
      baseMs: 100,
      ...options,
    });
    const log: string[] = [];
    client.on('connecting', ({ address, attempt }) => log.push(`connecting ${address} ${attempt}`));
    client.on('connected', ({ address }) => log.push(`connected ${address}`));
    client.on('waiting', ({ delayMs, attempt, error }: any) =>
      log.push(`waiting ${delayMs} ${attempt} ${error?.message ?? error?.reason}`),
    );
    client.on('closed', ({ reason }) => log.push(`closed ${reason.reason}`));
    return { client, log };
  }
}

/** What a server has received so far. */
export async function received(server: MemorySession): Promise<unknown[]> {
  const messages: unknown[] = [];
  while (server.unread > 0) messages.push(await server.receive());
  return messages;
}
