/**
 * `node -r millrace/register app.js`: index.ts by way of `require`. Node 20.19 to 24 say in an ExperimentalWarning that
 * an ES module was required, which the user of a flag can do nothing about: that one is not shown.
 */
const { debuglog } = require('node:util') as typeof import('node:util');
const { isMainThread, parentPort } = require('node:worker_threads') as typeof import('node:worker_threads');

type EmitWarning = typeof process.emitWarning;

// Node 20 and 22 run -r in their own thread for loaders too, where no program is and hooks of ours break theirs.
const isLoaderThread = !isMainThread && parentPort === null;

if (isLoaderThread) {
  // nothing
} else if (process.features.require_module) {
  const { emitWarning } = process;
  process.emitWarning = ((...args: Parameters<EmitWarning>) => {
    if (!String(args[0]).includes('require()')) emitWarning(...args);
  }) as EmitWarning;
  try {
    // biome-ignore lint/correctness/useImportExtensions: only tsc's import lines are rewritten
    require('./index.js');
  } finally {
    process.emitWarning = emitWarning;
  }
} else {
  debuglog('millrace')("register: net stays Node's: -r needs require() of ES modules; use --import millrace/register");
}
