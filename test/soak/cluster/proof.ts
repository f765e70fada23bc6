/**
 * Workers that are killed, and a group that is renewed, under a steady load of clients on `node:net`:
 *
 *   node .build/test/soak/cluster/proof.js [seconds; default 60] [renewals; default 5]
 *
 * A worker is killed (-9) each second, then all are replaced by new ones, five times. Ends with code 0 if no connect was
 * refused, only connections of killed workers were reset, every message that was acknowledged was written down, and no
 * process is left. docs/reliability.md has figures.
 */
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import net from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { engine } from 'millrace';
import { run } from 'millrace/cluster';
import type { Story } from './clients.ts';

const seconds = Number(process.argv[2] ?? 60);
const renewals = Number(process.argv[3] ?? 5);
const WORKERS = 3;

const folder = mkdtempSync(join(tmpdir(), 'millrace-proof-'));
const log = join(folder, 'written');
process.env['PROOF_LOG'] = log;
process.env['PROOF_PORT'] = String(await freePort());

/** The workers are told a port, since a new generation has to listen on the same. */
async function freePort(): Promise<number> {
  const server = net.createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as net.AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}

const group = await run({
  workers: WORKERS,
  kind: 'processes',
  entry: new URL('./worker.js', import.meta.url),
  signals: false,
  drainMs: 10_000,
  onExit: () => {},
  // Dying each other second is what is to be shown: nobody gives up.
  restart: { minDelayMs: 10, maxDelayMs: 100, maxFailures: 1_000 },
});
const clients = fork(fileURLToPath(new URL('./clients.js', import.meta.url)), [
  process.env['PROOF_PORT'],
  join(folder, 'acknowledged'),
]);

const killed = new Set<number>();
for (let second = 0; second < seconds; second++) {
  await sleep(1_000);
  const victims = group.workers.flatMap(({ pid, state }) => (state === 'ready' && pid !== undefined ? [pid] : []));
  const victim = victims[second % victims.length];
  if (victim === undefined) continue;
  killed.add(victim);
  process.kill(victim, 'SIGKILL');
}
await sleep(1_000);
const renewalMs: number[] = [];
for (let i = 0; i < renewals; i++) {
  const startedAtMs = performance.now();
  await group.reload();
  renewalMs.push(Math.round(performance.now() - startedAtMs));
  await sleep(1_000);
}
clients.send('stop');
const [story] = (await once(clients, 'message')) as [Story];
const restarts = group.workers.reduce((sum, worker) => sum + worker.restarts, 0);
await group.close();

const written = new Set(readFileSync(log, 'latin1').split('\n'));
const lost = readFileSync(join(folder, 'acknowledged'), 'latin1')
  .split('\n')
  .filter((id) => id !== '' && !written.has(id));
/** What befell connections of workers that nobody killed. */
const ofLiving = (counts: Record<number, number>): number =>
  Object.entries(counts).reduce((sum, [pid, count]) => (pid === '0' || killed.has(Number(pid)) ? sum : sum + count), 0);
const sumOf = (counts: Record<number, number>): number => Object.values(counts).reduce((sum, count) => sum + count, 0);
rmSync(folder, { recursive: true });

console.log(`engine ${engine}, ${WORKERS} workers, ${killed.size} killed, ${restarts} restarts`);
console.log(`${story.connects} connects, ${story.acknowledged} messages acknowledged, ${lost.length} of them lost`);
console.log(
  `lost with killed workers: ${sumOf(story.resets)} connections reset, ${story.resets[0] ?? 0} of them before the greeting, ` +
    `${sumOf(story.unanswered)} messages that were not acknowledged`,
);
console.log(`failed connects: ${JSON.stringify(story.failures)}; longest wait ${story.longestMs} ms`);
console.log(`renewals took ${renewalMs.join(', ')} ms`);

const problems: string[] = [];
if (Object.keys(story.failures).length > 0) problems.push('connects failed');
if (lost.length > 0) problems.push('acknowledged messages were lost');
if (ofLiving(story.resets) > 0) problems.push(`${ofLiving(story.resets)} connections of living workers were reset`);
if (ofLiving(story.unanswered) > 0)
  problems.push(`${ofLiving(story.unanswered)} messages to living workers had no answer`);
if (story.wrong > 0) problems.push(`${story.wrong} answers were to something else`);
if (story.acknowledged === 0 || killed.size < seconds / 2) problems.push('it did not happen');
if (problems.length > 0) {
  console.error(problems.join('\n'));
  process.exitCode = 1;
}
