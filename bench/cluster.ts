// node .build/bench/cluster.js [--runs N] [--seconds N] [--node PATH]: what it costs to share a port, beside node:cluster.
//
// Echoes of 64 bytes on 50 connections with one worker and with two, and connections that live for one message, with four: by the
// kernel's balancing, to the fewest connections, and by node:cluster (round robin) over node:net. The load is that of `npm run bench`.
// Printed is the CPU time (user and system) of the primary and all workers for a message or a connection, the median of the runs, and
// the largest share of any worker beside the mean. Two cores and a load on them say nothing of throughput.
import { spawn } from 'node:child_process';
import cluster from 'node:cluster';
import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import nodeNet from 'node:net';
import { createInterface } from 'node:readline';
import { setTimeout as pass } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import net from 'millrace';
import { counters, run, worker } from 'millrace/cluster';
import { listen } from 'millrace/direct';
import { buildLoad } from './load/build.ts';

const WORKERS = 4;
const CONNECTIONS = 50;
const AT_ONCE = 20;

interface Subject {
  readonly tier: 'net' | 'direct' | 'node:cluster';
  readonly balance?: 'kernel' | 'least-connections';
  readonly workers: number;
}
const echoes: Subject[] = [1, 2].flatMap((workers) => [
  { tier: 'net', balance: 'kernel', workers },
  { tier: 'direct', balance: 'kernel', workers },
  { tier: 'node:cluster', workers },
]);
const churns: Subject[] = [
  { tier: 'net', balance: 'kernel', workers: WORKERS },
  { tier: 'direct', balance: 'kernel', workers: WORKERS },
  { tier: 'direct', balance: 'least-connections', workers: WORKERS },
  { tier: 'node:cluster', workers: WORKERS },
];

const { values } = parseArgs({
  options: {
    serve: { type: 'string' },
    runs: { type: 'string', default: '5' },
    seconds: { type: 'string', default: '2' },
    node: { type: 'string', default: process.execPath },
  },
});
const local = { port: 0, host: '127.0.0.1' };
const figures = counters({ connections: 'counter' });

if (worker !== undefined) await beWorker(worker.data as Subject);
else if (cluster.isWorker) await beNodesWorker();
else if (values.serve !== undefined) await beServer(JSON.parse(values.serve) as Subject);
else await measureAll(Number(values.runs), Number(values.seconds));

// --------------------------------------------------------------------------------------------------------- the servers

async function beWorker({ tier }: Subject): Promise<void> {
  if (tier === 'direct') {
    const open = (): void => figures.add('connections');
    await listen({ port: 0, hostname: local.host, open, data: (c, view) => void c.write(view) });
    return;
  }
  net
    .createServer((socket) => {
      figures.add('connections');
      socket.on('error', () => {}).pipe(socket);
    })
    .listen(local);
}

async function beNodesWorker(): Promise<void> {
  let connections = 0;
  const server = nodeNet.createServer((socket) => {
    connections++;
    socket.on('error', () => {}).pipe(socket);
  });
  process.on('message', () => process.send?.(connections));
  await once(server.listen(local), 'listening');
}

/** Prints its port and processes, then for each line how many connections each worker has had. */
async function beServer(subject: Subject): Promise<void> {
  const { port, pids, shares } = await (subject.tier === 'node:cluster' ? nodesGroup(subject) : ownGroup(subject));
  console.log(JSON.stringify({ port, pids: [process.pid, ...pids] }));
  for await (const _ of createInterface(process.stdin)) console.log(JSON.stringify(await shares()));
  process.exit();
}

interface Group {
  port: number | undefined;
  pids: (number | undefined)[];
  shares(): Promise<number[]>;
}

async function ownGroup(subject: Subject): Promise<Group> {
  const { workers, balance } = subject;
  const entry = fileURLToPath(import.meta.url);
  const group = await run({ workers, balance, entry, data: subject, counters: figures, signals: false });
  return {
    port: group.port,
    pids: group.workers.map(({ pid }) => pid),
    async shares() {
      await pass(200); // the figures of processes are a tenth of a second old
      return figures.workers().flatMap(({ worker: id, values: { connections } }) => (id === 0 ? [] : [connections]));
    },
  };
}

