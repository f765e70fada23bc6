/**
 * The package as a user gets it: `npm pack`, installed into an empty folder without a registry and without scripts, and
 * used from there by programs of their own.
 */
import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';

const root = process.cwd();
const [major = 0] = process.versions.node.split('.').map(Number);
/** A round trip through a server of its own; prints the engine and what came back. */
const roundTrip = `
const server = net.createServer((socket) => socket.pipe(socket));
server.listen(0, '127.0.0.1', () => {
  const socket = net.connect(server.address().port, '127.0.0.1');
  let text = '';
  socket.setEncoding('utf8').on('data', (chunk) => { text += chunk; });
  socket.on('close', () => {
    server.close();
    console.log(JSON.stringify({ engine: net.engine, reason: net.engineReason, text }));
  });
  socket.end('there and back');
});
`;
/** Two messages through a codec and back. */
const codecs = `
const codec = framing.lengthPrefixed({ lengthFieldLength: 2 }).json();
const got = [];
codec.decoder((message) => got.push(message)).push(Buffer.concat([{ a: 1 }, 'two'].map((message) => codec.encode(message))));
console.log(JSON.stringify(got));
`;
/** A connection of the direct tier, there and back. */
const direct = `
direct.listen({ port: 0, hostname: '127.0.0.1', data: (c, view) => void c.end(view) }).then(async (server) => {
  let text = '';
  const c = await direct.connect({ port: server.port, data: (_, view) => void (text += view), close: () => console.log(JSON.stringify(text)) });
  c.write('there and back');
  await server.close();
});
`;
const programs = {
  'direct.mjs': `import * as direct from 'millrace/direct';\n${direct}`,
  'direct.cjs': `const direct = require('millrace/direct');\n${direct}`,
  'framing.mjs': `import * as framing from 'millrace/framing';\n${codecs}`,
  'framing.cjs': `const framing = require('millrace/framing');\n${codecs}`,
  'verify.mjs': `import { lines } from 'millrace/framing';
import { verifyCodec } from 'millrace/framing/testing';
await verifyCodec(lines().utf8(), [{ messages: ['one', 'two'] }]);
console.log('true');`,
  'program.mjs': `import net from 'millrace';\n${roundTrip}`,
  'program.cjs': `const net = require('millrace');\n${roundTrip}`,
  'named.mjs': `import * as names from 'millrace';
import { createRequire } from 'node:module';
const net = createRequire(import.meta.url)('millrace');
console.log(JSON.stringify({ same: net === names.default && net.Socket === names.Socket }));`,
};

