/**
 * `net` as a CommonJS module, for those whose `import` or `require` is resolved here by import.ts. A thread without a
 * registration, such as Node's own for loaders, has Node's.
 */
const shared = globalThis as unknown as Record<symbol, { modules: Map<string, { exports: object }> }>;
const registered = shared[Symbol.for('millrace.register')]?.modules.get('net');
module.exports = registered?.exports ?? process.getBuiltinModule('node:net' as 'node:net');

/** Never called. cjs-module-lexer reads in it what can be imported by name: the names of the lines that need it. */
function names(): void {
  exports.BlockList = null;
  exports.Server = null;
  exports.Socket = null;
  exports.SocketAddress = null;
  exports.Stream = null;
  exports._createServerHandle = null;
  exports._normalizeArgs = null;
  exports._setSimultaneousAccepts = null;
  exports.connect = null;
  exports.createConnection = null;
  exports.createServer = null;
  exports.getDefaultAutoSelectFamily = null;
  exports.getDefaultAutoSelectFamilyAttemptTimeout = null;
  exports.isIP = null;
  exports.isIPv4 = null;
  exports.isIPv6 = null;
  exports.setDefaultAutoSelectFamily = null;
  exports.setDefaultAutoSelectFamilyAttemptTimeout = null;
}
void names;
