/**
 * TLS over a link of the engine, by the OpenSSL of Node.js: encrypted bytes are read where they lie, plain ones are shown in
 * memory that all connections of a thread share, and small writes go from one slot of the send arena into another.
 *
 * ```
 *   inner.onData ──> feed ──> owner.onData          rest: bytes behind a step at which user code was called, or waits
 *   owner.send ──> encrypt ──> a slot, or queued ──> inner.send ──> afterSend
 * ```
 */
import { SLOT_BYTES } from '../../engine/arena.ts';
import { builtins } from '../../engine/builtins.ts';
import { nativeContext } from '../../tls/context.ts';
import { dhParamSize, opensslError, verifyError } from '../../tls/errors.ts';
import { sessionForReuse, wrapSession } from '../../tls/identity.ts';
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
} from '../../tls/native.ts';
import { ephemeralKey } from '../../tls/peer.ts';
import { giveBuffer, PLAIN_BYTES_OF_BUFFER, takeBuffer } from '../../tls/records.ts';
import { throwLater } from '../connection.ts';
import type { EngineLink } from '../engine-link.ts';
import { lendMade, sent } from '../lent.ts';
import type { Piece } from '../link.ts';
import type { TlsInfo } from '../tls-api.ts';
import { Info } from './info.ts';
import { judgeClient, judgeServer, type Verdict } from './judge.ts';
import type { TlsSettings } from './options.ts';
import { SecureLink } from './secure-link.ts';

/** Plain bytes that are encrypted at once; the next when the kernel has taken them. */
const BATCH_BYTES = 262144;
/** What a record needs beyond its plain bytes, at most: header, IV, MAC, padding. */
const RECORD_OVERHEAD = 128;
/** A peer that asks for answers (key updates) and does not read them is not read from any more. */
const MOST_QUEUED_BYTES = 1048576;
/** Node's least size of a Diffie-Hellman key. */
const LEAST_DH_BITS = 1024;
const NOTHING = Buffer.alloc(0);

/** Encrypted bytes on their way, and the memory that goes back when they have left. */
interface Records {
  pieces: Piece[];
  buffers: Buffer[];
  bytes: number;
  /** How many bytes of the owner's they carry. */
  plainBytes: number;
}

const IS = {
  /** The peer's close_notify has come. */
  ENDED: 1 << 0,
  /** And its FIN. */
  FIN: 1 << 1,
  /** Ours was said. */
  NOTIFIED: 1 << 2,
  /** And a FIN has to follow it. */
  SHUT_DUE: 1 << 3,
  /** The handshake waits for SNICallback. */
  SUSPENDED: 1 << 4,
  /** `complete` will be called. */
  LATER: 1 << 5,
} as const;

export class OpensslLink extends SecureLink<EngineLink> {
  bytesSent: number;
  readonly #native: TlsNative;
  readonly #ssl: NativeConnection;
  #state: number = 0;
  #rest: Buffer | null = null;
  /** What has to be told when ticks have run behind the data before it. */
  #due: Error | 'end' | null = null;
  /** Where writes of this turn are gathered: a slot of the arena, or -1. */
  #slot = -1;
  #used = 0;
  // What the owner sends.
  #pieces: Piece[] | null = null;
  #nextPiece = 0;
  /** Bytes of the next piece that are encrypted already. */
  #pieceOffset = 0;
  #queued: Records | null = null;
  #flight: Records | null = null;
  /** Bytes of the owner's that are in flight, and what the link had sent when they were told of last. */
  #flightPlainBytes = 0;
  #seenBytes = 0;

  constructor(native: TlsNative, context: NativeContext, inner: EngineLink, settings: TlsSettings) {
    super(inner, settings);
    this.bytesSent = inner.bytesSent;
    this.#native = native;
    const ssl = native.open(context, settings.isServer);
    if (ssl === -1) throw opensslError(native.failure());
    this.#ssl = ssl;
    this.#configure();
  }

