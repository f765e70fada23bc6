/**
 * One end of the messages between workers: who subscribes to what here and elsewhere, what is asked and answered.
 *
 * In: links to the others (`connect`, `disconnect`: hub.ts and member.ts say when), calls of the user, frames. Each end
 * tells the others its interests, so a message goes only where somebody wants it. An interest is 's' and a topic, or 'h'
 * and the name of a handler. Whatever is sent in a turn of the loop leaves at its end, one batch for each peer.
 */
import type { Link } from '../link.ts';
import type {
  Answer,
  AskAllOptions,
  AskOptions,
  Messages,
  PeerFigures,
  Published,
  PublishOptions,
  Received,
  SubscribeOptions,
  Subscription,
} from './api.ts';
import { Asks } from './asks.ts';
import { MessageError, nameOf } from './errors.ts';
import { encodeFrame, type Frame, KIND } from './frame.ts';
import { badOption, type MessageLimits, type MessageRules, rulesOf } from './limits.ts';
import { loopLink } from './link.ts';
import { Peer, type PeerOwner } from './peer.ts';
import { isThenable, Questions } from './questions.ts';

export const PRIMARY = 0;

interface Subscriber {
  readonly handler: (message: unknown, received: Received) => unknown;
  readonly onError: (error: unknown) => void;
}

export class Bus implements Messages, PeerOwner {
  readonly id: number;
  readonly rules: MessageRules;
  /** The others; ourselves are not among them. */
  readonly #peers: Map<number, Peer> = new Map();
  readonly #self: Peer;
  readonly #subscribers: Map<string, Set<Subscriber>> = new Map();
  readonly #questions: Questions = new Questions(this);
  readonly #asks: Asks = new Asks((peer, id) => this.#cancel(peer, id));
  readonly #due: Set<Peer> = new Set();
  #isScheduled = false;
  #isClosed = false;
  #lastAny = 0;

  /** @throws {MILLRACE_ERR_BAD_OPTION} */
  constructor(id: number, limits?: MessageLimits) {
    this.id = id;
    this.rules = rulesOf(limits);
    this.#self = new Peer(id, loopLink(), this);
  }

  // ------------------------------------------------------------------------------------------------------- membership

