/**
 * The primary's part: it brings together who lives. Two threads get a port between them and never need the primary
 * again; batches of processes go through it, unread, by the channels that they have anyway.
 *
 * ```
 *  to a worker     { join: id, port? }   { leave: id }   [from, acknowledged, batch]
 *  from a worker     'here', first                       [to, acknowledged, batch]
 * ```
 *
 * Nothing is said to a worker before it has said 'here': a process of node:cluster reads its channel before our code runs
 * there, and what comes so early is lost.
 *
 * What is on its way through the primary is bounded by the senders: each pair has its high marks.
 */
import { MessageChannel, type MessagePort } from 'node:worker_threads';
import { type Link, portLink } from '../link.ts';
import { type Bus, PRIMARY } from './bus.ts';
import { ignore, type Routed, routedLink } from './link.ts';

/** What the primary says. */
export type Word = { join: number; port?: MessagePort } | { leave: number };

export class Hub {
  readonly #bus: Bus;
  readonly #kind: 'threads' | 'processes';
  readonly #members: Map<number, Link> = new Map();
  /** Those who have not said anything yet. */
  readonly #expected: Map<number, Link> = new Map();
  /** The primary's own ends of routed links. */
  readonly #own: Map<number, Link> = new Map();

  /** @param bus the primary's own end */
  constructor(bus: Bus, kind: 'threads' | 'processes') {
    this.#bus = bus;
    this.#kind = kind;
  }

  /** A worker was started; `link` leads to its member.ts. One of the same id that was there is gone. */
  join(id: number, link: Link): void {
    this.leave(id);
    this.#expected.set(id, link);
    link.onMessage = () => this.#enter(id, link);
  }

  /** It is there. */
  #enter(id: number, link: Link): void {
    this.#expected.delete(id);
    link.onMessage = ignore;
    if (this.#kind === 'processes') link.onMessage = (message) => this.#route(id, link, message as Routed);
    for (const [other, otherLink] of this.#members) this.#introduce(id, link, other, otherLink);
    this.#members.set(id, link);
    if (this.#kind === 'threads') {
      const { port1, port2 } = new MessageChannel();
      link.post({ join: PRIMARY, port: port1 } satisfies Word, [port1]);
      this.#bus.connect(id, portLink('bus', port2));
    } else {
      link.post({ join: PRIMARY } satisfies Word);
      const own = routedLink(PRIMARY, link);
      link.onDrain = () => own.onDrain();
      this.#own.set(id, own);
      this.#bus.connect(id, own);
    }
  }

  /** A worker is gone. */
  leave(id: number): void {
    const link = this.#expected.get(id) ?? this.#members.get(id);
    if (link === undefined) return;
    link.onMessage = ignore;
    link.onDrain = ignore;
    this.#expected.delete(id);
    if (!this.#members.delete(id)) return;
    this.#own.delete(id);
    this.#bus.disconnect(id);
    for (const other of this.#members.values()) other.post({ leave: id } satisfies Word);
  }

  #introduce(id: number, link: Link, other: number, otherLink: Link): void {
    if (this.#kind === 'processes') {
      // The one that is there learns of it before anything can come from it, and the other way round.
      link.post({ join: other } satisfies Word);
      otherLink.post({ join: id } satisfies Word);
      return;
    }
    const { port1, port2 } = new MessageChannel();
    link.post({ join: other, port: port1 } satisfies Word, [port1]);
    otherLink.post({ join: id, port: port2 } satisfies Word, [port2]);
  }

  #route(from: number, link: Link, [to, acknowledged, batch]: Routed): void {
    if (this.#members.get(from) !== link) return;
    if (to === PRIMARY) this.#own.get(from)?.onMessage([acknowledged, batch]);
    else this.#members.get(to)?.post([from, acknowledged, batch] satisfies Routed);
  }
}
