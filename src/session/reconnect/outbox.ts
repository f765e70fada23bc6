/**
 * Messages until a connection takes them; those with an id, until they are acknowledged.
 *
 *      offer() ──> waiting ──next()──> handed, with an id ──acked()──> gone
 *                     ^                  │    └─ without an id: gone
 *                     └────rewind()──────┘  a new connection: everything unacknowledged again, in order
 */
import { badOption, misuse, SessionError } from '../errors.ts';
import { LinkedQueue, type QueueNode } from '../linked-queue.ts';

/**
 * What happens to a message when the outbox is full.
 *
 * - `keep`: `send` waits for room.
 * - `dropOldest`: the oldest messages give way, also those that were handed to a connection and not acknowledged.
 * - `refuse`: `send` is rejected: `MILLRACE_ERR_OUTBOX_FULL`.
 */
export type OutboxPolicy = 'keep' | 'dropOldest' | 'refuse';

/** What names a message, for its acknowledgement. */
export type MessageId = string | number | bigint;

export interface OutboxOptions<Out> {
  /** 1,000 unless given. */
  maxMessages?: number | undefined;
  /** 1 MiB unless given. */
  maxBytes?: number | undefined;
  /** `keep` unless given. */
  whenFull?: OutboxPolicy | undefined;
  /**
   * The id of a message that the peer acknowledges; `undefined` for one that it doesn't. What has an id stays in the
   * outbox until `acked` is told the id, and is sent again on each new connection: it arrives at least once.
   */
  idOf?: ((message: Out) => MessageId | undefined) | undefined;
  /** In bytes, for `maxBytes`. The size of the frame's payload unless given. */
  sizeOf?: ((message: Out) => number) | undefined;
}

export interface OutboxEntry<Out> {
  readonly message: Out;
  readonly bytes: number;
  readonly id: MessageId | undefined;
  node: QueueNode<OutboxEntry<Out>>;
}

/** A `send` that waits for room. */
interface Waiter<Out> {
  readonly message: Out;
  readonly bytes: number;
  resolve(): void;
  reject(error: unknown): void;
}

export class Outbox<Out> {
  readonly #maxMessages: number;
  readonly #maxBytes: number;
  readonly #policy: OutboxPolicy;
  readonly #idOf: ((message: Out) => MessageId | undefined) | undefined;
  readonly #sizeOf: (message: Out) => number;
  readonly #onDropped: (message: Out) => void;
  #waiting = new LinkedQueue<OutboxEntry<Out>>();
  #handed = new LinkedQueue<OutboxEntry<Out>>();
  readonly #byId = new Map<MessageId, OutboxEntry<Out>>();
  readonly #waiters = new LinkedQueue<Waiter<Out>>();
  #bytes = 0;

  constructor(options: OutboxOptions<Out>, onDropped: (message: Out) => void) {
    const { maxMessages = 1000, maxBytes = 1024 * 1024, whenFull = 'keep', idOf, sizeOf = sizeInMemory } = options;
    if (!(maxMessages >= 1)) throw badOption(`outbox.maxMessages: ${maxMessages}`);
    if (!(maxBytes >= 1)) throw badOption(`outbox.maxBytes: ${maxBytes}`);
    if (!['keep', 'dropOldest', 'refuse'].includes(whenFull)) throw badOption(`outbox.whenFull: ${whenFull}`);
    this.#maxMessages = maxMessages;
    this.#maxBytes = maxBytes;
    this.#policy = whenFull;
    this.#idOf = idOf;
    this.#sizeOf = sizeOf;
    this.#onDropped = onDropped;
  }

  /** Messages in it: those that wait, and those that are not acknowledged. */
  get length(): number {
    return this.#waiting.size + this.#handed.size;
  }

  get bytes(): number {
    return this.#bytes;
  }

  /** Messages that no connection was given. */
  get waiting(): number {
    return this.#waiting.size;
  }

  /** Whether messages may have ids. */
  get hasIds(): boolean {
    return this.#idOf !== undefined;
  }

  /** `send`s that wait for room. */
  get isCrowded(): boolean {
    return this.#waiters.size > 0;
  }

  // -------------------------------------------------------------------------------------------------------------- in

