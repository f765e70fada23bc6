/** node:cluster with our servers: what a worker is asked to do, it does. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import test from 'node:test';
import { fileURLToPath } from 'node:url';
import { leakGuard } from '../support/net.ts';

await leakGuard();

const program = fileURLToPath(new URL('../support/cluster-program.js', import.meta.url));

for (const policy of ['SCHED_RR', 'SCHED_NONE']) {
  test(`a worker that is disconnected closes its server and ends (${policy})`, { timeout: 20_000 }, async (t) => {
    const { NODE_TEST_CONTEXT: _, ...env } = process.env;
    const child = spawn(process.execPath, [program, policy], { env, stdio: ['ignore', 'pipe', 'inherit'] });
    t.after(() => child.kill('SIGKILL'));
    const chunks: Buffer[] = [];
    for await (const chunk of child.stdout) chunks.push(chunk as Buffer);
    const [greeting, ...rest] = Buffer.concat(chunks).toString().trim().split('\n');
    assert.equal(greeting, 'from a worker');
    assert.deepEqual(rest.sort(), ['exit 0', 'server closed']);
  });
}
