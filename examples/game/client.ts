// A player: sends what is typed with a number, says of each state that it has seen it, and prints the world as it knows it.
import { createInterface } from 'node:readline';
import { parseArgs } from 'node:util';
import { lines } from 'millrace/framing';
import { dial } from 'millrace/session';
import { isDirection } from './world.ts';

const { values } = parseArgs({
  options: { port: { type: 'string', default: '4000' }, host: { type: 'string', default: '127.0.0.1' } },
});
type State = { tick: number; seq: number; moved: [id: number, x: number, y: number][]; gone: number[] };

try {
  const codec = lines({ maxFrameBytes: 16 * 1024 }).json();
  const session = await dial({ port: Number(values.port), host: values.host, codec });
  console.log('you are player', ((await session.receive()) as { you: number }).you);
  const places = new Map<number, string>();
  let [seen, sent] = [0, 0];
  const keyboard = createInterface({ input: process.stdin });
  keyboard.on('line', (move) => {
    if (isDirection(move)) session.trySend({ seen, seq: ++sent, move });
    else console.log('up, down, left, right or stop');
  });
  keyboard.on('close', () => session.end());
  for await (const { tick, seq, moved, gone } of session as AsyncIterable<State>) {
    for (const [id, x, y] of moved) places.set(id, `${x},${y}`);
    for (const id of gone) places.delete(id);
    console.log(`tick ${tick}, input ${seq}: ${[...places].map(([id, place]) => `${id}@${place}`).join(' ')}`);
    session.trySend({ seen: tick });
    seen = tick;
  }
  keyboard.close();
} catch (error) {
  console.error((error as Error).message);
  process.exit(1);
}
