// A small game server: a world that moves 20 times a second, and after each tick the state of all players goes to all players.
// Two ideas. The tick doesn't drift: each is due at start + n × 50 ms, so one that comes late doesn't delay the next. And a slow
// client gets the newest state instead of a queue of old ones: who still has unsent bytes is left out of this tick.
//
//   node .build/examples/game.js --port 4000 --bots 3
//   nc 127.0.0.1 4000                        then type up, down, left, right or stop

import { parseArgs } from 'node:util';
import { type AddressInfo, createServer, type Socket } from 'millrace';
import { lines } from 'millrace/framing';

const TICK_MS = 50;
const MAX_TICKS_AT_ONCE = 10;
const WORLD = { width: 80, height: 24 };
const DIRECTIONS = { up: [0, -1], down: [0, 1], left: [-1, 0], right: [1, 0], stop: [0, 0] } as const;

const { values } = parseArgs({
  options: {
    port: { type: 'string', default: '4000' },
    host: { type: 'string', default: '127.0.0.1' },
    bots: { type: 'string', default: '0' },
  },
});

interface Player {
  readonly id: number;
  x: number;
  y: number;
  direction: keyof typeof DIRECTIONS;
}
const codec = lines({ maxFrameBytes: 64 }).utf8();
const players = new Map<number, Player>();
const sockets = new Set<Socket>();
let lastId = 0;

for (let bots = Number(values.bots); bots > 0; bots--) join('right');

// noDelay: a state that waits for the last one to be acknowledged is an old state.
const server = createServer({ noDelay: true }, (socket) => {
  const player = join('stop');
  const decoder = codec.decoder((line) => {
    if (Object.hasOwn(DIRECTIONS, line)) player.direction = line as Player['direction'];
  });

  socket.write(`${JSON.stringify({ you: player.id, tickMs: TICK_MS, world: WORLD })}\n`);
  socket.on('data', (chunk: Buffer) => {
    try {
      decoder.push(chunk);
    } catch (error) {
      socket.destroy(error as Error);
    }
  });
  socket.on('error', (error) => console.log(`player ${player.id} failed: ${error.message}`));
  socket.on('close', () => {
    sockets.delete(socket);
    players.delete(player.id);
  });
  sockets.add(socket);
});

function join(direction: Player['direction']): Player {
  const player: Player = { id: ++lastId, x: lastId % WORLD.width, y: lastId % WORLD.height, direction };
  players.set(player.id, player);
  return player;
}

function move(): void {
  for (const player of players.values()) {
    const [dx, dy] = DIRECTIONS[player.direction];
    player.x = (player.x + dx + WORLD.width) % WORLD.width;
    player.y = (player.y + dy + WORLD.height) % WORLD.height;
  }
}

function send(tick: number, ms: number): void {
  if (sockets.size === 0) return;
  const state = Buffer.from(`${JSON.stringify({ tick, ms, players: [...players.values()] })}\n`); // encoded once for all
  for (const socket of sockets) if (socket.writable && socket.writableLength === 0) socket.write(state);
}

/** Calls `move` once for every tick that is due, then `send` once: after a pause the world catches up, the wire does not. */
function runTicks(): void {
  const start = performance.now();
  let tick = 0;
  const run = (): void => {
    const ms = performance.now() - start;
    const due = Math.floor(ms / TICK_MS);
    tick = Math.max(tick, due - MAX_TICKS_AT_ONCE); // a laptop that slept doesn't replay the night
    if (tick < due) {
      while (tick < due) {
        tick++;
        move();
      }
      send(tick, Math.round(ms));
    }
    setTimeout(run, Math.ceil((tick + 1) * TICK_MS - (performance.now() - start)));
  };
  run();
}

server.on('error', (error) => {
  console.error(error.message);
  process.exitCode = 1;
});
server.listen({ port: Number(values.port), host: values.host }, () => {
  const { address, port } = server.address() as AddressInfo;
  console.log(`listening on ${address}:${port}`);
  runTicks();
});
