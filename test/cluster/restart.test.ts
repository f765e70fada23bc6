/** A group whose primary is restarted: millrace/restart hands over what the balancer listens on. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import test from 'node:test';
import { fileURLToPath } from 'node:url';
import { start } from '../support/child.ts';
import { folder, leakGuard } from '../support/net.ts';
import { connect, needsOurs, PATIENCE_MS } from './support/group.ts';

await leakGuard();

test('the path of a group outlives the primary that is replaced', needsOurs, async (t) => {
  const path = join(await folder(t), 'socket');
  const program = fileURLToPath(new URL(`./support/restarting${import.meta.url.slice(-3)}`, import.meta.url));
  const child = start(t, [process.execPath, '--no-warnings', program, path], { lineMs: PATIENCE_MS });
  const [, , pid] = (await child.line()).split(' ');
  process.kill(Number(pid), 'SIGUSR2');
  // Two processes: whichever speaks first.
  const said = [await child.line(), await child.line()].sort();
  assert.match(said.join(), /^drained 1,ready 2 \d+$/);
  const next = Number((said[1] as string).split(' ')[2]);
  try {
    assert.equal(await (await connect(t, path)).line(), '2');
  } finally {
    process.kill(next, 'SIGKILL');
  }
});
