/**
 * What was put in the place of which builtin module: once per thread, for all copies of millrace in it, and for the
 * facades that importing modules get.
 */
import Module, { isBuiltin } from 'node:module';

/** Where the facades find it: they are modules of their own, in no package. */
export const kRegistration: unique symbol = Symbol.for('millrace.register') as never;

export interface Registration {
  /** The address of the copy that was first. */
  readonly by: string;
  /** By name without `node:`. */
  readonly modules: ReadonlyMap<string, Replacement>;
  readonly follow: typeof follow;
}

export interface Replacement {
  /** What `require` gives. */
  readonly exports: object;
  /** What `import` has by name: the names of Node's own module, all of them, on this line. */
  readonly names: readonly string[];
}

/** `net`, and `net/promises` where both Node and millrace have it. */
export function replacements(nodeNet: object, ownNet: object): Map<string, Replacement> {
  const found = new Map<string, Replacement>([['net', { exports: ownNet, names: Object.keys(nodeNet) }]]);
  const { promises } = ownNet as { promises?: object };
  if (promises !== undefined && isBuiltin('node:net/promises')) {
    const names = Object.keys(process.getBuiltinModule('node:net/promises' as 'node:net'));
    found.set('net/promises', { exports: promises, names });
  }
  return found;
}

/** The name under which a specifier is replaced, if it is. */
export function builtinName(specifier: unknown): string | undefined {
  if (typeof specifier !== 'string') return undefined;
  return specifier.startsWith('node:') ? specifier.slice('node:'.length) : specifier;
}

const updates: (() => void)[] = [];

/**
 * Calls `update` now, and whenever the program asks for it: a program that changes `require('net')` calls
 * `syncBuiltinESMExports()`, so that importing modules see the change.
 */
export function follow(update: () => void): void {
  if (updates.length === 0) {
    const sync = Module.syncBuiltinESMExports;
    Module.syncBuiltinESMExports = function syncBuiltinESMExports() {
      sync();
      for (const each of updates) each();
    };
    sync(); // for those who import this function by name
  }
  updates.push(update);
  update();
}
