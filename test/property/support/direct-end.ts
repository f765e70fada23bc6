/**
 * One end of a connection of the direct tier that plays its part of a script, and keeps books: what was taken, what was
 * received, and which handlers were called in which order. Whatever is illegal at the moment it happens is noted at once.
 */

import fc from 'fast-check';
import type { CloseReason, Connection, ConnectionOptions, Handlers, WriteStatus } from 'millrace/direct';

export type DirectAction =
  | { does: 'write'; size: number; form: 'bytes' | 'latin1' | 'utf8' | 'base64' }
  | { does: 'end'; size: number }
  | { does: 'turns'; count: number }
  | { does: 'pause' | 'resume' | 'reload' | 'noDelay' }
  | { does: 'terminate' };

export type DirectScript = ['client' | 'peer', DirectAction][];

export interface DirectSetting {
  allowHalfOpen: boolean;
  highWaterMark: number;
  /** The cap, with `dropNewest`; `undefined` is one that is never reached. */
  maxBufferedBytes: number | undefined;
  onData: 'nothing' | 'pause' | 'echo' | 'end';
}

const size = fc.oneof(
  { weight: 10, arbitrary: fc.integer({ min: 0, max: 100 }) },
  { weight: 6, arbitrary: fc.integer({ min: 1000, max: 70_000 }) },
  // Around a slot of the arena, a receive buffer, a block, what is copied.
  {
    weight: 3,
    arbitrary: fc.constantFrom(511, 512, 513, 1365, 1366, 4095, 4096, 4097, 8191, 8192, 8193, 65_536, 65_537),
  },
  { weight: 1, arbitrary: fc.constantFrom(262_144, 1_000_003, 3_000_017) },
);

const calm: fc.Arbitrary<DirectAction> = fc.oneof(
  {
    weight: 14,
    arbitrary: fc.record({
      does: fc.constant('write' as const),
      size,
      form: fc.constantFrom(...(['bytes', 'latin1', 'utf8', 'base64'] as const)),
    }),
  },
  { weight: 5, arbitrary: fc.record({ does: fc.constant('turns' as const), count: fc.integer({ min: 1, max: 5 }) }) },
  {
    weight: 6,
    arbitrary: fc.record({ does: fc.constantFrom(...(['pause', 'resume', 'reload', 'noDelay'] as const)) }),
  },
  { weight: 1, arbitrary: fc.record({ does: fc.constant('end' as const), size }) },
);

const violent: fc.Arbitrary<DirectAction> = fc.oneof(
  { weight: 15, arbitrary: calm },
  { weight: 1, arbitrary: fc.record({ does: fc.constant('terminate' as const) }) },
);

const steps = (action: fc.Arbitrary<DirectAction>): fc.Arbitrary<DirectScript> =>
  fc.array(fc.tuple(fc.constantFrom('client' as const, 'peer' as const), action), { maxLength: 30, size: 'max' });

/** Nobody terminates anything: every byte must arrive. */
export const calmDirectScript: fc.Arbitrary<DirectScript> = steps(calm);
export const violentDirectScript: fc.Arbitrary<DirectScript> = steps(violent);

export const directSetting: fc.Arbitrary<DirectSetting> = fc.record({
  allowHalfOpen: fc.boolean(),
  highWaterMark: fc.constantFrom(0, 1, 100, 4096, 65_536, 1_000_000),
  maxBufferedBytes: fc.constantFrom(undefined, undefined, 100_000),
  onData: fc.constantFrom(...(['nothing', 'nothing', 'pause', 'echo', 'end'] as const)),
});

/** Random bytes, the same in every run. */
const pool = (() => {
  const bytes = Buffer.alloc(4 * 1024 * 1024);
  for (let i = 0, x = 0x9e3779b9; i < bytes.length; i += 4) {
    x = (Math.imul(x ^ (x >>> 15), 0x2c1b3c6d) + i) | 0;
    bytes.writeInt32LE(x, i);
  }
  return bytes;
})();

export class DirectEnd {
  readonly name: string;
  readonly setting: DirectSetting;
  readonly complaints: string[] = [];
  readonly taken: Buffer[] = [];
  readonly received: Buffer[] = [];
  connection: Connection | undefined;
  reason: CloseReason | undefined;
  #events: string[] = [];
  #takenBytes = 0;
  #isWaitingForDrain = false;
  /** Writes of its own handlers: a bounded few. */
  #answers = 0;
  #isSettled = false;

  constructor(name: string, setting: DirectSetting) {
    this.name = name;
    this.setting = setting;
  }

