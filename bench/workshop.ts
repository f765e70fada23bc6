// Where the things that are measured come from: binaries out of npm packages, programs compiled here. All in .cache/bench,
// made once, never committed. (Not in .build: what the set-up finds there without a source, it removes.)
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';

/** A rival that this machine can't have; the message says what is missing. */
export class Unavailable extends Error {}

export interface Workshop {
  /** The checkout. */
  root: string;
  /** Whether Debian packages may be installed: `--prepare`, as root. */
  mayInstall: boolean;
}

const folder = ({ root }: Workshop): string => join(root, '.cache/bench');

/** Path of a file in an npm package of exactly this version, installed when it is not there. @throws {Unavailable} */
export function fromNpm(shop: Workshop, name: string, version: string, file: string): string {
  const home = join(folder(shop), 'npm', `${name.replaceAll('/', '+')}@${version}`);
  const path = join(home, 'node_modules', name, file);
  if (!existsSync(path)) {
    say(`fetching ${name}@${version}`);
    npmInstall(home, [`${name}@${version}`]);
    if (!existsSync(path)) throw new Unavailable(`${name}@${version} has no ${file}`);
  }
  return path;
}

/** Installs what a package.json of ours pins, and gives the folder. @throws {Unavailable} */
export function withDependencies(shop: Workshop, source: string): string {
  const manifest = readFileSync(join(shop.root, source, 'package.json'), 'utf8');
  const home = join(folder(shop), 'programs', digest(manifest));
  if (!existsSync(join(home, 'done'))) {
    say(`installing the packages of ${source}`);
    mkdirSync(home, { recursive: true });
    writeFileSync(join(home, 'package.json'), manifest);
    npmInstall(home, []);
    writeFileSync(join(home, 'done'), '');
  }
  return home;
}

/** Compiles C files into one program. @throws {Unavailable} if there is no compiler, or a library is missing. */
export function fromC(shop: Workshop, name: string, sources: string[], libraries: string[] = []): string {
  const compiler = process.env['CC'] ?? 'cc';
  if (libraries.includes('uring') && !existsSync('/usr/include/liburing.h')) debian(shop, 'liburing-dev');
  if (libraries.includes('ssl') && !existsSync('/usr/include/openssl/ssl.h')) debian(shop, 'libssl-dev');
  return made(shop, name, sources, (out, [...inputs]) => {
    const files = inputs.filter((path) => path.endsWith('.c'));
    return [
      compiler,
      ['-O2', '-std=gnu11', '-Wall', '-Wextra', '-o', out, ...files, ...libraries.map((library) => `-l${library}`)],
    ];
  });
}

/** Compiles a Go file. @throws {Unavailable} */
export function fromGo(shop: Workshop, name: string, source: string): string {
  if (!runs('go', 'version')) debian(shop, 'golang-go');
  return made(shop, name, [source], (out, [input = '']) => ['go', ['build', '-o', out, input]], {
    GOCACHE: join(folder(shop), 'go'),
    GOFLAGS: '-mod=mod',
    GO111MODULE: 'off',
  });
}

const debianCrates = '/usr/share/cargo/registry';

/** Compiles a cargo package: against Debian's crates if they are there, else against cargo's own registry. @throws {Unavailable} */
export function fromCargo(shop: Workshop, name: string, source: string): string {
  if (!runs('cargo', '--version')) debian(shop, 'cargo');
  const hasCrate = (): boolean => readdirSync(debianCrates).some((crate) => /^tokio-\d/.test(crate));
  if (!existsSync(debianCrates) || !hasCrate()) {
    try {
      debian(shop, 'librust-tokio-dev');
    } catch (error) {
      say(`${(error as Error).message}; trying cargo's registry`);
    }
  }
  const isDebian = existsSync(debianCrates) && hasCrate();
  const home = join(folder(shop), 'cargo');
  const files = readdirSync(join(shop.root, source)).map((file) => join(source, file));
  const binary = made(
    shop,
    name,
    files,
    (out, inputs) => {
      const build = join(home, 'source'); // Cargo.lock is written beside Cargo.toml
      rmSync(build, { recursive: true, force: true });
      mkdirSync(build, { recursive: true });
      for (const input of inputs) cpSync(input, join(build, input.slice(input.lastIndexOf('/') + 1)));
      const crates = ['source.crates-io.replace-with="debian"', `source.debian.directory="${debianCrates}"`];
      const config = isDebian ? ['--offline', ...crates.flatMap((line) => ['--config', line])] : [];
      const target = join(home, 'target');
      const command = `cargo build --release --quiet --manifest-path "$1" "\${@:4}" && cp "$2/release/server" "$3"`;
      return ['bash', ['-c', command, 'bash', join(build, 'Cargo.toml'), target, out, ...config]];
    },
    { CARGO_HOME: join(home, 'home'), CARGO_TARGET_DIR: join(home, 'target') },
  );
  return binary;
}

