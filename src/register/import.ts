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

/** Where a module goes: what `import` gets, and what `require` gets where a loader brings it here. */
export interface Target {
  readonly facade: string;
  readonly required: string;
}
export type Targets = ReadonlyMap<string, Target>;

/** @returns by what it was done */
export function replaceImport(modules: Registration['modules']): string {
  const targets = new Map<string, Target>();
  for (const [name, { names }] of modules) {
    const required = new URL(`./${name === 'net' ? 'net' : 'net-promises'}.cjs`, import.meta.url).href;
    targets.set(name, { facade: facadeOf(name, names), required });
  }
  const { registerHooks } = Module as Partial<typeof Module>;
  if (registerHooks !== undefined) {
    const resolve: ResolveHookSync = (specifier, context, next) =>
      redirect(targets, specifier, context) ?? next(specifier, context);
    registerHooks({ resolve });
    return 'module.registerHooks';
  }
  Module.register(new URL(`./loader-thread.js`, import.meta.url), { data: targets });
  return 'module.register';
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
  // A loader that gives a CommonJS module's source has its `require` resolved by hooks as well.
  if (context.conditions.includes('require')) return { url: target.required, format: 'commonjs', shortCircuit: true };
  return { url: target.facade, format: 'module', shortCircuit: true };
}

function facadeOf(name: string, names: readonly string[]): string {
  const named = names.filter((each) => /^[A-Za-z_$][\w$]*$/.test(each) && each !== 'default');
  const source = `const { modules, follow } = globalThis[Symbol.for('millrace.register')];
const { exports } = modules.get('${name}');
export default exports;
export let ${named.join(', ')};
follow(() => { ({ ${named.join(', ')} } = exports); });`;
  return `data:text/javascript,${encodeURIComponent(source)}`;
}
