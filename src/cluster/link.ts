/**
 * What the primary and a worker tell each other things on: a `MessagePort` to a thread, the process channel to a process.
 * Messages are structured clones, and none is lost or overtakes another while both live.
 *
 * A channel is a pair of these. Several share the channel of a process, told apart by their name:
 *
 * ```
 *  { millrace: 'bus', is: 'message', body }      of the link 'bus'
 *  { millrace: 'bus', is: 'taken', body: 16 }    the other side has read so many more
 * ```
 *
 * Neither channel says how much waits at the other end, and what waits is memory: so readers acknowledge, and `post` says
 * when too much is under way.
 */
import type { MessagePort } from 'node:worker_threads';

/** The names of the links between the primary and a worker. */
export type LinkName = 'control' | 'bus';

export interface Link {
  /**
   * Sends a message, always.
   * @param transfer for threads only: what goes over instead of being copied
   * @returns `false` if many are under way already: better wait for `onDrain`
   * @throws {DataCloneError} the message has something that can't be cloned; nothing was sent
   */
  post(message: unknown, transfer?: readonly Transferred[]): boolean;
  /** Called with each message, in order. */
  onMessage: (message: unknown) => void;
  /** Few are under way again, after `post` has said `false`. */
  onDrain: () => void;
  /** The other side is gone, or has closed: once, and nothing follows. */
  onClosed: () => void;
  /** Nothing is sent or told any more. */
  close(): void;
}

export type Transferred = ArrayBuffer | MessagePort;

/** Messages under way when `post` begins to say `false`, and when it drains. */
const MOST_UNDER_WAY = 64;
const FEW_UNDER_WAY = 16;
/** A reader acknowledges so many at a time. */
const TAKEN_AT_ONCE = 16;

interface Envelope {
  readonly millrace: LinkName;
  readonly is: 'message' | 'taken';
  readonly body: unknown;
}

/** The part of `ChildProcess`, and of a worker's `process`, that is needed here. */
export interface ProcessChannel {
  readonly connected: boolean;
  send?(message: never, handle: undefined, options: undefined, callback: () => void): boolean;
  on(event: 'message' | 'disconnect', listener: (message: unknown) => void): unknown;
  off(event: 'message' | 'disconnect', listener: (message: unknown) => void): unknown;
}

/** What both kinds have in common. @internal */
abstract class CountedLink implements Link {
  readonly #name: LinkName;
  #underWay = 0;
  #isFull = false;
  #taken = 0;
  #isClosed = false;

  constructor(name: LinkName) {
    this.#name = name;
  }

  onMessage: (message: unknown) => void = () => {};
  onDrain: () => void = () => {};
  onClosed: () => void = () => {};

  protected abstract send(envelope: Envelope, transfer: readonly Transferred[]): void;
  protected abstract end(): void;

  post(message: unknown, transfer: readonly Transferred[] = []): boolean {
    if (this.#isClosed) return true; // nobody is there who could be slow
    this.send({ millrace: this.#name, is: 'message', body: message }, transfer);
    this.#underWay++;
    if (this.#underWay >= MOST_UNDER_WAY) this.#isFull = true;
    return !this.#isFull;
  }

  /** Something came; what isn't ours is the program's own business. */
  protected receive(what: unknown): void {
    const envelope = what as Partial<Envelope> | null | undefined;
    if (this.#isClosed || envelope?.millrace !== this.#name) return;
    if (envelope.is === 'taken') {
      this.#underWay -= envelope.body as number;
      if (!this.#isFull || this.#underWay > FEW_UNDER_WAY) return;
      this.#isFull = false;
      this.onDrain();
      return;
    }
    if (++this.#taken === TAKEN_AT_ONCE) {
      this.#taken = 0;
      this.send({ millrace: this.#name, is: 'taken', body: TAKEN_AT_ONCE }, []);
    }
    this.onMessage(envelope.body);
  }

  protected closed(): void {
    if (this.#isClosed) return;
    this.close();
    this.onClosed();
  }

  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.end();
  }
}

class PortLink extends CountedLink {
  readonly #port: MessagePort;

  constructor(name: LinkName, port: MessagePort) {
    super(name);
    this.#port = port;
    port.on('message', (message) => this.receive(message));
    port.on('close', () => this.closed());
    port.unref();
  }

  protected override send(envelope: Envelope, transfer: readonly Transferred[]): void {
    this.#port.postMessage(envelope, transfer as ArrayBuffer[]);
  }

  protected override end(): void {
    this.#port.close();
  }
}

class ProcessLink extends CountedLink {
  readonly #channel: ProcessChannel;
  readonly #onMessage = (message: unknown): void => this.receive(message);
  readonly #onDisconnect = (): void => this.closed();

  constructor(name: LinkName, channel: ProcessChannel) {
    super(name);
    this.#channel = channel;
    channel.on('message', this.#onMessage);
    channel.on('disconnect', this.#onDisconnect);
  }

  protected override send(envelope: Envelope): void {
    // An error here is that nobody is there any more, and 'disconnect' tells that.
    if (this.#channel.connected) this.#channel.send?.(envelope as never, undefined, undefined, () => {});
  }

  protected override end(): void {
    this.#channel.off('message', this.#onMessage);
    this.#channel.off('disconnect', this.#onDisconnect);
  }
}

/** A link of its own port. It keeps no thread alive. */
export function portLink(name: LinkName, port: MessagePort): Link {
  return new PortLink(name, port);
}

/** A link on the channel of a process, with `serialization: 'advanced'`, which others may use as well. */
export function processLink(name: LinkName, channel: ProcessChannel): Link {
  return new ProcessLink(name, channel);
}
