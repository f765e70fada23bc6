/**
 * `net/promises` as a CommonJS module, for those whose `import` or `require` is resolved here by import.ts. A thread without a
 * registration, such as Node's own for loaders, has Node's.
 */
const shared = globalThis as unknown as Record<symbol, { modules: Map<string, { exports: object }> }>;
const registered = shared[Symbol.for('millrace.register')]?.modules.get('net/promises');
module.exports = registered?.exports ?? process.getBuiltinModule('node:net/promises' as 'node:net');
