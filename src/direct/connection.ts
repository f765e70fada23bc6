/**
 * A connection of the direct tier: what it has still to send, whether it reads, which side has ended, why it is closed. The
 * same on every engine; what carries it is a `Link`.
 *
 * ```
 *            write ──> link.gather ──┐ small, and nothing in flight
 *              └─────> outbox ───────┴──> flush (the turn ends, or a send is done) ──> link.send ──> onSent
 *
 *   open ──> [data | drain | end | timeout | secure]* ──> error? ──> close(reason)      each `open` has its `close`
 * ```
 */
import type { IpAddress } from '../engine/address.ts';
import { builtins } from '../engine/builtins.ts';
import type { TcpInfo } from '../engine/tcp-info.ts';
import type { Connection as Api, CloseReason, Handlers, WriteStatus } from './api.ts';
import { DirectError } from './errors.ts';
import { Idle, type IdleOwner, type Side } from './idle.ts';
import type { Link, LinkOwner, Piece } from './link.ts';
import { type Beginning, checkHandlers, flag, integer } from './options.ts';
import { Outbox } from './outbox.ts';
import type { TlsInfo } from './tls-api.ts';

/** Who made a connection: told when it is closed. */
export interface Keeper {
  forget(connection: DirectConnection): void;
  /** Nothing comes after this. */
  closed(): void;
}

/** The state of a connection, in bits. */
const IS = {
  PAUSED: 1 << 0,
  /** The peer has ended its side. */
  READ_ENDED: 1 << 1,
  /** Our side has ended, as far as the user is concerned. */
  ENDED: 1 << 2,
  /** And the peer has been told. */
  SHUT: 1 << 3,
  /** A write was told `queued` or `dropped`. */
  FULL: 1 << 4,
  /** A handler threw, and there was no handler of errors. */
  UNHANDLED: 1 << 5,
  CLOSED: 1 << 6,
  /** `startTls` was called. */
  SECURED: 1 << 7,
} as const;

const ENDED: CloseReason = { kind: 'ended' };
const TERMINATED: CloseReason = { kind: 'terminated' };
/** The peer's doing: what write(2) and read(2) say after its RST. */
const RESETS: readonly unknown[] = ['ECONNRESET', 'EPIPE'];

// biome-ignore lint/suspicious/noExplicitAny: the data of a connection is its user's
export class DirectConnection<Data = any> implements Api<Data>, LinkOwner, IdleOwner {
  data: Data = undefined as Data;
  handlers: Handlers<Data>;
  bytesRead = 0;
  /** Of the bits of `IS`. Ten thousand connections may be idle: what each holds counts. */
  #state: number = 0;
  #link: Link;
  readonly #beginning: Beginning;
  readonly #keeper: Keeper | null;
  /** Bytes that `write` took, less those that were dropped since. */
  #taken = 0;
  #outbox: Outbox | null = null;
  #idle: Idle | null = null;
  #reason: CloseReason | null = null;
  /** Addresses that were asked for: remote, local. */
  #names: [IpAddress | undefined, IpAddress | undefined] | null = null;

  constructor(link: Link, beginning: Beginning, handlers: Handlers<Data>, keeper: Keeper | null) {
    this.handlers = handlers;
    this.#link = link;
    this.#beginning = beginning;
    this.#keeper = keeper;
    link.owner = this;
    if (beginning.noDelay) link.setNoDelay(true);
    if (beginning.keepAlive) link.setKeepAlive(true, beginning.keepAliveInitialDelayMs);
    if (beginning.readIdleMs > 0 || beginning.writeIdleMs > 0)
      this.#setIdle(beginning.readIdleMs, beginning.writeIdleMs);
  }

