// The hooks of preload.cjs for `import`, for Node.js lines without `module.registerHooks`: they run in a thread of their own.
import { fileURLToPath } from 'node:url';

const SCHEME = 'millrace-suite:';
let folder;
let sources;

export function initialize(data) {
  folder = data.folder;
  sources = data.sources;
}

export function resolve(request, context, next) {
  const name = request.startsWith('node:') ? request.slice(5) : request;
  const path = context.parentURL?.startsWith('file:') ? fileURLToPath(context.parentURL) : '';
  const isOurs = Object.hasOwn(sources, name) && path.startsWith(folder);
  return isOurs ? { url: SCHEME + name, format: 'module', shortCircuit: true } : next(request, context);
}

export function load(asked, context, next) {
  if (!asked.startsWith(SCHEME)) return next(asked, context);
  return { format: 'module', source: sources[asked.slice(SCHEME.length)], shortCircuit: true };
}
