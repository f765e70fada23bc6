/**
 * `tls` as a CommonJS module, for those whose `import` or `require` is resolved here by import.ts. A thread without a
 * registration, such as Node's own for loaders, has Node's.
 */
const shared = globalThis as unknown as Record<symbol, { modules: Map<string, { exports: object }> }>;
const registered = shared[Symbol.for('millrace.register')]?.modules.get('tls');
module.exports = registered?.exports ?? process.getBuiltinModule('node:tls' as 'node:net');

/** Never called. cjs-module-lexer reads in it what can be imported by name: the names of the lines that need it. */
function names(): void {
  exports.CLIENT_RENEG_LIMIT = null;
  exports.CLIENT_RENEG_WINDOW = null;
  exports.DEFAULT_CIPHERS = null;
  exports.DEFAULT_ECDH_CURVE = null;
  exports.DEFAULT_MAX_VERSION = null;
  exports.DEFAULT_MIN_VERSION = null;
  exports.SecureContext = null;
  exports.Server = null;
  exports.TLSSocket = null;
  exports.checkServerIdentity = null;
  exports.connect = null;
  exports.convertALPNProtocols = null;
  exports.createSecureContext = null;
  exports.createSecurePair = null;
  exports.createServer = null;
  exports.getCACertificates = null;
  exports.getCiphers = null;
  exports.rootCertificates = null;
  exports.setDefaultCACertificates = null;
}
void names;