async function nodesGroup({ workers }: Subject): Promise<Group> {
  const all = Array.from({ length: workers }, () => cluster.fork());
  const addresses = await Promise.all(all.map(async (one) => (await once(one, 'listening'))[0]));
  return {
    port: addresses[0].port,
    pids: all.map((one) => one.process.pid),
    shares: () =>
      Promise.all(
        all.map(async (one) => {
          const answer = once(one, 'message');
          one.send('connections');
          return Number((await answer)[0]);
        }),
      ),
  };
}

// ------------------------------------------------------------------------------------------------------------ measuring

async function measureAll(runs: number, seconds: number): Promise<void> {
  const load = buildLoad({ root: fileURLToPath(new URL('../..', import.meta.url)), mayInstall: false });
  const echo = ['echo', '--connections', String(CONNECTIONS), '--size', '64', '--in-flight', '1'];
  const churn = ['churn', '--connections', String(AT_ONCE), '--size', '64'];
  await table(
    `CPU us a message, echo of 64 bytes on ${CONNECTIONS} connections`,
    echoes,
    [load, ...echo],
    runs,
    seconds,
  );
  await table(`CPU us a connection with one message, ${AT_ONCE} at any time`, churns, [load, ...churn], runs, seconds);
}

async function table(title: string, subjects: Subject[], load: string[], runs: number, seconds: number): Promise<void> {
  const all = subjects.map(() => [] as Measured[]);
  for (let i = 0; i < runs; i++) {
    for (const [index, subject] of subjects.entries()) all[index]?.push(await measure(subject, load, seconds));
  }
  console.log(`${title}; median of ${runs} (least, most); largest share of a worker beside the mean`);
  for (const [index, { tier, balance = 'round robin', workers }] of subjects.entries()) {
    const measured = all[index] as Measured[];
    const [least, median, most] = spread(measured.map(({ cpuUs }) => cpuUs));
    const share = spread(measured.map((each) => each.largestShare))[1];
    const name = `${tier}, ${balance}, ${workers} worker${workers > 1 ? 's' : ''}`;
    console.log(`${name.padEnd(42)} ${median} (${least}, ${most})  ${share}`);
  }
}

function spread(values: number[]): (string | undefined)[] {
  const sorted = [...values].sort((a, b) => a - b);
  return [0, sorted.length >> 1, sorted.length - 1].map((n) => sorted[n]?.toFixed(2));
}

interface Measured {
  cpuUs: number;
  largestShare: number;
}

async function measure(subject: Subject, load: string[], seconds: number): Promise<Measured> {
  const program = [fileURLToPath(import.meta.url), '--serve', JSON.stringify(subject)];
  const server = spawn(values.node, program, { stdio: ['pipe', 'pipe', 'inherit'] });
  const answers = createInterface(server.stdout)[Symbol.asyncIterator]();
  const { port, pids } = JSON.parse((await answers.next()).value as string) as { port: number; pids: number[] };
  const drive = (forSeconds: number) =>
    output([...load, '--port', String(port), '--warmup', '0', '--seconds', String(forSeconds)]);
  await drive(1);
  const before = cpuUs(pids);
  const { operations } = JSON.parse(await drive(seconds)) as { operations: number };
  const spent = cpuUs(pids) - before;
  server.stdin.write('\n');
  const shares = JSON.parse((await answers.next()).value as string) as number[];
  server.stdin.end();
  await once(server, 'exit');
  const mean = shares.reduce((sum, share) => sum + share, 0) / shares.length;
  return { cpuUs: spent / operations, largestShare: Math.max(...shares) / mean };
}

async function output([command, ...args]: string[]): Promise<string> {
  const child = spawn(command as string, args, { stdio: ['ignore', 'pipe', 'inherit'] });
  let text = '';
  child.stdout.setEncoding('utf8').on('data', (part) => (text += part));
  await once(child, 'close');
  return text;
}

/** What all threads of these processes have run for: the first number of schedstat, in ns. */
function cpuUs(pids: number[]): number {
  let ns = 0;
  for (const pid of pids) {
    for (const thread of readdirSync(`/proc/${pid}/task`)) {
      ns += Number(readFileSync(`/proc/${pid}/task/${thread}/schedstat`, 'utf8').split(' ')[0]);
    }
  }
  return ns / 1000;
}
