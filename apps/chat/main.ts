// A chat over TCP that anyone joins with `nc 127.0.0.1 3000`. The way of a line, and the order to read in:
//
//   server.ts    a session for each connection, their limits, the goodbye
//   client.ts    one session: a line in, lines out to everybody, and how it may end
//   text.ts      what of a line, and of a name, is fit for other people's terminals
//   commands.ts  /who, /nick, /help, /quit
//   room.ts      who is here, what was said: no socket in it
//   status.ts    the live line below the log;  options.ts  the command line;  pace.ts  how fast one client may talk
//
// Exit codes: 0 after Ctrl-C, 1 when it can't listen, 2 for a command line that makes no sense.

import { networkInterfaces } from 'node:os';
import { engine, engineReason } from 'millrace';
import { HELP, listenProblem, type Options, parse } from './options.ts';
import { ChatServer } from './server.ts';
import { Status } from './status.ts';

/** From the signal to the end of the process, whatever the clients do. */
const END_WITHIN_MS = 900;

const parsed = parse(process.argv.slice(2));
if ('problem' in parsed) {
  console.error(parsed.problem);
  process.exitCode = 2;
} else if ('help' in parsed) {
  console.log(HELP);
} else {
  await run(parsed.options);
}

async function run(options: Options): Promise<void> {
  const status = new Status(process.stdout, () => server.sample());
  const server = new ChatServer(options, (line) => status.log(line));
  process.stdout.on('error', () => {}); // the reader of our log has gone; the chat hasn't

  let port: number;
  try {
    port = await server.listen();
  } catch (error) {
    console.error(listenProblem(error as NodeJS.ErrnoException, options.port, options.host));
    process.exitCode = 1;
    return;
  }

  status.log('millrace chat');
  status.log(`  engine   ${engine} (${engineReason})`);
  status.log(`  address  ${options.host.includes(':') ? `[${options.host}]` : options.host}:${port}`);
  for (const host of reachableAt(options.host)) status.log(`  join     nc ${host} ${port}`);
  status.log('  end      Ctrl-C');
  status.start();

  const end = async (): Promise<void> => {
    // A second Ctrl-C changes nothing: npm passes the terminal's signal on, so one key press may come twice.
    process
      .off('SIGINT', end)
      .off('SIGTERM', end)
      .on('SIGINT', () => {})
      .on('SIGTERM', () => {});
    setTimeout(() => process.exit(0), END_WITHIN_MS).unref();
    status.stop();
    status.log('goodbye');
    await server.close();
    process.exit(0);
  };
  process.on('SIGINT', end).on('SIGTERM', end);
}

/** The addresses to tell people: one that means "all of this machine's" is nothing to connect to. */
function reachableAt(host: string): string[] {
  if (host !== '0.0.0.0' && host !== '::') return [host];
  const outside = Object.values(networkInterfaces())
    .flatMap((addresses) => addresses ?? [])
    .filter((address) => !address.internal && address.family === 'IPv4');
  return ['127.0.0.1', ...outside.map((address) => address.address)];
}
