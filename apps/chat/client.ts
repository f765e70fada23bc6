// One connection: its lines come in, become a name, a command or a message, and what others say goes out.
//
// Bounds, for one client can't be trusted with the memory or the patience of the others. Those of the session are in
// server.ts; two are here:
//   lines a second a token bucket; over it no line is taken, so TCP slows the sender down and nothing is lost
//   no name yet    NAME_WITHIN_MS, then it has to go
import { setTimeout as delay } from 'node:timers/promises';
import type { FramingError } from 'millrace/framing';
import { isGoodEnd, type Session, type SessionCloseReason } from 'millrace/session';
import { runCommand } from './commands.ts';
import { Pace } from './pace.ts';
import type { Member, Room } from './room.ts';
import { plain } from './text.ts';

const MAX_LINE_BYTES = 2_000;
const NAME_WITHIN_MS = 120_000;

export class Client implements Member {
  readonly session: Session<string>;
  readonly room: Room;
  readonly #pace: Pace;
  #isParting = false;

  constructor(session: Session<string>, room: Room, linesPerSecond: number) {
    this.session = session;
    this.room = room;
    this.#pace = new Pace(linesPerSecond);
  }

  get name(): string | undefined {
    return this.room.nameOf(this);
  }

  /** From the welcome to the goodbye. When this returns, the session sends what waits, and closes. */
  async talk(): Promise<void> {
    this.tell('Welcome to the millrace chat. What is your name?');
    const nameBy = AbortSignal.timeout(NAME_WITHIN_MS);
    try {
      while (!this.#isParting) {
        const line = await this.session.receive(this.name === undefined ? { signal: nameBy } : {});
        if (line === undefined) return this.sayGoodbye();
        await this.#keepPace();
        if (this.session.isLeaving) return; // the chat closes, and has said so
        this.#handle(line);
      }
    } catch (error) {
      if (error !== nameBy.reason) throw error;
      this.part('You have not said your name. Goodbye.');
    }
  }

  /** A notice for this client alone. */
  tell(text: string): void {
    this.send(`* ${text}`);
  }

  /** Never waits: who does not read is the session's to drop, and the others never wait for it. */
  send(line: string): void {
    this.session.trySend(line);
  }

  /** Takes a first name or another one, or says why not. */
  takeName(name: string): void {
    const before = this.name;
    const problem = before === undefined ? this.room.join(this, name) : this.room.rename(this, name);
    if (problem !== undefined) this.tell(problem);
  }

  sayGoodbye(): void {
    this.part(this.name === undefined ? 'Goodbye.' : `Goodbye, ${this.name}.`);
  }

  /** Leaves with a last word; once. */
  part(lastWord: string): void {
    if (this.#isParting) return;
    this.#isParting = true;
    this.tell(lastWord);
    this.room.leave(this, 'left');
  }

  /** A line was left out: it was too long, or no text. */
  onBadLine(error: FramingError): void {
    if (error.reason === 'FRAME_TOO_LARGE') this.#refuseLine(`longer than ${MAX_LINE_BYTES} bytes`);
    else this.#refuseLine('not UTF-8');
  }

  /** The session is over. Who has not said goodbye has gone without a word. */
  onClosed({ reason }: SessionCloseReason): void {
    const isDropped = reason === 'WRITE_OVERFLOW' || reason === 'PEER_NOT_READING' || reason === 'MEMORY_BUDGET';
    if (isDropped) this.room.leave(this, 'was dropped: it did not read what was said');
    else this.room.leave(this, isGoodEnd(reason) ? 'left' : 'lost the connection');
  }

  async #keepPace(): Promise<void> {
    for (let ms = this.#pace.waitMs(); ms > 0; ms = this.#pace.waitMs()) {
      await delay(ms, undefined, { signal: this.session.signal });
    }
    this.#pace.take();
  }

  #refuseLine(what: string): void {
    this.tell(`That line is ${what}, so nobody has seen it.`);
  }

  #handle(line: string): void {
    const text = plain(line).trim();
    if (Buffer.byteLength(line) > MAX_LINE_BYTES) this.#refuseLine(`longer than ${MAX_LINE_BYTES} bytes`);
    else if (text === '') return;
    else if (text.startsWith('/')) runCommand(this, text);
    else if (this.name === undefined) this.takeName(text);
    else this.room.say(this, text);
  }
}