  /**
   * Takes a message if there is room, or makes room.
   *
   * @returns whether it was taken
   * @throws {MILLRACE_ERR_OUTBOX_FULL} it is larger than the outbox, or the policy is to refuse
   * @throws {MILLRACE_ERR_MISUSE} a message with this id is not acknowledged
   */
  offer(message: Out): boolean {
    const bytes = this.#measure(message);
    this.#identify(message);
    if (this.#waiters.size === 0 && this.#fits(bytes)) {
      this.#take(message, bytes);
      return true;
    }
    if (this.#policy === 'refuse') throw full(`${this.length} messages of ${this.#bytes} bytes wait already`);
    if (this.#policy === 'keep') return false;
    while (!this.#fits(bytes)) {
      const oldest = (this.#handed.first ?? this.#waiting.first)?.value as OutboxEntry<Out>;
      this.#remove(oldest);
      this.#onDropped(oldest.message);
    }
    this.#take(message, bytes);
    return true;
  }

  /** Takes a message when there is room, behind those that came earlier. */
  async take(message: Out, signal: AbortSignal | undefined): Promise<void> {
    if (this.offer(message)) return;
    await new Promise<void>((resolve, reject) => {
      const onAbort = (): void => {
        this.#waiters.delete(node);
        reject(signal?.reason as Error);
      };
      const settle = (): void => signal?.removeEventListener('abort', onAbort);
      const node = this.#waiters.push({
        message,
        bytes: this.#sizeOf(message),
        resolve: () => {
          settle();
          resolve();
        },
        reject: (error) => {
          settle();
          reject(error as Error);
        },
      });
      signal?.addEventListener('abort', onAbort, { once: true });
    });
  }

  // ------------------------------------------------------------------------------------------------------------- out

  /** The oldest that no connection was given. From now on this one was. */
  next(): OutboxEntry<Out> | undefined {
    const entry = this.#waiting.shift();
    if (entry === undefined) return undefined;
    if (entry.id === undefined) this.#gone(entry);
    else entry.node = this.#handed.push(entry);
    return entry;
  }

  /** A new connection: it is given everything that was not acknowledged. */
  rewind(): void {
    if (this.#handed.size === 0) return;
    const all = new LinkedQueue<OutboxEntry<Out>>();
    for (const queue of [this.#handed, this.#waiting]) for (const entry of queue) entry.node = all.push(entry);
    this.#waiting = all;
    this.#handed = new LinkedQueue();
  }

  /** @returns whether it was in the outbox */
  acked(id: MessageId): boolean {
    const entry = this.#byId.get(id);
    if (entry !== undefined) this.#remove(entry);
    return entry !== undefined;
  }

  /** That message and all before it. @returns how many were in the outbox */
  ackedThrough(id: MessageId): number {
    const last = this.#byId.get(id);
    if (last === undefined) return 0;
    const before: OutboxEntry<Out>[] = [];
    for (const entry of this.#inOrder()) {
      if (entry.id !== undefined) before.push(entry);
      if (entry === last) break;
    }
    for (const entry of before) this.#remove(entry);
    return before.length;
  }

  /** One that can't be sent at all. */
  discard(entry: OutboxEntry<Out>): void {
    if (entry.node.queue !== undefined) this.#remove(entry);
  }

  /** What is in it, oldest first. */
  messages(): Out[] {
    return [...this.#inOrder()].map((entry) => entry.message);
  }

  /** Nobody waits for room any more. */
  close(error: () => unknown): void {
    for (let waiter = this.#waiters.shift(); waiter !== undefined; waiter = this.#waiters.shift())
      waiter.reject(error());
  }

  // ------------------------------------------------------------------------------------------------------------------

  *#inOrder(): IterableIterator<OutboxEntry<Out>> {
    yield* this.#handed;
    yield* this.#waiting;
  }

  #measure(message: Out): number {
    const bytes = this.#sizeOf(message);
    if (bytes > this.#maxBytes) throw full(`a message of ${bytes} bytes is larger than the outbox`, this.#maxBytes);
    return bytes;
  }

  #identify(message: Out): MessageId | undefined {
    const id = this.#idOf?.(message);
    if (id !== undefined && this.#byId.has(id)) throw misuse(`a message with the id ${id} is not acknowledged`);
    return id;
  }

  #fits(bytes: number): boolean {
    return this.length < this.#maxMessages && this.#bytes + bytes <= this.#maxBytes;
  }

  #take(message: Out, bytes: number): void {
    const id = this.#identify(message);
    const entry = { message, bytes, id } as OutboxEntry<Out>;
    entry.node = this.#waiting.push(entry);
    this.#bytes += bytes;
    if (id !== undefined) this.#byId.set(id, entry);
  }

  #remove(entry: OutboxEntry<Out>): void {
    entry.node.queue?.delete(entry.node);
    if (entry.id !== undefined) this.#byId.delete(entry.id);
    this.#gone(entry);
  }

  /** There is room. */
  #gone(entry: OutboxEntry<Out>): void {
    this.#bytes -= entry.bytes;
    for (
      let node = this.#waiters.first;
      node !== undefined && this.#fits(node.value.bytes);
      node = this.#waiters.first
    ) {
      const waiter = node.value;
      this.#waiters.delete(node);
      try {
        this.#take(waiter.message, waiter.bytes);
        waiter.resolve();
      } catch (error) {
        waiter.reject(error);
      }
    }
  }
}

function full(message: string, limit?: number): SessionError {
  return new SessionError('OUTBOX_FULL', `the outbox is full: ${message}`, { limit });
}

/** About what a message takes, where no codec says it. */
function sizeInMemory(message: unknown): number {
  if (message instanceof Uint8Array) return message.length;
  return Buffer.byteLength(typeof message === 'string' ? message : (JSON.stringify(message) ?? ''));
}
