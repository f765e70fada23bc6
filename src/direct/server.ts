/**
 * A server of the direct tier: who is connected, what becomes of whom, when it is over. What accepts is a `Door`:
 * engine-door.ts or node-door.ts.
 */
import type { IpAddress } from '../engine/address.ts';
import { enter, leave, type Serving } from '../engine/serving.ts';
import type { Connection, Handlers, ListenOptions, Server } from './api.ts';
import { DirectConnection, type Keeper, throwLater } from './connection.ts';
import { DirectError } from './errors.ts';
import { Handshake, type HandshakeKeeper } from './handshake.ts';
import type { Link } from './link.ts';
import { type Beginning, checkHandlers } from './options.ts';
import type { ServedCertificate, TlsContext } from './tls-api.ts';

/** A listening socket. */
export interface Door {
  readonly address: Readonly<IpAddress> | string;
  /** Nothing is accepted any more, and the address is free. */
  close(): void;
  /** Accepts no more, and says when nobody is on the way any more: those who are, are told first. `close` follows. */
  stopped(callback: () => void): void;
  ref(): void;
  unref(): void;
}

/** Who is told of what has no connection. */
export interface Told {
  readonly acceptError: ListenOptions['acceptError'] | undefined;
  readonly handshakeError: ListenOptions['handshakeError'] | undefined;
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
export class DirectServer<Data = any> implements Server<Data>, DoorKeeper, Keeper, HandshakeKeeper, Serving {
  readonly #beginning: Beginning;
  readonly #maxConnections: number;
  readonly #connections = new Set<DirectConnection<Data>>();
  readonly #handshakes = new Set<Handshake>();
  readonly #told: Told;
  #handlers: Handlers<Data>;
  #door!: Door;
  #isClosing = false;
  #drained: Promise<number> | undefined;
  #drainBy: (deadlineMs: number) => Promise<number> = (deadlineMs) => this.#closeBy(deadlineMs);
  #onClosed!: () => void;
  readonly #closed: Promise<void> = new Promise((resolve) => {
    this.#onClosed = resolve;
  });

  constructor(handlers: Handlers<Data>, beginning: Beginning, maxConnections: number, told: Told) {
    this.#handlers = handlers;
    this.#beginning = beginning;
    this.#maxConnections = maxConnections;
    this.#told = told;
  }

  /** It listens. */
  begin(door: Door): void {
    this.#door = door;
    enter(this);
    void this.#closed.then(() => {
      leave(this);
      this.#beginning.security?.close();
    });
  }

  closeOn(signal: AbortSignal): void {
    const close = () => void this.close();
    signal.addEventListener('abort', close, { once: true });
    if (signal.aborted) close();
    void this.#closed.then(() => signal.removeEventListener('abort', close));
  }

  // ---- from the door and the connections ----

  get isFull(): boolean {
    return this.#connections.size + this.#handshakes.size >= this.#maxConnections;
  }

  accept(link: Link): void {
    const { security } = this.#beginning;
    if (security === null || security.onDemand) {
      this.#open(link);
      return;
    }
    let handshake: Handshake;
    try {
      handshake = new Handshake(security.secure(link), this);
    } catch (error) {
      link.close(true);
      this.#handshakeError(error as Error, undefined); // no memory for another SSL
      return;
    }
    this.#handshakes.add(handshake);
    handshake.start();
  }

  secured(handshake: Handshake, link: Link): void {
    this.#handshakes.delete(handshake);
    this.#open(link);
  }

  failed(handshake: Handshake, error: Error | null): void {
    this.#handshakes.delete(handshake);
    if (error !== null) this.#handshakeError(error, handshake.remote);
    this.closed();
  }

  #handshakeError(error: Error, remote: IpAddress | undefined): void {
    try {
      this.#told.handshakeError?.(error, remote);
    } catch (another) {
      throwLater(another);
    }
  }

  #open(link: Link): void {
    const connection = new DirectConnection<Data>(link, this.#beginning, this.#handlers, this);
    this.#connections.add(connection);
    connection.begin();
  }

  onAcceptError(error: Error): void {
    const { acceptError } = this.#told;
    if (acceptError === undefined) throwLater(error);
    else acceptError(error);
  }

  forget(connection: DirectConnection<Data>): void {
    this.#connections.delete(connection);
  }

  closed(): void {
    if (this.#isClosing && this.#connections.size === 0 && this.#handshakes.size === 0) this.#onClosed();
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

  get handshakeCount(): number {
    return this.#handshakes.size;
  }

  get certificate(): ServedCertificate | undefined {
    return this.#beginning.security?.certificate;
  }

  setSecureContext(context: TlsContext): void {
    const { security } = this.#beginning;
    if (security === null) throw new DirectError('MISUSE', 'setSecureContext() needs a server with tls');
    security.setContext(context);
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
    for (const handshake of this.#handshakes) handshake.giveUp();
  }

  // ---- draining ----

  /** Who knows better what its connections are about does it. @internal */
  drainsBy(drain: (deadlineMs: number) => Promise<number>): void {
    this.#drainBy = drain;
  }

  drain(deadlineMs: number): Promise<number> {
    this.#drained ??= new Promise<void>((resolve) => {
      if (this.#isClosing) resolve();
      else this.#door.stopped(resolve);
    }).then(() => this.#drainBy(deadlineMs));
    return this.#drained;
  }

  async #closeBy(deadlineMs: number): Promise<number> {
    let cut = 0;
    const timer = setTimeout(() => {
      cut = this.#connections.size;
      this.terminateAll();
    }, deadlineMs);
    await this.close();
    clearTimeout(timer);
    return cut;
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

/** A server of sessions ends its connections better than we can: whoever drains all servers calls this. @internal */
export function drainsBy(server: Server<never>, drain: (deadlineMs: number) => Promise<number>): void {
  (server as unknown as DirectServer).drainsBy(drain);
}
