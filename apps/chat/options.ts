// The command line in, options or one sentence out. No I/O: main.ts prints, and decides about the exit code.
import { parseArgs } from 'node:util';

export interface Options {
  port: number;
  host: string;
  maxConnections: number;
  linesPerSecond: number;
}

export const HELP = `A chat over TCP. Join it with: nc 127.0.0.1 3000

npm start -- [options]
  --port NUMBER              the port to listen on, 0 for any free one (3000)
  --host ADDRESS             the address to listen on, 0.0.0.0 for all (127.0.0.1)
  --max-connections NUMBER   how many may be connected at once (10000)
  --lines-per-second NUMBER  how fast one client may talk, over a while (50)
  --help                     this text`;

export function parse(args: string[]): { options: Options } | { help: true } | { problem: string } {
  try {
    const { values } = parseArgs({
      args,
      options: {
        port: { type: 'string', default: '3000' },
        host: { type: 'string', default: '127.0.0.1' },
        'max-connections': { type: 'string', default: '10000' },
        'lines-per-second': { type: 'string', default: '50' },
        help: { type: 'boolean', default: false },
      },
    });
    if (values.help) return { help: true };
    if (values.host === '') throw new Error('--host is empty, where an address or a name should be');
    return {
      options: {
        port: wholeNumber('--port', values.port, 0, 65_535),
        host: values.host,
        maxConnections: wholeNumber('--max-connections', values['max-connections'], 1, 1_000_000),
        linesPerSecond: wholeNumber('--lines-per-second', values['lines-per-second'], 1, 1_000_000),
      },
    };
  } catch (error) {
    // Of Node's own explanations, which run on, the first sentence.
    const [sentence] = (error as Error).message.split(/\.(?:\s|$)/);
    return { problem: `${sentence}; --help lists the options.` };
  }
}

function wholeNumber(name: string, value: string, least: number, most: number): number {
  const number = Number(value);
  if (!/^\d+$/.test(value) || number < least || number > most) {
    throw new Error(`${name} is '${value}', where a whole number from ${least} to ${most} should be`);
  }
  return number;
}

/** Why it can't listen, in one sentence for people. */
export function listenProblem(error: NodeJS.ErrnoException, port: number, host: string): string {
  switch (error.code) {
    case 'EADDRINUSE':
      return `Port ${port} on ${host} is taken by another program; choose another with --port.`;
    case 'EACCES':
      return `Port ${port} needs rights that this user doesn't have; choose one above 1023 with --port.`;
    case 'EADDRNOTAVAIL':
      return `${host} is no address of this machine; choose another with --host.`;
    case 'ENOTFOUND':
    case 'EAI_AGAIN':
      return `The name ${host} has no address; choose another with --host.`;
    default:
      return `Can't listen on ${host}:${port}: ${error.message}.`;
  }
}
