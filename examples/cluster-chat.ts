// A chat on all cores: whoever is in a room hears what is said in it, whichever worker serves them. A room is a topic: a worker
// subscribes when somebody of its own enters, and lets go with the last one, so what is said goes only where the room is.
// Who has which name is the primary's to know, and it is asked; a worker that dies takes its names with it.
//
//   node .build/examples/cluster-chat.js --port 4000 --workers 2
//   nc 127.0.0.1 4000                        several times; say your name, then "ROOM what you have to say"

import { parseArgs } from 'node:util';
import { counters, run, type Subscription, type Worker } from 'millrace/cluster';
import { lines } from 'millrace/framing';
import { type Session, serve } from 'millrace/session';

const { values } = parseArgs({
  options: {
    port: { type: 'string', default: '4000' },
    host: { type: 'string', default: '127.0.0.1' },
    workers: { type: 'string', default: 'auto' },
  },
});
const MOST_ROOMS = 10;
const figures = counters({ lines: 'counter', people: 'gauge' });

/** Of the primary: whose worker has which name. */
const names = new Map<string, number>();

try {
  // This file runs in each worker, too: there `run` calls `setup`, and what stands behind it is the primary's alone.
  const group = await run({
    workers: values.workers === 'auto' ? 'auto' : Number(values.workers),
    setup: chat,
    counters: figures,
    onStart(messages) {
      messages.handle('take a name', (name: string, { from }) => !names.has(name) && names.set(name, from).size > 0);
      messages.subscribe('a name is free', (name: string) => names.delete(name));
    },
    onExit({ id }) {
      for (const [name, worker] of names) if (worker === id) names.delete(name);
      const { lines, people } = figures.totals();
      console.log(`worker ${id} ended; ${people} people are here, ${lines} lines were said`);
    },
  });
  console.log(`listening on ${values.host}:${group.port}`);
} catch (error) {
  console.error((error as Error).message);
  process.exitCode = 1;
}

interface Room {
  readonly sessions: Set<Session<string>>;
  readonly topic: Subscription;
}

async function chat({ id, messages }: Worker): Promise<void> {
  const rooms = new Map<string, Room>();

  const enter = (title: string, session: Session<string>): void => {
    let room = rooms.get(title);
    if (room === undefined) {
      const sessions = new Set<Session<string>>();
      const tell = (line: string): void => {
        for (const each of sessions) each.trySend(line);
      };
      room = { sessions, topic: messages.subscribe(`room/${title}`, tell) };
      rooms.set(title, room);
    }
    room.sessions.add(session);
  };

  const leave = (title: string, session: Session<string>): void => {
    const room = rooms.get(title);
    if (room?.sessions.delete(session) !== true || room.sessions.size > 0) return;
    rooms.delete(title);
    room.topic.close();
  };

  await serve({ port: Number(values.port), host: values.host, codec: lines().utf8() }, async (session) => {
    await session.send('* what is your name?');
    let name: string | undefined;
    const entered = new Set<string>();
    try {
      for await (const line of session) {
        if (name === undefined) {
          if (await messages.ask<boolean>('primary', 'take a name', line)) {
            name = line;
            figures.add('people');
            await session.send(`* hello, ${name}; you are with worker ${id}`);
          } else {
            await session.send(`* ${line} is taken`);
          }
          continue;
        }
        const [title = '', ...words] = line.split(' ');
        if (!entered.has(title) && entered.size < MOST_ROOMS) {
          entered.add(title);
          enter(title, session);
          await messages.flushed(); // now all others know that this room is here, too
        }
        figures.add('lines');
        // To those of this worker as well; whoever writes faster than all can read is no longer read.
        await messages.publish(`room/${title}`, `${title}, ${name}: ${words.join(' ')}`, { self: true });
      }
    } finally {
      for (const title of entered) leave(title, session);
      if (name !== undefined) {
        figures.add('people', -1);
        void messages.publish('a name is free', name);
      }
    }
  });
}
