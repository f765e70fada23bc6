/**
 * `millrace/register`: `node --import millrace/register app.js` puts every package of an application that imports or
 * requires `net` or `tls` on millrace, unmodified, and the agents and servers of `https`. Node's own modules (http, http2's
 * clients, fetch) keep Node's `net` and `tls`, and so does millrace.
 *
 * Three doors lead to a builtin module: `require`, `import` and `process.getBuiltinModule`. Each has a file here.
 * Where the engine is `node` nothing is changed. `NODE_DEBUG=millrace` tells what was done, and for whom;
 * `MILLRACE_REGISTER=net` leaves `tls` and `https` to Node (parts.ts).
 *
 * In: Node's `--import` (this file) or `-r` (index.cts). Worker threads and forked processes inherit both; every other
 * child process has them by `NODE_OPTIONS`.
 *
 * @see https://nodejs.org/api/cli.html#--importmodule
 */
import nodeNet from 'node:net';
import nodeTls from 'node:tls';
import millrace, { engine, engineReason } from '../index.ts';
import tls, { engine as tlsEngine, engineReason as tlsReason } from '../tls/index.ts';
import { putHttpsOnMillrace } from './https.ts';
import { replaceImport } from './import.ts';
import { say } from './importer.ts';
import { partsOf } from './parts.ts';
import { follow, kRegistration, type Registration, type Replacement, replacements } from './registration.ts';
import { replaceRequire } from './require.ts';

const shared = globalThis as { [kRegistration]?: Registration };

function register(): void {
  const parts = partsOf(process.env['MILLRACE_REGISTER']);
  if (shared[kRegistration] !== undefined) {
    say(`net is on millrace already, by ${shared[kRegistration].by}`);
    return;
  }
  if (engine === 'node') {
    say(`net stays Node's: ${engineReason}`);
    return;
  }
  const replaced = parts.has('net') ? replacements(nodeNet, millrace) : new Map<string, Replacement>();
  if (tlsEngine === 'node') say(`tls and https stay Node's: ${tlsReason}`);
  else if (parts.has('tls')) replaced.set('tls', { exports: tls, names: Object.keys(nodeTls) });
  shared[kRegistration] = { by: import.meta.url, modules: replaced, follow };
  replaceRequire(replaced);
  const mechanism = replaceImport(replaced);
  say(`${[...replaced.keys()].join(' and ') || 'no module'} is millrace (${engine}); imports by ${mechanism}`);
  if (tlsEngine === 'node' || !parts.has('https')) return;
  putHttpsOnMillrace();
  say('servers and agents of https are put on millrace');
}

register();
