/**
 * The TLS side of a connection: `socket._handle` of a TLSSocket, between the stream and the handle of the plain socket
 * inside. The state machine of a TLS connection is told here: handshake, data, the peer's close_notify, failure.
 *
 * In from below: encrypted bytes, straight from the engine's receive buffer (`take`), and the peer's FIN (`end`). In from
 * above: `writev`, `finish`, `close`. Out: plain bytes to the stream; encrypted ones, as large as the kernel takes them at
 * once, to the plain handle, of which at most one write is in flight.
 */
import { ERRNO } from '../engine/abi.ts';
import type { IpAddress } from '../engine/address.ts';
import { SLOT_BYTES } from '../engine/arena.ts';
import type { Piece } from '../engine/connection.ts';
import type { Turn } from '../engine/turn.ts';
import { errnoException, socketClosed } from '../net/errors.ts';
import { deliver, Handle } from '../net/handle.ts';
import type { OnRead } from '../net/on-read.ts';
import type { SocketClass } from '../net/socket.ts';
import { kHasWriteCallbacks, kLastWriteBytes, kOnEnd, kOnRead, kTurnCork } from '../net/symbols.ts';
import { opensslError, verifyError } from './errors.ts';
import {
  CONFIGURE,
  EVENT,
  encrypted,
  INSPECT,
  type NativeConnection,
  type NativeContext,
  plain,
  STATUS,
  status,
  type TlsNative,
} from './native.ts';
import { makeRoom, RECORD_BYTES, slab, slabStart, takePlain } from './plain.ts';
import { giveBuffer, PLAIN_BYTES_OF_BUFFER, takeBuffer } from './records.ts';

/** Plain bytes of one write that are encrypted at once; the next when the kernel has taken them. */
const BATCH_BYTES = 262144;
/** Small writes are gathered up to here before they are encrypted: their records share a send. */
const GATHER_BYTES = PLAIN_BYTES_OF_BUFFER;
/** What a record needs beyond its plain bytes, at most: header, IV, MAC, padding. */
const RECORD_OVERHEAD = 128;
/** A peer that asks for answers (key updates) and does not read them is not read from any more. */
const MOST_OUTGOING_BYTES = 1048576;

const NONE: readonly Piece[] = [];

type WriteCallback = (error?: Error | null) => void;

/** What the handshake and its end are told to: src/tls/socket.ts. */
export interface TlsOwner extends SocketClass {
  /** The handshake is done, and nobody has refused its outcome. */
  _secureEstablished: boolean;
  _onHandshakeDone(): void;
  _onTlsFailure(error: Error): void;
  _onClientHello(): void;
  _onCertificateWanted(): void;
  _onNewSessions(sessions: Buffer[]): void;
  _onKeylog(lines: Buffer): void;
  _onOcspResponse(response: Buffer | null): void;
}

export class TlsHandle {
  readonly native: TlsNative;
  readonly ssl: NativeConnection;
  /** The plain socket: its handle carries the records. */
  readonly raw: SocketClass;
  readonly turn: Turn;
  socket: TlsOwner | null = null;
  isReset = false;
  bytesRead = 0;
  bytesWritten = 0;
  isSecure = false;
  isClosing = false;
  readonly isServer: boolean;
  #inner: Handle | null = null;
  #isReading = false;
  #isStarted = false;
  #isFeeding = false;
  /** The handshake waits for an answer of ours. */
  #isSuspended = false;
  /** Encrypted bytes that came meanwhile. */
  #rest: Buffer | null = null;
  #hasFin = false;
  #hasEnded = false;
  #hasFailed = false;
  // Out.
  #pieces: readonly Piece[] = NONE;
  #nextPiece = 0;
  /** Bytes of the next piece that are encrypted already. */
  #pieceOffset = 0;
  #callback: WriteCallback | null = null;
  #outgoing: Uint8Array[] = [];
  #outgoingBytes = 0;
  #isSending = false;
  /** Those of `#outgoing`, and those that the kernel reads now. */
  #buffers: Buffer[] = [];
  #buffersInFlight: Buffer[] = [];
  /** Output is held back: what was written before us is not sent yet, or 'newSession' has not been answered. */
  #holds = 0;
  #onSecure: (() => void) | null = null;
  #onSent: ((error?: Error | null) => void) | null = null;

