// Loaded by --require into every process that a test of Node's starts: files of the suite that ask for `net`, or `tls`, get
// the module under test. Node's own http, tls and cluster keep Node's, so their tests see ours from the outside.
const { appendFileSync } = require('node:fs');
const Module = require('node:module');
const { fileURLToPath, pathToFileURL } = require('node:url');

/**
 * @param {object} setting
 * @param {Record<string, string>} setting.entries  what stands in for which module, `net` first
 * @param {string} setting.folder  files below it get those modules
 * @param {string} setting.engine  for MILLRACE_ENGINE, also in children that are started with an environment of their own
 *
 * When the last of these modules, the one under test, has been handed out, a byte is written to the file MILLRACE_SUITE_TRACE.
 */
module.exports = ({ entries, folder, engine }) => {
  process.env.MILLRACE_ENGINE = engine;
  const loaded = {};
  const underTest = Object.keys(entries).at(-1);
  const replacement = (name) => {
    if (loaded[name] === undefined) {
      // Node 20 and 22 warn of require() of an ES module; tests watch the warnings.
      const { emitWarning } = process;
      process.emitWarning = () => {};
      try {
        const module = require(entries[name]);
        loaded[name] = module.default ?? module;
      } finally {
        process.emitWarning = emitWarning;
      }
      if (name === 'net' && loaded.net.engine !== engine)
        throw new Error(`the engine is ${loaded.net.engine}, not ${engine}`);
      if (name === underTest && process.env.MILLRACE_SUITE_TRACE) appendFileSync(process.env.MILLRACE_SUITE_TRACE, '.');
    }
    return loaded[name];
  };
  const isOfSuite = (path) => typeof path === 'string' && path.startsWith(folder);
  /** The module that a request is for, if it is one of ours. */
  const nameOf = (request) => {
    const name = request.startsWith('node:') ? request.slice(5) : request;
    return Object.hasOwn(entries, name) ? name : undefined;
  };

  /** What stands in for a request; undefined leaves it to Node. */
  const standIn = (request, path) => {
    if (typeof request !== 'string' || !isOfSuite(path)) return undefined;
    if (request === 'net/promises' || request === 'node:net/promises') return replacement('net').promises;
    const name = nameOf(request);
    return name && replacement(name);
  };

  const load = Module._load;
  Module._load = function (request, parent, ...rest) {
    return standIn(request, parent?.filename) ?? Reflect.apply(load, this, [request, parent, ...rest]);
  };

  // For `import`. The modules are handed over through a global, because source text can't hold them.
  globalThis[Symbol.for('millrace.suite')] = replacement;
  const source = (name) => {
    const names = Object.keys(replacement(name)).filter((key) => key !== 'default');
    return `const it = globalThis[Symbol.for('millrace.suite')]('${name}');\nexport default it;\n${names.map((key) => `export const ${key} = it.${key};\n`).join('')}`;
  };
  const SCHEME = 'millrace-suite:';
  if (Module.registerHooks) {
    Module.registerHooks({
      resolve(request, context, next) {
        const path = context.parentURL?.startsWith('file:') ? fileURLToPath(context.parentURL) : undefined;
        const name = isOfSuite(path) && context.conditions.includes('import') ? nameOf(request) : undefined;
        return name ? { url: SCHEME + name, format: 'module', shortCircuit: true } : next(request, context);
      },
      load(url, context, next) {
        if (!url.startsWith(SCHEME)) return next(url, context);
        return { format: 'module', source: source(url.slice(SCHEME.length)), shortCircuit: true };
      },
    });
  } else if (process.argv[1]?.endsWith('.mjs')) {
    // Node 20: hooks live in a thread of their own, which is only started for tests that are ES modules.
    const sources = Object.fromEntries(Object.keys(entries).map((name) => [name, source(name)]));
    Module.register('./hooks.mjs', { parentURL: pathToFileURL(__filename), data: { folder, sources } });
  }
};
