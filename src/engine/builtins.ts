/**
 * Parts of Node that are not imported, because of what that costs at the start of every program: the `import` of a module
 * asks each of its exports, and behind some are getters that load more (fs.promises, util.parseArgs, dns.promises). These
 * are had when they are first used, as Node's own net has them.
 */
export const builtins = {
  get cluster() {
    return process.getBuiltinModule('node:cluster');
  },
  get dns() {
    return process.getBuiltinModule('node:dns');
  },
  get fs() {
    return process.getBuiltinModule('node:fs');
  },
  get module() {
    return process.getBuiltinModule('node:module');
  },
  get os() {
    return process.getBuiltinModule('node:os');
  },
  get util() {
    return process.getBuiltinModule('node:util');
  },
  get workerThreads() {
    return process.getBuiltinModule('node:worker_threads');
  },
};
