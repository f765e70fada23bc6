/**
 * One address that workers listen on: the primary has bound it, and stays its owner, so that it outlives each of them.
 *
 * ```
 *  kernel               TCP          a socket for each place of the group (SO_REUSEPORT): the kernel spreads connections.
 *                                    Nobody in that place: the primary accepts from it, and gives to the others
 *                       unix, fd     one socket, from which all accept
 *  least connections,   all          one socket: the primary accepts, and gives
 *  key
 * ```
 *
 * In: who listens, what is accepted. Out: descriptors to workers, all of a turn in one message.
 */
import { decodeIp, SOCKADDR_BYTES } from '../../engine/address.ts';
import { type ListeningSocket, listeningSockets } from '../../engine/listener-source.ts';
import { type Place as EnginePlace, givenListener, openListener, removePath } from '../../engine/open-listener.ts';
import { setReusePort } from '../../engine/socket-options.ts';
import type { Flushable, Turn } from '../../engine/turn.ts';
import type { Place } from '../protocol.ts';
import { Acceptor } from './acceptor.ts';
import { type HeadOwner, HeadReader } from './head.ts';
import { hashOf, type KeyRules, weightOf } from './key.ts';
import type { Line } from './line.ts';
import { toText } from './messages.ts';

/** A connection that waits for a worker. */
interface Waiting {
  readonly fd: number;
  readonly head: Uint8Array | undefined;
  /** Of its key, if it has one. */
  readonly hash: number | undefined;
}

interface Socket extends ListeningSocket {
  readonly acceptor: Acceptor;
  /** Others than the worker in its place accept from it, too. */
  readonly isShared: boolean;
  /** Who accepts from it. */
  readonly holders: Set<Line>;
}

/** Descriptors of one message; the kernel takes 253. */
const MOST_AT_ONCE = 250;
/** First bytes of connections in one message, which the channel limits; a single one may have more. */
const MOST_HEAD_BYTES = 1 << 20;
/** When so many wait for a worker, no more are accepted. */
const MOST_WAITING = 128;
const ONLY = 0;

/** Of those for one worker, those that go in one message. */
function* messagesOf(batch: readonly Waiting[]): Generator<Waiting[]> {
  let some: Waiting[] = [];
  let bytes = 0;
  for (const waiting of batch) {
    const length = waiting.head?.byteLength ?? 0;
    if (some.length === MOST_AT_ONCE || (some.length > 0 && bytes + length > MOST_HEAD_BYTES)) {
      yield some;
      some = [];
      bytes = 0;
    }
    some.push(waiting);
    bytes += length;
  }
  if (some.length > 0) yield some;
}

export class Address implements Flushable, HeadOwner {
  readonly key: string;
  readonly #turn: Turn;
  readonly #place: Place;
  readonly #balance: 'kernel' | 'least-connections' | KeyRules;
  readonly #reportError: (error: unknown) => void;
  /** By place of the group; the one of all at `ONLY`. */
  readonly #sockets = new Map<number, Socket>();
  /** Who has asked for it and has not closed it. */
  readonly users = new Set<Line>();
  /** Who takes connections. */
  readonly #takers = new Set<Line>();
  /** Who has said lately that there is no room. */
  readonly #full = new Set<Line>();
  readonly #heads = new Set<HeadReader>();
  #waiting: Waiting[] = [];
  #isFlushDue = false;
  #isStopped = false;
  #next = 0;

  constructor(
    turn: Turn,
    key: string,
    place: Place,
    balance: 'kernel' | 'least-connections' | KeyRules,
    reportError: (error: unknown) => void,
  ) {
    this.#turn = turn;
    this.key = key;
    this.#place = place;
    this.#balance = balance;
    this.#reportError = reportError;
  }