/** Version of a crate that was compiled in. */
export function crateVersion(shop: Workshop, crate: string): string {
  const lock = join(folder(shop), 'cargo/source/Cargo.lock');
  const text = existsSync(lock) ? readFileSync(lock, 'utf8') : '';
  return new RegExp(`name = "${crate}"\\nversion = "(.+)"`).exec(text)?.[1] ?? 'unknown';
}

/** What a command prints, on one line; '' if it can't be run. */
export function output(command: string, ...args: string[]): string {
  const { stdout } = spawnSync(command, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] });
  return (stdout ?? '').trim().replace(/\s+/g, ' ');
}

type Command = (out: string, inputs: string[]) => [string, string[]];

/** Runs a compiler unless its output is there and made from these sources. */
function made(shop: Workshop, name: string, sources: string[], command: Command, env: NodeJS.ProcessEnv = {}): string {
  const inputs = sources.map((path) => join(shop.root, path));
  const path = join(folder(shop), 'bin', `${name}-${digest(...inputs.map((input) => readFileSync(input, 'utf8')))}`);
  if (existsSync(path)) return path;
  mkdirSync(dirname(path), { recursive: true });
  const fresh = `${path}.${process.pid}`; // renamed when complete: another benchmark may be making the same
  const [file, args] = command(fresh, inputs);
  say(`compiling ${name}`);
  const { status, stderr, error } = spawnSync(file, args, {
    encoding: 'utf8',
    stdio: ['ignore', 'ignore', 'pipe'],
    env: { ...process.env, ...env },
  });
  if (status !== 0) throw new Unavailable(`${name} does not compile: ${error?.message ?? stderr.trim().slice(-2000)}`);
  renameSync(fresh, path);
  return path;
}

/** Installs a Debian package if that was asked for, else says which one is missing. @throws {Unavailable} */
function debian(shop: Workshop, name: string): void {
  const isRoot = process.getuid?.() === 0;
  if (!shop.mayInstall || !isRoot || !runs('apt-get', '--version'))
    throw new Unavailable(`needs Debian's ${name} (as root: npm run bench -- --prepare, or apt-get install ${name})`);
  say(`installing Debian's ${name}`);
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' };
  const { status } = spawnSync('apt-get', ['install', '-y', '-qq', '--no-install-recommends', name], {
    stdio: ['ignore', 'ignore', 'inherit'],
    env,
  });
  if (status !== 0) throw new Unavailable(`apt-get can't install ${name}`);
}

function npmInstall(home: string, packages: string[]): void {
  mkdirSync(home, { recursive: true });
  const flags = ['--no-save', '--ignore-scripts', '--no-audit', '--no-fund', '--loglevel=error', '--prefix', home];
  const { status, stderr, error } = spawnSync('npm', ['install', ...flags, ...packages], {
    encoding: 'utf8',
    stdio: ['ignore', 'ignore', 'pipe'],
    timeout: 300_000,
  });
  if (status !== 0) throw new Unavailable(`npm can't install it: ${(error?.message ?? stderr).trim().split('\n')[0]}`);
}

const runs = (command: string, ...args: string[]): boolean =>
  spawnSync(command, args, { stdio: 'ignore' }).status === 0;
const digest = (...texts: string[]): string => createHash('sha256').update(texts.join('\0')).digest('hex').slice(0, 12);
const say = (text: string): void => console.error(`bench: ${text}`);
