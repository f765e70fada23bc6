/**
 * The clients of the proof, a process of its own on `node:net`: some that stay and talk, some that come for one message.
 * Started with the port; says what happened to them when it is told to stop.
 */
import { writeFileSync } from 'node:fs';
import net from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';

/** What happened, for whoever started this. */
export interface Story {
  connects: number;
  acknowledged: number;
  /** Connections that were reset, by the process that served them; 0: it had not said who it is. */
  resets: Record<number, number>;
  /** Connects that failed, by code. */
  failures: Record<string, number>;
  /** Messages without an answer on connections that ended in good order, by process: the kernel ends those of a dead one. */
  unanswered: Record<number, number>;
  /** Answers to something else than what was said. */
  wrong: number;
  /** The longest that anybody waited for a connection, or for an answer. */
  longestMs: number;
}

const STAY = 40;
const COME_AND_GO = 8;
const PAUSE_MS = 5;

const [port, file] = [Number(process.argv[2]), process.argv[3] as string];
const story: Story = {
  ...{ connects: 0, acknowledged: 0, resets: {}, failures: {}, unanswered: {}, wrong: 0, longestMs: 0 },
};
const acknowledged: string[] = [];
let isStopping = false;
let lastId = 0;

/** One connection: who serves it, then so many messages, one after the other. */
async function talk(most: number): Promise<void> {
  const startedAtMs = performance.now();
  const socket = net.connect(port, '127.0.0.1');
  const over = new Promise((resolve) => socket.once('close', resolve));
  let server = 0;
  let error: NodeJS.ErrnoException | undefined;
  socket.on('error', (what) => {
    error = what;
  });
  const waited = (sinceMs: number): void => {
    story.longestMs = Math.max(story.longestMs, Math.round(performance.now() - sinceMs));
  };
  let rest = '';
  const lines: string[] = [];
  let isLeaving = false;
  let wake = (): void => {};
  socket.setEncoding('latin1').on('data', (text: string) => {
    const parts = (rest + text).split('\n');
    rest = parts.pop() as string;
    for (const part of parts) {
      if (part === 'leaving') isLeaving = true;
      else lines.push(part);
    }
    wake();
  });
  let isOver = false;
  socket
    .once('end', () => wake())
    .once('close', () => {
      isOver = true;
      wake();
    });
  const line = async (): Promise<string | undefined> => {
    while (lines.length === 0 && !isOver && !socket.readableEnded) {
      await new Promise<void>((resolve) => {
        wake = resolve;
      });
    }
    return lines.shift();
  };

  const greeting = await line();
  if (greeting !== undefined) {
    story.connects++;
    server = Number(greeting);
    waited(startedAtMs);
    for (let i = 0; i < most && !isStopping && !isLeaving; i++) {
      const id = String(++lastId);
      const sentAtMs = performance.now();
      socket.write(`${id}\n`);
      const answer = await line();
      if (answer === undefined) {
        if (error === undefined) story.unanswered[server] = (story.unanswered[server] ?? 0) + 1;
        break;
      }
      if (answer !== id) story.wrong++;
      waited(sentAtMs);
      acknowledged.push(answer);
      story.acknowledged++;
      if (most > 1) await sleep(PAUSE_MS);
    }
  }
  socket.end();
  await over;
  if (error === undefined) return;
  if (error.syscall === 'connect') {
    story.failures[error.code as string] = (story.failures[error.code as string] ?? 0) + 1;
    await sleep(PAUSE_MS);
  } else story.resets[server] = (story.resets[server] ?? 0) + 1;
}

async function again(most: number): Promise<void> {
  while (!isStopping) await talk(most);
}

const all = [
  ...Array.from({ length: STAY }, () => again(Number.MAX_SAFE_INTEGER)),
  ...Array.from({ length: COME_AND_GO }, () => again(1)),
];
process.once('message', async () => {
  isStopping = true;
  await Promise.all(all);
  writeFileSync(file, acknowledged.join('\n'));
  process.send?.(story);
  process.disconnect?.();
});
