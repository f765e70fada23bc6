/**
 * `node -r millrace/register app.js`: index.ts by way of `require`. Node 20.19 to 24 say in an ExperimentalWarning that
 * an ES module was required, which the user of a flag can do nothing about: that one is not shown.
 */
const { debuglog } = require('node:util') as typeof import('node:util');

type EmitWarning = typeof process.emitWarning;

if (process.features.require_module) {
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