  get #isSpreadByKernel(): boolean {
    return this.#balance === 'kernel';
  }

  get #isUnix(): boolean {
    return this.#place.family === -1;
  }

  /** A socket for each place of the group. */
  get #hasSockets(): boolean {
    return this.#isSpreadByKernel && !this.#isUnix && this.#place.fd === undefined;
  }

  get rules(): KeyRules {
    return this.#balance as KeyRules;
  }

  get port(): number | undefined {
    const [socket] = this.#sockets.values();
    return socket === undefined ? undefined : this.#nameOf(socket.fd)?.port;
  }

  // -------------------------------------------------------------------------------------------------------- who listens

  /** Answers a worker that wants to listen here. @returns 0 or `-errno` */
  grant(line: Line, ask: number, backlog: number): number {
    const at = this.#hasSockets ? line.member.slot : ONLY;
    if (this.#sockets.size === 0) this.#inherit(at, backlog);
    let socket = this.#sockets.get(at);
    if (socket === undefined) {
      const fd = this.#open(backlog);
      if (fd < 0) return fd;
      socket = this.#add(at, fd, this.#isSpreadByKernel && !this.#hasSockets);
    }
    this.users.add(line);
    if (!this.#isSpreadByKernel) {
      line.send({ is: 'inlet', ask, sockaddr: this.#sockaddr(socket.fd).toString('base64') });
      return 0;
    }
    const fd = this.#turn.ring.native.duplicate(socket.fd);
    if (fd < 0) return fd;
    socket.holders.add(line);
    if (!line.send({ is: 'socket', ask, isShared: socket.isShared, keepsPath: true }, [fd]))
      this.#turn.ring.native.closeDescriptor(fd); // it is gone, and we are about to hear of it
    this.settle();
    return 0;
  }

  /**
   * The process before us may have handed over sockets of this address. Those that are one too many for us are accepted
   * from here: connections wait in their queues.
   */
  #inherit(at: number, backlog: number): void {
    const places = this.#hasSockets ? [at] : [ONLY];
    for (let next = 0; ; ) {
      const place: EnginePlace = { ...this.#place, reusePort: false };
      const given = givenListener(this.#turn, place, backlog);
      if (given === undefined || typeof given === 'number' || given instanceof Promise || given.inlet !== null) return;
      const own = places.pop();
      while (own === undefined && (next === at || this.#sockets.has(next))) next++;
      this.#add(own ?? next, given.fd, given.isShared);
      if (!this.#hasSockets) return;
    }
  }

  #add(at: number, fd: number, isShared: boolean): Socket {
    const acceptor = new Acceptor(this.#turn, fd, this.#isUnix, isShared, (accepted) => this.#accepted(accepted));
    const { address, port, family, ipv6Only } = this.#place;
    const place = { address, port, family, ipv6Only, fd: this.#place.fd, reusePort: false };
    // Who gets it next tells the workers by itself: see EAGAIN in ops/accept.ts.
    const socket: Socket = { fd, acceptor, isShared, holders: new Set(), place, keepsPath: false, share() {} };
    this.#sockets.set(at, socket);
    listeningSockets.add(socket);
    return socket;
  }

  /**
   * The first socket is bound for itself, so that somebody else on this port is an error and not a neighbour; the others
   * join it: bind(2) and listen(2) look at SO_REUSEPORT of who is there at that moment.
   */
  #open(backlog: number): number {
    const { native } = this.#turn.ring;
    const [first] = this.#sockets.values();
    const place: EnginePlace = { ...this.#place, reusePort: first !== undefined };
    if (this.#place.fd !== undefined) {
      const own = native.duplicate(this.#place.fd);
      if (own < 0) return own;
      place.fd = own;
    } else if (first !== undefined) {
      const name = this.#nameOf(first.fd);
      if (name !== undefined)
        Object.assign(place, { address: name.address, port: name.port, family: name.family === 'IPv6' ? 6 : 4 });
    }
    const opened = openListener(this.#turn, place, backlog);
    if (typeof opened === 'number') {
      if (place.fd !== undefined) native.closeDescriptor(place.fd);
      return opened;
    }
    if (this.#hasSockets && first === undefined) setReusePort(native, opened.fd);
    return opened.fd;
  }

  #sockaddr(fd: number): Buffer {
    const bytes = Buffer.alloc(SOCKADDR_BYTES);
    return bytes.subarray(0, Math.max(0, this.#turn.ring.native.name(fd, false, bytes)));
  }

  #nameOf(fd: number) {
    return decodeIp(this.#sockaddr(fd));
  }

  started(line: Line): void {
    if (!this.users.has(line)) return;
    this.#takers.add(line);
    this.settle();
  }

  /** It takes nothing any more: it has closed, is about to, or is gone. */
  stopped(line: Line): void {
    this.users.delete(line);
    this.#takers.delete(line);
    this.#full.delete(line);
    for (const { holders } of this.#sockets.values()) holders.delete(line);
    this.settle();
  }

  /** It has told of its load, or has room on its line: whoever was full may have room again. */
  hasRoom(line: Line): void {
    this.#full.delete(line);
    this.settle(); // also when nobody waits: it may have been full when we looked last, and nobody is accepted since
  }

  /** Accepts from where nobody else does, while there is somebody to give to. */
  settle(): void {
    if (this.#isStopped) return;
    this.#flushLater();
    const canGive = this.#waiting.length < MOST_WAITING && [...this.#takers].some((line) => this.#isFree(line));
    for (const { acceptor, holders } of this.#sockets.values()) {
      if (canGive && holders.size === 0) acceptor.start();
      else void acceptor.stop();
    }
  }

  // ------------------------------------------------------------------------------------------------------- who gets it

  #accepted(fd: number): void {
    if (typeof this.#balance === 'string') {
      this.give(fd, undefined, undefined);
      return;
    }
    try {
      this.#heads.add(new HeadReader(this.#turn, fd, this.#isUnix, this));
    } catch {
      this.give(fd, undefined, undefined); // more connections than a thread can have: no key, then
    }
  }

  onKnown(reader: HeadReader, fd: number, head: Uint8Array, hash: number | undefined): void {
    this.#heads.delete(reader);
    this.give(fd, head, hash);
  }

  onGone(reader: HeadReader): void {
    this.#heads.delete(reader);
  }

  onFailed(error: unknown): void {
    this.#reportError(error);
  }

  /** A connection for somebody; the descriptor is ours. */
  give(fd: number, head: Uint8Array | undefined, hash: number | undefined): void {
    this.#waiting.push({ fd, head, hash });
    this.#flushLater();
  }

  /** The worker had no room, or has stopped. @param fd not there if it was lost on its way */
  returned(line: Line, fd?: number, head?: Uint8Array): void {
    line.given--;
    if (this.#takers.has(line)) this.#full.add(line);
    if (fd !== undefined) this.giveAgain(fd, head);
    this.settle();
  }

  /** Somebody else has to take it. Its key is read again. */
  giveAgain(fd: number, head: Uint8Array | undefined): void {
    if (this.#isStopped) {
      this.#turn.ring.native.closeDescriptor(fd);
      return;
    }
    let key: string | number | undefined;
    if (head !== undefined && typeof this.#balance !== 'string') {
      try {
        key = this.#balance.key(head.subarray(0, this.#balance.maxHeadBytes));
      } catch {
        // told before
      }
    }
    this.give(fd, head, key === undefined ? undefined : hashOf(key));
  }

  #flushLater(): void {
    if (this.#isFlushDue || this.#waiting.length === 0) return;
    this.#isFlushDue = true;
    this.#turn.flushLater(this);
  }

  /** The turn ends: who has come in it is given out, with one message to each worker. */
  flush(): void {
    this.#isFlushDue = false;
    const batches = new Map<Line, Waiting[]>();
    const left: Waiting[] = [];
    for (const waiting of this.#waiting) {
      const line = this.#choose(waiting.hash);
      if (line === undefined) {
        left.push(waiting);
        continue;
      }
      line.given++;
      const batch = batches.get(line);
      if (batch === undefined) batches.set(line, [waiting]);
      else batch.push(waiting);
    }
    this.#waiting = left;
    for (const [line, batch] of batches) for (const some of messagesOf(batch)) this.#send(line, some);
    if (left.length > 0) this.settle();
  }

  #send(line: Line, batch: readonly Waiting[]): void {
    const hasHeads = batch.some(({ head }) => head !== undefined && head.byteLength > 0);
    const heads = hasHeads ? batch.map(({ head }) => toText(head)) : undefined;
    const isSent = line.send(
      { is: 'connections', key: this.key, heads },
      batch.map(({ fd }) => fd),
    );
    if (isSent) return;
    // It is gone, and we are about to hear of it.
    this.#takers.delete(line);
    for (const { fd, head, hash } of batch) this.give(fd, head, hash);
  }

  #isFree(line: Line): boolean {
    return line.isServing && !line.isFull && !this.#full.has(line);
  }

  /** For a key the place with the greatest weight, else the worker with the fewest; of equals, one after the other. */
  #choose(hash: number | undefined): Line | undefined {
    let best: Line | undefined;
    let bestRank = Number.NEGATIVE_INFINITY;
    const { size } = this.#takers;
    const first = this.#next++;
    let i = 0;
    for (const line of this.#takers) {
      const turn = (i++ + first) % size;
      if (!this.#isFree(line)) continue;
      const rank = hash === undefined ? -line.load - turn / size : weightOf(hash, line.member.slot);
      if (rank <= bestRank) continue;
      best = line;
      bestRank = rank;
    }
    return best;
  }

  // ------------------------------------------------------------------------------------------------------------ the end

  /** Nobody new is accepted. Who was is given out. */
  async stop(): Promise<void> {
    await Promise.all([...this.#sockets.values()].map(({ acceptor }) => acceptor.stop()));
    this.#isStopped = true;
    for (const head of [...this.#heads]) head.drop();
    this.flush();
    this.close();
  }

  /** The address is free when the workers have closed it, too. */
  close(): void {
    this.#isStopped = true;
    const { native } = this.#turn.ring;
    for (const { fd } of this.#waiting) native.closeDescriptor(fd);
    this.#waiting = [];
    for (const socket of this.#sockets.values()) {
      void socket.acceptor.stop();
      listeningSockets.delete(socket);
      native.closeDescriptor(socket.fd);
      // Unless the next process has it: see millrace/restart.
      if (this.#isUnix && this.#place.fd === undefined && !socket.keepsPath) removePath(this.#place.address as string);
    }
    this.#sockets.clear();
  }
}
