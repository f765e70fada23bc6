// The rules: no socket and no clock in it. Only `step` moves anybody.

const [WIDTH, HEIGHT] = [80, 24];
const DIRECTIONS = { up: [0, -1], down: [0, 1], left: [-1, 0], right: [1, 0], stop: [0, 0] } as const;
export type Direction = keyof typeof DIRECTIONS;

export function isDirection(word: unknown): word is Direction {
  return typeof word === 'string' && Object.hasOwn(DIRECTIONS, word);
}

export interface Player {
  readonly id: number;
  x: number;
  y: number;
  direction: Direction;
  /** How often it has moved, so that others know what is new. */
  moves: number;
}

export class World {
  readonly players = new Map<number, Player>();
  #lastId = 0;

  join(): Player {
    const id = ++this.#lastId;
    const player: Player = { id, x: id % WIDTH, y: id % HEIGHT, direction: 'stop', moves: 0 };
    this.players.set(id, player);
    return player;
  }

  step(): void {
    for (const player of this.players.values()) {
      const [dx, dy] = DIRECTIONS[player.direction];
      player.x = (player.x + dx + WIDTH) % WIDTH;
      player.y = (player.y + dy + HEIGHT) % HEIGHT;
      if (dx !== 0 || dy !== 0) player.moves++;
    }
  }

  /** The way, in one step, from what somebody knows (the moves by id) to now; from now on it knows that. */
  delta(known: Map<number, number>): { moved: [id: number, x: number, y: number][]; gone: number[] } {
    const changed = [...this.players.values()].filter(({ id, moves }) => known.get(id) !== moves);
    const gone = [...known.keys()].filter((id) => !this.players.has(id));
    for (const { id, moves } of changed) known.set(id, moves);
    for (const id of gone) known.delete(id);
    return { moved: changed.map(({ id, x, y }) => [id, x, y]), gone };
  }
}
