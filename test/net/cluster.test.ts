/** node:cluster with our servers: workers share what the primary listens on, and do what they are asked to. */
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import nodeNet from 'node:net';
import { createInterface } from 'node:readline';
import test from 'node:test';
import { fileURLToPath } from 'node:url';
import net from 'millrace';
import type { Order } from '../support/cluster-stage.ts';
import { collect, dial, freePort, leakGuard } from '../support/net.ts';

await leakGuard();

const limit = { timeout: 20_000 };

function start(t: test.TestContext, name: string, ...args: string[]): ChildProcess {
  const program = fileURLToPath(new URL(`../support/${name}.js`, import.meta.url));
  const { NODE_TEST_CONTEXT: _, ...env } = process.env;
  const child = spawn(process.execPath, [program, ...args], { env, stdio: ['pipe', 'pipe', 'inherit'] });
  t.after(() => child.kill('SIGKILL'));
  return child;
}

for (const policy of ['SCHED_RR', 'SCHED_NONE']) {
  test(`a worker that is disconnected closes its server and ends (${policy})`, limit, async (t) => {
    const child = start(t, 'cluster-program', policy);
    const chunks: Buffer[] = [];
    for await (const chunk of child.stdout as AsyncIterable<Buffer>) chunks.push(chunk);
    const [greeting, ...rest] = Buffer.concat(chunks).toString().trim().split('\n');
    assert.equal(greeting, 'from a worker');
    assert.deepEqual(rest.sort(), ['exit 0', 'server closed']);
  });
}

interface Counts {
  connections: number;
  drops: number;
}

/** A primary that does as it is told: see test/support/cluster-stage.ts. */
class Stage {
  readonly #child: ChildProcess;
  readonly #lines: AsyncIterator<string>;

  constructor(t: test.TestContext) {
    this.#child = start(t, 'cluster-stage');
    this.#lines = createInterface({ input: this.#child.stdout as NodeJS.ReadableStream })[Symbol.asyncIterator]();
    t.after(async () => {
      this.#child.stdin?.end();
      await this.#lines.return?.();
    });
  }

  async #heard<T>(): Promise<T> {
    const { value, done } = await this.#lines.next();
    assert.ok(!done, 'the primary goes on');
    return JSON.parse(value as string) as T;
  }

  #say(order: Order): void {
    this.#child.stdin?.write(`${JSON.stringify(order)}\n`);
  }

  /** A worker that listens, or says why not. */
  fork(order: Omit<Order, 'do'>): Promise<{ worker: number; port?: number; code?: string }> {
    this.#say({ do: 'fork', ...order });
    return this.#heard();
  }

  async kill(worker: number): Promise<void> {
    this.#say({ do: 'kill', worker });
    assert.deepEqual(await this.#heard(), { gone: worker });
  }

  counts(): Promise<Record<number, Counts>> {
    this.#say({ do: 'ask' });
    return this.#heard();
  }
}

/** Which worker answers. */
async function answer(t: test.TestContext, port: number | undefined): Promise<number> {
  const client = await dial(t, { port: port as number, host: '127.0.0.1' }, { net: nodeNet });
  return Number(await collect(client));
}

for (const policy of ['SCHED_RR', 'SCHED_NONE'] as const) {
  test(`workers that listen on port 0 share one port (${policy})`, limit, async (t) => {
    const stage = new Stage(t);
    const [one, two] = [await stage.fork({ policy }), await stage.fork({ policy })];
    assert.ok((one.port as number) > 0);
    assert.equal(one.port, two.port);
  });

  test(`a worker that dies leaves its connections to the others (${policy})`, limit, async (t) => {
    const stage = new Stage(t);
    const [one, two] = [await stage.fork({ policy }), await stage.fork({ policy })];
    await answer(t, one.port);
    await stage.kill(one.worker);
    for (let i = 0; i < 10; i++) assert.equal(await answer(t, one.port), two.worker);
    const three = await stage.fork({ policy });
    assert.equal(three.port, one.port);
    await stage.kill(two.worker);
    assert.equal(await answer(t, one.port), three.worker);
    await stage.kill(three.worker);
    // The kernel takes a killed process's ring down a moment after the process; until then the port answers with resets.
    let code: string | undefined;
    while (code !== 'ECONNREFUSED')
      await assert.rejects(answer(t, one.port), (error: NodeJS.ErrnoException) => {
        code = error.code;
        return code === 'ECONNREFUSED' || code === 'ECONNRESET';
      });
  });

  test(`a port that is taken is an error in the worker (${policy})`, limit, async (t) => {
    const taken = nodeNet.createServer().listen(0, '127.0.0.1');
    t.after(() => void taken.close());
    await new Promise((resolve) => taken.once('listening', resolve));
    const { port } = taken.address() as { port: number };
    const stage = new Stage(t);
    assert.equal((await stage.fork({ policy, listen: { port, host: '127.0.0.1' } })).code, 'EADDRINUSE');
  });
}

