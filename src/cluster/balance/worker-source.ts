/**
 * Where the servers of a worker get their listening sockets from: the primary. See messages.ts for what is said.
 *
 * In: what a server asks (`open`), descriptors from the primary. Out: a listening socket or an inlet; connections, to the
 * server that listens there.
 */
import { type ChannelOwner, DescriptorChannel } from '../../engine/descriptor-channel.ts';
import { Listener } from '../../engine/listener.ts';
import {
  type Inlet,
  type ListenerSource,
  listeningSockets,
  type Offer,
  type Taker,
} from '../../engine/listener-source.ts';
import type { Place } from '../../engine/open-listener.ts';
import { begin } from '../../engine/serving.ts';
import type { Turn } from '../../engine/turn.ts';
import { decode, encode, type FromListener, type ToListener, toBytes } from './messages.ts';

/** What a server asked for. */
interface Ask {
  readonly key: string;
  answer(offer: Offer | number): void;
}

/** EADDRINUSE of bind(2). */
const EADDRINUSE = 98;
/** No descriptor is left. */
const EMFILE = 24;
/** The primary is gone, and with it the address. */
const ECONNABORTED = 103;

export class WorkerSource implements ListenerSource, ChannelOwner {
  readonly #turn: Turn;
  readonly #channel: DescriptorChannel;
  readonly #asks = new Map<number, Ask>();
  /** Who takes the connections of an address. */
  readonly #takers = new Map<string, Taker>();
  /** Where a descriptor of ours listens that no `Listener` was seen with yet. */
  readonly #sockets = new Map<string, number>();
  /** How often any free port was asked for: the first of each worker share one, the second another. */
  readonly #ports = new Map<string, number>();
  readonly #onLost: () => void;
  #onLast: () => void = () => {};
  #lastAsk = 0;
  #isClosed = false;
  #hasWarned = false;
  /** Connections that the primary has given to us. */
  taken = 0;

  /** @param onLost the primary can't reach us any more, and nobody comes by this channel */
  constructor(turn: Turn, fd: number, onLost: () => void) {
    this.#turn = turn;
    this.#onLost = onLost;
    this.#channel = new DescriptorChannel(turn, fd, this);
    this.#channel.unref(); // the control link decides how long the worker lives
  }

  // ------------------------------------------------------------------------------------------------------- from servers

