/** Which engine a process or a Worker gets, and what it says about it. Each choice is made in a process of its own. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { Worker } from 'node:worker_threads';
import { root } from '../support/child.ts';
import { KINDS, refusal } from './support/rig.ts';

const limit = { timeout: 20_000 };

/** An echo over the chosen engine, then the choice as JSON; or why there is none. */
const ECHO = `
  const report = (what) => console.log(JSON.stringify(what));
  import('millrace').then(({ engine, engineReason: reason, createServer, connect }) => {
    const server = createServer((socket) => socket.pipe(socket)).listen(0, '127.0.0.1', () => {
      let text = '';
      const client = connect(server.address().port, '127.0.0.1', () => client.end('around'));
      client.on('data', (bytes) => (text += bytes));
      client.on('end', () => server.close(() => report({ engine, reason, text })));
    });
  }, ({ code, message }) => report({ code, message }));`;

interface Report {
  engine?: string;
  reason?: string;
  text?: string;
  code?: string;
  message?: string;
}

/** Runs the echo after `prelude` in a process with these variables. */
function choose(env: NodeJS.ProcessEnv, prelude = ''): Promise<Report> {
  const { MILLRACE_ENGINE: _, NODE_TEST_CONTEXT: __, ...rest } = process.env;
  const args = ['--no-warnings', '--input-type=module', '-e', prelude + ECHO];
  return new Promise((resolve, reject) => {
    execFile(process.execPath, args, { cwd: root, env: { ...rest, ...env }, ...limit }, (error, stdout, stderr) => {
      if (error) reject(new Error(`${error.message}\n${stderr}`));
      else resolve(JSON.parse(stdout));
    });
  });
}

/** A native part that must not be loaded: whoever does, dies. */
function bomb(t: TestContext): string {
  const folder = mkdtempSync(join(tmpdir(), 'millrace-'));
  t.after(() => rmSync(folder, { recursive: true }));
  const path = join(folder, 'bomb.cjs');
  writeFileSync(path, 'process.stderr.write("the native part was loaded"); process.exit(3);');
  return path;
}

/** Has this process say that it is another platform. */
const pretend = {
  versions: (name: string) =>
    `Object.defineProperty(process, 'versions', { value: { ...process.versions, ${name}: '1.4.5' } });`,
  platform: (name: string) => `Object.defineProperty(process, 'platform', { value: '${name}' });`,
  arch: (name: string) => `Object.defineProperty(process, 'arch', { value: '${name}' });`,
};

test('the first engine that can be had is chosen', limit, async () => {
  const { engine, reason, text } = await choose({});
  const [best] = KINDS.filter((kind) => refusal(kind) === false);
  assert.deepEqual({ engine, text }, { engine: best, text: 'around' });
  assert.equal(reason, best === 'io_uring' ? 'the kernel has all that is needed' : reason);
});

for (const name of [...KINDS, 'node'] as const) {
  const skip = name === 'node' ? false : refusal(name);
  test(`MILLRACE_ENGINE=${name} forces it, and is the reason`, { ...limit, skip }, async () => {
    const { engine, reason, text } = await choose({ MILLRACE_ENGINE: name });
    assert.deepEqual({ engine, text }, { engine: name, text: 'around' });
    assert.equal(reason, `forced by MILLRACE_ENGINE=${name}`);
  });
}

test('an empty MILLRACE_ENGINE forces nothing', limit, async () => {
  assert.doesNotMatch((await choose({ MILLRACE_ENGINE: '' })).reason as string, /forced/);
});

test('an engine that is forced and unknown is an error with a code, and names those there are', limit, async () => {
  for (const name of ['kqueue', 'IO_URING', 'toString']) {
    const { code, message } = await choose({ MILLRACE_ENGINE: name });
    assert.equal(code, 'MILLRACE_ERR_ENGINE');
    assert.equal(message, `MILLRACE_ENGINE=${name} can't be had: the engines are io_uring, epoll, node`);
  }
});

test('without a native part it is node:net, and says that there is none', limit, async () => {
  const { engine, reason, text } = await choose({ MILLRACE_NATIVE: '/nonexistent' });
  assert.deepEqual({ engine, text }, { engine: 'node', text: 'around' });
  assert.match(reason as string, /no native part/);
});

test('with a native part that cannot be loaded it is node:net, and says why', limit, async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'millrace-'));
  t.after(() => rmSync(folder, { recursive: true }));
  const broken = join(folder, 'broken.node');
  writeFileSync(broken, 'not an ELF file');
  const { engine, reason, text } = await choose({ MILLRACE_NATIVE: broken });
  assert.deepEqual({ engine, text }, { engine: 'node', text: 'around' });
  assert.match(reason as string, /could not be loaded: .*broken\.node/);
});

test('an engine that is forced and has no native part is an error, never another engine', limit, async () => {
  for (const name of KINDS) {
    const { code, message } = await choose({ MILLRACE_ENGINE: name, MILLRACE_NATIVE: '/nonexistent' });
    assert.equal(code, 'MILLRACE_ERR_ENGINE');
    assert.match(message as string, new RegExp(`^MILLRACE_ENGINE=${name} can't be had: no native part`));
  }
});

