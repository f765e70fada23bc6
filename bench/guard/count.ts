// Counts what a server executes: its user-space instructions and system calls, under valgrind.
//
// Why not `perf stat -e instructions:u`: many virtual machines, CI's among them, have no performance counters. Why valgrind:
// its count does not depend on the clock, the load or the processor (it presents the same one everywhere), so that a figure from
// one machine is good on another. V8 is told to be reproducible: one thread, no random seeds. The first rounds warm it up; two
// runs of different length are subtracted, which takes away the start, the compilation and the end.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import net from 'node:net';
import { createInterface } from 'node:readline';

export const connections = 50;
const shortRounds = 500;
const longRounds = 800;
const size = 64;
const limitMs = 400_000;

export interface Count {
  instructions: number;
  systemCalls: number;
}

/** Instructions and system calls of the server on a message, for one subject: an engine, `direct-` and an engine, or `node`. */
export async function perMessage(node: string, server: string, subject: string): Promise<Count> {
  const short = await total(node, server, subject, shortRounds);
  const long = await total(node, server, subject, longRounds);
  const messages = (longRounds - shortRounds) * connections;
  return {
    instructions: (long.instructions - short.instructions) / messages,
    systemCalls: (long.systemCalls - short.systemCalls) / messages,
  };
}

async function total(node: string, server: string, subject: string, rounds: number): Promise<Count> {
  const engine = subject.replace(/^direct-/, '');
  const impl = engine === 'node' ? 'node-net' : engine === subject ? 'millrace' : 'direct';
  const valgrind = ['--tool=callgrind', '--callgrind-out-file=/dev/null', '--trace-syscalls=yes', '--log-fd=2'];
  const v8 = ['--single-threaded', '--predictable', '--hash-seed=1', '--random-seed=1'];
  const args = ['--impl', impl, '--rounds', String(rounds), '--connections', String(connections)];
  const child = spawn('valgrind', [...valgrind, node, ...v8, server, ...args], {
    stdio: ['pipe', 'pipe', 'pipe'],
    env: { ...process.env, MILLRACE_ENGINE: engine, UV_THREADPOOL_SIZE: '1', NODE_OPTIONS: '' },
  });
  const timer = setTimeout(() => child.kill('SIGKILL'), limitMs);
  const ended = once(child, 'close');
  try {
    let systemCalls = 0;
    let instructions = 0;
    const said: string[] = [];
    createInterface({ input: child.stderr }).on('line', (line) => {
      // SYSCALL[pid,thread](number): the main thread is 1.
      if (/^SYSCALL\[\d+,1\]/.test(line)) systemCalls++;
      else if (!line.startsWith('SYSCALL[')) said.push(line);
      const found = /refs:\s+([\d,]+)/.exec(line)?.[1];
      if (found) instructions = Number(found.replaceAll(',', ''));
    });
    const first = await createInterface({ input: child.stdout })[Symbol.asyncIterator]().next();
    if (first.done) throw new Error(`the server ended: ${said.slice(-5).join(' ')}`);
    const hello = JSON.parse(first.value) as { port: number; engine: string };
    if (hello.engine !== engine) throw new Error(`the server runs on ${hello.engine}, not on ${engine}`);
    await drive(hello.port, rounds, () => child.stdin.write('g'));
    await ended;
    if (instructions === 0) throw new Error(`valgrind gave no count: ${said.slice(-5).join(' ')}`);
    return { instructions, systemCalls };
  } finally {
    clearTimeout(timer);
    child.kill('SIGKILL');
  }
}

/** Sends a round on all connections, lets the server go, waits for all echoes, and so on. */
async function drive(port: number, rounds: number, go: () => void): Promise<void> {
  const message = Buffer.alloc(size, 'millrace');
  let received = 0;
  let complete: () => void = () => {};
  const sockets = Array.from({ length: connections }, () => net.connect({ port, host: '127.0.0.1', noDelay: true }));
  for (const socket of sockets) {
    socket.on('error', () => {}); // the server's process ends with its last round
    socket.on('data', (data) => {
      received += data.length;
      if (received === size * connections) complete();
    });
  }
  try {
    await Promise.all(sockets.map((socket) => once(socket, 'connect')));
    for (let round = 0; round < rounds; round++) {
      received = 0;
      const all = new Promise<void>((resolve) => {
        complete = resolve;
      });
      for (const socket of sockets) socket.write(message);
      if (round > 0) go();
      await Promise.race([all, ...(round === rounds - 1 ? [once(sockets[0] as net.Socket, 'close')] : [])]);
    }
  } finally {
    for (const socket of sockets) socket.destroy();
  }
}
