// The log, and below it the live line: connections and bytes per second. On a terminal it is redrawn in place every second; in a
// file or a pipe it is a plain line every ten, and only if something has changed.
import type { WriteStream } from 'node:tty';

const LIVE_MS = 1_000;
const PLAIN_MS = 10_000;
/** Back to the first column, and erase to the end of the line. */
const ERASE_LINE = '\r\x1b[K';

/** What is so at one moment; the bytes are counted from the start. */
export interface Sample {
  connections: number;
  bytesIn: number;
  bytesOut: number;
}

export type Output = Pick<WriteStream, 'write'> & Partial<Pick<WriteStream, 'isTTY' | 'columns'>>;

export class Status {
  readonly #output: Output;
  readonly #sample: () => Sample;
  readonly #now: () => number;
  readonly #isLive: boolean;
  #timer: NodeJS.Timeout | undefined;
  #last: Sample = { connections: 0, bytesIn: 0, bytesOut: 0 };
  #lastAt = 0;
  /** What stands on the terminal's last line now. */
  #shown = '';

  constructor(output: Output, sample: () => Sample, now: () => number = () => performance.now()) {
    this.#output = output;
    this.#sample = sample;
    this.#now = now;
    this.#isLive = output.isTTY === true && process.env['TERM'] !== 'dumb';
  }

  /** A line for the log; the live line moves down. */
  log(line: string): void {
    if (this.#shown === '') this.#output.write(`${line}\n`);
    else this.#output.write(`${ERASE_LINE}${line}\n${this.#shown}`);
  }

  start(): void {
    this.#lastAt = this.#now();
    this.#timer = setInterval(() => this.update(), this.#isLive ? LIVE_MS : PLAIN_MS).unref();
    if (this.#isLive) this.#show(statusLine(this.#last, this.#last, 1));
  }

  stop(): void {
    clearInterval(this.#timer);
    if (this.#shown !== '') this.#output.write(ERASE_LINE);
    this.#shown = '';
  }

  /** Takes a sample and shows it; called by the timer. */
  update(): void {
    const [last, lastAt] = [this.#last, this.#lastAt];
    const [sample, now] = [this.#sample(), this.#now()];
    this.#last = sample;
    this.#lastAt = now;
    const line = statusLine(last, sample, (now - lastAt) / 1_000);
    if (this.#isLive) this.#show(line);
    else if (isDifferent(last, sample)) this.log(line);
  }

  #show(line: string): void {
    // A line that wraps can't be erased with one sequence.
    const fitting = line.slice(0, (this.#output.columns || 80) - 1);
    if (fitting === this.#shown) return;
    this.#shown = fitting;
    this.#output.write(ERASE_LINE + fitting);
  }
}

/** "2 connections, 1.5 kB/s in, 12 kB/s out" */
export function statusLine(before: Sample, after: Sample, seconds: number): string {
  const { connections } = after;
  const bytesIn = rate((after.bytesIn - before.bytesIn) / seconds);
  const bytesOut = rate((after.bytesOut - before.bytesOut) / seconds);
  return `${connections} ${connections === 1 ? 'connection' : 'connections'}, ${bytesIn} in, ${bytesOut} out`;
}

function rate(bytesPerSecond: number): string {
  let value = bytesPerSecond;
  let unit = 0;
  const units = ['B/s', 'kB/s', 'MB/s', 'GB/s'];
  while (value >= 999.5 && unit < units.length - 1) {
    value /= 1_000;
    unit++;
  }
  return `${unit > 0 && value < 9.95 ? value.toFixed(1) : Math.round(value)} ${units[unit]}`;
}

function isDifferent(a: Sample, b: Sample): boolean {
  return a.connections !== b.connections || a.bytesIn !== b.bytesIn || a.bytesOut !== b.bytesOut;
}
