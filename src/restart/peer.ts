/**
 * The other process: what it says, one message after the other. Whatever it sends that is not of the protocol ends it, with
 * a reason, and no descriptor of it stays open.
 */
import { type ChannelOwner, DescriptorChannel } from '../engine/descriptor-channel.ts';
import type { Turn } from '../engine/turn.ts';
import { RestartError } from './errors.ts';
import { decode, descriptorsOf, encode, type Message } from './protocol.ts';

/** A message that has come. The descriptors belong to whoever has it. */
export interface Received {
  readonly message: Message;
  readonly bytes: Buffer;
  readonly descriptors: readonly number[];
}

/** Messages wait here while nobody asks for them; above this many the other process waits, too. */
const MOST_WAITING = 256;

export class Peer implements ChannelOwner {
  readonly #turn: Turn;
  readonly #channel: DescriptorChannel;
  #inbox: Received[] = [];
  #isOver = false;
  #error: RestartError | undefined;
  #wake: (() => void) | undefined;
  #roomWaiters: (() => void)[] = [];
  readonly #endWaiters: (() => void)[] = [];

  /** @param fd of a connected unix socket; it is the peer's from now on */
  constructor(turn: Turn, fd: number) {
    this.#turn = turn;
    this.#channel = new DescriptorChannel(turn, fd, this);
  }

  /**
   * Says something; its descriptors are closed when they have left, or at once if the other process is gone.
   * @returns whether it was sent, or waits to be
   */
  say(message: Message, descriptors: readonly number[] = [], bytes?: Uint8Array): boolean {
    const isTaken = this.#channel.send(encode(message, bytes), descriptors);
    if (!isTaken) for (const fd of descriptors) this.#turn.ring.native.closeDescriptor(fd);
    return isTaken;
  }

  /** Resolves when not too much waits to be sent; at once when the other process is gone. */
  async room(): Promise<void> {
    while (this.#channel.isFull && !this.#isOver) await new Promise<void>((resolve) => this.#roomWaiters.push(resolve));
  }

  /**
   * The next message.
   * @returns undefined when the other process has ended, or is gone
   * @throws {RestartError} PROTOCOL, or READY_TIMEOUT-like errors of `signal`'s reason
   */
  async next(signal?: AbortSignal): Promise<Received | undefined> {
    for (;;) {
      signal?.throwIfAborted();
      const first = this.#inbox.shift();
      if (first !== undefined) {
        if (this.#inbox.length === 0) this.#channel.readStart();
        return first;
      }
      if (this.#error !== undefined) throw this.#error;
      if (this.#isOver) return undefined;
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
        signal?.addEventListener('abort', () => resolve(), { once: true });
      });
    }
  }

  get isOver(): boolean {
    return this.#isOver;
  }

  /** Whether it keeps the process alive. */
  ref(isRef: boolean): void {
    if (isRef) this.#channel.ref();
    else this.#channel.unref();
  }

  /** Ends when all was sent. @returns when that is, or the other process is gone */
  async end(): Promise<void> {
    this.#channel.ref();
    this.#channel.end();
    if (!this.#isOver) await new Promise<void>((resolve) => this.#endWaiters.push(resolve));
  }

  close(): void {
    this.#channel.close();
    this.#discard();
  }

  // ---- from the channel ----

  onMessage(payload: Buffer, descriptors: number[]): void {
    const decoded = decode(payload);
    if (decoded === undefined || descriptorsOf(decoded.message) !== descriptors.length) {
      for (const fd of descriptors) this.#turn.ring.native.closeDescriptor(fd);
      this.#fail(new RestartError('PROTOCOL', 'the other process sent what is no message of this protocol'));
      return;
    }
    this.#inbox.push({ ...decoded, descriptors });
    if (this.#inbox.length >= MOST_WAITING) this.#channel.readStop();
    this.#tell();
  }

  onDrain(): void {
    for (const resolve of this.#roomWaiters.splice(0)) resolve();
  }

  onClosed(error: Error | undefined): void {
    const isForeign = (error as { reason?: string } | undefined)?.reason === 'BAD_FRAME';
    if (isForeign) this.#error ??= new RestartError('PROTOCOL', (error as Error).message, { cause: error });
    this.#isOver = true;
    this.onDrain();
    for (const resolve of this.#endWaiters.splice(0)) resolve();
    this.#tell();
  }

  #fail(error: RestartError): void {
    this.#error ??= error;
    this.#channel.close();
    this.#discard();
    this.#tell();
  }

  #discard(): void {
    for (const { descriptors } of this.#inbox.splice(0))
      for (const fd of descriptors) this.#turn.ring.native.closeDescriptor(fd);
  }

  #tell(): void {
    this.#wake?.();
    this.#wake = undefined;
  }
}
