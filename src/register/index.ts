/**
 * `millrace/register`: `node --import millrace/register app.js` puts every package of an application that imports or
 * requires `net` on millrace, unmodified. Node's own modules (http, tls, …) keep Node's `net`, and so does millrace.
 *
 * Three doors lead to a builtin module: `require`, `import` and `process.getBuiltinModule`. Each has a file here.
 * Where the engine is `node` nothing is changed. `NODE_DEBUG=millrace` tells what was done, and for whom.
 *
 * In: Node's `--import` (this file) or `-r` (index.cts). Worker threads and forked processes inherit both; every other
 * child process has them by `NODE_OPTIONS`.
 *
 * @see https://nodejs.org/api/cli.html#--importmodule
 */
import nodeNet from 'node:net';
import millrace, { engine, engineReason } from '../index.ts';
import { replaceImport } from './import.ts';
import { say } from './importer.ts';
import { follow, kRegistration, type Registration, replacements } from './registration.ts';
import { replaceRequire } from './require.ts';

const shared = globalThis as { [kRegistration]?: Registration };

function register(): void {
  if (shared[kRegistration] !== undefined) {
    say(`net is on millrace already, by ${shared[kRegistration].by}`);
    return;
  }
  if (engine === 'node') {
    say(`net stays Node's: ${engineReason}`);
    return;
  }
  const replaced = replacements(nodeNet, millrace);
  shared[kRegistration] = { by: import.meta.url, modules: replaced, follow };
  replaceRequire(replaced);
  const mechanism = replaceImport(replaced);
  say(`${[...replaced.keys()].join(' and ')} is millrace (${engine}); imports by ${mechanism}`);
}

register();
