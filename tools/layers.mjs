// node tools/layers.mjs [ROOT]: checks from the import lines that the layers of the tree hold.
//
//   apps, examples  ->  millrace and millrace/... by name, Node, files of their own folder; examples what they show beside it
//   src/<others>    ->  each other's public entries, never engine
//   src/net, direct ->  engine's public files
//   src/direct/tls  ->  tls's public files; the rest of direct loads it by import() only, with the first `tls` option
//   src/engine      ->  nothing of ours
//   src/framing     ->  nothing of ours: pure bytes
//
// A public entry is a file that package.json exports, or the index.ts of a folder. Prints one line per violation.
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { builtinModules } from 'node:module';
import { dirname, join, relative, resolve, sep } from 'node:path';
import { fileURLToPath } from 'node:url';

/** The folders of src that may import another folder's files beyond its public entries, and which. */
const layers = {
  engine: [],
  framing: [],
  net: ['engine'],
  direct: ['engine', 'tls'],
  tls: ['engine', 'net'],
  http: ['engine', 'net', 'tls'],
  cluster: ['engine', 'net', 'direct'],
  restart: ['engine', 'net', 'direct'],
  register: ['', 'http', 'tls'],
};

/** Packages that examples show together with ours. */
const shownInExamples = ['@msgpack/msgpack', 'valibot'];

/** What a folder shows to the folders named above. Everything else in it is its own business. */
const publicFiles = {
  engine: [
    'engine.ts',
    'abi.ts',
    'address.ts',
    'arena.ts',
    'buffers.ts',
    'large-buffers.ts',
    'builtins.ts',
    'channel-error.ts',
    'connection.ts',
    'descriptor-channel.ts',
    'listener.ts',
    'listener-source.ts',
    'native.ts',
    'open-listener.ts',
    'serving.ts',
    'socket-options.ts',
    'system-errors.ts',
    'targets.ts',
    'tcp-info.ts',
    'turn.ts',
  ],
  net: [
    'net.ts',
    'api.ts',
    'args.ts',
    'callable.ts',
    'fallback.ts',
    'handle.ts',
    'handover.ts',
    'instance-of.ts',
    'on-read.ts',
    'slab.ts',
    'socket.ts',
    'symbols.ts',
    'server.ts',
    'errors.ts',
    'options.ts',
    'ticket.ts',
    'validate.ts',
  ],
  tls: [
    'certificate-files.ts',
    'certificate-material.ts',
    'certificate-option.ts',
    'certificates.ts',
    'context.ts',
    'errors.ts',
    'identity.ts',
    'native.ts',
    'nodes-server.ts',
    'peer.ts',
    'records.ts',
    'verified-identity.ts',
  ],
  http: ['agent.ts'],
};

/** What is only loaded when it is asked for: `import()` and types from outside of these folders, and so from outside of what they use. */
const lazy = { 'direct/tls': ['tls'] };

/** Returns the violations in the tree under `root` as lines `file:line: what is wrong`. */
export function violations(root) {
  const entries = publicEntries(root);
  const found = [];
  for (const top of ['src', 'apps', 'examples']) {
    for (const file of typescriptFiles(join(root, top))) {
      for (const { line, specifier, isLoading } of importsOf(readFileSync(file, 'utf8'))) {
        const problem =
          top === 'src'
            ? (inSource(root, file, specifier, entries) ?? (isLoading ? tooEarly(root, file, specifier) : undefined))
            : inProgram(root, top, file, specifier);
        if (problem !== undefined) found.push(`${relative(root, file)}:${line}: ${problem}`);
      }
    }
  }
  return found;
}