for (const [where, prelude, expected] of [
  ['on Bun', pretend.versions('bun'), /Bun/],
  ['on Deno', pretend.versions('deno'), /Deno/],
  ['on macOS', pretend.platform('darwin'), /needs Linux, this is darwin/],
  ['on Windows', pretend.platform('win32'), /needs Linux, this is win32/],
  ['on a machine of 32 bits', pretend.arch('ia32'), /needs x64 or arm64, this is ia32/],
] as const) {
  test(`${where} it is node:net, and the native part is not even loaded`, limit, async (t) => {
    const env = { MILLRACE_NATIVE: bomb(t) };
    const { engine, reason, text } = await choose(env, prelude);
    assert.deepEqual({ engine, text }, { engine: 'node', text: 'around' });
    assert.match(reason as string, expected);
    for (const name of KINDS) {
      const { code, message } = await choose({ ...env, MILLRACE_ENGINE: name }, prelude);
      assert.equal(code, 'MILLRACE_ERR_ENGINE');
      assert.match(message as string, expected);
    }
  });
}

test('the engine that is asked for by name loads its native part (the bomb goes off)', limit, async (t) => {
  await assert.rejects(choose({ MILLRACE_NATIVE: bomb(t) }), /the native part was loaded/);
});

test('works where process._tickCallback is missing', limit, async () => {
  const { engine, text } = await choose({}, 'delete process._tickCallback; process._tickCallback = undefined;');
  assert.notEqual(engine, 'node');
  assert.equal(text, 'around');
});

test('two Workers run two engines in one process, and talk to each other', {
  ...limit,
  skip: KINDS.map(refusal).find((why) => why !== false) ?? false,
}, async (t) => {
  const source = `
    const { parentPort } = require('node:worker_threads');
    import(${JSON.stringify(join(root, 'dist/index.js'))}).then(({ engine, createServer, connect }) => {
      const server = createServer((socket) => socket.on('data', (bytes) => socket.write(engine + ' heard ' + bytes)).on('end', () => server.close()));
      server.listen(0, '127.0.0.1', () => parentPort.postMessage(server.address().port));
      parentPort.once('message', (port) => {
        const client = connect(port, '127.0.0.1', () => client.write('from ' + engine));
        client.on('data', (bytes) => { parentPort.postMessage(String(bytes)); client.end(); });
      });
    });`;
  const workers = KINDS.map((kind) => {
    const worker = new Worker(source, { eval: true, env: { ...process.env, MILLRACE_ENGINE: kind } });
    t.after(() => worker.terminate());
    const said: unknown[] = [];
    let wake = (): void => {};
    worker.on('message', (message) => {
      said.push(message);
      wake();
    });
    const next = async (): Promise<unknown> => {
      while (said.length === 0) await new Promise<void>((resolve) => (wake = resolve));
      return said.shift();
    };
    const ended = new Promise<number>((resolve) => worker.once('exit', resolve));
    return { worker, next, ended };
  }) as [first: WorkerAtWork, second: WorkerAtWork];
  const [first, second] = workers;
  const ports = [await first.next(), await second.next()];
  first.worker.postMessage(ports[1]);
  second.worker.postMessage(ports[0]);
  assert.deepEqual(
    [await first.next(), await second.next()],
    ['epoll heard from io_uring', 'io_uring heard from epoll'],
  );
  assert.deepEqual(await Promise.all([first.ended, second.ended]), [0, 0], 'nothing keeps them alive');
});

interface WorkerAtWork {
  worker: Worker;
  next(): Promise<unknown>;
  ended: Promise<number>;
}

test('the ring of io_uring has no polling thread, and room for 16,384 completions', {
  ...limit,
  skip: refusal('io_uring'),
}, async () => {
  const { stdout } = await new Promise<{ stdout: string }>((resolve, reject) => {
    const script = `
      import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
      await import('millrace');
      for (const fd of readdirSync('/proc/self/fd')) {
        let target = '';
        try { target = readlinkSync('/proc/self/fd/' + fd); } catch {}
        // Node 20 has a ring of its own in libuv, which is smaller.
        if (target.includes('io_uring')) console.log(readFileSync('/proc/self/fdinfo/' + fd, 'utf8').replaceAll('\\n', ' '));
      }`;
    const env = { ...process.env, MILLRACE_ENGINE: 'io_uring' };
    const args = ['--input-type=module', '-e', script];
    execFile(process.execPath, args, { cwd: root, env, ...limit }, (error, out) =>
      error ? reject(error) : resolve({ stdout: out }),
    );
  });
  const ours = stdout.split('\n').filter((line) => /CqMask:\s+0x3fff\b/.test(line));
  assert.equal(ours.length, 1, stdout);
  assert.match(ours[0] as string, /SqThread:\s+-1\b/);
});
