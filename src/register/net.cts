/** `net` as a CommonJS module: what import.ts resolves `require('net')` to. */
const shared = globalThis as unknown as Record<symbol, { modules: Map<string, { exports: object }> }>;
module.exports = shared[Symbol.for('millrace.register')]?.modules.get('net')?.exports;
