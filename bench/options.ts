// The command line of `npm run bench`, checked.
import { parseArgs } from 'node:util';

export interface Options {
  cases: string[];
  rivals: string[] | undefined;
  runs: number;
  seconds: number;
  warmupSeconds: number;
  sizes: number[] | undefined;
  connections: number[] | undefined;
  inFlight: number;
  idleConnections: number;
  /** `undefined`: the first two CPUs this process may use; `'off'`: no pinning. */
  pin: { server: number; load: number } | 'off' | undefined;
  check: boolean;
  help: boolean;
}

export const usage = `npm run bench -- [case ...] [options]

  case                    which cases to run (default: all)
  --rivals a,b            which servers (default: all); node is needed for ratios
  --runs 5                runs of each server, alternating
  --seconds 3             measured phase of a run
  --warmup 1              seconds before it
  --size 64,16384         echo: bytes in a message        } default: 64 B x 50, 64 B x 1000, 16384 B x 50;
  --connections 50,1000   echo: connections               } giving either runs every pair of the two
  --in-flight 1           echo: messages on their way per connection
  --idle-connections 10000
  --pin 0,1 | off         CPU of the server, CPU of the load
  --check                 exit status 1 if a goal is missed`;

/** Reads the arguments. @throws {Error} with a sentence for the user. */
export function readOptions(args: string[]): Options {
  const { values, positionals } = parseArgs({
    args,
    allowPositionals: true,
    options: {
      rivals: { type: 'string' },
      runs: { type: 'string', default: '5' },
      seconds: { type: 'string', default: '3' },
      warmup: { type: 'string', default: '1' },
      size: { type: 'string' },
      connections: { type: 'string' },
      'in-flight': { type: 'string', default: '1' },
      'idle-connections': { type: 'string', default: '10000' },
      pin: { type: 'string' },
      check: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
    },
  });
  return {
    cases: positionals,
    rivals: values.rivals?.split(','),
    runs: whole('runs', values.runs, 1, 1000),
    seconds: amount('seconds', values.seconds, 0.05, 600),
    warmupSeconds: amount('warmup', values.warmup, 0, 600),
    sizes: values.size?.split(',').map((text) => whole('size', text, 1, 64 * 2 ** 20)),
    connections: values.connections?.split(',').map((text) => whole('connections', text, 1, 500_000)),
    inFlight: whole('in-flight', values['in-flight'], 1, 65_536),
    idleConnections: whole('idle-connections', values['idle-connections'], 1, 500_000),
    pin: pin(values.pin),
    check: values.check,
    help: values.help,
  };
}

function amount(name: string, text: string, min: number, max: number): number {
  const value = Number(text);
  if (text === '' || !(value >= min && value <= max))
    throw new Error(`--${name} must be a number from ${min} to ${max}, not '${text}'`);
  return value;
}

function whole(name: string, text: string, min: number, max: number): number {
  const value = amount(name, text, min, max);
  if (!Number.isInteger(value)) throw new Error(`--${name} must be a whole number, not '${text}'`);
  return value;
}

function pin(text: string | undefined): Options['pin'] {
  if (text === undefined || text === 'off') return text;
  const [server, load, ...rest] = text.split(',').map((cpu) => whole('pin', cpu, 0, 8191));
  if (server === undefined || load === undefined || rest.length > 0)
    throw new Error("--pin takes two CPUs, as in '0,1', or 'off'");
  return { server, load };
}