  get options(): Handlers & ConnectionOptions {
    const { highWaterMark, maxBufferedBytes, allowHalfOpen } = this.setting;
    const limits =
      maxBufferedBytes === undefined
        ? { highWaterMark, maxBufferedBytes: 2 ** 30 }
        : {
            highWaterMark: Math.min(highWaterMark, maxBufferedBytes),
            maxBufferedBytes,
            overflow: 'dropNewest' as const,
          };
    return { ...this.#handlers(), allowHalfOpen, limits };
  }

  #handlers(): Handlers {
    return {
      open: (c) => {
        this.#note('open');
        this.connection = c;
      },
      data: (c, view) => this.#onData(c, view),
      drain: (c) => {
        this.#note('drain');
        if (!this.#isWaitingForDrain) this.complaints.push("'drain' although no write was told to wait");
        this.#isWaitingForDrain = false;
        if (c.bufferedBytes > this.setting.highWaterMark >>> 2)
          this.complaints.push(`'drain' with ${c.bufferedBytes} bytes`);
        if (this.#answers++ < 10) this.write(10, 'bytes');
      },
      end: () => this.#note('end'),
      error: (_, error) => {
        this.#note('error');
        const { code } = error as NodeJS.ErrnoException;
        if (code !== 'ECONNRESET' && code !== 'EPIPE') this.complaints.push(`'error' with ${String(error)}`);
      },
      close: (c, reason) => {
        this.#note('close');
        this.reason = reason;
        if (!c.isClosed || c.isWritable) this.complaints.push("'close' of what is not closed");
      },
    };
  }

  #note(event: string): void {
    const events = this.#events;
    if (events.includes('close')) this.complaints.push(`'${event}' after 'close'`);
    if (events.includes('error') && event !== 'close') this.complaints.push(`'${event}' after 'error'`);
    if (event !== 'data' && event !== 'drain' && events.includes(event)) this.complaints.push(`'${event}' twice`);
    if (event !== 'open' && !events.includes('open')) this.complaints.push(`'${event}' before 'open'`);
    if (event === 'data' && events.includes('end')) this.complaints.push("'data' after 'end'");
    events.push(event);
  }

  #onData(c: Connection, view: Buffer): void {
    this.#note('data');
    this.received.push(Buffer.from(view));
    if (view.length === 0) this.complaints.push('an empty view');
    if (c.bytesRead !== this.received.reduce((sum, { length }) => sum + length, 0)) this.complaints.push('bytesRead');
    switch (this.setting.onData) {
      case 'nothing':
        break;
      case 'pause':
        if (this.#isSettled) break;
        c.pause();
        setImmediate(() => c.resume());
        break;
      case 'echo':
        if (this.#answers++ < 20) this.#book(c.write(view), Buffer.from(view));
        break;
      case 'end':
        c.end();
        break;
    }
  }

  write(bytes: number, form: 'bytes' | 'latin1' | 'utf8' | 'base64'): void {
    const c = this.connection;
    if (c === undefined) return;
    const at = this.#takenBytes % (pool.length - bytes);
    const cut = pool.subarray(at, at + bytes);
    if (form === 'bytes') {
      // Up to 4 KiB is copied: the memory is ours again at once.
      const memory = bytes <= 4096 ? Buffer.from(cut) : cut;
      this.#book(c.write(memory), cut);
      if (memory !== cut) memory.fill(0);
    } else if (form === 'utf8') {
      const text = cut.toString('latin1');
      this.#book(c.write(text), Buffer.from(text, 'utf8'));
    } else {
      this.#book(c.write(cut.toString(form), form), cut);
    }
  }

  #book(status: WriteStatus, bytes: Buffer): void {
    const c = this.connection as Connection;
    if (status === 'dropped') {
      if (c.isWritable && this.setting.maxBufferedBytes === undefined) this.complaints.push('dropped for no reason');
      if (c.isWritable) this.#isWaitingForDrain = true;
      return;
    }
    this.taken.push(Buffer.from(bytes));
    this.#takenBytes += bytes.length;
    const isAbove = c.bufferedBytes > this.#highWaterMark;
    if ((status === 'queued') !== isAbove) this.complaints.push(`${status} with ${c.bufferedBytes} bytes`);
    if (status === 'queued') this.#isWaitingForDrain = true;
  }

  get #highWaterMark(): number {
    return Math.min(this.setting.highWaterMark, this.setting.maxBufferedBytes ?? Number.POSITIVE_INFINITY);
  }

  act(action: DirectAction): void {
    const c = this.connection;
    if (c === undefined) return;
    switch (action.does) {
      case 'write':
        this.write(action.size, action.form);
        break;
      case 'end':
        this.write(action.size, 'bytes');
        c.end();
        break;
      case 'pause':
        c.pause();
        break;
      case 'resume':
        c.resume();
        break;
      case 'reload':
        c.reload(this.#handlers());
        break;
      case 'noDelay':
        c.setNoDelay(false);
        break;
      case 'terminate':
        c.terminate();
        break;
      case 'turns': // of both ends: the script's player
    }
  }

  /** The script is over: reads what comes, and ends. */
  settle(): void {
    this.#isSettled = true;
    this.connection?.resume();
    this.connection?.end();
  }

  /** What is wrong with all that came, given what the other end sent. */
  judge(other: DirectEnd, isCalm: boolean, isUnix: boolean): string[] {
    const wrong = [...this.complaints];
    const expected = Buffer.concat(other.taken);
    const bytes = Buffer.concat(this.received);
    const { kind } = this.reason ?? { kind: 'none' };
    if (!bytes.equals(expected.subarray(0, bytes.length))) wrong.push(`${bytes.length} bytes that nobody sent`);
    const isWhole = bytes.length === expected.length;
    // The heart of it: who is told of an orderly end has every byte. Unix sockets know no reset.
    const isCut = isUnix && other.reason?.kind === 'terminated';
    if (kind === 'ended' && !isWhole && !isCut)
      wrong.push(`an orderly end with ${bytes.length} bytes of ${expected.length}`);
    if (isCalm && kind !== 'ended') wrong.push(`closed as ${kind}`);
    if (!isCalm && !['ended', 'reset', 'terminated'].includes(kind)) wrong.push(`closed as ${kind}`);
    if (this.connection?.bufferedBytes !== 0 && kind === 'ended') wrong.push('bytes wait after the end');
    return wrong.map((what) => `${this.name}: ${what} (${this.#events.join(' ').slice(0, 200)})`);
  }
}
