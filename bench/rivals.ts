// Who is measured. A rival is a command that starts a server as servers/server.ts describes; a new one, in any language, is
// one entry here and a file in rivals/.
import { crateVersion, fromC, fromCargo, fromGo, fromNpm, output, Unavailable, type Workshop } from './workshop.ts';

/** What a server can serve: see servers/server.ts. */
export type Kind =
  | 'echo'
  | 'broadcast'
  | 'broadcast-corked'
  | 'source'
  | 'sink'
  | 'send-file'
  | 'receive-file'
  | 'tls-echo'
  | 'tls-source'
  | 'tls-sink'
  | 'program';

export interface Rival {
  name: string;
  /** For the report: what it is. */
  about: string;
  /** Decides the bar's colour, and who is compared with whom. */
  family: 'node' | 'ours' | 'rival' | 'limit';
  kinds: readonly Kind[];
  /** The engine that the first line of its server has to name. */
  engine: string;
  env: Readonly<Record<string, string>>;
  /** Ours: node:net on the same Node. */
  sameNode?: string;
  /** In which selections it takes part: the default one, the usual trials of --full, its headline trials only, none. */
  tier: 'quick' | 'usual' | 'full' | 'named';
  /** Finds or builds it. @throws {Unavailable} */
  prepare(shop: Workshop): Prepared;
}

export interface Prepared {
  /** Command and arguments; kind and parameter follow. */
  command: string[];
  /** Goes behind the first word if garbage is to be collected on demand. */
  gc: string[];
  version: string;
}

/** Versions of what is fetched, exactly. */
const versions = { node22: '22.23.3', node24: '24.21.0', node26: '26.10.0', bun: '1.4.5', deno: '2.9.6' };

const nodeKinds: readonly Kind[] = [
  ...['echo', 'broadcast', 'broadcast-corked', 'source', 'sink', 'send-file', 'receive-file', 'program'],
  ...['tls-echo', 'tls-source', 'tls-sink'],
] as Kind[];
const plainKinds: readonly Kind[] = ['echo', 'broadcast', 'source', 'sink'];
const program = (path: string): string => new URL(path, import.meta.url).pathname;

function nodeLine(version: string): (shop: Workshop) => string {
  return (shop) => fromNpm(shop, `node-linux-${process.arch}`, version, 'bin/node');
}

/** node:net and millrace on one Node. `suffix` is '' for the Node that runs the benchmark. */
function onNode(suffix: string, binary: (shop: Workshop) => string, nodeTier: Rival['tier'], tier = nodeTier): Rival[] {
  const one = (
    name: string,
    impl: string,
    engine: string,
    about: string,
    more: Partial<Rival> & { family: Rival['family'] },
  ): Rival => ({
    name: `${name}${suffix}`,
    about,
    engine,
    env: {},
    kinds: nodeKinds,
    tier,
    prepare: (shop) => {
      const node = binary(shop);
      const command = [node, program('servers/server.js'), '--impl', impl];
      return { command, gc: ['--expose-gc'], version: output(node, '--version') };
    },
    ...more,
  });
  const ours = (name: string, engine: string): Rival =>
    one(`millrace-${name}`, 'millrace', engine, `millrace on ${name}`, {
      family: 'ours',
      env: { MILLRACE_ENGINE: name },
      sameNode: `node${suffix}`,
    });
  const direct = (name: string): Rival =>
    one(`direct-${name}`, '', name, `millrace/direct on ${name}`, {
      family: 'ours',
      env: { MILLRACE_ENGINE: name },
      sameNode: `node${suffix}`,
      kinds: plainKinds,
      tier: suffix === '@26' ? 'full' : 'named',
      prepare: (shop) => {
        const node = binary(shop);
        const command = [node, program('servers/direct.js')];
        return { command, gc: ['--expose-gc'], version: output(node, '--version') };
      },
    });
  return [
    one('node', 'node-net', 'node:net', 'node:net', { family: 'node', tier: nodeTier }),
    ours('io_uring', 'io_uring'),
    ours('epoll', 'epoll'),
    direct('io_uring'),
    direct('epoll'),
  ];
}

function bun(shop: Workshop): string {
  return fromNpm(shop, `@oven/bun-linux-${process.arch === 'arm64' ? 'aarch64' : 'x64'}`, versions.bun, 'bin/bun');
}

function deno(shop: Workshop): string {
  return fromNpm(shop, `@deno/linux-${process.arch}-glibc`, versions.deno, 'deno');
}

type Other = Pick<Rival, 'name' | 'about' | 'engine' | 'kinds'> & Partial<Rival>;
const other = (rival: Other & Pick<Rival, 'prepare'>): Rival => ({
  family: 'rival',
  env: {},
  tier: 'quick',
  ...rival,
});

