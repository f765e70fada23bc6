/**
 * Who asks for `net`: the package of a file. millrace's own files (those of every copy) are to have Node's, and
 * `NODE_DEBUG=millrace` names the others, each once.
 */
import { readFileSync } from 'node:fs';
import { dirname, join, sep } from 'node:path';
import { fileURLToPath } from 'node:url';
import { debuglog } from 'node:util';

/** A line of `NODE_DEBUG=millrace`. */
const log = debuglog('millrace');

export function say(text: string): void {
  log('register: %s', text);
}

/** The nearest package.json that has a name. */
interface Package {
  readonly name: string;
  readonly folder: string;
}

const packages = new Map<string, Package | undefined>();

function packageOf(folder: string): Package | undefined {
  if (packages.has(folder)) return packages.get(folder);
  const parent = dirname(folder);
  const found = readPackage(folder) ?? (parent === folder ? undefined : packageOf(parent));
  packages.set(folder, found);
  return found;
}

function readPackage(folder: string): Package | undefined {
  try {
    const { name } = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8'));
    return typeof name === 'string' ? { name, folder } : undefined;
  } catch {
    return undefined; // none here, or not for us to complain about
  }
}

/** A module's file name or address; undefined for what is in no file. */
function pathOf(importer: string | null | undefined): string | undefined {
  if (!importer?.startsWith('file:')) return importer?.startsWith(sep) ? importer : undefined;
  try {
    return fileURLToPath(importer);
  } catch {
    return undefined;
  }
}

/**
 * Packages that keep Node's `net`: they replace methods of its sockets' handles, in order to answer the requests of Node's
 * http and fetch, whose sockets are Node's as well. On millrace's sockets they would answer nothing, and break them. nock
 * and msw come to this one.
 */
const keepNode: ReadonlySet<string> = new Set(['@mswjs/interceptors']);

const told = new Set<string>();

/**
 * Whether a module gets millrace for `name`; if so, says so once.
 * @param importer its file name or address
 */
export function isRedirected(importer: string | null | undefined, name: string): boolean {
  const path = pathOf(importer);
  const owner = path === undefined ? undefined : packageOf(dirname(path));
  if (path !== undefined && owner?.name === 'millrace' && isOwn(path.slice(owner.folder.length + 1))) return false;
  if (owner !== undefined && keepNode.has(owner.name)) return false;
  if (!log.enabled || told.has(`${name} ${path}`)) return true;
  told.add(`${name} ${path}`);
  say(`${name} is millrace for ${owner?.name ?? 'the program'} (${path ?? importer ?? 'no file'})`);
  return true;
}

/** Of a copy of millrace: what was built, and what it was built from. Its tests and examples are programs like others. */
function isOwn(path: string): boolean {
  return path.startsWith(`dist${sep}`) || path.startsWith(`src${sep}`);
}
