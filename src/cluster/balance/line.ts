/** The primary's end of the channel of descriptors to one worker, and what it knows about the worker's load. */
import { type ChannelMessage, type ChannelOwner, DescriptorChannel } from '../../engine/descriptor-channel.ts';
import type { Turn } from '../../engine/turn.ts';
import type { Member } from '../member.ts';
import { decode, encode, type FromListener, type ToListener } from './messages.ts';

export interface LineOwner {
  onMessage(line: Line, message: FromListener, fds: number[]): void;
  /** It has returned a connection, whose descriptor did not come. */
  onLost(line: Line, key: string): void;
  /** It has room again. */
  onDrain(line: Line): void;
  /** What was not sent is the owner's. */
  onUnsent(message: ToListener, fds: readonly number[]): void;
}

export class Line implements ChannelOwner {
  readonly member: Member;
  /** The worker is the one in its place: not one of a generation that is only about to take over, or that leaves. */
  isServing = false;
  /** Connections that were given to it. */
  given = 0;
  readonly #channel: DescriptorChannel;
  readonly #owner: LineOwner;

  constructor(turn: Turn, member: Member, owner: LineOwner) {
    this.member = member;
    this.#owner = owner;
    this.#channel = new DescriptorChannel(turn, member.descriptor, this);
    this.#channel.unref(); // the worker keeps us alive, not its channel
  }

  /** Open connections, with those that it hasn't told of yet. */
  get load(): number {
    return this.member.connections + Math.max(0, this.given - this.member.taken);
  }

  get isFull(): boolean {
    return this.#channel.isFull;
  }

  /** @returns `false` if it is gone: the descriptors are still the caller's */
  send(message: ToListener, fds: readonly number[] = []): boolean {
    return this.#channel.send(encode(message), fds);
  }

  close(): void {
    this.#channel.close();
  }

  // ---- from the channel ----

  onMessage(payload: Buffer, fds: number[]): void {
    this.#owner.onMessage(this, decode<FromListener>(payload), fds);
  }

  /** Of 'returned': its connection is closed, as we have no descriptor left. */
  onIncomplete(payload: Buffer): void {
    const message = decode<FromListener>(payload);
    if (message.is === 'returned') this.#owner.onLost(this, message.key);
  }

  onDrain(): void {
    this.#owner.onDrain(this);
  }

  onClosed(_error: Error | undefined, unsent: ChannelMessage[]): void {
    for (const { payload, descriptors } of unsent.splice(0))
      this.#owner.onUnsent(decode<ToListener>(Buffer.from(payload)), descriptors);
  }
}
