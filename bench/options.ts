// The command line of `npm run bench`, checked.
import { parseArgs } from 'node:util';

export interface Options {
  cases: string[];
  /** Names and groups; `undefined`: what the selection says. */
  rivals: string[] | undefined;
  full: boolean;
  runs: number;
  seconds: number;
  warmupSeconds: number;
  sizes: number[] | undefined;
  connections: number[] | undefined;
  inFlight: number[] | undefined;
  idleConnections: number[] | undefined;
  /** `undefined`: the first two CPUs this process may use; `'off'`: no pinning. */
  pin: { server: number; load: number } | 'off' | undefined;
  /** Folder for the results; `undefined`: one of its own in bench/results. */
  out: string | undefined;
  check: boolean;
  prepare: boolean;
  list: boolean;
  help: boolean;
}

export const usage = `npm run bench -- [case ...] [options]

  case                    which cases to run (default: all)
  --full                  every trial and every rival: about an hour (default: a selection, a quarter of an hour)
  --rivals a,b            which servers: names, or the groups quick, usual, all, ours, nodes (default: quick, with --full all)
  --runs 3                runs of each server, alternating
  --seconds 0.6           measured phase of a run         (--full: 1.2)
  --warmup 1              seconds before it, and with echoes at least 15,000 messages
  --size 64,16384         echo: bytes in a message                }
  --connections 50,1000   echo: connections                       } giving one of them runs every combination
  --in-flight 1           echo: messages on their way on each     }
  --idle-connections 10000,100000
  --pin 0,1 | off         CPU of the server, CPU of the load
  --out DIR               where results and charts go (default: bench/results/<time>)
  --check                 exit status 1 if a goal is missed
  --prepare               only find, fetch or build all rivals (as root: installs Debian's packages for them)
  --list                  only say what would run, and how long it would take`;

/** Reads the arguments. @throws {Error} with a sentence for the user. */
export function readOptions(args: string[]): Options {
  const { values, positionals } = parseArgs({
    args,
    allowPositionals: true,
    options: {
      rivals: { type: 'string' },
      full: { type: 'boolean', default: false },
      runs: { type: 'string', default: '3' },
      seconds: { type: 'string' },
      warmup: { type: 'string', default: '1' },
      size: { type: 'string' },
      connections: { type: 'string' },
      'in-flight': { type: 'string' },
      'idle-connections': { type: 'string' },
      pin: { type: 'string' },
      out: { type: 'string' },
      check: { type: 'boolean', default: false },
      prepare: { type: 'boolean', default: false },
      list: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
    },
  });
  return {
    cases: positionals,
    rivals: values.rivals?.split(','),
    full: values.full,
    runs: whole('runs', values.runs, 1, 1000),
    seconds: amount('seconds', values.seconds ?? (values.full ? '1.2' : '0.6'), 0.05, 600),
    warmupSeconds: amount('warmup', values.warmup, 0, 600),
    sizes: wholes('size', values.size, 64 * 2 ** 20),
    connections: wholes('connections', values.connections, 500_000),
    inFlight: wholes('in-flight', values['in-flight'], 65_536),
    idleConnections: wholes('idle-connections', values['idle-connections'], 500_000),
    pin: pin(values.pin),
    out: values.out,
    check: values.check,
    prepare: values.prepare,
    list: values.list,
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

const wholes = (name: string, text: string | undefined, max: number): number[] | undefined =>
  text?.split(',').map((one) => whole(name, one, 1, max));

function pin(text: string | undefined): Options['pin'] {
  if (text === undefined || text === 'off') return text;
  const [server, load, ...rest] = text.split(',').map((cpu) => whole('pin', cpu, 0, 8191));
  if (server === undefined || load === undefined || rest.length > 0)
    throw new Error("--pin takes two CPUs, as in '0,1', or 'off'");
  return { server, load };
}
