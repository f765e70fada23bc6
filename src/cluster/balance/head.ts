/**
 * The first bytes of a connection that the primary has accepted, until they tell a key. What was read goes with the
 * descriptor, and is what the worker's connection receives first.
 *
 * In: a descriptor. Out: `onKnown`, once, with a descriptor of the same socket; or nothing, if the peer has reset.
 */
import type { ReceiveBuffers } from '../../engine/buffers.ts';
import { Connection } from '../../engine/connection.ts';
import type { LargeBuffers } from '../../engine/large-buffers.ts';
import type { Turn } from '../../engine/turn.ts';
import { hashOf, type KeyRules } from './key.ts';

export interface HeadOwner {
  readonly rules: KeyRules;
  /** `hash` is that of the key; `undefined` if there is none: then anybody may have it. The descriptor is the owner's. */
  onKnown(reader: HeadReader, fd: number, head: Uint8Array, hash: number | undefined): void;
  /** It is over: nobody is there any more. */
  onGone(reader: HeadReader): void;
  /** The user's function threw. */
  onFailed(error: unknown): void;
}

export class HeadReader extends Connection {
  readonly #owner: HeadOwner;
  readonly #timer: NodeJS.Timeout;
  #head: Buffer = Buffer.alloc(0);
  #hash: number | undefined;
  #isDecided = false;

  constructor(turn: Turn, fd: number, isUnix: boolean, owner: HeadOwner) {
    super(turn, fd, isUnix);
    this.#owner = owner;
    this.#timer = setTimeout(() => this.#decide(undefined), owner.rules.timeoutMs);
    this.readStart();
  }

  override onData(buffers: ReceiveBuffers, start: number, length: number): void {
    this.#take(buffers.memory.subarray(start, start + length));
  }

  override onLargeData(buffers: LargeBuffers, id: number, length: number): void {
    this.#take(buffers.at(id).subarray(0, length));
  }

  override onHead(bytes: Buffer): void {
    this.#take(bytes);
  }

  /** Also what is on its way when the key is known already belongs to the head. */
  #take(bytes: Uint8Array): void {
    this.#head = Buffer.concat([this.#head, bytes]);
    if (this.#isDecided) return;
    const { key, maxHeadBytes } = this.#owner.rules;
    let found: string | number | undefined;
    try {
      found = key(this.#head.subarray(0, maxHeadBytes));
    } catch (error) {
      this.#owner.onFailed(error);
      this.#decide(undefined);
      return;
    }
    if (found !== undefined) this.#decide(hashOf(found));
    else if (this.#head.byteLength >= maxHeadBytes) this.#decide(undefined);
  }

  /** Whoever gets it is told again. */
  override onEnd(): void {
    this.#decide(undefined);
  }

  #decide(hash: number | undefined): void {
    if (this.#isDecided || this.isClosing) return;
    this.#isDecided = true;
    this.#hash = hash;
    clearTimeout(this.#timer);
    this.stopped(() => this.#handOver());
  }

  #handOver(): void {
    if (this.isClosing) return;
    const fd = this.turn.ring.native.duplicate(this.fd);
    this.close(); // the duplicate is the same socket: the peer is told nothing
    if (fd >= 0) this.#owner.onKnown(this, fd, this.#head, this.#hash);
    else this.#owner.onGone(this); // no descriptor left
  }

  override onReadError(): void {
    this.drop();
  }

  /** The peer has reset, or the group is closed. */
  drop(): void {
    if (this.isClosing) return;
    this.#isDecided = true;
    clearTimeout(this.#timer);
    this.close();
    this.#owner.onGone(this);
  }

  override onConnect(): void {}
  override onSendProgress(): void {}
  override onSent(): void {}
  override onShutdown(): void {}
  override onClosed(): void {}
  override flush(): void {}
  override get isSentInSilence(): boolean {
    return true;
  }
}
