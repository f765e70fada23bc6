// An authoritative game server: clients send what they want, numbered; the world moves 20 times a second, and each client is told
// what has changed since the state it was told last. A slow client gets the newest state, not a queue of old ones: it says which
// state it has seen, and at most MAX_UNSEEN are on their way to it. Counting only what waits in our own memory wouldn't do: the
// kernel takes megabytes, which are minutes of a game.
import { parseArgs } from 'node:util';
import { lines } from 'millrace/framing';
import { type Session, serve } from 'millrace/session';
import { startTicks } from './ticks.ts';
import { isDirection, type Player, World } from './world.ts';

const TICK_MS = 50;
const MAX_UNSEEN = 4;

const { values } = parseArgs({
  options: { port: { type: 'string', default: '4000' }, host: { type: 'string', default: '127.0.0.1' } },
});
const world = new World();
const clients = new Set<Client>();

class Client {
  readonly #session: Session<unknown>;
  readonly #player: Player;
  readonly #known = new Map<number, number>();
  /** The ticks of states that were sent and that it has not seen. */
  #unseen: number[] = [];
  #seq = 0;
  #toldSeq = 0;

  constructor(session: Session<unknown>, player: Player) {
    this.#session = session;
    this.#player = player;
  }

  /** `{ seen, seq, move }`: the tick of the newest state it has, and what it wants. False for what is nothing of the kind. */
  take(message: unknown): boolean {
    const { seen, seq = 0, move = 'stop' } = (message ?? {}) as Record<string, unknown>;
    if (typeof seen !== 'number' || typeof seq !== 'number' || !isDirection(move)) return false;
    this.#unseen = this.#unseen.filter((tick) => tick > seen);
    if (seq > this.#seq) [this.#seq, this.#player.direction] = [seq, move]; // otherwise it is old, came twice, or is none
    return true;
  }

  publish(tick: number): void {
    if (this.#unseen.length >= MAX_UNSEEN) return;
    const { moved, gone } = world.delta(this.#known);
    if (moved.length === 0 && gone.length === 0 && this.#seq === this.#toldSeq) return;
    this.#session.trySend({ tick, seq: this.#seq, moved, gone });
    this.#unseen.push(tick);
    this.#toldSeq = this.#seq;
  }
}

const server = await serve(
  {
    port: Number(values.port),
    host: values.host,
    codec: lines({ maxFrameBytes: 16 * 1024 }).json(),
    limits: { connections: 200 },
  },
  async (session) => {
    const player = world.join();
    const client = new Client(session, player);
    session.trySend({ you: player.id });
    clients.add(client);
    try {
      for await (const message of session) if (!client.take(message)) break;
    } finally {
      clients.delete(client);
      world.players.delete(player.id);
    }
  },
).catch((error: Error) => {
  console.error(error.message);
  process.exit(1);
});
console.log(`listening on ${server.address}:${server.port}`);

const stop = startTicks(TICK_MS, {
  step: () => world.step(),
  publish: (tick) => {
    for (const client of clients) client.publish(tick);
  },
});
const end = (): void => {
  stop();
  void server.drain({ deadlineMs: 1_000 });
};
process.once('SIGINT', end).once('SIGTERM', end);