test('exclusive is a port of its own', limit, async (t) => {
  const stage = new Stage(t);
  const listen = { port: 0, host: '127.0.0.1', exclusive: true };
  const [one, two] = [await stage.fork({ listen }), await stage.fork({ listen })];
  assert.notEqual(one.port, two.port);
  assert.equal(await answer(t, one.port), one.worker);
  assert.equal((await stage.fork({ listen: { ...listen, port: two.port as number } })).code, 'EADDRINUSE');
});

test('reusePort lets each worker listen by itself', limit, async (t) => {
  const probe = nodeNet.createServer().listen({ port: 0, host: '127.0.0.1', reusePort: true });
  await new Promise((resolve) => probe.once('listening', resolve));
  await new Promise<void>((resolve) => probe.close(() => resolve()));
  const [major, minor] = process.versions.node.split('.').map(Number) as [number, number];
  const isKnown = net.engine !== 'node' || major >= 24 || (major === 22 && minor >= 12);
  if (!isKnown) return t.skip('this Node does not know the option');
  const stage = new Stage(t);
  const listen = { port: await freePort(), host: '127.0.0.1', reusePort: true };
  const [one, two] = [await stage.fork({ listen }), await stage.fork({ listen })];
  assert.deepEqual([one.port, two.port], [listen.port, listen.port]);
  const seen = new Set<number>();
  for (let i = 0; i < 200 && seen.size < 2; i++) seen.add(await answer(t, listen.port));
  assert.equal(seen.size, 2, 'the kernel gives each its share');
});

test('a shared listening socket gives every worker its share', limit, async (t) => {
  if (net.engine === 'node') return t.skip("libuv's spread is not ours");
  const stage = new Stage(t);
  const policy = 'SCHED_NONE';
  const ports: (number | undefined)[] = [];
  for (let i = 0; i < 4; i++) ports.push((await stage.fork({ policy })).port);
  let left = 1000;
  const ask = async (): Promise<void> => {
    while (left-- > 0) await answer(t, ports[0]);
  };
  await Promise.all(Array.from({ length: 20 }, ask));
  const counts = Object.values(await stage.counts()).map(({ connections }) => connections);
  assert.equal(
    counts.reduce((sum, count) => sum + count, 0),
    1000,
  );
  // A multishot accept would give one of them all; how even it is depends on who is given a CPU.
  assert.ok(Math.min(...counts) >= 10, `each its share: ${counts.join(' ')}`);
});

/** Connections that stay open, and how often each worker was asked. */
async function hold(t: test.TestContext, stage: Stage, port: number | undefined, count: number): Promise<Counts[]> {
  for (let i = 0; i < count; i++) await dial(t, { port: port as number, host: '127.0.0.1' }, { net: nodeNet });
  for (;;) {
    const counts = Object.values(await stage.counts());
    if (counts.reduce((sum, { connections, drops }) => sum + connections + drops, 0) >= count) return counts;
  }
}

test('a worker that is full leaves connections to the others', limit, async (t) => {
  const stage = new Stage(t);
  const { port } = await stage.fork({ maxConnections: 1, holds: true });
  await stage.fork({ holds: true });
  assert.deepEqual(await hold(t, stage, port, 8), [
    { connections: 1, drops: 0 },
    { connections: 7, drops: 0 },
  ]);
});

test('with dropMaxConnection a worker that is full drops them', limit, async (t) => {
  const [major, minor] = process.versions.node.split('.').map(Number) as [number, number];
  const isKnown = net.engine !== 'node' || major >= 24 || (major === 22 && minor >= 12);
  if (!isKnown) return t.skip('this Node does not know the option');
  const stage = new Stage(t);
  const { port } = await stage.fork({ maxConnections: 1, dropMaxConnection: true, holds: true });
  const [counts] = await hold(t, stage, port, 5);
  assert.deepEqual(counts, { connections: 1, drops: 4 });
});
