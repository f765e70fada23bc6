/** `millrace/register` from outside: which `net` an unmodified application gets, by every door there is. */
import assert from 'node:assert/strict';
import { cpSync, mkdirSync, writeFileSync } from 'node:fs';
import Module from 'node:module';
import nodeNet from 'node:net';
import { join } from 'node:path';
import test from 'node:test';
import { engine } from 'millrace';
import { root } from '../support/child.ts';
import { Application, WAYS } from './application.ts';

/** A test starts several processes. */
const limit = { timeout: 60_000 };
const isOwn = engine !== 'node';
const hasHooks = 'registerHooks' in Module;

const DOORS = `
const doors = {
  'import net': net,
  'import { Socket }': Socket === net.Socket ? net : Socket,
  'import *': all.default,
  'import()': (await import('net')).default,
  'createRequire()': require('net'),
  "createRequire()('node:')": require('node:net'),
  'a dependency that requires': required,
  'a dependency that imports': imported,
  getBuiltinModule: process.getBuiltinModule('net'),
  "getBuiltinModule('node:')": process.getBuiltinModule('node:net'),
  'getBuiltinModule by name': getBuiltinModule('net'),
};`;

const files = {
  'app.mjs': `
import net, { Socket } from 'net';
import * as all from 'node:net';
import millrace from 'millrace';
import { createRequire } from 'node:module';
import process, { getBuiltinModule } from 'node:process';
import required from 'required';
import imported from 'imported';
const require = createRequire(import.meta.url);
${DOORS}
for (const [door, got] of Object.entries(doors)) console.log(door, got === millrace ? 'millrace' : 'node');`,
  'app.cjs': `
const net = require('net');
const { Socket } = require('node:net');
const required = require('required');
(async () => {
  const all = await import('node:net');
  const { default: millrace } = await import('millrace');
  const { default: imported } = await import('imported');
  const { getBuiltinModule } = process;
  ${DOORS}
  for (const [door, got] of Object.entries(doors)) console.log(door, got === millrace ? 'millrace' : 'node');
})();`,
  'node_modules/required/package.json': '{ "name": "required", "version": "1.0.0" }',
  'node_modules/required/index.js': "module.exports = require('net');",
  'node_modules/imported/package.json': '{ "name": "imported", "type": "module", "exports": "./index.js" }',
  'node_modules/imported/index.js': "export { default } from 'node:net';",
};

for (const way of WAYS) {
  for (const program of ['app.mjs', 'app.cjs']) {
    test(`${way[0]}: every door of ${program} leads to millrace, and nothing is printed`, limit, async (t) => {
      const { stdout, stderr, status } = await new Application(t, files).node(t, [...way, program]);
      assert.equal(stderr, '');
      assert.equal(status, 0);
      const lines = stdout.trim().split('\n');
      assert.equal(lines.length, 11);
      assert.deepEqual(
        lines.filter((line) => !line.endsWith(isOwn ? ' millrace' : ' node')),
        [],
      );
    });
  }
}

test('an importing module has the names of net, and sees the net it has', limit, async (t) => {
  const application = new Application(t, {
    'app.mjs': `import * as all from 'net';
    const names = Object.keys(all);
    const same = names.filter((name) => name in all.default && all[name] === all.default[name]);
    console.log(JSON.stringify({ names, same }));`,
  });
  const { stdout } = await application.node(t, ['--import', 'millrace/register', 'app.mjs']);
  const { names, same } = JSON.parse(stdout) as { names: string[]; same: string[] };
  const ofNode = ['default', ...Object.keys(nodeNet)];
  assert.deepEqual(
    ofNode.filter((name) => !names.includes(name)),
    [],
  );
  // One name more, as with every module that can also be required (src/register/import.ts).
  const more = isOwn ? [hasHooks ? 'module.exports' : '__esModule'] : [];
  assert.deepEqual(
    names.filter((name) => !ofNode.includes(name)),
    more,
  );
  for (const name of ['Server', 'Socket', 'connect', 'createServer', 'isIP']) assert.ok(same.includes(name), name);
});

test('syncBuiltinESMExports shows importing modules what was changed in net', limit, async (t) => {
  if (!hasHooks) return t.skip('no module.registerHooks: an importing module keeps what it got');
  const application = new Application(t, {
    'app.mjs': `import net, { isIP } from 'net';
    import { syncBuiltinESMExports } from 'node:module';
    net.isIP = () => 'changed';
    const before = isIP('::1');
    syncBuiltinESMExports();
    console.log(before, isIP('::1'));`,
  });
  const { stdout } = await application.node(t, ['--import', 'millrace/register', 'app.mjs']);
  assert.equal(stdout, '6 changed\n');
});

