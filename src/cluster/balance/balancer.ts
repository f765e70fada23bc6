/** What the workers of a group listen on, and who of them gets which connection. One `Address` for each address. */
import { ERRNO } from '../../engine/abi.ts';
import { choice } from '../../engine/engine.ts';
import type { Turn } from '../../engine/turn.ts';
import type { Member } from '../member.ts';
import type { Rules } from '../options.ts';
import { Address } from './address.ts';
import { Line, type LineOwner } from './line.ts';
import { type FromListener, type ToListener, toBytes } from './messages.ts';

export class Balancer implements LineOwner {
  readonly #turn: Turn | null = choice.turn;
  readonly #rules: Rules;
  readonly #lines = new Map<Member, Line>();
  readonly #addresses = new Map<string, Address>();
  #isStopped = false;
  #hasWarned = false;

  constructor(rules: Rules) {
    this.#rules = rules;
  }

  get ports(): number[] {
    const ports = [...this.#addresses.values()].map(({ port }) => port);
    return [...new Set(ports.filter((port) => port !== undefined))];
  }

  // ---- about workers ----

  joined(member: Member): void {
    if (this.#turn !== null) this.#lines.set(member, new Line(this.#turn, member, this));
  }

  /** It is the one in its place from now on. */
  serves(member: Member): void {
    const line = this.#lines.get(member);
    if (line === undefined) return;
    line.isServing = true;
    for (const address of this.#addresses.values()) address.settle();
  }

  /** It is given nothing any more. */
  leaves(member: Member): void {
    const line = this.#lines.get(member);
    if (line !== undefined) line.isServing = false;
  }

  loaded(member: Member): void {
    const line = this.#lines.get(member);
    if (line !== undefined) this.onDrain(line);
  }

  gone(member: Member): void {
    const line = this.#lines.get(member);
    if (line === undefined) return;
    this.#lines.delete(member);
    line.close();
    for (const address of this.#addresses.values()) address.stopped(line);
  }

  // ---- from the lines ----

  onMessage(line: Line, message: FromListener, fds: number[]): void {
    switch (message.is) {
      case 'listen':
        this.#onListen(line, message);
        return;
      case 'started':
        this.#addresses.get(message.key)?.started(line);
        return;
      case 'stopped':
        this.#onStopped(line, message.key);
        return;
      case 'ready':
        line.member.onReady();
        return;
      case 'leaving':
        line.isServing = false;
        line.send({ is: 'last' });
        return;
      case 'returned': {
        const [fd] = fds;
        const address = this.#addresses.get(message.key);
        if (address !== undefined) address.returned(line, fd as number, toBytes(message.head));
        else this.#closeAll(fds);
        return;
      }
    }
  }

  #onListen(line: Line, { ask, key, place, backlog }: FromListener & { is: 'listen' }): void {
    let errno: number = -ERRNO.ECANCELED;
    if (!this.#isStopped) {
      const { balance } = this.#rules;
      let address = this.#addresses.get(key);
      if (address === undefined) {
        address = new Address(this.#turn as Turn, key, place, balance, (error) => this.#onKeyFailed(error));
        this.#addresses.set(key, address);
      }
      errno = address.grant(line, ask, backlog);
      if (errno < 0 && address.users.size === 0) this.#drop(address);
    }
    if (errno < 0) line.send({ is: 'refused', ask, errno: -errno });
  }

  /** A worker has closed its server. When nobody has one and nobody drains, the address is not wanted any more. */
  #onStopped(line: Line, key: string): void {
    const address = this.#addresses.get(key);
    if (address === undefined) return;
    address.stopped(line);
    if (address.users.size === 0 && line.isServing) this.#drop(address);
  }

  #drop(address: Address): void {
    address.close();
    this.#addresses.delete(address.key);
  }

  onLost(line: Line, key: string): void {
    this.#addresses.get(key)?.returned(line);
  }

  onDrain(line: Line): void {
    for (const address of this.#addresses.values()) address.hasRoom(line);
  }

  /** A worker has died before it was told: somebody else gets the connections. */
  onUnsent(message: ToListener, fds: readonly number[]): void {
    const address = message.is === 'connections' ? this.#addresses.get(message.key) : undefined;
    if (message.is !== 'connections' || address === undefined) this.#closeAll(fds);
    else for (const [i, fd] of fds.entries()) address.giveAgain(fd, toBytes(message.heads?.[i]));
  }

  #closeAll(fds: readonly number[]): void {
    for (const fd of fds) this.#turn?.ring.native.closeDescriptor(fd);
  }

  #onKeyFailed(error: unknown): void {
    if (this.#hasWarned) return;
    this.#hasWarned = true;
    const said = error instanceof Error ? error.stack : String(error);
    process.emitWarning(`balance.key threw, and the connection goes to anybody: ${said}`, {
      ...{ type: 'MillraceWarning', code: 'MILLRACE_WARN_CLUSTER' },
    });
  }

  // ---- the end ----

  /** Lets go of what nobody listens on. */
  prune(): void {
    for (const address of this.#addresses.values()) if (address.users.size === 0) this.#drop(address);
  }

  /** Nobody new is accepted any more, except by workers that have the socket: they are drained next. */
  async stop(): Promise<void> {
    this.#isStopped = true;
    await Promise.all([...this.#addresses.values()].map((address) => address.stop()));
  }

  close(): void {
    for (const line of this.#lines.values()) line.close();
    for (const address of this.#addresses.values()) address.close();
    this.#addresses.clear();
  }
}
