/**
 * The listening sockets that the process before has handed over: whoever listens on one of those addresses gets its socket,
 * instead of binding it. In: records with descriptors. Out: offers for listener-source.ts.
 */
import { decodeIp, SOCKADDR_BYTES } from '../engine/address.ts';
import { type ListenerSource, listeningSockets, type Offer } from '../engine/listener-source.ts';
import type { Native } from '../engine/native.ts';
import type { Place } from '../engine/open-listener.ts';
import type { SocketRecord } from './protocol.ts';
import { inheritSystemdSockets } from './systemd.ts';

interface Inheritance extends SocketRecord {
  readonly fd: number;
}

export class Inherited implements ListenerSource {
  readonly answersExclusive = true;
  readonly #native: Native;
  #unclaimed: Inheritance[] = [];
  readonly #claimed = new Set<number>();
  /** Who is asked for what was not inherited. */
  readonly #next: ListenerSource | undefined;

  constructor(native: Native, next: ListenerSource | undefined) {
    this.#native = native;
    this.#next = next;
  }

  add(records: readonly SocketRecord[], descriptors: readonly number[]): void {
    records.forEach((record, i) => {
      this.#unclaimed.push({ ...record, fd: descriptors[i] as number });
    });
    const named = this.#unclaimed.filter(({ name }) => name !== undefined);
    inheritSystemdSockets(named.map(({ fd, name }) => ({ fd, name: name as string })));
  }

  open(place: Readonly<Place>, backlog: number, isExclusive?: boolean): ReturnType<ListenerSource['open']> {
    const found = this.#find(place);
    if (found === undefined)
      return isExclusive && !this.#next?.answersExclusive ? undefined : this.#next?.open(place, backlog, isExclusive);
    this.#unclaimed.splice(this.#unclaimed.indexOf(found), 1);
    this.#claimed.add(found.fd);
    return { fd: found.fd, isShared: true, keepsPath: place.fd !== undefined } satisfies Offer;
  }

  /** First what was asked for in the same words, then what is bound there. */
  #find(place: Readonly<Place>): Inheritance | undefined {
    if (place.fd !== undefined) {
      // A socket of systemd has a name, and systemdSockets() has told the number that it has here.
      return this.#unclaimed.find(
        ({ fd, name, place: { fd: before } }) => place.fd === (name === undefined ? before : fd),
      );
    }
    const { family, address, port } = place;
    return (
      this.#unclaimed.find(
        ({ place: other }) =>
          other.fd === undefined && other.family === family && other.address === address && other.port === port,
      ) ?? this.#unclaimed.find((each) => this.#isBoundTo(each, place))
    );
  }

  #isBoundTo({ fd, place: { address } }: Inheritance, place: Readonly<Place>): boolean {
    if (place.family === -1 || !place.port) return false;
    const bytes = Buffer.alloc(SOCKADDR_BYTES);
    const length = this.#native.name(fd, false, bytes);
    const ip = length < 0 ? undefined : decodeIp(bytes.subarray(0, length));
    if (ip === undefined || ip.port !== place.port) return false;
    return place.address === null ? address === null : ip.address === place.address;
  }

  /** Nobody listens there any more. */
  closeUnclaimed(): void {
    for (const { fd } of this.#unclaimed.splice(0)) this.#native.closeDescriptor(fd);
  }

  /** The process before accepts no more: nobody else has these sockets. */
  own(): void {
    for (const socket of listeningSockets) if (this.#claimed.has(socket.fd)) socket.share(false);
    this.#claimed.clear();
  }
}
