/**
 * `import net, { Socket } from 'net'`: the specifier is resolved to a facade, a module of a few lines with the named
 * exports of Node's `net` on this line. Hooks in this thread where Node has them (22.15, 23.5), else in Node's thread
 * for loaders (loader-thread.ts).
 *
 * @see https://nodejs.org/api/module.html#customization-hooks
 */

import type { ResolveHookSync } from 'node:module';
import Module from 'node:module';
import { isRedirected } from './importer.ts';
import { builtinName, type Registration } from './registration.ts';

/** Where a specifier goes: what `import` gets, and what `require` gets where a loader lets hooks resolve it. */
export interface Target {
  readonly imported: string;
  readonly required: string;
}
export type Targets = ReadonlyMap<string, Target>;

/** @returns by what it was done */
export function replaceImport(modules: Registration['modules']): string {
  const { registerHooks } = Module as Partial<typeof Module>;
  const targets = new Map<string, Target>();
  for (const [name, { names }] of modules) {
    const required = new URL(`./${name.replace('/', '-')}.cjs`, import.meta.url).href;
    // The thread's hooks can't tell require from import, and Node 20 lets only a CommonJS module be both.
    targets.set(name, { imported: registerHooks === undefined ? required : facade(name, names), required });
  }
  if (registerHooks === undefined) {
    Module.register(new URL('./loader-thread.js', import.meta.url), { data: targets });
    return 'module.register';
  }
  const resolve: ResolveHookSync = (specifier, context, next) =>
    redirect(targets, specifier, context) ?? next(specifier, context);
  registerHooks({ resolve });
  return 'module.registerHooks';
}

/** What a resolve hook answers, or undefined if it is none of our business. */
export function redirect(
  targets: Targets,
  specifier: string,
  context: { parentURL?: string | undefined; conditions: readonly string[] },
): { url: string; format: string; shortCircuit: true } | undefined {
  const name = builtinName(specifier);
  const target = name === undefined ? undefined : targets.get(name);
  if (target === undefined || !isRedirected(context.parentURL, name as string)) return undefined;
  const url = context.conditions.includes('require') ? target.required : target.imported;
  return { url, format: url.endsWith('.cjs') ? 'commonjs' : 'module', shortCircuit: true };
}

/**
 * The module's source. By its name 'module.exports' it can be required as well: a CommonJS module whose source a loader
 * of Node's thread gave has its `require` resolved here, with the conditions of `import`.
 */
function facade(name: string, names: readonly string[]): string {
  const named = names.filter((each) => /^[A-Za-z_$][\w$]*$/.test(each) && each !== 'default').join(', ');
  const source = `const { modules, follow } = globalThis[Symbol.for('millrace.register')];
const { exports } = modules.get('${name}');
export { exports as default, exports as 'module.exports' };
export let ${named};
follow(() => { ({ ${named} } = exports); });`;
  return `data:text/javascript,${encodeURIComponent(source)}`;
}