test("Node's own modules keep Node's net", limit, async (t) => {
  const application = new Application(t, {
    'app.cjs': `const net = require('net');
    const http = require('http');
    const base = Object.getPrototypeOf(http.Server.prototype);
    console.log(base === net.Server.prototype);
    const server = http.createServer((request, response) => response.end('by http')).listen(0, '127.0.0.1', () => {
      http.get({ port: server.address().port, agent: false }, (response) => {
        response.setEncoding('utf8').on('data', (text) => console.log(text));
        server.close();
      });
    });`,
  });
  const { stdout, stderr } = await application.node(t, ['-r', 'millrace/register', 'app.cjs']);
  assert.equal(stderr, '');
  assert.equal(stdout, isOwn ? 'false\nby http\n' : 'true\nby http\n');
});

test('net is an ordinary object', limit, async (t) => {
  const application = new Application(t, {
    'app.cjs':
      "const net = require('net'); console.log(net.hasOwnProperty('Socket'), String(net), net === net.default);",
  });
  const { stdout } = await application.node(t, ['--import', 'millrace/register', 'app.cjs']);
  assert.equal(stdout, 'true [object Object] false\n');
});

test('a server and a client of an application run on the engine', limit, async (t) => {
  const application = new Application(t, {
    'app.cjs': `const net = require('net');
    const server = net.createServer((socket) => socket.pipe(socket)).listen(0, '127.0.0.1', () => {
      const socket = net.connect(server.address().port, '127.0.0.1');
      socket.setEncoding('utf8').on('data', (text) => console.log(text, net.engine)).on('close', () => server.close());
      socket.end('echo');
    });`,
  });
  const { stdout } = await application.node(t, ['--import', 'millrace/register', 'app.cjs']);
  assert.equal(stdout, `echo ${isOwn ? engine : undefined}\n`);
});

test('worker threads and forked processes inherit it, other processes have it by NODE_OPTIONS', limit, async (t) => {
  const application = new Application(t, {
    'app.cjs': `const { Worker, isMainThread } = require('node:worker_threads');
    const { fork, spawnSync } = require('node:child_process');
    const [, , role = isMainThread ? 'main' : 'worker'] = process.argv;
    require('node:fs').writeSync(1, role + ' ' + (require('net').engine ?? 'node') + '\\n');
    if (role === 'main') {
      new Worker(__filename).on('exit', () => {
        fork(__filename, ['forked']).on('exit', () => {
          spawnSync(process.execPath, [__filename, 'spawned'], { stdio: 'inherit' });
        });
      });
    }`,
  });
  const flag = await application.node(t, ['--import', 'millrace/register', 'app.cjs']);
  const name = isOwn ? engine : 'node';
  assert.equal(flag.stdout, `main ${name}\nworker ${name}\nforked ${name}\nspawned node\n`);
  for (const way of WAYS) {
    const byEnvironment = await application.node(t, ['app.cjs'], { NODE_OPTIONS: way.join(' ') });
    assert.equal(byEnvironment.stdout, `main ${name}\nworker ${name}\nforked ${name}\nspawned ${name}\n`);
  }
});