export const rivals: readonly Rival[] = [
  ...onNode('', () => process.execPath, 'full'),
  ...onNode('@22', nodeLine(versions.node22), 'full'),
  ...onNode('@24', nodeLine(versions.node24), 'quick', 'usual'),
  ...onNode('@26', nodeLine(versions.node26), 'quick'),
  other({
    name: 'bun',
    about: 'Bun.listen',
    engine: 'bun',
    kinds: plainKinds,
    prepare: (shop) => ({
      command: [bun(shop), program('rivals/bun.js')],
      gc: [],
      version: output(bun(shop), '--version'),
    }),
  }),
  other({
    name: 'bun-node-net',
    about: "Bun's node:net",
    engine: 'node:net',
    kinds: nodeKinds.filter((kind) => kind !== 'program' && !kind.startsWith('tls-')),
    tier: 'full',
    prepare: (shop) => ({
      command: [bun(shop), program('servers/server.js'), '--impl', 'node-net'],
      gc: [],
      version: output(bun(shop), '--version'),
    }),
  }),
  other({
    name: 'deno',
    about: 'Deno.listen',
    engine: 'deno',
    kinds: plainKinds,
    prepare: (shop) => ({
      command: [deno(shop), 'run', '--allow-all', '--quiet', '--v8-flags=--expose-gc', program('rivals/deno.js')],
      gc: [],
      version: output(deno(shop), '--version').split(' ')[1] ?? '',
    }),
  }),
  other({
    name: 'deno-node-net',
    about: "Deno's node:net",
    engine: 'node:net',
    kinds: nodeKinds.filter((kind) => kind !== 'program' && !kind.startsWith('tls-')),
    tier: 'full',
    prepare: (shop) => ({
      command: [
        ...[deno(shop), 'run', '--allow-all', '--quiet', '--v8-flags=--expose-gc'],
        ...[program('servers/server.js'), '--impl', 'node-net'],
      ],
      gc: [],
      version: output(deno(shop), '--version').split(' ')[1] ?? '',
    }),
  }),
  other({
    name: 'go',
    about: "Go's net, a goroutine a connection",
    engine: 'go',
    kinds: plainKinds,
    prepare: (shop) => ({
      command: [fromGo(shop, 'go', 'bench/rivals/server.go')],
      gc: [],
      version: /go\d\S*/.exec(output('go', 'version'))?.[0] ?? 'unknown',
    }),
  }),
  other({
    name: 'tokio',
    about: "Rust's tokio, current-thread runtime",
    engine: 'tokio',
    kinds: plainKinds,
    prepare: (shop) => {
      const command = [fromCargo(shop, 'tokio', 'bench/rivals/tokio')];
      return {
        command,
        gc: [],
        version: `${crateVersion(shop, 'tokio')}, ${output('rustc', '--version').slice(0, 12)}`,
      };
    },
  }),
  other({
    name: 'c-epoll',
    about: 'the limit: C on epoll',
    family: 'limit',
    engine: 'c-epoll',
    kinds: plainKinds,
    prepare: (shop) => ({
      command: [fromC(shop, 'c-epoll', ['bench/rivals/c-epoll.c', 'bench/rivals/server.h'])],
      gc: [],
      version: output(process.env['CC'] ?? 'cc', '-dumpfullversion'),
    }),
  }),
  other({
    name: 'c-uring',
    about: 'the limit: C on io_uring (liburing)',
    family: 'limit',
    engine: 'c-uring',
    kinds: ['echo', 'source', 'sink'],
    prepare: (shop) => ({
      command: [fromC(shop, 'c-uring', ['bench/rivals/c-uring.c', 'bench/rivals/server.h'], ['uring'])],
      gc: [],
      version: `liburing ${/VERSION_MAJOR (\d+)/.exec(output('grep', 'VERSION_M', '/usr/include/liburing/io_uring_version.h'))?.[1] ?? output('pkg-config', '--modversion', 'liburing')}`,
    }),
  }),
];

/** What `--rivals` takes besides names. */
export const groups: Readonly<Record<string, (rival: Rival) => boolean>> = {
  quick: (rival) => rival.tier === 'quick',
  usual: (rival) => rival.tier === 'quick' || rival.tier === 'usual',
  all: (rival) => rival.tier !== 'named',
  ours: (rival) => rival.name.startsWith('millrace-') && rival.name.includes('@'),
  nodes: (rival) => rival.family === 'node' && rival.name.includes('@'),
};

/** A kind that a rival lacks, in the words of the report. */
export const lacks = (rival: Rival, kind: Kind): string | undefined =>
  rival.kinds.includes(kind) ? undefined : `${rival.name} has no ${kind} server`;

/** The rivals that can be had, ready, and a line for each that can't. */
export function prepareAll(
  chosen: readonly Rival[],
  shop: Workshop,
): { ready: Map<Rival, Prepared>; missing: string[] } {
  const ready = new Map<Rival, Prepared>();
  const missing: string[] = [];
  for (const rival of chosen) {
    try {
      ready.set(rival, rival.prepare(shop));
    } catch (error) {
      if (!(error instanceof Unavailable)) throw error;
      missing.push(`${rival.name} is left out: ${error.message}`);
    }
  }
  return { ready, missing };
}
