/**
 * A link on the engine's rings. Received bytes are shown where they lie; small writes go straight into the slot of the send
 * arena from which they leave when the turn ends.
 */
import type { AsyncResource } from 'node:async_hooks';
import { decodeIp, type IpAddress, SOCKADDR_BYTES } from '../engine/address.ts';
import type { ReceiveBuffers } from '../engine/buffers.ts';
import { Connection } from '../engine/connection.ts';
import type { LargeBuffers } from '../engine/large-buffers.ts';
import { setKeepAlive, setNoDelay, setReset, setUserTimeout } from '../engine/socket-options.ts';
import { errnoException } from '../engine/system-errors.ts';
import { readTcpInfo, type TcpInfo } from '../engine/tcp-info.ts';
import type { Turn } from '../engine/turn.ts';
import { lend, lendLarge, sent } from './lent.ts';
import { type Link, type LinkOwner, NOBODY, type Piece } from './link.ts';

/** Of one slot of the send arena. */
const SLOT_BYTES = 4096;

export class EngineLink extends Connection implements Link {
  owner: LinkOwner = NOBODY;
  /** Where writes of this turn are gathered: a slot of the arena, or -1. */
  #slot = -1;
  #used = 0;
  #isFlushDue = false;
  /** What is in flight, if it was not gathered. */
  #sent: Piece[] | null = null;
  /** connect(2) was called: who is told of its end. */
  onConnected: ((errno: number) => void) | null = null;

  constructor(turn: Turn, fd: number, isUnix: boolean, context: AsyncResource) {
    super(turn, fd, isUnix);
    this.context = context;
  }

  // ---- from the engine ----

  override onConnect(errno: number): void {
    this.onConnected?.(errno);
  }

  /** @hot */
  override onData(buffers: ReceiveBuffers, start: number, length: number): void {
    lend(viewOf(buffers, start, length), this.owner);
  }

  /** @hot */
  override onLargeData(buffers: LargeBuffers, id: number, length: number): void {
    lendLarge(buffers, id, length, this.owner);
  }

  override onHead(bytes: Buffer): void {
    lend(bytes, this.owner);
  }

  override onEnd(): void {
    this.owner.onEnd();
  }

  override onReadError(errno: number): void {
    this.owner.onError(errnoException(errno, 'read'));
  }

  override onSendProgress(): void {
    this.owner.onSendProgress();
  }

  /** @hot */
  override onSent(errno: number): void {
    if (this.#sent !== null) this.#release(errno);
    if (errno === 0) this.owner.onSent();
    else if (!this.isClosing) this.owner.onError(errnoException(errno, 'write'));
  }

  /** The kernel has copied it all; after an error nobody knows. */
  #release(errno: number): void {
    if (errno === 0) for (const { chunk } of this.#sent as Piece[]) sent(chunk as Uint8Array);
    this.#sent = null;
  }

  /** @hot */
  override get isSentInSilence(): boolean {
    return this.owner.isSentInSilence;
  }

  override onShutdown(): void {}

  override onClosed(): void {
    this.owner.onClosed();
  }

  /** @hot */
  override flush(): void {
    this.#isFlushDue = false;
    this.owner.flush();
  }

  // ---- from the connection ----

  get gatheredBytes(): number {
    return this.#used;
  }

  /** @hot */
  gather(chunk: Uint8Array | string, encoding: BufferEncoding): number {
    if (this.isSending) return -1;
    const { arena } = this.turn;
    // Three bytes a UTF-16 unit is the most that any encoding needs.
    const most = typeof chunk === 'string' ? chunk.length * 3 : chunk.byteLength;
    if (this.#used + most > SLOT_BYTES) return -1;
    if (most === 0) return 0;
    if (this.#slot < 0) {
      this.#slot = arena.take();
      if (this.#slot < 0) return -1;
    }
    const at = this.#slot + this.#used;
    if (typeof chunk === 'string') {
      const length = arena.memory.write(chunk, at, most, encoding);
      this.#used += length;
      if (this.#used === 0) this.#giveSlot(); // text that is no hex or base64
      return length;
    }
    arena.memory.set(chunk, at);
    this.#used += most;
    return most;
  }

  get tls(): undefined {
    return undefined;
  }

  /** @hot */
  flushLater(): void {
    if (this.#isFlushDue) return;
    this.#isFlushDue = true;
    this.turn.flushLater(this);
    if (this.turn.isEnding) this.turn.flush();
  }

  /** @hot */
  send(pieces: Piece[] | null): void {
    const slot = this.#slot;
    const used = this.#used;
    this.#slot = -1;
    this.#used = 0;
    if (pieces === null) {
      this.sendSlotted(slot, used);
      return;
    }
    if (slot >= 0) {
      const { arena } = this.turn;
      if (used > 0)
        pieces.unshift({ chunk: Buffer.from(arena.memory.subarray(slot, slot + used)), encoding: 'latin1' });
      arena.give(slot);
    }
    this.#sent = pieces;
    if (pieces.length === 1) this.sendOne((pieces[0] as Piece).chunk, 'latin1');
    else this.sendMany(pieces);
  }

  #giveSlot(): void {
    this.turn.arena.give(this.#slot);
    this.#slot = -1;
    this.#used = 0;
  }

  override close(isReset = false): void {
    if (this.#slot >= 0) this.#giveSlot();
    if (isReset && this.fd >= 0) setReset(this.turn.ring.native, this.fd);
    super.close();
  }

  name(isPeer: boolean): IpAddress | undefined {
    if (this.fd < 0) return undefined;
    const length = this.turn.ring.native.name(this.fd, isPeer, sockaddr);
    return length < 0 ? undefined : decodeIp(sockaddr.subarray(0, length));
  }

  // Options of TCP have no effect elsewhere, nor on what is closed.

  get #isTcp(): boolean {
    return !this.isUnix && this.fd >= 0;
  }

  setNoDelay(on: boolean): void {
    if (this.#isTcp) setNoDelay(this.turn.ring.native, this.fd, on);
  }

  setKeepAlive(on: boolean, delayMs: number): void {
    if (this.#isTcp) setKeepAlive(this.turn.ring.native, this.fd, on, Math.ceil(delayMs / 1000));
  }

  setUserTimeout(ms: number): void {
    if (this.#isTcp) setUserTimeout(this.turn.ring.native, this.fd, ms);
  }

  tcpInfo(): TcpInfo | undefined {
    return this.#isTcp ? readTcpInfo(this.turn.ring.native, this.fd) : undefined;
  }
}

const sockaddr = Buffer.alloc(SOCKADDR_BYTES);

// ---- views of receive buffers ----

let shownMemory: Buffer | null = null;
/** By buffer: the view of what was received last. The next message is often as long. */
let views: (Buffer | undefined)[] = [];

/** A view of received bytes, good until its buffer is given back. @hot */
function viewOf(buffers: ReceiveBuffers, start: number, length: number): Buffer {
  if (shownMemory !== buffers.memory) show(buffers);
  const id = start / buffers.bufferBytes;
  const known = views[id];
  if (known !== undefined && known.length === length) return known;
  const view = buffers.memory.subarray(start, start + length);
  views[id] = view;
  return view;
}

/** There are more buffers than before, or some for the first time. */
function show(buffers: ReceiveBuffers): void {
  shownMemory = buffers.memory;
  views = new Array<undefined>(buffers.count).fill(undefined);
}