test("registered twice is registered once, and another copy of millrace keeps Node's net", limit, async (t) => {
  const application = new Application(t, {
    'app.mjs': `import net from 'net';
    import first from 'millrace';
    import second from 'other/node_modules/millrace/dist/index.js';
    import imported from 'other/node_modules/millrace/dist/probe.js';
    import required from 'other/node_modules/millrace/dist/probe.cjs';
    import http from 'node:http';
    const { prototype } = Object.getPrototypeOf(http.Server.prototype).constructor;
    const isNodes = (each) => each.Server.prototype === prototype;
    console.log(net === first, first !== second, isNodes(net), isNodes(imported), isNodes(required));`,
    'node_modules/other/package.json': '{ "name": "other" }',
  });
  const copy = join(application.folder, 'node_modules', 'other', 'node_modules', 'millrace');
  mkdirSync(copy, { recursive: true });
  for (const part of ['package.json', 'dist']) cpSync(join(root, part), join(copy, part), { recursive: true });
  // Files of the copy, as its own are.
  writeFileSync(join(copy, 'dist', 'probe.js'), "export { default } from 'node:net';");
  writeFileSync(join(copy, 'dist', 'probe.cjs'), "module.exports = require('net');");
  const other = join(copy, 'dist', 'register', 'index.js');
  const native = isOwn ? { MILLRACE_NATIVE: join(root, '.build', 'millrace.node') } : {};
  const args = ['--import', 'millrace/register', '--import', 'millrace/register', '-r', 'millrace/register'];
  const { stdout, stderr } = await application.node(t, [...args, '--import', other, 'app.mjs'], {
    ...native,
    NODE_DEBUG: 'millrace',
  });
  if (isOwn) {
    assert.equal(stdout, 'true true false true true\n', stderr);
    assert.match(stderr, /register: net is on millrace already, by .*\/dist\/register\/index\.js/);
  } else {
    assert.match(stderr, /register: net stays Node's: forced by MILLRACE_ENGINE=node/);
  }
});

test('NODE_DEBUG=millrace names each file that got millrace, once, and its package', limit, async (t) => {
  const application = new Application(t, {
    ...files,
    'app.cjs': "require('net'); require('net'); require('node:net'); require('required');",
  });
  const { stderr } = await application.node(t, ['--import', 'millrace/register', 'app.cjs'], {
    NODE_DEBUG: 'millrace',
  });
  const lines = stderr.split('\n').filter((line) => line.includes('register: '));
  if (!isOwn) {
    assert.equal(lines.length, 1);
    assert.match(lines[0] as string, /net stays Node's: forced by MILLRACE_ENGINE=node/);
    return;
  }
  assert.equal(lines.length, 4, stderr);
  assert.match(
    lines[0] as string,
    new RegExp(`net and .*tls is millrace \\(${engine}\\); imports by module\\.register`),
  );
  assert.match(lines[1] as string, /servers and agents of https are put on millrace/);
  assert.match(lines[2] as string, /net is millrace for application \(.*app\.cjs\)/);
  assert.match(lines[3] as string, /net is millrace for required \(.*index\.js\)/);
});

test('-r without require() of ES modules changes nothing, and says so if asked', limit, async (t) => {
  if (!process.allowedNodeEnvironmentFlags.has('--no-experimental-require-module'))
    return t.skip('this Node can always require ES modules');
  const application = new Application(t, { 'app.cjs': "console.log(require('net').engine)" });
  const args = ['--no-experimental-require-module', '-r', 'millrace/register', 'app.cjs'];
  const { stdout, stderr } = await application.node(t, args, { NODE_DEBUG: 'millrace' });
  assert.equal(stdout, 'undefined\n');
  assert.match(
    stderr,
    /register: net stays Node's: -r needs require\(\) of ES modules; use --import millrace\/register/,
  );
});

/** A loader as those of TypeScript: it gives the source of every file itself, also of CommonJS. */
const loader = `
import { readFileSync } from 'node:fs';
const files = (url) => url.startsWith('file:') && /\\.[cm]?ts$/.test(url);
export async function load(url, context, next) {
  if (!files(url)) return next(url, context);
  const source = readFileSync(new URL(url), 'utf8').replaceAll(': number', '');
  return { format: url.endsWith('.cts') ? 'commonjs' : 'module', source, shortCircuit: true };
}`;

const typed = {
  'loader.mjs': loader,
  'register-loader.mjs': "import { register } from 'node:module'; register('./loader.mjs', import.meta.url);",
  'app.mts': `import net, { Socket } from 'net';
  import { required, dynamic } from './required.cts';
  const one: number = 1;
  console.log(net.engine, Socket === net.Socket, required === net, (await dynamic()).default === net, one);`,
  'required.cts': "exports.required = require('net'); exports.dynamic = () => import('node:net');",
};

for (const order of ['before', 'after']) {
  test(`works with a loader that is registered ${order} it`, limit, async (t) => {
    const application = new Application(t, typed);
    const other = ['--import', './register-loader.mjs'];
    for (const way of WAYS) {
      const args = order === 'before' ? [...other, ...way] : [...way, ...other];
      const { stdout, stderr } = await application.node(t, ['--no-warnings', ...args, 'app.mts']);
      assert.equal(stdout, `${isOwn ? engine : undefined} true true true 1\n`, stderr);
    }
  });
}
