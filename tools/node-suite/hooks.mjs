// The hooks of preload.cjs for `import`, for Node.js lines without `module.registerHooks`: they run in a thread of their own.
import { fileURLToPath } from 'node:url';

const url = 'millrace-suite:net';
let folder;
let source;

export function initialize(data) {
  folder = data.folder;
  source = data.source;
}

export function resolve(request, context, next) {
  const isNet = request === 'net' || request === 'node:net';
  const path = context.parentURL?.startsWith('file:') ? fileURLToPath(context.parentURL) : '';
  return isNet && path.startsWith(folder) ? { url, format: 'module', shortCircuit: true } : next(request, context);
}

export function load(asked, context, next) {
  return asked === url ? { format: 'module', source, shortCircuit: true } : next(asked, context);
}
