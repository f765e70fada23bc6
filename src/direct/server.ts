/**
 * A server of the direct tier: who is connected, what becomes of whom, when it is over. What accepts is a `Door`:
 * engine-door.ts or node-door.ts.
 */
import type { IpAddress } from '../engine/address.ts';
import type { Connection, Handlers, Server } from './api.ts';
import { DirectConnection, type Keeper, throwLater } from './connection.ts';
import type { Link } from './link.ts';
import { type Beginning, checkHandlers } from './options.ts';

/** A listening socket. */
export interface Door {
  readonly address: Readonly<IpAddress> | string;
  /** Nothing is accepted any more, and the address is free. */
  close(): void;
  ref(): void;
  unref(): void;
}

/** Whom a door asks and tells. */
export interface DoorKeeper {
  /** One connection more would be one too many. */
  readonly isFull: boolean;
  accept(link: Link): void;
  /** Nothing is accepted any more, for this reason. */
  onAcceptError(error: Error): void;
}

// biome-ignore lint/suspicious/noExplicitAny: the data of a connection is its user's
export class DirectServer<Data = any> implements Server<Data>, DoorKeeper, Keeper {
  readonly #beginning: Beginning;
  readonly #maxConnections: number;
  readonly #connections = new Set<DirectConnection<Data>>();
  readonly #acceptError: ((error: Error) => void) | undefined;
  #handlers: Handlers<Data>;
  #door!: Door;
  #isClosing = false;
  #onClosed!: () => void;
  readonly #closed: Promise<void> = new Promise((resolve) => {
    this.#onClosed = resolve;
  });

  constructor(
    handlers: Handlers<Data>,
    beginning: Beginning,
    maxConnections: number,
    acceptError: ((error: Error) => void) | undefined,
  ) {
    this.#handlers = handlers;
    this.#beginning = beginning;
    this.#maxConnections = maxConnections;
    this.#acceptError = acceptError;
  }

  /** It listens. */
  begin(door: Door): void {
    this.#door = door;
  }

  closeOn(signal: AbortSignal): void {
    const close = () => void this.close();
    signal.addEventListener('abort', close, { once: true });
    if (signal.aborted) close();
    void this.#closed.then(() => signal.removeEventListener('abort', close));
  }

  // ---- from the door and the connections ----

  get isFull(): boolean {
    return this.#connections.size >= this.#maxConnections;
  }

  accept(link: Link): void {
    const connection = new DirectConnection<Data>(link, this.#beginning, this.#handlers, this);
    this.#connections.add(connection);
    connection.begin();
  }

  onAcceptError(error: Error): void {
    if (this.#acceptError === undefined) throwLater(error);
    else this.#acceptError(error);
  }

  forget(connection: DirectConnection<Data>): void {
    this.#connections.delete(connection);
  }

  closed(): void {
    if (this.#isClosing && this.#connections.size === 0) this.#onClosed();
  }

  // ---- from the user ----

  get address(): Readonly<IpAddress> | string {
    return this.#door.address;
  }

  get port(): number | undefined {
    const { address } = this.#door;
    return typeof address === 'string' ? undefined : address.port;
  }

  get connectionCount(): number {
    return this.#connections.size;
  }

  connections(): Iterable<Connection<Data>> {
    return this.#connections.values();
  }

  reload(handlers: Handlers<Data>): void {
    checkHandlers(handlers);
    this.#handlers = handlers;
    for (const connection of this.#connections) connection.handlers = handlers;
  }

  close(): Promise<void> {
    if (!this.#isClosing) {
      this.#isClosing = true;
      this.#door.close();
      this.closed();
    }
    return this.#closed;
  }

  terminateAll(): void {
    void this.close();
    for (const connection of this.#connections) connection.terminate();
  }

  ref(): void {
    this.#door.ref();
  }

  unref(): void {
    this.#door.unref();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}
