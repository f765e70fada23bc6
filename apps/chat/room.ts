// Who is here and what was said. There is no socket in it: a member is anything that lines can be sent to.
import { isName, nameKey } from './text.ts';

const HISTORY_LINES = 20;

export interface Member {
  /** Takes a line. It must not come back to the room from within, since the room may be sending to all. */
  send(line: string): void;
}

export class Room {
  readonly #names = new Map<Member, string>();
  readonly #members = new Map<string, Member>(); // by nameKey()
  readonly #history: string[] = [];

  nameOf(member: Member): string | undefined {
    return this.#names.get(member);
  }

  /** In the order in which they came. */
  names(): string[] {
    return [...this.#names.values()];
  }

  /** Lets a member in under this name: it gets the last lines, the others a notice. Returns what is wrong with the name, if something is. */
  join(member: Member, name: string): string | undefined {
    const problem = this.#claim(member, name);
    if (problem !== undefined) return problem;
    if (this.#history.length > 0) {
      member.send('* The last that was said:');
      for (const line of this.#history) member.send(line);
    }
    member.send(`* Hello, ${name}. ${others(this.#names.size - 1)} here. /help lists what you can do.`);
    this.#sendAll(`* ${name} joined`, member);
    return undefined;
  }

  /** Gives a member another name. Returns what is wrong with the name, if something is. */
  rename(member: Member, name: string): string | undefined {
    const before = this.#names.get(member)!;
    if (before === name) return undefined;
    const problem = this.#claim(member, name);
    if (problem !== undefined) return problem;
    if (nameKey(before) !== nameKey(name)) this.#members.delete(nameKey(before));
    this.#sendAll(`* ${before} is now ${name}`);
    return undefined;
  }

  /** Carries a message to all others, and into the history. */
  say(member: Member, text: string): void {
    const line = `${this.#names.get(member)}: ${text}`;
    this.#history.push(line);
    if (this.#history.length > HISTORY_LINES) this.#history.shift();
    this.#sendAll(line, member);
  }

  /** Lets a member go and tells the others how, as in "left"; nothing happens if it isn't here. */
  leave(member: Member, how: string): void {
    const name = this.#names.get(member);
    if (name === undefined) return;
    this.#names.delete(member);
    this.#members.delete(nameKey(name));
    this.#sendAll(`* ${name} ${how}`);
  }

  /** Lets all go without a word to anybody. */
  close(): void {
    this.#names.clear();
    this.#members.clear();
  }

  #claim(member: Member, name: string): string | undefined {
    if (!isName(name))
      return 'A name is 1 to 20 letters, digits, _ - or . and begins with a letter or a digit. Which is yours?';
    const owner = this.#members.get(nameKey(name));
    if (owner !== undefined && owner !== member) return `The name ${name} is taken. Which other would you like?`;
    this.#members.set(nameKey(name), member);
    this.#names.set(member, name);
    return undefined;
  }

  #sendAll(line: string, except?: Member): void {
    for (const member of this.#names.keys()) if (member !== except) member.send(line);
  }
}

function others(count: number): string {
  if (count === 0) return 'Nobody else is';
  return count === 1 ? 'One other is' : `${count} others are`;
}
