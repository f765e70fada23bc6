/**
 * What the workers of group.ts run: servers that say who serves, and do what a line tells them.
 *
 * ```
 *  out  SLOT WHO GENERATION         first; WHO is the process, and the thread if it is one
 *  in   anything                    out  the same
 *       hold                        out  done, when the worker is drained; then the end
 *       crash                       an exception that nobody catches
 *       fill, free                  out  done, when there is no descriptor left; when there are some again
 *       env NAME                    out  that variable
 * ```
 */
import { closeSync, existsSync, openSync, readFileSync } from 'node:fs';
import type { ListenOptions, Server, Socket } from 'node:net';
import { threadId } from 'node:worker_threads';
import net from 'millrace';
import { worker } from 'millrace/cluster';
import { listen } from 'millrace/direct';
import { lines } from 'millrace/framing';
import { serve } from 'millrace/session';
import tls from 'millrace/tls';

export interface Task {
  /** Where each server of millrace's net listens. */
  listen?: ListenOptions[];
  maxConnections?: number;
  /** One server of each tier besides, at any port of 127.0.0.1; with this certificate. */
  tiers?: { key: string; cert: string };
  /** If this file exists, the worker throws what stands in it. */
  brokenBy?: string;
  /** Speaks at once: not if clients do. */
  isSilent?: boolean;
}

if (worker === undefined) throw new Error('this is no worker');
const { slot, generation, signal, data } = worker;
const task = data as Task;
const who = `${process.pid}.${threadId}`;
const greeting = `${slot} ${who} ${generation}\n`;

if (task.brokenBy !== undefined && existsSync(task.brokenBy)) {
  throw Object.assign(new Error(readFileSync(task.brokenBy, 'utf8')), { code: 'E_BROKEN' });
}

const filling: number[] = [];

function fill(): void {
  try {
    for (;;) filling.push(openSync('/dev/null', 'r'));
  } catch {
    // no more
  }
}

function answer(text: string, reply: (text: string) => void, end: (text: string) => void): void {
  if (text === 'crash') {
    setImmediate(() => {
      throw Object.assign(new Error('told to crash'), { code: 'E_CRASH' });
    });
  } else if (text === 'hold') {
    reply('held\n');
    signal.addEventListener('abort', () => end('done\n'));
  } else if (text === 'fill' || text === 'free') {
    if (text === 'fill') fill();
    else for (const fd of filling.splice(0)) closeSync(fd);
    reply('done\n');
  } else if (text.startsWith('env ')) {
    reply(`${process.env[text.slice(4)]}\n`);
  } else {
    reply(`${text}\n`);
  }
}

function onSocket(socket: Socket): void {
  socket.on('error', () => {});
  if (task.isSilent !== true) socket.write(greeting);
  let rest = '';
  socket.setEncoding('utf8').on('data', (chunk: string) => {
    const found = (rest + chunk).split('\n');
    rest = found.pop() as string;
    for (const text of found)
      answer(
        text === 'who' ? greeting.trim() : text,
        (reply) => socket.write(reply),
        (reply) => socket.end(reply),
      );
  });
}

const portOf = (server: Server): number => (server.address() as { port: number }).port;
const listening = (server: Server, options: ListenOptions): Promise<Server> =>
  new Promise((resolve) => server.listen(options, () => resolve(server)));

const ports: (number | string)[] = [];
for (const options of task.listen ?? []) {
  const server = net.createServer(onSocket);
  if (task.maxConnections !== undefined) server.maxConnections = task.maxConnections;
  await listening(server, options);
  ports.push(options.path ?? portOf(server));
}
if (task.tiers !== undefined) {
  const here = { port: 0, host: '127.0.0.1' };
  ports.push(portOf(await listening(net.createServer(onSocket), here)));
  const direct = await listen({
    port: 0,
    hostname: '127.0.0.1',
    open: (c) => void c.write(greeting),
    data: (c, view) => void c.write(view),
  });
  const session = await serve({ port: 0, host: '127.0.0.1', codec: lines().utf8() }, async (session) => {
    await session.send(greeting.trim());
    for await (const text of session) await session.send(text);
  });
  ports.push(direct.port as number, session.port as number);
  const secure = tls.createServer(task.tiers, onSocket as never);
  ports.push(portOf(await listening(secure as never, here)));
}
// No server of millrace's: it is the primary's standard output, too.
process.stdout.write(`${JSON.stringify({ is: 'ports', slot, generation, ports })}\n`);