  /** It stands: tells `open`, then reads. */
  begin(): void {
    const { handlers } = this;
    if (handlers.open !== undefined) {
      try {
        handlers.open(this);
      } catch (error) {
        this.#threw(error);
      }
    }
    if (this.#reason === null && !this.isPaused) this.#link.readStart();
  }

  get isPaused(): boolean {
    return (this.#state & IS.PAUSED) !== 0;
  }

  get isReadEnded(): boolean {
    return (this.#state & IS.READ_ENDED) !== 0;
  }

  get isClosed(): boolean {
    return (this.#state & IS.CLOSED) !== 0;
  }

  // ---- from the link ----

  /** @hot */
  onData(view: Buffer): void {
    if (this.#reason !== null) return;
    this.bytesRead += view.length;
    this.#idle?.received();
    const { handlers } = this;
    if (handlers.data === undefined) return;
    try {
      handlers.data(this, view);
    } catch (error) {
      this.#threw(error);
    }
  }

  onEnd(): void {
    if (this.#reason !== null || this.isReadEnded) return;
    this.#state |= IS.READ_ENDED;
    const { handlers } = this;
    if (handlers.end !== undefined) {
      try {
        handlers.end(this);
      } catch (error) {
        this.#threw(error);
      }
    }
    if (!this.#beginning.allowHalfOpen) this.end();
    this.#link.flushLater(); // if ours has ended already, that was all
  }

  onError(error: NodeJS.ErrnoException): void {
    if (this.#reason !== null) return;
    this.#fail({ kind: RESETS.includes(error.code) ? 'reset' : 'error', error }, error);
  }

  onSecure(): void {
    const { handlers } = this;
    this.#idle?.received(); // not by the handshake, but from now on
    if (handlers.secure === undefined) return;
    try {
      handlers.secure(this);
    } catch (error) {
      this.#threw(error);
    }
  }

  onTlsFailure(error: Error): void {
    if (this.#reason !== null) return;
    this.#fail({ kind: 'tls', error }, error);
  }

  onSendProgress(): void {
    this.#idle?.sent();
    this.#drain();
  }

  /** @hot */
  onSent(): void {
    this.#idle?.sent();
    this.flush();
    if ((this.#state & IS.FULL) !== 0) this.#drain();
  }

  /** @hot */
  get isSentInSilence(): boolean {
    return (this.#state & IS.FULL) === 0;
  }

  onClosed(): void {
    const reason = this.#reason ?? TERMINATED;
    this.#state |= IS.CLOSED;
    this.#keeper?.forget(this);
    const { handlers } = this;
    if (handlers.close !== undefined) {
      try {
        handlers.close(this, reason);
      } catch (error) {
        throwLater(error);
      }
    }
    if ((this.#state & IS.UNHANDLED) !== 0 && reason.kind === 'handler') throwLater(reason.error);
    this.#keeper?.closed();
  }

  onIdle(side: Side, afterMs: number): void {
    const { handlers } = this;
    if (this.#reason !== null) return;
    const { context } = this.#link;
    if (handlers.timeout === undefined) this.#close({ kind: 'timeout', side, afterMs });
    else if (context === null) this.#timedOut(side);
    else context.runInAsyncScope(this.#timedOut, this, side);
  }

  #timedOut(side: Side): void {
    try {
      this.handlers.timeout?.(this, side);
    } catch (error) {
      this.#threw(error);
    }
  }

  /** Sends what was written, if nothing is in flight; behind the last byte follows the end. @hot */
  flush(): void {
    const link = this.#link;
    if (link.isSending || this.#reason !== null) return;
    const outbox = this.#outbox;
    if (outbox !== null) {
      const pieces = outbox.take();
      if (outbox.bytes === 0) this.#outbox = null;
      link.send(pieces);
    } else if (link.gatheredBytes > 0) {
      link.send(null);
    } else if ((this.#state & IS.ENDED) !== 0) {
      this.#finish();
    }
  }

  #finish(): void {
    if (this.isReadEnded) {
      this.#close(ENDED);
    } else if ((this.#state & IS.SHUT) === 0) {
      this.#state |= IS.SHUT;
      this.#link.shutdown();
    }
  }

  #drain(): void {
    if ((this.#state & IS.FULL) === 0 || this.#reason !== null) return;
    if (this.bufferedBytes > this.#beginning.limits.lowWaterMark) return;
    this.#state &= ~IS.FULL;
    const { handlers } = this;
    if (handlers.drain === undefined) return;
    try {
      handlers.drain(this);
    } catch (error) {
      this.#threw(error);
    }
  }

  // ---- from the user ----

  get bufferedBytes(): number {
    return this.#taken - this.#link.bytesSent;
  }

  get bytesWritten(): number {
    return this.#link.bytesSent;
  }

  get isWritable(): boolean {
    return (this.#state & IS.ENDED) === 0 && this.#reason === null;
  }

  /** @hot */
  write(chunk: Uint8Array | string, encoding: BufferEncoding = 'utf8'): WriteStatus {
    if (typeof chunk === 'string') checkEncoding(encoding);
    else if (!(chunk instanceof Uint8Array) && !isUint8Array(chunk)) throw badChunk(chunk);
    if ((this.#state & IS.ENDED) !== 0 || this.#reason !== null) return 'dropped';
    const link = this.#link;
    const { limits } = this.#beginning;
    const before = this.#taken - link.bytesSent;
    // Three bytes a UTF-16 unit is the most that any encoding needs.
    let bytes = typeof chunk === 'string' ? chunk.length * 3 : chunk.byteLength;
    if (before + bytes > limits.maxBufferedBytes) {
      if (typeof chunk === 'string') bytes = Buffer.byteLength(chunk, encoding);
      if (before + bytes > limits.maxBufferedBytes && !this.#makeRoom(before, bytes)) return 'dropped';
    }
    if (before === 0) this.#idle?.sent();
    let taken = this.#outbox === null ? link.gather(chunk, encoding) : -1;
    if (taken < 0) {
      const isNext = this.#outbox === null && !link.isSending;
      this.#outbox ??= new Outbox(limits.overflow === 'dropOldest');
      if (this.#outbox.isCrowded) this.#taken -= this.#outbox.drop(1);
      taken = this.#outbox.add(chunk, encoding, isNext);
      if (this.#outbox.bytes === 0) this.#outbox = null; // nothing, or text that is no hex or base64
    }
    this.#taken += taken;
    if (taken > 0 && !link.isSending) link.flushLater();
    if (this.#taken - link.bytesSent <= limits.highWaterMark) return 'sent';
    this.#state |= IS.FULL;
    return 'queued';
  }

  /** `bytes` more would pass the limit. @returns whether there is room for them now */
  #makeRoom(before: number, bytes: number): boolean {
    const { maxBufferedBytes, overflow } = this.#beginning.limits;
    if (overflow === 'close') {
      this.#close({ kind: 'overflow', bufferedBytes: before + bytes, limitBytes: maxBufferedBytes });
      return false;
    }
    const tooMany = before + bytes - maxBufferedBytes;
    const droppable = overflow === 'dropOldest' ? (this.#outbox?.bytes ?? 0) : 0;
    if (droppable >= tooMany) {
      const outbox = this.#outbox as Outbox;
      this.#taken -= outbox.drop(tooMany);
      if (outbox.bytes === 0) this.#outbox = null;
      return true;
    }
    this.#state |= IS.FULL;
    return false;
  }

  end(chunk?: Uint8Array | string, encoding?: BufferEncoding): WriteStatus {
    if (!this.isWritable) return 'dropped';
    const status = chunk === undefined ? 'sent' : this.write(chunk, encoding);
    if (!this.isWritable) return status; // that was too much
    this.#state |= IS.ENDED;
    this.#link.flushLater();
    return status;
  }

  startTls(head?: Uint8Array): void {
    const { security } = this.#beginning;
    if (security === null || !security.onDemand) throw misuse('startTls() needs tls: { onDemand: true }');
    if (head !== undefined && !isUint8Array(head)) throw badChunk(head);
    if ((this.#state & IS.SECURED) !== 0) throw misuse('startTls() was called before');
    if (!this.isWritable || this.isReadEnded) throw misuse('startTls() behind the end');
    const link = security.secure(this.#link);
    const first: Piece[] = [];
    while (this.#outbox !== null) {
      first.push(...this.#outbox.take());
      if (this.#outbox.bytes === 0) this.#outbox = null;
    }
    this.#state |= IS.SECURED;
    this.#link = link;
    link.owner = this;
    link.start(head ?? null, first.length === 0 ? null : first);
    if (!this.isPaused) link.readStart();
  }

  terminate(): void {
    this.#close(TERMINATED);
  }

  pause(): void {
    if (this.isPaused) return;
    this.#state |= IS.PAUSED;
    if (this.#reason === null && !this.isReadEnded) this.#link.readStop();
  }

  resume(): void {
    if (!this.isPaused) return;
    this.#state &= ~IS.PAUSED;
    this.#idle?.received();
    if (this.#reason === null && !this.isReadEnded) this.#link.readStart();
  }

  setTimeout(idle: { readMs?: number | undefined; writeMs?: number | undefined }): void {
    const readMs = integer(idle.readMs, 'readMs', this.#idle?.readMs ?? 0);
    const writeMs = integer(idle.writeMs, 'writeMs', this.#idle?.writeMs ?? 0);
    if (this.#reason === null) this.#setIdle(readMs, writeMs);
  }

  #setIdle(readMs: number, writeMs: number): void {
    this.#idle ??= new Idle(this);
    this.#idle.set(readMs, writeMs);
    if (readMs === 0 && writeMs === 0) this.#idle = null;
  }

  reload(handlers: Handlers<Data>): void {
    checkHandlers(handlers);
    this.handlers = handlers;
  }

  setNoDelay(on = true): void {
    this.#link.setNoDelay(flag(on, 'on', true));
  }

  setKeepAlive(on: boolean, delayMs = 0): void {
    this.#link.setKeepAlive(flag(on, 'on', true), integer(delayMs, 'delayMs', 0));
  }

  setUserTimeout(ms: number): void {
    this.#link.setUserTimeout(integer(ms, 'ms', 0));
  }

  tcpInfo(): TcpInfo | undefined {
    return this.#link.tcpInfo();
  }

  get tls(): TlsInfo | undefined {
    return this.#link.tls;
  }

  get remote(): IpAddress | undefined {
    this.#names ??= [undefined, undefined];
    this.#names[0] ??= this.#link.name(true);
    return this.#names[0];
  }

  get local(): IpAddress | undefined {
    this.#names ??= [undefined, undefined];
    this.#names[1] ??= this.#link.name(false);
    return this.#names[1];
  }

  ref(): void {
    this.#link.ref();
  }

  unref(): void {
    this.#link.unref();
  }

  // ---- the end ----

  #threw(error: unknown): void {
    if (this.handlers.error !== undefined) {
      this.#fail({ kind: 'handler', error }, error);
    } else if (this.#reason === null) {
      this.#state |= IS.UNHANDLED; // thrown on when it is closed
      this.#close({ kind: 'handler', error });
    } else {
      throwLater(error); // it is being closed for another reason
    }
  }

  #fail(reason: CloseReason, error: unknown): void {
    const isFirst = this.#reason === null;
    this.#reason ??= reason; // nothing begins any more while the error is told
    try {
      this.handlers.error?.(this, error);
    } catch (another) {
      throwLater(another);
    }
    if (isFirst) this.#leave(reason);
  }

  #close(reason: CloseReason): void {
    if (this.#reason !== null) return;
    this.#reason = reason;
    this.#leave(reason);
  }

  /** Where bytes are lost, the peer sees a reset: it must not take a part for the whole. */
  #leave({ kind }: CloseReason): void {
    this.#idle?.stop();
    this.#outbox = null;
    this.#link.close(kind === 'terminated' || kind === 'handler' || this.bufferedBytes > 0);
  }
}

/** As an 'uncaughtException', with the stack of where it was thrown. */
export function throwLater(error: unknown): void {
  process.nextTick(() => {
    throw error;
  });
}

/** Also of another realm: of vm, and of test runners that use it. */
const isUint8Array = (chunk: unknown): boolean => builtins.util.types.isUint8Array(chunk);

function checkEncoding(encoding: BufferEncoding): void {
  if (encoding !== 'utf8' && !Buffer.isEncoding(encoding))
    throw new DirectError('BAD_CHUNK', `there is no encoding '${String(encoding)}'`);
}

const misuse = (message: string): DirectError => new DirectError('MISUSE', message);

const badChunk = (chunk: unknown): DirectError =>
  new DirectError(
    'BAD_CHUNK',
    `a chunk must be a string or a Uint8Array, not ${chunk === null ? 'null' : typeof chunk}`,
  );
