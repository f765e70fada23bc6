// What a line that begins with / does. A table: a new command is one more row, and /help knows it.
import type { Client } from './client.ts';

interface Command {
  readonly usage: string;
  readonly help: string;
  run(client: Client, argument: string): void;
}

/** More names than this would be a page, not a line. */
const MAX_NAMES_SHOWN = 100;

const commands = new Map<string, Command>([
  ['/who', { usage: '/who', help: 'who is here', run: who }],
  ['/nick', { usage: '/nick NAME', help: 'take a name, or another one', run: (client, name) => client.takeName(name) }],
  ['/help', { usage: '/help', help: 'this list', run: help }],
  ['/quit', { usage: '/quit', help: 'leave', run: (client) => client.sayGoodbye() }],
]);

export function runCommand(client: Client, line: string): void {
  const [word, ...rest] = line.split(' ');
  const command = commands.get(word!.toLowerCase());
  if (command) command.run(client, rest.join(' ').trim());
  else client.tell(`There is no ${word}. /help lists what there is.`);
}

function who(client: Client): void {
  const names = client.room.names();
  const more = names.length > MAX_NAMES_SHOWN ? ` and ${names.length - MAX_NAMES_SHOWN} more` : '';
  client.tell(
    `${names.length} here${names.length > 0 ? ': ' : ''}${names.slice(0, MAX_NAMES_SHOWN).join(', ')}${more}`,
  );
}

function help(client: Client): void {
  for (const { usage, help } of commands.values()) client.tell(`${usage.padEnd(11)} ${help}`);
}
