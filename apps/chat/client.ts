// One connection. Bytes come in and become lines, a line becomes a name, a command or a message; what others say goes out.
//
// Bounds, for one client can't be trusted with the memory or the patience of the others:
//   a line         MAX_LINE_BYTES, then the rest of it is skipped
//   lines a second a token bucket; over it the socket is paused, so TCP slows the sender down and nothing is lost
//   unsent bytes   MAX_UNSENT_BYTES, then it is dropped: it reads too slowly, and the others don't wait
//   no name yet    NAME_WITHIN_MS, then it has to go
import type { Socket } from 'millrace';
import { runCommand } from './commands.ts';
import { LineDecoder, TOO_LONG } from './lines.ts';
import { Pace } from './pace.ts';
import type { Member, Room } from './room.ts';
import { plain } from './text.ts';

const MAX_LINE_BYTES = 2_000;
const MAX_UNSENT_BYTES = 1024 * 1024;
const NAME_WITHIN_MS = 120_000;
/** From our goodbye to the end of a connection that the client keeps open. */
const LINGER_MS = 1_000;

export interface Traffic {
  bytesIn: number;
  bytesOut: number;
}

export class Client implements Member {
  readonly socket: Socket;
  readonly room: Room;
  readonly #traffic: Traffic;
  readonly #decoder = new LineDecoder(MAX_LINE_BYTES);
  readonly #pace: Pace;
  /** The lines of the last chunk that have not been handled yet. */
  #lines: Iterator<string | typeof TOO_LONG, void> | undefined;
  readonly #nameTimer: NodeJS.Timeout;
  /** Waits for the pace; once parting, for the end. */
  #timer: NodeJS.Timeout | undefined;
  /** What the others are told when it has gone without a word. */
  #howItLeft = 'lost the connection';
  #hasEnded = false;
  #isParting = false;

  constructor(socket: Socket, room: Room, linesPerSecond: number, traffic: Traffic, log: (line: string) => void) {
    this.socket = socket;
    this.room = room;
    this.#traffic = traffic;
    this.#pace = new Pace(linesPerSecond);
    const peer = `${socket.remoteAddress}:${socket.remotePort}`;

    socket.on('data', (chunk: Buffer) => {
      if (this.#isParting) return; // read on, or closing would reset the connection and our last words with it
      traffic.bytesIn += chunk.length;
      this.#lines = this.#decoder.push(chunk);
      this.#readLines();
    });
    socket.on('end', () => {
      this.#hasEnded = true;
      // 'end' comes to a paused socket too: lines may still be waiting for the pace.
      if (this.#lines === undefined) this.#finish();
    });
    // Never fatal, and never the end of the story: 'close' follows.
    socket.on('error', (error) => log(`${peer}${this.name === undefined ? '' : ` (${this.name})`}: ${error.message}`));
    socket.on('close', () => {
      clearTimeout(this.#nameTimer);
      clearTimeout(this.#timer);
      this.room.leave(this, this.#howItLeft);
    });

    this.#nameTimer = setTimeout(() => {
      if (this.name === undefined) this.part('You have not said your name. Goodbye.');
    }, NAME_WITHIN_MS);
    this.tell('Welcome to the millrace chat. What is your name?');
  }

  get name(): string | undefined {
    return this.room.nameOf(this);
  }

  /** A notice for this client alone. */
  tell(text: string): void {
    this.send(Buffer.from(`* ${text}\n`));
  }

  send(bytes: Buffer): void {
    if (!this.socket.writable) return;
    this.#traffic.bytesOut += bytes.length;
    this.socket.write(bytes);
    if (this.socket.writableLength > MAX_UNSENT_BYTES) {
      this.#howItLeft = 'was dropped: it did not read what was said';
      // Only starts the end. The others hear of it at 'close', so the loop that is calling us isn't entered again.
      this.socket.destroy(new Error('dropped, it does not read'));
    }
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
    this.socket.end();
    this.room.leave(this, 'left');
    this.socket.resume();
    this.#wait(LINGER_MS, () => this.socket.destroy());
  }

  #readLines(): void {
    while (!this.#isParting && !this.socket.destroyed) {
      const waitMs = this.#pace.waitMs();
      if (waitMs > 0) {
        this.socket.pause();
        this.#wait(waitMs, () => this.#readLines());
        return;
      }
      const next = this.#lines?.next();
      if (next === undefined || next.done) break;
      this.#pace.take();
      this.#handle(next.value);
    }
    this.#lines = undefined;
    if (this.#hasEnded) this.#finish();
    else this.socket.resume();
  }

  /** The client has ended its side: its last line, where that came without a newline, and a goodbye. */
  #finish(): void {
    for (const line of this.#decoder.end()) if (!this.#isParting) this.#handle(line);
    this.sayGoodbye();
  }

  #handle(line: string | typeof TOO_LONG): void {
    if (line === TOO_LONG) {
      this.tell(`That line is longer than ${MAX_LINE_BYTES} bytes, so nobody has seen it.`);
      return;
    }
    const text = plain(line).trim();
    if (text === '') return;
    if (text.startsWith('/')) runCommand(this, text);
    else if (this.name === undefined) this.takeName(text);
    else this.room.say(this, text);
  }

  #wait(ms: number, then: () => void): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(then, ms);
  }
}