  #configure(): void {
    const { isServer, asksForCertificate, rejectsUnauthorized, alpn, sniCallback, servername } = this.settings;
    const set = (what: number, value: number, more: Uint8Array | null = null): void => {
      this.#native.configure(this.#ssl, what, value, more);
    };
    if (asksForCertificate) set(CONFIGURE.VERIFY, 1 | (rejectsUnauthorized ? 2 : 0));
    if (alpn !== undefined) set(CONFIGURE.ALPN, 0, alpn);
    if (sniCallback !== undefined) set(CONFIGURE.WANTS, EVENT.CERTIFICATE);
    if (isServer) return;
    if (servername !== '') set(CONFIGURE.SERVERNAME, 0, Buffer.from(`${servername}\0`));
    if (this.settings.onSession !== undefined) set(CONFIGURE.WANTS, EVENT.SESSION);
    const session = sessionForReuse(this.settings.session, this.#identity);
    if (session !== undefined) set(CONFIGURE.SESSION, 0, session);
  }

  get #identity(): { servername: string; rejectUnauthorized: boolean } {
    return { servername: this.settings.expectedName, rejectUnauthorized: this.settings.rejectsUnauthorized };
  }

  protected begin(head: Buffer | null): void {
    this.bytesSent = this.inner.bytesSent;
    if (head !== null) this.#rest = this.#rest === null ? head : Buffer.concat([head, this.#rest]);
    if (!this.settings.isServer) this.#rest ??= NOTHING; // it speaks first
    if (this.#rest !== null) this.#later();
    this.settleRead();
  }

  // ---- in ----

  /** @hot */
  onData(view: Buffer): void {
    if (this.isClosing || this.#is(IS.ENDED)) return;
    if (this.#rest === null && this.hasBegun && !this.#is(IS.SUSPENDED)) this.#feed(view, 0, view.length);
    else this.#keep(view);
  }

  override onEnd(): void {
    if (this.isClosing || this.#is(IS.ENDED)) return;
    this.#state |= IS.FIN;
    if (!this.#is(IS.LATER) || this.#is(IS.SUSPENDED)) this.cutOff();
  }

  /** @hot */
  #feed(memory: Uint8Array, start: number, length: number): void {
    for (;;) {
      const events = this.#native.feed(this.#ssl, memory, start, length);
      if (events & EVENT.FREED) return;
      const plainBytes = status[STATUS.PLAIN] as number;
      const consumed = status[STATUS.CONSUMED] as number;
      start += consumed;
      length -= consumed;
      this.#takeEncrypted();
      if (plainBytes > 0) lendMade(plainView(plainBytes), this.owner);
      if (this.isClosing) return;
      if (events === 0) break;
      if (events & EVENT.FAILED) {
        this.#tell(opensslError(this.#native.failure(this.#ssl)), plainBytes > 0);
        break;
      }
      if (events & EVENT.SECURE && !this.#becomeSecure()) return;
      if (events & EVENT.SESSION) this.#tellSessions();
      if (events & EVENT.CLOSED) {
        this.#state |= IS.ENDED;
        this.#tell('end', plainBytes > 0);
        break;
      }
      if (events & EVENT.CERTIFICATE) {
        this.#state |= IS.SUSPENDED;
        this.#keep(memory.subarray(start, start + length));
        this.#askForContext();
        break;
      }
      if (events & EVENT.MORE || (length > 0 && (events & EVENT.SECURE || plainBytes > 0))) {
        this.#keep(memory.subarray(start, start + length));
        this.#later();
        break;
      }
      if (length === 0) break; // the native part stops behind each session
    }
    if (this.gatheredBytes === 0) this.#pump(); // or it leaves with what was written, when the turn ends
    this.settleRead();
  }

  /** @param isBehindData ticks and promise jobs have to run before it */
  #tell(what: Error | 'end', isBehindData: boolean): void {
    this.#due = what;
    if (isBehindData) this.#later();
    else this.#tellDue();
  }

  #tellDue(): void {
    const due = this.#due;
    this.#due = null;
    if (due === 'end') {
      if (this.isSecure) this.owner.onEnd();
      else this.cutOff();
    } else if (due !== null) {
      this.#pump(); // an alert
      this.fail(due);
    }
  }

  #keep(bytes: Uint8Array): void {
    this.#rest =
      this.#rest === null || this.#rest.length === 0 ? Buffer.from(bytes) : Buffer.concat([this.#rest, bytes]);
  }

  /** Goes on as if it were the next completion, when ticks have run. */
  #later(): void {
    if (this.#is(IS.LATER)) return;
    this.#state |= IS.LATER;
    const { turn } = this.inner;
    turn.hold();
    turn.completeLater(this, 0);
  }

  complete(): boolean {
    this.#state &= ~IS.LATER;
    this.inner.turn.release();
    const { context } = this;
    if (context === null) this.#goOn();
    else context.runInAsyncScope(this.#goOn, this);
    return true;
  }

  /** The turn asks for that of an owner of completions; ours are never those of the ring. */
  get slot(): number {
    return -1;
  }

  #goOn(): void {
    if (this.isClosing) return;
    const rest = this.#rest;
    if (this.#due !== null) this.#tellDue();
    else if (rest !== null && !this.#is(IS.SUSPENDED)) {
      this.#rest = null;
      this.#feed(rest, 0, rest.length);
    }
    if (this.#is(IS.FIN) && !this.#is(IS.LATER) && !this.#is(IS.ENDED) && !this.isClosing) this.cutOff();
  }

  /** @returns whether the peer is let in, and still there */
  #becomeSecure(): boolean {
    const { settings } = this;
    const [number, text] = this.#inspect(INSPECT.VERIFY_RESULT) as [number, string | undefined];
    const problem = verifyError(number, text) ?? this.#weakKey();
    const isLetIn = this.judged(
      settings.isServer
        ? judgeClient(settings, problem, settings.asksForCertificate ? this.#certificates()[0] : undefined)
        : judgeServer(settings, problem, () => this.#certificates(), this.#isReused),
    );
    return isLetIn && !this.isClosing;
  }

  #weakKey(): Error | null {
    if (this.settings.isServer) return null;
    const found = this.#inspect(INSPECT.EPHEMERAL_KEY) as [number, string, number] | undefined;
    const { type, size = 0 } = ephemeralKey(found) as { type?: string; size?: number };
    return type === 'DH' && size < LEAST_DH_BITS ? dhParamSize(size) : null;
  }

  #tellSessions(): void {
    const sessions = this.#inspect(INSPECT.NEW_SESSIONS) as Buffer[];
    const { onSession } = this.settings;
    if (onSession === undefined || this.verdict === null) return;
    for (let i = 1; i < sessions.length; i += 2) {
      const session = sessions[i] as Buffer;
      try {
        // One with a server that was not verified is nobody's: only another unverified connection may resume it.
        onSession(this.verdict.isAuthorized ? wrapSession(session, this.#identity) : session);
      } catch (error) {
        throwLater(error);
      }
    }
  }

  // ---- SNICallback ----

  #askForContext(): void {
    const servername = this.#inspect(INSPECT.SERVERNAME) as string | undefined;
    const { sniCallback } = this.settings;
    if (servername === undefined || sniCallback === undefined) {
      this.#resume();
      return;
    }
    let isAnswered = false;
    const answer = (error: Error | null, context?: object): void => {
      if (isAnswered || this.isClosing) return;
      isAnswered = true;
      const take = (): void => this.#takeContext(error, context);
      if (this.context === null) take();
      else this.context.runInAsyncScope(take);
    };
    try {
      sniCallback(servername, answer);
    } catch (error) {
      answer(error as Error);
    }
  }

  #takeContext(error: Error | null, context: object | undefined): void {
    if (error) {
      this.fail(error);
      return;
    }
    if (context) {
      try {
        const own = nativeContext(this.#native, context);
        if (own === undefined || this.#native.configure(this.#ssl, CONFIGURE.CONTEXT, 0, own) !== 0)
          throw new TypeError('Invalid SNI context');
      } catch (problem) {
        this.fail(problem as Error);
        return;
      }
    }
    this.#resume();
  }

  /** The handshake goes on; not within whoever has answered. */
  #resume(): void {
    this.#native.configure(this.#ssl, CONFIGURE.RESUME, 0, null);
    this.#state &= ~IS.SUSPENDED;
    this.#rest ??= NOTHING;
    this.#later();
  }

  // ---- reading ----

  protected settleRead(): void {
    const { inner } = this;
    const isOver = this.isClosing || (this.#state & (IS.ENDED | IS.FIN)) !== 0 || !this.hasBegun;
    const wants =
      !isOver &&
      this.#rest === null &&
      (this.isReading || !this.isSecure) &&
      (this.#queued === null || this.#queued.bytes <= MOST_QUEUED_BYTES);
    if (wants === inner.isReading) return;
    if (wants) inner.readStart();
    else inner.readStop();
  }

  // ---- out ----

  /** @hot */
  get gatheredBytes(): number {
    return this.#used + (this.isSending ? 0 : (this.#queued?.plainBytes ?? 0));
  }

  /** Never by the link below: what it gathers, it sends as it is. @hot */
  gather(chunk: Uint8Array | string, encoding: BufferEncoding): number {
    if (this.isSending) return -1;
    const { arena } = this.inner.turn;
    // Three bytes a UTF-16 unit is the most that any encoding needs.
    const most = typeof chunk === 'string' ? chunk.length * 3 : chunk.byteLength;
    if (this.#used + most > SLOT_BYTES) return typeof chunk === 'string' ? -1 : this.#encryptEarly(chunk);
    if (most === 0) return 0;
    if (this.#slot < 0) {
      this.#slot = arena.take();
      if (this.#slot < 0) return -1;
    }
    const at = this.#slot + this.#used;
    const length = typeof chunk === 'string' ? arena.memory.write(chunk, at, most, encoding) : most;
    if (typeof chunk !== 'string') arena.memory.set(chunk, at);
    this.#used += length;
    if (this.#used === 0) this.#giveSlot(); // text that is no hex or base64
    return length;
  }

  /** A large write becomes records now: it may be lent, and would have to be copied otherwise. @hot */
  #encryptEarly(chunk: Uint8Array): number {
    const { byteLength } = chunk;
    if (this.gatheredBytes + byteLength > PLAIN_BYTES_OF_BUFFER) return -1;
    if (this.#used > 0) {
      this.#encrypt(this.inner.turn.arena.memory, this.#slot, this.#used);
      this.#giveSlot();
    }
    this.#encrypt(chunk, 0, byteLength);
    return byteLength;
  }

  #giveSlot(): void {
    this.inner.turn.arena.give(this.#slot);
    this.#slot = -1;
    this.#used = 0;
  }

  /** @hot */
  flushLater(): void {
    this.inner.flushLater();
  }

  /** @hot */
  send(pieces: Piece[] | null): void {
    this.isSending = true;
    if (pieces === null) {
      if (this.#used > 0) this.#encryptSlot();
      this.#pump();
      return;
    }
    if (this.#used > 0) {
      const { memory } = this.inner.turn.arena;
      pieces.unshift({ chunk: Buffer.from(memory.subarray(this.#slot, this.#slot + this.#used)), encoding: 'latin1' });
      this.#giveSlot();
    }
    this.#pieces = pieces;
    this.#nextPiece = 0;
    this.#pieceOffset = 0;
    this.#encryptNext();
  }

  /** What was gathered becomes records: in another slot, if it can be sent now. @hot */
  #encryptSlot(): void {
    const { inner } = this;
    const { arena } = inner.turn;
    const slot = this.#slot;
    const used = this.#used;
    const isFree = used + RECORD_OVERHEAD <= SLOT_BYTES && !inner.isSending && this.#queued === null;
    const out = isFree ? arena.take() : -1;
    if (out < 0) {
      this.#encrypt(arena.memory, slot, used);
      this.#giveSlot();
      return;
    }
    const events = this.#native.write(this.#ssl, arena.memory, slot, used, arena.memory, out, SLOT_BYTES);
    const bytes = status[STATUS.ENCRYPTED] as number;
    this.#giveSlot();
    if (events & (EVENT.FAILED | EVENT.FREED) || bytes === 0) {
      arena.give(out);
      this.#wrote(events);
      return;
    }
    if ((status[STATUS.SPILLED] as number) > 0) this.#enqueue(this.#native.spilled(this.#ssl));
    this.#flightPlainBytes = used;
    this.#seenBytes = inner.bytesSent;
    inner.sendSlotted(out, bytes);
  }

  /** The next batch of what is to be sent becomes records. @hot */
  #encryptNext(): void {
    let batch = 0;
    const pieces = this.#pieces as Piece[];
    while (this.#nextPiece < pieces.length && batch < BATCH_BYTES) {
      const chunk = (pieces[this.#nextPiece] as Piece).chunk as Uint8Array;
      const left = chunk.byteLength - this.#pieceOffset;
      const isSmall = left < PLAIN_BYTES_OF_BUFFER && this.#nextPiece + 1 < pieces.length;
      const length = isSmall ? this.#gather(pieces) : Math.min(left, PLAIN_BYTES_OF_BUFFER);
      if (isSmall) this.#encrypt(gathered, 0, length);
      else {
        this.#encrypt(chunk, this.#pieceOffset, length);
        this.#advance(chunk, length);
      }
      batch += length;
      if (this.#due !== null) return; // OpenSSL takes no more
    }
    if (this.#nextPiece === pieces.length) this.#pieces = null;
    this.#pump();
  }

  #advance(chunk: Uint8Array, bytes: number): void {
    this.#pieceOffset += bytes;
    if (this.#pieceOffset < chunk.byteLength) return;
    sent(chunk);
    this.#nextPiece++;
    this.#pieceOffset = 0;
  }

  /** Pieces behind each other in one place: their records are full, and share a send. @returns how many bytes @hot */
  #gather(pieces: Piece[]): number {
    let used = 0;
    while (this.#nextPiece < pieces.length && used < gathered.length) {
      const chunk = (pieces[this.#nextPiece] as Piece).chunk as Uint8Array;
      const end = Math.min(chunk.byteLength, this.#pieceOffset + gathered.length - used);
      gathered.set(chunk.subarray(this.#pieceOffset, end), used);
      used += end - this.#pieceOffset;
      this.#advance(chunk, end - this.#pieceOffset);
    }
    return used;
  }

  /** Plain bytes become records, which wait for their send. @hot */
  #encrypt(memory: Uint8Array, start: number, length: number): void {
    const out = takeBuffer();
    const events = this.#native.write(this.#ssl, memory, start, length, out, 0, out.length);
    const bytes = status[STATUS.ENCRYPTED] as number;
    if (events & (EVENT.FAILED | EVENT.FREED) || bytes === 0) {
      giveBuffer(out);
      this.#wrote(events);
      return;
    }
    this.#enqueue(out.subarray(0, bytes));
    const queued = this.#queued as Records | null as Records;
    queued.buffers.push(out);
    queued.plainBytes += length;
    if ((status[STATUS.SPILLED] as number) > 0) this.#enqueue(this.#native.spilled(this.#ssl));
  }

  /** Told later: the owner may be within `write`. */
  #wrote(events: number): void {
    if (events & EVENT.FAILED) this.#tell(opensslError(this.#native.failure(this.#ssl)), true);
  }

  /** What OpenSSL has to send by itself: handshake, alerts, answers to key updates. @hot */
  #takeEncrypted(): void {
    const bytes = status[STATUS.ENCRYPTED] as number;
    const spilled = status[STATUS.SPILLED] as number;
    if (bytes > 0) this.#enqueue(Buffer.from(encrypted.subarray(0, bytes)));
    if (spilled > 0) this.#enqueue(this.#native.spilled(this.#ssl));
  }

  #enqueue(chunk: Uint8Array): void {
    this.#queued ??= { pieces: [], buffers: [], bytes: 0, plainBytes: 0 };
    this.#queued.pieces.push({ chunk, encoding: 'latin1' });
    this.#queued.bytes += chunk.byteLength;
  }

  /** All records that wait leave in one send; at most one is in flight. @hot */
  #pump(): void {
    const { inner } = this;
    const queued = this.#queued;
    if (queued === null || inner.isSending) return;
    this.#queued = null;
    if (queued.plainBytes > 0) this.isSending = true;
    this.#flight = queued;
    this.#flightPlainBytes = queued.plainBytes;
    this.#seenBytes = inner.bytesSent;
    inner.send(queued.pieces);
  }

  override onSendProgress(): void {
    const { inner } = this;
    if (this.hasBegun) {
      const taken = inner.bytesSent - this.#seenBytes;
      const bytes = Math.floor((this.#flightPlainBytes * taken) / (taken + inner.sendLeft));
      this.#seenBytes = inner.bytesSent;
      this.#flightPlainBytes -= bytes;
      this.bytesSent += bytes;
    } else {
      this.bytesSent = inner.bytesSent;
    }
    if (!this.isClosing) this.owner.onSendProgress();
  }

  /** @hot */
  get isSentInSilence(): boolean {
    return this.hasBegun && this.#pieces === null && this.owner.isSentInSilence;
  }

  /** @hot */
  protected afterSend(): void {
    const flight = this.#flight;
    this.bytesSent += this.#flightPlainBytes;
    this.#flightPlainBytes = 0;
    if (flight !== null) {
      this.#flight = null;
      for (const buffer of flight.buffers) giveBuffer(buffer);
    }
    if (this.#queued !== null) {
      this.#pump();
    } else if (this.isClosing) {
      this.departed();
      return;
    } else if (this.#pieces !== null) {
      this.#encryptNext();
    } else {
      if (this.#is(IS.SHUT_DUE)) {
        this.#state &= ~IS.SHUT_DUE;
        this.inner.shutdown();
      }
      if (this.isSending && this.isSecure) {
        this.isSending = false;
        this.owner.onSent();
      }
    }
    this.settleRead();
  }

  // ---- the end ----

  shutdown(): void {
    this.#notify();
    if (this.inner.isSending) this.#state |= IS.SHUT_DUE;
    else this.inner.shutdown();
  }

  /** close_notify, once. */
  #notify(): void {
    if (!this.isSecure || this.#is(IS.NOTIFIED)) return;
    this.#state |= IS.NOTIFIED;
    if ((this.#native.shutdown(this.#ssl) & EVENT.FREED) === 0) this.#takeEncrypted();
    this.#pump();
  }

  protected sayFarewell(): boolean {
    this.#notify();
    return this.inner.isSending;
  }

  protected closeNow(isReset: boolean): void {
    this.#rest = null;
    this.#pieces = null;
    this.#queued = null;
    if (this.#slot >= 0) this.#giveSlot();
    this.inner.close(isReset);
  }

  override onClosed(): void {
    try {
      super.onClosed();
    } finally {
      this.#native.free(this.#ssl); // `close` may have asked it
    }
  }

  // ---- what is known ----

  #is(bit: number): boolean {
    return (this.#state & bit) !== 0;
  }

  #inspect(what: (typeof INSPECT)[keyof typeof INSPECT]): unknown {
    return this.#native.inspect(this.#ssl, what);
  }

  #certificates(): Buffer[] {
    return (this.#inspect(INSPECT.PEER_CERTIFICATES) as Buffer[] | undefined) ?? [];
  }

  get #isReused(): boolean {
    return this.#inspect(INSPECT.IS_REUSED) === 1;
  }

  protected readInfo(verdict: Verdict): TlsInfo | undefined {
    const cipher = this.#inspect(INSPECT.CIPHER) as [string, string, string] | undefined;
    if (cipher === undefined) return undefined; // it is closed, and nobody has asked before
    const [name, standardName, version] = cipher;
    return new Info(
      {
        protocol: this.#inspect(INSPECT.VERSION) as string,
        cipher: { name, standardName, version },
        alpnProtocol: (this.#inspect(INSPECT.ALPN) as Buffer | undefined)?.toString('latin1'),
        servername: this.#inspect(INSPECT.SERVERNAME) as string | undefined,
        isSessionReused: this.#isReused,
        certificate: this.#certificates()[0],
      },
      verdict,
    );
  }
}

/** Where pieces are put behind each other to be encrypted. */
const gathered = Buffer.alloc(PLAIN_BYTES_OF_BUFFER);

// A view is shown to handlers: to hand its memory to another thread would take it from all connections of this one.
builtins.workerThreads.markAsUntransferable(plain.buffer);

let lastView = plain.subarray(0, 0);

/** A view of decrypted bytes. The next message is often as long. @hot */
function plainView(length: number): Buffer {
  if (lastView.length !== length) lastView = plain.subarray(0, length);
  return lastView;
}
