// Loaded by --require into every process that a test of Node's starts: files of the suite that ask for `net` get the
// module under test. Node's own http, tls and cluster keep Node's net, so their tests see it from the outside.
const { appendFileSync } = require('node:fs');
const Module = require('node:module');
const { fileURLToPath, pathToFileURL } = require('node:url');

/**
 * @param {object} setting
 * @param {string} setting.entry   the module that stands in for `net`
 * @param {string} setting.folder  files below it get that module
 * @param {string} setting.engine  for MILLRACE_ENGINE, also in children that are started with an environment of their own
 *
 * When the module has been handed out, a byte is written to the file MILLRACE_SUITE_TRACE.
 */
module.exports = ({ entry, folder, engine }) => {
  process.env.MILLRACE_ENGINE = engine;
  let net;
  const replacement = () => {
    if (net === undefined) {
      // Node 20 and 22 warn of require() of an ES module; tests watch the warnings.
      const { emitWarning } = process;
      process.emitWarning = () => {};
      try {
        const module = require(entry);
        net = module.default ?? module;
      } finally {
        process.emitWarning = emitWarning;
      }
      if (net.engine !== engine) throw new Error(`the engine is ${net.engine}, not ${engine}`);
      if (process.env.MILLRACE_SUITE_TRACE) appendFileSync(process.env.MILLRACE_SUITE_TRACE, '.');
    }
    return net;
  };
  const isOfSuite = (path) => typeof path === 'string' && path.startsWith(folder);

  /** What stands in for a request; undefined leaves it to Node. */
  const standIn = (request, path) => {
    if (!isOfSuite(path)) return undefined;
    if (request === 'net' || request === 'node:net') return replacement();
    if (request === 'net/promises' || request === 'node:net/promises') return replacement().promises;
    return undefined;
  };

  const load = Module._load;
  Module._load = function (request, parent, ...rest) {
    return standIn(request, parent?.filename) ?? Reflect.apply(load, this, [request, parent, ...rest]);
  };

  // For `import`. The module is handed over through a global, because source text can't hold it.
  globalThis[Symbol.for('millrace.suite')] = replacement;
  const source = () => {
    const names = Object.keys(replacement()).filter((name) => name !== 'default');
    return `const net = globalThis[Symbol.for('millrace.suite')]();\nexport default net;\n${names.map((name) => `export const ${name} = net.${name};\n`).join('')}`;
  };
  if (Module.registerHooks) {
    Module.registerHooks({
      resolve(request, context, next) {
        const path = context.parentURL?.startsWith('file:') ? fileURLToPath(context.parentURL) : undefined;
        const isNet = request === 'net' || request === 'node:net';
        if (isNet && isOfSuite(path) && context.conditions.includes('import')) {
          return { url: 'millrace-suite:net', format: 'module', shortCircuit: true };
        }
        return next(request, context);
      },
      load(url, context, next) {
        if (url !== 'millrace-suite:net') return next(url, context);
        return { format: 'module', source: source(), shortCircuit: true };
      },
    });
  } else if (process.argv[1]?.endsWith('.mjs')) {
    // Node 20: hooks live in a thread of their own, which is only started for tests that are ES modules.
    Module.register('./hooks.mjs', { parentURL: pathToFileURL(__filename), data: { folder, source: source() } });
  }
};
