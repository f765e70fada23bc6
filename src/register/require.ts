/**
 * `require('net')` and `process.getBuiltinModule('net')`. `Module._load` is what every `require` of a program comes to,
 * with any loader and on every line of Node; the resolve hook of `module.registerHooks` is not asked for all of them
 * (in Node 22.15 to 24, not for `require('node:…')` by everybody).
 */
import Module, { syncBuiltinESMExports } from 'node:module';
import { isRedirected } from './importer.ts';
import { builtinName, type Registration } from './registration.ts';

type Load = (
  this: unknown,
  request: string,
  parent?: { filename?: string | null; id?: string },
  ...rest: unknown[]
) => unknown;

export function replaceRequire(modules: Registration['modules']): void {
  const loader = Module as unknown as { _load: Load };
  const load = loader._load;
  loader._load = function _load(request, parent, ...rest) {
    const name = builtinName(request);
    const replacement = name === undefined ? undefined : modules.get(name);
    if (replacement !== undefined && isRedirected(parent?.filename ?? parent?.id, name as string))
      return replacement.exports;
    return load.call(this, request, parent, ...rest);
  };

  const { getBuiltinModule } = process as { getBuiltinModule(id: string): object | undefined };
  const replaced = function getBuiltinModule_(id: string): object | undefined {
    const name = builtinName(id);
    const replacement = name === undefined ? undefined : modules.get(name);
    return replacement === undefined ? getBuiltinModule(id) : replacement.exports;
  };
  Object.defineProperty(replaced, 'name', { value: 'getBuiltinModule', configurable: true });
  Object.assign(process, { getBuiltinModule: replaced });
  syncBuiltinESMExports(); // for those who import it from node:process
}