describe('the package', () => {
  const folder = mkdtempSync(join(tmpdir(), 'millrace-package-'));
  const packed = join(folder, 'node_modules', 'millrace');
  const hasNative = () => existsSync(join(packed, 'prebuilt', `linux-${process.arch}.node`));

  before(() => {
    // Some settings of the npm that may run this test are not meant for the ones it runs.
    const env = Object.fromEntries(Object.entries(process.env).filter(([name]) => !/^npm_/i.test(name)));
    const npm = (...command: string[]) =>
      execFileSync('npm', command, { cwd: folder, env, encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });
    npm('pack', root, '--pack-destination', folder, '--loglevel=error');
    const tarball = readdirSync(folder).find((name) => name.endsWith('.tgz'));
    assert.ok(tarball, 'npm pack left a tarball');
    writeFileSync(join(folder, 'package.json'), '{ "private": true }');
    npm('install', join(folder, tarball), '--ignore-scripts', '--offline', '--no-audit', '--no-fund');
    for (const [name, text] of Object.entries(programs)) writeFileSync(join(folder, name), text);
  });
  after(() => rmSync(folder, { recursive: true, force: true }));

  function run(program: string, env: NodeJS.ProcessEnv = {}, flags: string[] = []) {
    const { MILLRACE_ENGINE: _, NODE_TEST_CONTEXT: __, ...rest } = process.env;
    const { status, stdout, stderr } = spawnSync(process.execPath, [...flags, join(folder, program)], {
      encoding: 'utf8',
      env: { ...rest, ...env },
    });
    assert.equal(status, 0, stderr);
    return JSON.parse(stdout);
  }

  for (const program of ['program.mjs', 'program.cjs']) {
    test(`${program} echoes on the engine that the package carries`, () => {
      const { engine, reason, text } = run(program);
      assert.equal(text, 'there and back');
      if (hasNative()) assert.notEqual(engine, 'node', reason);
      else assert.equal(engine, 'node', reason);
    });

    test(`${program} echoes on the engine that MILLRACE_ENGINE names`, (t) => {
      assert.equal(run(program, { MILLRACE_ENGINE: 'node' }).engine, 'node');
      if (!hasNative()) return t.diagnostic('the package carries no native part for this machine');
      const { engine, text } = run(program, { MILLRACE_ENGINE: 'epoll' });
      assert.deepEqual({ engine, text }, { engine: 'epoll', text: 'there and back' });
    });
  }

  for (const program of ['framing.mjs', 'framing.cjs']) {
    test(`${program} has the codecs`, () => assert.deepEqual(run(program), [{ a: 1 }, 'two']));
  }

  for (const program of ['direct.mjs', 'direct.cjs']) {
    for (const engine of ['', 'node'])
      test(`${program} talks on ${engine || 'the engine that the package carries'}`, () => {
        assert.equal(run(program, engine === '' ? {} : { MILLRACE_ENGINE: engine }), 'there and back');
      });
  }

  test('codecs can be verified without any other package', () => assert.equal(run('verify.mjs'), true));

  test('import and require give the same object', () => {
    assert.deepEqual(run('named.mjs'), { same: true });
  });

  // Node's permission model covers the network since Node 25.
  const permission = major < 23 ? ['--experimental-permission'] : ['--permission'];
  if (process.allowedNodeEnvironmentFlags.has('--allow-net')) permission.push('--allow-net');
  test('runs on node:net where native parts are forbidden', () => {
    const { engine, text } = run('program.mjs', {}, [...permission, '--allow-fs-read=*', '--no-warnings']);
    assert.deepEqual({ engine, text }, { engine: 'node', text: 'there and back' });
  });

  test('has what it needs and nothing else', () => {
    const files = readdirSync(packed, { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map((entry) => join(entry.parentPath, entry.name).slice(packed.length + 1));
    const expected =
      /^(dist\/.+\.(c?js|d\.c?ts)|native\/.+\.[ch]|prebuilt\/linux-\w+(-tls)?\.node|[A-Z]+(\.md)?|package\.json)$/;
    assert.deepEqual(
      files.filter((file) => !expected.test(file)),
      [],
    );
    for (const file of ['dist/index.js', 'dist/index.d.ts', 'LICENSE', 'CHANGELOG.md']) {
      assert.ok(files.includes(file), file);
    }
  });

  test('names no folder of the machine it was packed on', () => {
    for (const entry of readdirSync(packed, { recursive: true, withFileTypes: true })) {
      if (!entry.isFile()) continue;
      const path = join(entry.parentPath, entry.name);
      assert.ok(!readFileSync(path).includes(root), `${path.slice(packed.length + 1)} contains ${root}`);
    }
  });

  test('runs no script when it is installed and brings no other package', () => {
    const manifest = JSON.parse(readFileSync(join(packed, 'package.json'), 'utf8'));
    for (const script of ['preinstall', 'install', 'postinstall', 'prepare']) {
      assert.equal(manifest.scripts?.[script], undefined, script);
    }
    assert.equal(existsSync(join(packed, 'binding.gyp')), false);
    assert.deepEqual(manifest.dependencies ?? {}, {});
    assert.deepEqual(
      readdirSync(join(folder, 'node_modules')).filter((name) => !name.startsWith('.')),
      ['millrace'],
    );
  });
});
