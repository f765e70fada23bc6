/** A group on a unix socket whose primary is restarted by its next version: `ready VERSION PID`, `drained VERSION`. */
import { run } from 'millrace/cluster';
import { restartable } from 'millrace/restart';

const version = Number(process.env['VERSION'] ?? '1');
const say = (text: string): boolean => process.stdout.write(`${text}\n`);
const service = await restartable({
  signal: 'SIGUSR2', // SIGHUP is the group's
  env: { VERSION: String(version + 1) },
  drainMs: 1_000,
  exit: false, // a test reads on until both have spoken
  onDrained: () => void say(`drained ${version}`),
});
await run({
  workers: 2,
  entry: new URL(`./restarted${import.meta.url.slice(-3)}`, import.meta.url),
  drainMs: 1_000,
  data: { version, path: process.argv[2] },
});
await service.ready();
say(`ready ${version} ${process.pid}`);
process.stdin.resume();