  open(place: Readonly<Place>, backlog: number): Promise<Offer | number> | number | undefined {
    if (place.reusePort) return undefined; // its own affair
    if (this.#isClosed) return -ECONNABORTED;
    const key = this.#keyOf(place);
    if (this.#isTaken(key)) return -EADDRINUSE;
    const begun = begin();
    const ask = ++this.#lastAsk;
    return new Promise<Offer | number>((resolve) => {
      const answer = (offer: Offer | number): void => {
        this.#asks.delete(ask);
        resolve(offer);
        // The server goes on in a promise job of its own; then all know how it ended.
        setImmediate(() => {
          this.#find();
          begun();
        });
      };
      this.#asks.set(ask, { key, answer });
      const { address, port, family, fd, ipv6Only } = place;
      const message = { is: 'listen', ask, key, place: { address, port, family, fd, ipv6Only }, backlog } as const;
      if (!this.#say(message)) answer(-ECONNABORTED);
    });
  }

  #keyOf({ address, port, family, fd, ipv6Only }: Readonly<Place>): string {
    const key = JSON.stringify([family, address, port, fd, ipv6Only]);
    if (port !== 0 || fd !== undefined) return key;
    const count = this.#ports.get(key) ?? 0;
    this.#ports.set(key, count + 1);
    return `${key} ${count}`;
  }

  /** In one worker two servers can't listen on the same address, as ever. */
  #isTaken(key: string): boolean {
    this.#lookForStopped();
    if (this.#takers.has(key) || this.#sockets.has(key)) return true;
    for (const ask of this.#asks.values()) if (ask.key === key) return true;
    return false;
  }

  /** Who listens with the sockets that we were given: connections can be brought to it as well. */
  #find(): void {
    for (const [key, fd] of this.#sockets) {
      for (const each of listeningSockets) {
        if (each.fd !== fd || !(each instanceof Listener)) continue;
        this.#takers.set(key, each);
        this.#say({ is: 'started', key });
        break;
      }
      // Nobody: it was closed before the answer came.
      if (!this.#takers.has(key)) this.#say({ is: 'stopped', key });
      this.#sockets.delete(key);
    }
  }

  /** Tells of servers that have closed their sockets. Those with inlets say so themselves. */
  #lookForStopped(): void {
    for (const [key, taker] of this.#takers) {
      if (!(taker instanceof Listener) || taker.inlet !== null || listeningSockets.has(taker)) continue;
      this.#takers.delete(key);
      this.#say({ is: 'stopped', key });
    }
  }

  /** All that was begun is listened on. */
  ready(): void {
    this.#say({ is: 'ready' });
  }

  /**
   * Resolves when all connections that were given to us have come: those that are on their way when a server closes would
   * be lost with it, if nobody else can take them. Or when the primary has not answered in time.
   */
  left(deadlineMs: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, deadlineMs);
      this.#onLast = () => {
        clearTimeout(timer);
        resolve();
      };
      if (!this.#say({ is: 'leaving' })) this.#onLast();
    });
  }

  /** From time to time. */
  check(): void {
    this.#lookForStopped();
  }

  // ------------------------------------------------------------------------------------------------- from the primary

  onMessage(payload: Buffer, fds: number[]): void {
    const message = decode<ToListener>(payload);
    if (message.is === 'connections') {
      this.#onConnections(message, fds);
      return;
    }
    if (message.is === 'last') {
      this.#onLast();
      return;
    }
    const ask = this.#asks.get(message.ask);
    if (ask === undefined) {
      for (const fd of fds) this.#turn.ring.native.closeDescriptor(fd);
      return;
    }
    if (message.is === 'refused') {
      ask.answer(-message.errno);
    } else if (message.is === 'socket') {
      const [fd] = fds as [number];
      this.#sockets.set(ask.key, fd);
      ask.answer({ fd, isShared: message.isShared, keepsPath: message.keepsPath });
    } else {
      ask.answer({ inlet: this.#inlet(ask.key, Buffer.from(message.sockaddr, 'base64')) });
    }
  }

  /** What has no descriptor left is closed by the kernel; the others, and those that come later, are served. */
  onIncomplete(payload: Buffer, fds: number[], lost: number): void {
    const message = decode<ToListener>(payload);
    if (message.is === 'connections') {
      this.#onConnections(message, fds);
      this.taken += lost; // the primary doesn't wait for them
      this.#warnOfLost();
    } else if (message.is === 'socket') {
      const ask = this.#asks.get(message.ask);
      if (ask === undefined) return;
      this.#say({ is: 'stopped', key: ask.key });
      ask.answer(-EMFILE);
    }
  }

  #warnOfLost(): void {
    if (this.#hasWarned) return;
    this.#hasWarned = true;
    process.emitWarning('connections are closed: this worker has no descriptor left for them (EMFILE)', {
      ...{ type: 'MillraceWarning', code: 'MILLRACE_WARN_CLUSTER' },
    });
  }

  #inlet(key: string, sockaddr: Buffer): Inlet {
    return {
      sockaddr,
      start: (taker) => {
        this.#takers.set(key, taker);
        this.#say({ is: 'started', key });
      },
      stop: () => {
        this.#takers.delete(key);
        this.#say({ is: 'stopped', key });
      },
    };
  }

  #onConnections({ key, heads }: ToListener & { is: 'connections' }, fds: readonly number[]): void {
    const taker = this.#takers.get(key);
    this.taken += fds.length;
    for (const [i, fd] of fds.entries()) {
      const head = heads?.[i];
      let isTaken = false;
      try {
        isTaken = taker?.deliver(fd, toBytes(head)) === true;
      } catch (error) {
        isTaken = true; // a listener threw: the connection is its server's, and the others still come
        process.nextTick(() => {
          throw error;
        });
      }
      if (isTaken) continue;
      this.taken--;
      if (!this.#say({ is: 'returned', key, head }, [fd])) this.#turn.ring.native.closeDescriptor(fd);
    }
  }

  onClosed(): void {
    this.#isClosed = true;
    for (const { answer } of [...this.#asks.values()]) answer(-ECONNABORTED);
    this.#onLast();
    this.#onLost();
  }

  #say(message: FromListener, fds: readonly number[] = []): boolean {
    return this.#channel.send(encode(message), fds);
  }
}