  /** Another end is there. It is told what we are interested in, and tells us. */
  connect(id: number, link: Link): void {
    if (this.#isClosed || id === this.id) {
      link.close();
      return;
    }
    this.disconnect(id);
    const peer = new Peer(id, link, this);
    this.#peers.set(id, peer);
    for (const topic of this.#subscribers.keys()) this.#tell([peer], `s${topic}`, true);
    for (const name of this.#questions.names) this.#tell([peer], `h${name}`, true);
  }

  /** Another end is gone: nobody waits for it any more. */
  disconnect(id: number): void {
    const peer = this.#peers.get(id);
    if (peer === undefined) return;
    this.#peers.delete(id);
    this.#drop(peer);
  }

  gone(peer: Peer): void {
    if (this.#peers.get(peer.id) === peer) this.disconnect(peer.id);
  }

  /** We go: what was not sent is lost (`flushed` before), questions are rejected. */
  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#asks.closeAll((mayHaveRun) => new MessageError('MESSAGES_CLOSED', closed, { mayHaveRun }));
    for (const peer of this.#everyone) this.#drop(peer);
    this.#peers.clear();
  }

  get peers(): readonly PeerFigures[] {
    return [...this.#peers.values()].map(({ id, bufferedBytes, bufferedMessages, unanswered, dropped }) => {
      return { worker: id, bufferedBytes, bufferedMessages, unanswered, dropped };
    });
  }

  async flushed(worker?: number): Promise<void> {
    const peers = this.#everyone.filter(({ id }) => worker === undefined || id === worker);
    await Promise.all(peers.map((peer) => peer.untilHandled()));
  }

  get #everyone(): Peer[] {
    return [this.#self, ...this.#peers.values()];
  }

  #drop(peer: Peer): void {
    this.#asks.rejectAll(peer);
    this.#questions.abandon(peer);
    this.#due.delete(peer);
    peer.close();
  }

  // --------------------------------------------------------------------------------------------------------- messages

  async publish(topic: string, message?: unknown, options: PublishOptions = {}): Promise<Published> {
    const { self = false, whenFull = 'drop' } = options;
    if (whenFull !== 'drop' && whenFull !== 'refuse') throw badOption("whenFull is 'drop' or 'refuse'");
    const frame = this.#encode(KIND.PUBLISH, 0, topic, message);
    const interest = `s${topic}`;
    const targets: Peer[] = [];
    for (const peer of this.#peers.values()) if (peer.interests.has(interest)) targets.push(peer);
    if (self && this.#subscribers.has(topic)) targets.push(this.#self);
    if (whenFull === 'refuse') for (const peer of targets) this.#needRoom(peer, frame);
    let dropped = 0;
    const waits: Promise<void>[] = [];
    for (const peer of targets) {
      if (!peer.hasRoomFor(frame.length)) {
        dropped++;
        if (peer.dropped++ === 0) warn(`${nameOf(peer.id)} reads too slowly: messages to it are dropped`);
        continue;
      }
      peer.push(frame);
      if (peer.isAboveHigh) waits.push(peer.untilLow());
    }
    if (waits.length > 0) await Promise.all(waits);
    return { workers: targets.length - dropped, dropped };
  }

  subscribe<Message>(
    topic: string,
    handler: (message: Message, received: Received) => unknown,
    options: SubscribeOptions = {},
  ): Subscription {
    needFunction(handler);
    this.#needOpen();
    const onError = options.onError ?? warnOnce(`a handler of topic '${topic}' threw`);
    const subscriber: Subscriber = { handler: handler as Subscriber['handler'], onError };
    const others = this.#subscribers.get(topic);
    if (others === undefined) {
      this.#tell(this.#peers.values(), `s${topic}`, true);
      this.#subscribers.set(topic, new Set([subscriber]));
    } else {
      others.add(subscriber);
    }
    return this.#subscription(() => {
      const all = this.#subscribers.get(topic);
      if (all?.delete(subscriber) !== true || all.size > 0) return;
      this.#subscribers.delete(topic);
      this.#tell(this.#peers.values(), `s${topic}`, false);
    });
  }

  // -------------------------------------------------------------------------------------------- questions and answers

  async ask<Value>(
    to: number | 'any' | 'primary',
    name: string,
    question?: unknown,
    options: AskOptions = {},
  ): Promise<Value> {
    this.#needOpen();
    const peer = to === 'any' ? this.#anyFor(name) : this.#peerOf(to === 'primary' ? PRIMARY : to);
    const answer = this.#asks.open(peer, name, options, (id) => {
      const frame = this.#encode(KIND.ASK, id, name, question);
      this.#needRoom(peer, frame);
      const { maxAsks } = this.rules;
      if (peer.unanswered >= maxAsks) throw full(peer, `${maxAsks} questions wait for their answers`, maxAsks);
      return peer.push(frame);
    });
    return (await answer) as Value;
  }

  async askAll<Value>(name: string, question?: unknown, options: AskAllOptions = {}): Promise<Answer<Value>[]> {
    this.#needOpen();
    const workers = [...this.#peers.keys()];
    if (options.self === true) workers.push(this.id);
    return Promise.all(
      workers
        .filter((id) => id !== PRIMARY)
        .map((worker) =>
          this.ask<Value>(worker, name, question, options).then(
            (value) => ({ worker, value }),
            (error: unknown) => ({ worker, error }),
          ),
        ),
    );
  }

  handle<Question>(
    name: string,
    handler: (question: Question, asked: Received & { readonly signal: AbortSignal }) => unknown,
  ): Subscription {
    needFunction(handler);
    this.#needOpen();
    if (this.#questions.has(name)) throw new MessageError('MISUSE', `there is a handler of '${name}'`);
    this.#tell(this.#peers.values(), `h${name}`, true);
    const end = this.#questions.add(name, handler as Parameters<Questions['add']>[1]);
    return this.#subscription(() => {
      if (end()) this.#tell(this.#peers.values(), `h${name}`, false);
    });
  }

  #peerOf(id: number): Peer {
    const peer = id === this.id ? this.#self : this.#peers.get(id);
    if (peer === undefined) throw new MessageError('UNKNOWN_WORKER', `there is no ${nameOf(id)}`, { worker: id });
    return peer;
  }

  /** Of those with the fewest questions of ours, the next in turn. */
  #anyFor(name: string): Peer {
    const interest = `h${name}`;
    let best: Peer | undefined;
    let bestRank = 0;
    for (const peer of this.#peers.values()) {
      if (peer.id === PRIMARY || !peer.interests.has(interest)) continue;
      const rank = 2 * peer.unanswered + (peer.id > this.#lastAny ? 0 : 1);
      if (best !== undefined && (rank > bestRank || (rank === bestRank && peer.id > best.id))) continue;
      best = peer;
      bestRank = rank;
    }
    if (best === undefined) throw new MessageError('UNKNOWN_HANDLER', `no other worker handles '${name}'`);
    this.#lastAny = best.id;
    return best;
  }

  #cancel(peer: Peer, id: number): void {
    if (!peer.isGone) peer.push(encodeFrame(KIND.CANCEL, id, '', undefined));
  }

  // ----------------------------------------------------------------------------------------------------------- frames

  schedule(peer: Peer): void {
    if (peer.isGone) return;
    this.#due.add(peer);
    if (this.#isScheduled) return;
    this.#isScheduled = true;
    setImmediate(() => {
      this.#isScheduled = false;
      const due = [...this.#due];
      this.#due.clear();
      for (const each of due) each.flush();
    });
  }

  /** @hot */
  receive(peer: Peer, frame: Frame): void {
    switch (frame.kind) {
      case KIND.PUBLISH:
        this.#deliver(peer, frame);
        break;
      case KIND.ASK:
        this.#questions.answer(peer, frame);
        break;
      case KIND.ANSWER:
        this.#asks.answer(peer, frame.id, frame.payload());
        break;
      case KIND.FAILURE:
        this.#asks.fail(peer, frame.id, (name) => Questions.errorOf(peer, name, frame));
        break;
      case KIND.CANCEL:
        this.#questions.cancel(peer, frame.id);
        break;
      case KIND.INTEREST:
        if (frame.id === 1) peer.interests.add(frame.name);
        else peer.interests.delete(frame.name);
        break;
    }
  }

  #deliver(peer: Peer, frame: Frame): void {
    const subscribers = this.#subscribers.get(frame.name);
    if (subscribers === undefined) return; // the last one has just gone
    const message = frame.payload();
    const received: Received = { from: peer.id };
    for (const { handler, onError } of subscribers) {
      // What onError throws is nobody's but the program's: an unhandled rejection.
      try {
        const result = handler(message, received);
        if (isThenable(result)) Promise.resolve(result).catch(onError);
      } catch (error) {
        Promise.reject(error).catch(onError);
      }
    }
  }

  #tell(peers: Iterable<Peer>, interest: string, has: boolean): void {
    const frame = encodeFrame(KIND.INTEREST, has ? 1 : 0, interest, undefined);
    for (const peer of peers) peer.pushInterest(interest, frame);
  }

  #encode(kind: typeof KIND.PUBLISH | typeof KIND.ASK, id: number, name: string, payload: unknown): Buffer {
    this.#needOpen();
    const frame = encodeFrame(kind, id, name, payload);
    const { maxBytes } = this.rules;
    if (frame.length <= maxBytes) return frame;
    const text = `a message of ${frame.length} bytes is over maxBytes, ${maxBytes}`;
    throw new MessageError('MESSAGE_TOO_LARGE', text, { limit: maxBytes });
  }

  #needRoom(peer: Peer, frame: Buffer): void {
    if (!peer.hasRoomFor(frame.length))
      throw full(peer, 'what waits for it has reached maxBytes or maxMessages', this.rules.maxBytes);
  }

  #needOpen(): void {
    if (this.#isClosed) throw new MessageError('MESSAGES_CLOSED', closed);
  }

  #subscription(close: () => void): Subscription {
    const bus = this;
    return {
      get ready() {
        return bus.flushed();
      },
      close,
      [Symbol.dispose]: close,
    };
  }
}

const closed = 'this end of the messages was closed';

function full(peer: Peer, why: string, limit: number): MessageError {
  return new MessageError('QUEUE_FULL', `${nameOf(peer.id)}: ${why}`, { worker: peer.id, limit });
}

function needFunction(handler: unknown): void {
  if (typeof handler !== 'function') throw badOption('a handler is a function');
}

function warn(text: string): void {
  process.emitWarning(text, { type: 'MillraceWarning', code: 'MILLRACE_WARN_MESSAGES' });
}

function warnOnce(text: string): (error: unknown) => void {
  let isTold = false;
  return (error) => {
    if (isTold) return;
    isTold = true;
    warn(`${text}: ${error instanceof Error ? error.stack : String(error)}`);
  };
}
