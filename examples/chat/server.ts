// A chat with rooms, on sessions of text lines. Each session has a handler that reads like the conversation: ask for a name, enter
// the lobby, carry each line to the room, leave. However the connection ends, `finally` is where it leaves.
//
// Two ways to send. To its own client the handler uses `send` and waits, so who asks and doesn't read is no longer read either. To
// others it uses `trySendFrame` and never waits for them: what they don't read piles up in their session, to `writeBuffer.maxBytes`.
import { parseArgs } from 'node:util';
import { lines } from 'millrace/framing';
import { isGoodEnd, type Session, serve } from 'millrace/session';

const HISTORY_LINES = 20;
const MAX_TEXT_CHARACTERS = 500;
const MAX_NAMES_SHOWN = 50;
const codec = lines({ maxFrameBytes: 4096 }).utf8();

const { values } = parseArgs({
  options: { port: { type: 'string', default: '4000' }, host: { type: 'string', default: '127.0.0.1' } },
});

/** It is gone with its last member. */
interface Room {
  readonly title: string;
  readonly members: Map<string, Session<string>>;
  readonly history: string[];
}
const rooms = new Map<string, Room>();
const names = new Set<string>();

const server = await serve(
  {
    port: Number(values.port),
    host: values.host,
    codec,
    // People may be silent for as long as they like, but have to say who they are.
    limits: { idleMs: 0, firstByteMs: 60_000, writeBuffer: { maxBytes: 256 * 1024 } },
    onClosed: ({ peer }, { reason, message }) => {
      if (!isGoodEnd(reason)) console.log(`${peer.address}:${peer.port}: ${message}`);
    },
  },
  async (session) => {
    const name = await askName(session);
    if (name === undefined) return;
    let room = enter('lobby', name, session);
    try {
      for await (const line of session) {
        const text = line.replace(/\p{Cc}/gu, '').trim(); // an escape sequence is not for other people's terminals
        const [command, argument = ''] = text.split(/\s+/);
        if (command === '/quit') return await session.send(`* goodbye, ${name}`);
        if (command === '/who') await session.send(`* here: ${namesIn(room)}`);
        else if (command === '/rooms') await session.send(`* rooms: ${[...rooms.keys()].slice(0, 50).join(', ')}`);
        else if (command === '/join' && isName(argument)) {
          leave(room, name);
          room = enter(argument, name, session);
        } else if (text.startsWith('/')) await session.send('* /join ROOM, /rooms, /who, /quit');
        else if (text.length > MAX_TEXT_CHARACTERS) await session.send(`* at most ${MAX_TEXT_CHARACTERS} characters`);
        else if (text !== '') say(room, name, text);
      }
    } finally {
      leave(room, name);
      names.delete(name);
    }
  },
).catch((error: Error) => {
  console.error(error.message);
  process.exit(1);
});
console.log(`listening on ${server.address}:${server.port}`);

const end = (): void => void server.drain({ goodbye: '* the server is closing', graceMs: 0, deadlineMs: 2_000 });
process.once('SIGINT', end).once('SIGTERM', end);

async function askName(session: Session<string>): Promise<string | undefined> {
  await session.send('* what is your name?');
  for (;;) {
    const name = (await session.receive())?.trim();
    if (name === undefined) return undefined;
    if (isName(name) && !names.has(name)) {
      names.add(name);
      return name;
    }
    await session.send(names.has(name) ? `* ${name} is taken` : '* 1 to 20 letters, digits, - or _');
  }
}

function enter(title: string, name: string, session: Session<string>): Room {
  const room: Room = rooms.get(title) ?? { title, members: new Map(), history: [] };
  rooms.set(title, room);
  tell(room, `* ${name} is here`);
  room.members.set(name, session);
  for (const line of room.history) session.trySend(line);
  session.trySend(`* you are in ${title}, with ${room.members.size - 1} others; /help`);
  return room;
}

function leave(room: Room, name: string): void {
  room.members.delete(name);
  tell(room, `* ${name} has left`);
  if (room.members.size === 0) rooms.delete(room.title);
}

function say(room: Room, name: string, text: string): void {
  const line = `${name}: ${text}`;
  room.history.push(line);
  if (room.history.length > HISTORY_LINES) room.history.shift();
  tell(room, line, name);
}

function tell(room: Room, line: string, except?: string): void {
  const frame = codec.encode(line); // once for all of them
  for (const [name, session] of room.members) if (name !== except) session.trySendFrame(frame);
}

function namesIn({ members }: Room): string {
  const more = members.size > MAX_NAMES_SHOWN ? ` and ${members.size - MAX_NAMES_SHOWN} more` : '';
  return [...members.keys()].slice(0, MAX_NAMES_SHOWN).join(', ') + more;
}

function isName(name: string): boolean {
  return /^[\p{L}\p{N}_-]{1,20}$/u.test(name);
}
