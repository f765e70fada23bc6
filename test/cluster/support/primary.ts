/**
 * A primary that a test tells what to do, over standard input and output, one JSON value a line. Its workers run worker.ts.
 *
 * ```
 *  in   { do: 'reload' } { do: 'close' } { do: 'info' }
 *  out  { is: 'running', ports } { is: 'failed', error } { is: 'online' | 'exit' | 'gaveUp', worker, … }
 *       { is: 'reload', error } { is: 'info', workers, descriptors } { is: 'closed', drained }
 * ```
 */
import { readdirSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { type GroupOptions, run } from 'millrace/cluster';

const say = (value: object): boolean => process.stdout.write(`${JSON.stringify(value)}\n`);
const plain = (error: unknown): object | undefined => {
  if (!(error instanceof Error)) return undefined;
  const { code, syscall, reason } = error as NodeJS.ErrnoException & { reason?: string };
  return { message: error.message, code, syscall, reason };
};

const { keyLength, entry, ...options } = JSON.parse(process.argv[2] as string) as GroupOptions & { keyLength?: number };

try {
  const group = await run({
    ...options,
    entry: entry ?? new URL(`./worker${import.meta.url.slice(-3)}`, import.meta.url),
    // The first line; its end is `undefined` before it is there.
    ...(keyLength === undefined ? {} : { balance: { key: firstLine, maxHeadBytes: keyLength, timeoutMs: 60_000 } }),
    onOnline: ({ id, slot, generation, pid, threadId }) =>
      void say({ is: 'online', worker: { id, slot, generation, pid, threadId } }),
    onExit: ({ id, slot }, { code, signal, error }) =>
      void say({ is: 'exit', worker: { id, slot }, code, signal, error: plain(error) }),
    onGaveUp: ({ slot, state }, error) => void say({ is: 'gaveUp', worker: { slot, state }, error: plain(error) }),
    onReload: (error) => void say({ is: 'reload', error: plain(error) }),
  });
  say({ is: 'running', ports: group.ports });
  group.closed.catch((error: unknown) => {
    say({ is: 'failed', error: plain(error), cause: plain((error as Error).cause) });
    process.stdin.destroy();
  });
  createInterface({ input: process.stdin }).on('line', (line) => {
    const { do: what } = JSON.parse(line) as { do: string };
    if (what === 'reload') group.reload().catch(() => {});
    else if (what === 'info') say({ is: 'info', workers: group.workers, descriptors: descriptors() });
    else void group.close().then((drained) => say({ is: 'closed', drained }));
  });
  void group.closed.then(
    () => process.stdin.destroy(),
    () => {},
  );
} catch (error) {
  say({ is: 'failed', error: plain(error) });
}

function firstLine(head: Uint8Array): string | undefined {
  const end = head.indexOf(0x0a);
  return end < 0 ? undefined : Buffer.from(head.subarray(0, end)).toString();
}

function descriptors(): number {
  return readdirSync('/proc/self/fd').length;
}