function inSource(root, file, specifier, entries) {
  if (isBuiltin(specifier)) return undefined;
  if (!specifier.startsWith('.')) return `imports '${specifier}': the library has no dependencies`;
  const target = resolve(dirname(file), specifier);
  const from = folderOf(root, file);
  const to = folderOf(root, target);
  if (to === undefined) return `imports '${specifier}', which is outside of src`;
  if (from === to) return undefined;
  const name = relative(join(root, 'src', to), target)
    .split(sep)
    .join('/');
  // src/index.ts and its like are where the layers are put together.
  const below = from === '' ? Object.keys(layers) : (layers[from] ?? []);
  if (below.includes(to)) {
    const isPublic = name === 'index.ts' || name === `${to}.ts` || publicFiles[to]?.includes(name);
    return isPublic ? undefined : `imports ${to}/${name}, which is not one of ${to}'s public files`;
  }
  if (from !== '' && from in layers)
    return `${from} may not import ${to === '' ? 'a public entry' : to}: it lies below`;
  if (to === 'engine') return `${from} may not import engine: only ${engineUsers().join(', ')} may`;
  return entries.has(target) || name === 'index.ts' ? undefined : `imports ${to}/${name}, which is not a public entry`;
}

/** `import` of what `lazy` names, in its folder's name and outside of it. */
function tooEarly(root, file, specifier) {
  const target = resolve(dirname(file), specifier);
  for (const [folder, used] of Object.entries(lazy)) {
    const home = join(root, 'src', folder) + sep;
    if (file.startsWith(home) || folderOf(root, file) !== folder.split('/')[0]) continue;
    const isLazy = target.startsWith(home) || used.includes(folderOf(root, target));
    if (isLazy) return `loads '${specifier}' at once: src/${folder} and what it uses come with import()`;
  }
  return undefined;
}

function inProgram(root, top, file, specifier) {
  if (isBuiltin(specifier) || specifier === 'millrace' || specifier.startsWith('millrace/')) return undefined;
  if (top === 'examples' && shownInExamples.includes(specifier)) return undefined;
  if (!specifier.startsWith('.')) return `imports '${specifier}': ${top} use millrace and Node only`;
  const own = join(root, top, relative(join(root, top), file).split(sep)[0]);
  const home = own === file ? join(root, top) : own;
  const target = resolve(dirname(file), specifier);
  return target.startsWith(home + sep) ? undefined : `imports '${specifier}', which is outside of its own folder`;
}

function engineUsers() {
  return Object.keys(layers).filter((folder) => layers[folder].includes('engine'));
}

/** The folder of src a file lies in: '' for src itself, undefined outside of it. */
function folderOf(root, file) {
  const path = relative(join(root, 'src'), file).split(sep);
  if (path[0] === '..') return undefined;
  return path.length === 1 ? '' : path[0];
}

function publicEntries(root) {
  const manifest = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
  const targets = Object.values(manifest.exports ?? {}).map((entry) => entry.import?.default ?? entry.default ?? entry);
  return new Set(targets.map((path) => resolve(root, path.replace(/^\.\/dist\//, 'src/').replace(/\.js$/, '.ts'))));
}

/** Every module named in an import or export line, or in import(), with its line number, and whether it is loaded at once. Comments don't count. */
export function importsOf(source) {
  const code = source.replace(/\/\*[\s\S]*?\*\/|^\s*\/\/.*$/gm, (comment) => comment.replace(/[^\n]/g, ' '));
  // Types and import() load nothing at once.
  const isLoading = (text) => !/^\s*(?:import|export)\s+type\b|\bimport\(/.test(text);
  const pattern =
    /^\s*(?:import|export)\b[^'";]*?\bfrom\s*(['"])(.+?)\1|^\s*import\s*(['"])(.+?)\3|\bimport\(\s*(['"])(.+?)\5/gm;
  return [...code.matchAll(pattern)].map((match) => ({
    line: code.slice(0, match.index + match[0].length).split('\n').length,
    specifier: match[2] ?? match[4] ?? match[6],
    isLoading: isLoading(match[0]),
  }));
}

function isBuiltin(specifier) {
  return specifier.startsWith('node:') && builtinModules.includes(specifier.slice('node:'.length).split('/')[0]);
}

function typescriptFiles(folder) {
  if (!existsSync(folder)) return [];
  return readdirSync(folder, { withFileTypes: true }).flatMap((entry) => {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) return typescriptFiles(path);
    return /\.[cm]?ts$/.test(entry.name) ? [path] : [];
  });
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const found = violations(resolve(process.argv[2] ?? fileURLToPath(new URL('..', import.meta.url))));
  for (const line of found) console.error(line);
  process.exitCode = found.length === 0 ? 0 : 1;
}