  constructor(native: TlsNative, context: NativeContext, raw: SocketClass, turn: Turn, isServer: boolean) {
    this.native = native;
    const ssl = native.open(context, isServer);
    if (ssl === -1) throw opensslError(native.failure());
    this.ssl = ssl;
    this.raw = raw;
    this.turn = turn;
    this.isServer = isServer;
    raw[kOnRead] = this as unknown as OnRead; // bytes and FIN come here
  }

  /** The handle of the plain socket while that has a connection. @hot */
  get inner(): Handle | null {
    const known = this.#inner;
    if (known !== null && known.fd >= 0 && !known.isClosing) return known;
    const handle: unknown = this.raw._handle;
    const isOpen = handle instanceof Handle && handle.fd >= 0 && !handle.isClosing && !this.raw.connecting;
    this.#inner = isOpen ? handle : null;
    return this.#inner;
  }

  /** From now on: records are read, and sent when nothing is in front of them. */
  begin(): void {
    const { inner } = this;
    if (inner === null || this.#isStarted || this.isClosing) return;
    this.#isStarted = true;
    inner.upper = this.socket;
    if (this.raw.writableLength > 0 || inner.isSending) {
      this.hold();
      this.raw.write('', (error?: Error | null) => (error ? undefined : this.unhold()));
    }
    const rest = this.#rest;
    this.#rest = null;
    if (rest !== null || !this.isServer) this.#feed(rest ?? plain, 0, rest?.length ?? 0);
    if (this.isClosing) return;
    if (this.#hasFin && !this.#isSuspended) this.#endOfStream();
    this.#settleRead();
  }

  // ---- from below: what `raw` takes for its `onread` ----

  /** @returns whether more is wanted @hot */
  take(_raw: unknown, memory: Uint8Array, start: number, length: number): boolean {
    const { socket } = this;
    if (socket === null || socket.destroyed || this.isClosing) return false;
    if (socket._secureEstablished) socket._unrefTimer(); // or a peer that drips its hello would never be late
    if (this.#rest !== null || this.#isSuspended || !this.#isStarted) this.#keep(memory, start, length);
    else this.#feed(memory, start, length);
    return this.#wantsMore();
  }

  /** The peer's FIN, with or without a close_notify before it. As Node: either is the end. */
  end(): boolean {
    if (this.#isSuspended || this.#rest !== null || !this.#isStarted) this.#hasFin = true;
    else this.#endOfStream();
    return true;
  }

  /** The plain socket is resumed by somebody: what is read is our business. */
  resume(): void {
    this.#settleRead();
  }

  readonly hasRest = false;

  #keep(memory: Uint8Array, start: number, length: number): void {
    if (length === 0) return;
    const bytes = Buffer.from(memory.subarray(start, start + length));
    this.#rest = this.#rest === null ? bytes : Buffer.concat([this.#rest, bytes]);
  }

  /** Encrypted bytes that the plain socket had read before we were there: earlier ones than those that were kept. */
  receiveFirst(bytes: Buffer): void {
    const all = this.#rest === null ? bytes : Buffer.concat([bytes, this.#rest]);
    this.#rest = null;
    this.take(null, all, 0, all.length);
  }

  /** @hot */
  #feed(memory: Uint8Array, start: number, length: number): void {
    const { native, ssl } = this;
    this.#isFeeding = true;
    let events = 0;
    try {
      for (;;) {
        makeRoom();
        events = native.feed(ssl, memory, start, length, slab, slabStart);
        if (events & EVENT.FREED) return;
        const plainBytes = status[STATUS.PLAIN] as number;
        const consumed = status[STATUS.CONSUMED] as number;
        start += consumed;
        length -= consumed;
        // Not sent yet: nothing of ours, a client's certificate least of all, goes to a peer that is refused now.
        this.#takeEncrypted();
        if (plainBytes > 0) this.#deliver(plainBytes);
        if (events & (EVENT.KEYLOG | EVENT.SESSION | EVENT.OCSP) && !this.isClosing) this.#report(events);
        if (events & EVENT.SECURE) this.#becomeSecure();
        if (this.isClosing) return;
        this.#pump();
        if (events === 0) return;
        if (events & EVENT.FAILED) {
          this.#fail(opensslError(native.failure(ssl)));
          return;
        }
        if (events & EVENT.SECURE) continue;
        if (events & EVENT.CLOSED) {
          this.#endOfStream();
          return;
        }
        if (events & (EVENT.HELLO | EVENT.CERTIFICATE)) {
          this.#isSuspended = true;
          if (events & EVENT.HELLO) this.socket?._onClientHello();
          else this.socket?._onCertificateWanted();
          if (this.isClosing) return;
          if (this.#isSuspended) {
            this.#keep(memory, start, length);
            return;
          }
          continue;
        }
        // After each ticket the native part stops, so that getSession() is the one that 'session' has.
        if ((events & EVENT.MORE) === 0 && !(events & EVENT.SESSION && length > 0)) return;
      }
    } catch (error) {
      // A listener's: it ends up at the process, and the rest of the records waits until it has been told.
      this.#isSuspended = true;
      this.#keep(memory, start, length);
      process.nextTick(() => {
        this.#isSuspended = false;
        try {
          if (events & EVENT.SECURE) this.#becomeSecure(); // no data before the peer is verified
        } finally {
          this.#feedRest();
        }
      });
      throw error;
    } finally {
      this.#isFeeding = false;
    }
  }

  #becomeSecure(): void {
    if (this.isSecure || this.isClosing) return;
    this.isSecure = true;
    this.socket?._onHandshakeDone();
  }

  /** Writes that waited for the handshake. Called when its outcome was accepted. */
  releaseWrites(): void {
    if (this.isClosing) return;
    const finish = this.#onSecure;
    this.#onSecure = null;
    if (this.#callback !== null) this.#encryptNext();
    else finish?.();
  }

  /** The handshake goes on, with the answer in place. */
  goOn(): void {
    if (!this.#isSuspended || this.isClosing) return;
    this.native.configure(this.ssl, CONFIGURE.RESUME, 0, null);
    this.#isSuspended = false;
    if (!this.#isFeeding) this.#feedRest(); // else its loop goes on
  }

  /** What came while the connection was suspended. */
  #feedRest(): void {
    if (this.isClosing) return;
    const rest = this.#rest;
    this.#rest = null;
    this.#feed(rest ?? plain, 0, rest?.length ?? 0);
    if (this.#isSuspended || this.isClosing) return;
    if (this.#hasFin) this.#endOfStream();
    else this.#settleRead();
  }

  #report(events: number): void {
    const { native, ssl, socket } = this;
    if (events & EVENT.KEYLOG) socket?._onKeylog(native.inspect(ssl, INSPECT.KEYLOG) as Buffer);
    if (events & EVENT.OCSP && !this.isClosing)
      socket?._onOcspResponse(native.inspect(ssl, INSPECT.OCSP) as Buffer | null);
    if (events & EVENT.SESSION && !this.isClosing)
      socket?._onNewSessions(native.inspect(ssl, INSPECT.NEW_SESSIONS) as Buffer[]);
  }

  /** @hot */
  #deliver(length: number): void {
    const socket = this.socket as TlsOwner;
    this.bytesRead += length;
    if (socket.destroyed) return;
    const onRead = socket[kOnRead];
    const chunk = takePlain(length);
    const wantsMore = onRead === null ? deliver(socket, chunk) : onRead.take(socket, chunk, 0, length);
    if (!wantsMore && !this.isClosing) this.readStop();
  }

  #endOfStream(): void {
    if (this.#hasEnded) return;
    this.#hasEnded = true;
    const { socket } = this;
    if (socket !== null && !socket.destroyed) socket[kOnEnd]();
  }

  #fail(error: Error): void {
    if (this.#hasFailed) return;
    this.#hasFailed = true;
    this.inner?.readStop();
    this.socket?._onTlsFailure(error);
  }

  // ---- reading ----

  #wantsMore(): boolean {
    if (this.#isSuspended || this.#hasFailed || this.isClosing) return false;
    if (this.#outgoingBytes > MOST_OUTGOING_BYTES) return false;
    return !this.isSecure || this.#isReading;
  }

  /** Whether the plain handle reads follows from ours. */
  #settleRead(): void {
    const { inner } = this;
    if (inner === null || !this.#isStarted || inner.isClosing) return;
    const wants = this.#wantsMore();
    if (wants && !inner.isReading) inner.readStart();
    else if (!wants && inner.isReading) inner.readStop();
  }

  get isReading(): boolean {
    return this.#isReading;
  }

  get reading(): boolean {
    return this.#isReading;
  }

  /** As the plain handle's: Node's http sets it before it calls readStart or readStop. */
  set reading(_: boolean) {}

  readStart(): void {
    this.#isReading = true;
    this.#settleRead();
  }

  readStop(): void {
    this.#isReading = false;
    this.#settleRead();
  }

  // ---- writing ----

  get isSending(): boolean {
    return this.#callback !== null;
  }

  get writeQueueSize(): number {
    return this.#outgoingBytes + (this.inner?.sendLeft ?? 0);
  }

  /** @hot */
  write(chunk: Uint8Array | string, encoding: BufferEncoding, callback: WriteCallback): void {
    const isOne = typeof chunk !== 'string' && chunk.byteLength > 0 && chunk.byteLength <= PLAIN_BYTES_OF_BUFFER;
    if (!isOne || this.isClosing || this.#hasFailed || !this.socket?._secureEstablished) {
      this.writev([{ chunk, encoding }], callback);
      return;
    }
    this.#callback = callback;
    this.#encrypt(chunk, 0, chunk.byteLength);
    this.#pump();
  }

  /** @hot */
  writev(pieces: readonly Piece[], callback: WriteCallback): void {
    if (this.isClosing || this.#hasFailed) {
      callback(socketClosed());
      return;
    }
    this.#pieces = pieces;
    this.#nextPiece = 0;
    this.#pieceOffset = 0;
    this.#callback = callback;
    if (this.socket?._secureEstablished) this.#encryptNext();
    else if (!this.isServer) this.begin(); // Node's client begins with its first write, too
  }

  writeAtOnce(pieces: Piece[], callback: WriteCallback): void {
    this.writev(pieces, callback);
  }

  /** The next batch of what is to be written becomes records. @hot */
  #encryptNext(): void {
    let batch = 0;
    while (this.#nextPiece < this.#pieces.length && batch < BATCH_BYTES) {
      const { chunk } = this.#pieces[this.#nextPiece] as Piece;
      const isLast = this.#nextPiece + 1 === this.#pieces.length;
      if (typeof chunk !== 'string' && (isLast || chunk.byteLength - this.#pieceOffset > GATHER_BYTES)) {
        const length = Math.min(chunk.byteLength - this.#pieceOffset, PLAIN_BYTES_OF_BUFFER);
        this.#encrypt(chunk, this.#pieceOffset, length);
        this.#advance(length, chunk.byteLength);
        batch += length;
      } else {
        const length = this.#gather();
        this.#encrypt(gathered, 0, length);
        batch += length;
      }
      if (this.isClosing || this.#hasFailed) return;
    }
    if (batch === 0 || this.#outgoingBytes === 0) this.#afterSend(null);
    else this.#pump();
  }

  #advance(bytes: number, of: number): void {
    this.#pieceOffset += bytes;
    if (this.#pieceOffset < of) return;
    this.#nextPiece++;
    this.#pieceOffset = 0;
  }

  /** Small pieces behind each other in one place. @returns how many bytes @hot */
  #gather(): number {
    let used = 0;
    while (this.#nextPiece < this.#pieces.length) {
      const piece = this.#pieces[this.#nextPiece] as Piece;
      if (typeof piece.chunk === 'string') {
        // Three bytes a UTF-16 unit is the most that any encoding needs.
        if (piece.chunk.length * 3 > GATHER_BYTES - used) {
          piece.chunk = Buffer.from(piece.chunk, piece.encoding);
          continue;
        }
        used += gathered.write(piece.chunk, used, piece.encoding);
        this.#nextPiece++;
        continue;
      }
      const left = piece.chunk.byteLength - this.#pieceOffset;
      if (left > GATHER_BYTES - used) break;
      gathered.set(this.#pieceOffset === 0 ? piece.chunk : piece.chunk.subarray(this.#pieceOffset), used);
      used += left;
      this.#nextPiece++;
      this.#pieceOffset = 0;
    }
    return used;
  }

  /** Plain bytes become records, in the arena if they are few and can be sent now. @hot */
  #encrypt(memory: Uint8Array, start: number, length: number): void {
    if (length === 0) return;
    const { native, ssl } = this;
    this.bytesWritten += length;
    const room = length + (Math.floor(length / RECORD_BYTES) + 2) * RECORD_OVERHEAD;
    const { arena } = this.turn;
    const isFree = room <= SLOT_BYTES && !this.#isSending && this.#outgoing.length === 0 && this.#holds === 0;
    const inner = isFree ? this.inner : null;
    const slot = inner === null ? -1 : arena.take();
    if (slot >= 0) {
      const events = native.write(ssl, memory, start, length, arena.memory, slot, SLOT_BYTES);
      const bytes = status[STATUS.ENCRYPTED] as number;
      const spilled = status[STATUS.SPILLED] as number;
      if ((events & EVENT.FREED) === 0 && bytes > 0) {
        if (spilled > 0) this.#enqueue(native.spilled(ssl));
        this.#isSending = true;
        this.#inFlight = bytes;
        this.#outgoingBytes += bytes;
        (inner as Handle).writeSlotted(slot, bytes, this.#sent);
      } else {
        arena.give(slot);
      }
      this.#afterWrite(events);
      return;
    }
    const out = takeBuffer();
    const events = native.write(ssl, memory, start, length, out, 0, out.length);
    if ((events & EVENT.FREED) === 0) {
      const bytes = status[STATUS.ENCRYPTED] as number;
      const spilled = status[STATUS.SPILLED] as number;
      if (bytes > 0) this.#enqueue(out.subarray(0, bytes));
      this.#buffers.push(out);
      if (spilled > 0) this.#enqueue(native.spilled(ssl));
    }
    this.#afterWrite(events);
  }

  #afterWrite(events: number): void {
    if (events & (EVENT.FAILED | EVENT.FREED)) this.#fail(opensslError(this.native.failure(this.ssl)));
  }

  /** What OpenSSL has to send by itself: handshake, alerts, answers to key updates. */
  #takeEncrypted(): void {
    const bytes = status[STATUS.ENCRYPTED] as number;
    const spilled = status[STATUS.SPILLED] as number;
    if (bytes > 0) this.#enqueue(Buffer.from(encrypted.subarray(0, bytes)));
    if (spilled > 0) this.#enqueue(this.native.spilled(this.ssl));
  }

  #enqueue(bytes: Uint8Array): void {
    this.#outgoing.push(bytes);
    this.#outgoingBytes += bytes.byteLength;
  }

  /** Output waits until `unhold`. */
  hold(): void {
    this.#holds++;
  }

  unhold(): void {
    if (--this.#holds === 0) this.#pump();
  }

  #inFlight = 0;

  /** Everything that is ready goes to the plain handle, one write at a time. @hot */
  #pump(): void {
    if (this.#outgoing.length === 0 || this.#isSending || this.#holds > 0) return;
    const { inner } = this;
    if (inner === null) return;
    const pieces = this.#outgoing;
    const buffers = this.#buffersInFlight; // empty
    this.#buffersInFlight = this.#buffers;
    this.#buffers = buffers;
    this.#isSending = true;
    this.#inFlight = this.#outgoingBytes;
    if (pieces.length === 1) {
      inner.write(pieces.pop() as Uint8Array, 'buffer' as BufferEncoding, this.#sent);
      return;
    }
    this.#outgoing = [];
    inner.writev(
      pieces.map((chunk) => ({ chunk, encoding: 'buffer' as BufferEncoding })),
      this.#sent,
    );
  }

  /** @hot */
  readonly #sent = (error?: Error | null): void => {
    this.#isSending = false;
    const wasFull = this.#outgoingBytes > MOST_OUTGOING_BYTES;
    this.#outgoingBytes -= this.#inFlight;
    this.#inFlight = 0;
    while (this.#buffersInFlight.length > 0) giveBuffer(this.#buffersInFlight.pop() as Buffer);
    if (this.socket?._secureEstablished) this.socket._unrefTimer();
    if (error) {
      this.#afterSend(error);
      return;
    }
    if (this.#outgoing.length > 0) this.#pump();
    else this.#afterSend(null);
    if (wasFull && !this.isClosing) this.#settleRead();
  };

  /** All that was encrypted is sent: the next batch, or the stream is told. */
  #afterSend(error: Error | null): void {
    const onSent = this.#onSent;
    if (onSent !== null && this.#callback === null) {
      this.#onSent = null;
      onSent(error);
      return;
    }
    const callback = this.#callback;
    if (callback === null) {
      if (error !== null && !this.isClosing) this.socket?.destroy(error); // a handshake that nobody gets
      return;
    }
    if (error === null && !this.socket?._secureEstablished) return;
    if (error === null && this.#nextPiece < this.#pieces.length) {
      this.#encryptNext();
      return;
    }
    this.#callback = null;
    this.#pieces = NONE;
    const { socket } = this;
    if (socket !== null) socket[kLastWriteBytes] = 0;
    callback(error);
    if (socket !== null && socket.writableLength === 0) socket[kHasWriteCallbacks] = false;
  }

  /** The end of a turn: all writes of a tick go out together. @hot */
  flush(): void {
    const { socket } = this;
    if (socket?.[kTurnCork]) {
      socket[kTurnCork] = false;
      socket.uncork();
    }
  }

  /** The end of what is written: a close_notify, then the plain connection's FIN. */
  finish(callback: () => void): void {
    const { native, ssl } = this;
    if (this.#isStarted && !this.#hasFailed && !this.#hasEnded && !this.socket?._secureEstablished) {
      this.#onSecure = () => this.finish(callback); // a FIN now would end the handshake
      return;
    }
    if ((native.shutdown(ssl) & EVENT.FREED) === 0) this.#takeEncrypted();
    this.#pump();
    const finish = (): void => {
      const { inner } = this;
      if (inner === null || inner.isClosing) callback();
      else inner.finish(callback);
    };
    if (this.#isSending || this.#outgoing.length > 0) this.#onSent = finish;
    else finish();
  }

  /** `callback` comes when the plain socket is closed. */
  close(callback?: () => void): void {
    if (this.isClosing) {
      if (callback !== undefined) setImmediate(callback);
      return;
    }
    this.isClosing = true;
    const { raw } = this;
    const pending = this.#callback;
    this.#callback = null;
    const done = (): void => {
      this.native.free(this.ssl);
      callback?.();
    };
    if (raw.closed || (raw.destroyed && raw._handle === null)) setImmediate(done);
    else raw.once('close', done);
    if (this.isReset) raw.resetAndDestroy();
    else raw.destroy();
    if (pending !== null) process.nextTick(pending, errnoException(ERRNO.ECANCELED, 'write'));
  }

  // ---- what the socket asks of its handle; the plain one answers ----

  get fd(): number {
    return this.inner?.fd ?? -1;
  }
  get isUnix(): boolean {
    return this.inner?.isUnix ?? false;
  }
  ref(): void {
    this.raw.ref();
  }
  unref(): void {
    this.raw.unref();
  }
  hasRef(): boolean {
    return this.inner?.hasRef() ?? true;
  }
  setNoDelay(on: boolean): number {
    this.raw.setNoDelay(on);
    return 0;
  }
  setKeepAlive(on: boolean, seconds: number, interval?: number, count?: number): number {
    return this.inner?.setKeepAlive(on, seconds, interval, count) ?? 0;
  }
  setTypeOfService(tos: number): number {
    return this.inner?.setTypeOfService(tos) ?? 0;
  }
  getTypeOfService(): number {
    return this.inner?.getTypeOfService() ?? 0;
  }
  setUserTimeout(ms: number): number {
    return this.inner?.setUserTimeout(ms) ?? 0;
  }
  tcpInfo(): ReturnType<Handle['tcpInfo']> {
    return this.inner?.tcpInfo();
  }
  getsockname(out: Partial<IpAddress>): number {
    return this.inner?.getsockname(out) ?? -1;
  }
  getpeername(out: Partial<IpAddress>): number {
    return this.inner?.getpeername(out) ?? -1;
  }
  getAsyncId(): number {
    return this.inner?.getAsyncId() ?? -1;
  }

  // ---- what is asked about the connection ----

  inspect(what: (typeof INSPECT)[keyof typeof INSPECT]): unknown {
    return this.native.inspect(this.ssl, what);
  }

  /** @returns whether it was taken */
  configure(
    what: (typeof CONFIGURE)[keyof typeof CONFIGURE],
    value: number,
    more: Uint8Array | NativeContext | null = null,
  ): boolean {
    return this.native.configure(this.ssl, what, value, more) === 0;
  }

  /** As Node's `verifyError`: null when the peer's certificate leads to somebody we trust. */
  verifyError(): NodeJS.ErrnoException | null {
    const [result, text] = (this.inspect(INSPECT.VERIFY_RESULT) ?? [1, undefined]) as [number, string | undefined];
    return verifyError(result, text);
  }
}

/** Where small writes are gathered to be encrypted. */
const gathered = Buffer.alloc(GATHER_BYTES);
