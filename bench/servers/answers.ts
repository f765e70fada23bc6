// What servers of ours say and answer: see server.ts.
import process from 'node:process';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';

/** Byte p of every transfer, as load/transfer.c expects it. */
export const block = Buffer.from(Uint8Array.from({ length: 65_536 }, (_, p) => p ^ (p >> 8)));

export function announce(port: number, engine: string): void {
  console.log(JSON.stringify({ port, pid: process.pid, engine }));
}

/** Answers each line on stdin, and ends the process when there are no more. */
export async function answerUntilEnd(state: () => { connections: number; errors: number }): Promise<never> {
  for await (const line of createInterface({ input: process.stdin })) {
    if (line === 'gc') await collect();
    console.log(JSON.stringify({ ...state(), heapUsed: process.memoryUsage().heapUsed }));
  }
  process.exit();
}

/** Several collections with turns between them: finalizers run, and freed pages go back to the kernel from other threads. */
async function collect(): Promise<void> {
  const { gc, Bun } = globalThis as { gc?: () => void; Bun?: { gc(isForced: boolean): void } };
  const run = Bun ? () => Bun.gc(true) : gc;
  if (!run) throw new Error('gc asked for without --expose-gc');
  for (let round = 0; round < 4; round++) {
    run();
    await sleep(100);
  }
}
