/** Where the kernel, or a container, refuses io_uring: the epoll ring takes over, and says why. */
import assert from 'node:assert/strict';
import { type SpawnSyncReturns, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { type TestContext, test } from 'node:test';

const root = dirname(createRequire(import.meta.url).resolve('millrace/package.json'));
const timeout = 30_000;

const REPORT = `
  const { default: net, engine, engineReason, createServer, connect } = await import('millrace');
  const server = createServer((socket) => socket.pipe(socket)).listen(0, '127.0.0.1', () => {
    const client = connect(server.address().port, '127.0.0.1', () => client.end('around'));
    let echoed = '';
    client.on('data', (bytes) => (echoed += bytes));
    client.on('end', () => server.close(() => console.log(JSON.stringify({ engine, engineReason, echoed }))));
  });`;
const IMPORT = `await import('millrace').then(() => console.log('imported'), ({ code, message }) => console.log(JSON.stringify({ code, message })));`;

/** Runs a script in a process that is refused io_uring; skips the test where that can't be arranged. */
function refused(t: TestContext, script: string, engine?: string): SpawnSyncReturns<string> | undefined {
  const folder = mkdtempSync(join(tmpdir(), 'millrace-'));
  t.after(() => rmSync(folder, { recursive: true }));
  const launcher = join(folder, 'refuse-io-uring');
  const source = join(root, 'test/engine/support/refuse-io-uring.c');
  const { LD_PRELOAD: _, ...env } = process.env; // a sanitizer's library is no business of the compiler
  const compiler = spawnSync(process.env['CC'] ?? 'cc', ['-O1', '-o', launcher, source], { encoding: 'utf8', env });
  if (compiler.error !== undefined) {
    t.skip('no C compiler');
    return undefined;
  }
  assert.equal(compiler.status, 0, compiler.stderr);
  const result = spawnSync(launcher, [process.execPath, '--input-type=module', '-e', script], {
    cwd: root,
    encoding: 'utf8',
    env: { ...process.env, MILLRACE_ENGINE: engine ?? '' },
    timeout,
  });
  if (result.status === 3) {
    t.skip(`no seccomp filter here: ${result.stderr}`);
    return undefined;
  }
  return result;
}

test('runs on the epoll ring where io_uring is refused, and says why', { timeout }, (t) => {
  const result = refused(t, REPORT);
  if (result === undefined) return;
  assert.equal(result.status, 0, result.stderr);
  const { engine, engineReason, echoed } = JSON.parse(result.stdout);
  assert.equal(engine, 'epoll');
  assert.match(engineReason, /io_uring_setup/);
  assert.match(engineReason, /EPERM/);
  assert.equal(echoed, 'around');
});

test('runs on the epoll ring without a reason of its own if that is forced', { timeout }, (t) => {
  const result = refused(t, REPORT, 'epoll');
  if (result === undefined) return;
  assert.equal(result.status, 0, result.stderr);
  assert.equal(JSON.parse(result.stdout).engine, 'epoll');
});

test('does not import if io_uring is forced and refused', { timeout }, (t) => {
  const result = refused(t, IMPORT, 'io_uring');
  if (result === undefined) return;
  assert.equal(result.status, 0, result.stderr);
  assert.match(result.stdout, /MILLRACE_ERR_ENGINE/);
  assert.match(result.stdout, /io_uring_setup: EPERM/);
});
