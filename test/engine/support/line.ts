/**
 * The engine without a tier above it: a turn of its own beside the process's, and the smallest connection and listener
 * that can stand on it. They write down what they are told, and wake whoever waits for it.
 */
import assert from 'node:assert/strict';
import { setImmediate as turnOfTheLoop } from 'node:timers/promises';
import { getSystemErrorName } from 'node:util';
import { AF, SOCK } from '#src/engine/abi.ts';
import type { ReceiveBuffers } from '#src/engine/buffers.ts';
import { Connection } from '#src/engine/connection.ts';
import type { LargeBuffers } from '#src/engine/large-buffers.ts';
import { Listener } from '#src/engine/listener.ts';
import type { RingKind } from '#src/engine/ring.ts';
import { Turn } from '#src/engine/turn.ts';
import { inetAddress, native } from './rig.ts';

export interface Stage {
  after(fn: () => void | Promise<void>): void;
}

/** A turn that goes away with its test, and with it every descriptor of its connections. */
export function openTurn(t: Stage, kind: RingKind, sqEntries?: number, cqEntries?: number): Turn {
  const turn = Turn.open(native, kind, sqEntries, cqEntries);
  assert.ok(typeof turn !== 'number', `${kind}: ${typeof turn === 'number' ? getSystemErrorName(turn) : ''}`);
  t.after(async () => {
    await turnOfTheLoop(); // the test may have ended within a turn, which still needs the ring's memory
    turn.ring.close();
    await turnOfTheLoop(); // a thread has few rings: libuv lets go of this one first
  });
  return turn;
}

/** Waits for conditions that become true by an event, and are looked at after each: nothing here polls. */
class Waits {
  #all: { isTrue: () => boolean; resolve: () => void }[] = [];

  for(isTrue: () => boolean): Promise<void> {
    if (isTrue()) return Promise.resolve();
    return new Promise((resolve) => this.#all.push({ isTrue, resolve }));
  }

  look(): void {
    for (const wait of this.#all.filter(({ isTrue }) => isTrue())) {
      this.#all.splice(this.#all.indexOf(wait), 1);
      wait.resolve();
    }
  }
}

export class Line extends Connection {
  /** What was told, but data: `sent`, `sent EPIPE`, `end`, `closed`, … */
  readonly log: string[] = [];
  readonly #pieces: Buffer[] = [];
  receivedBytes = 0;
  /** Called with each piece, which is a copy. */
  onPiece: ((piece: Buffer) => void) | undefined;
  onFlush: (() => void) | undefined;
  readonly #waits = new Waits();

  /** Waits until this was told, or `isTrue`. */
  until(what: string | (() => boolean)): Promise<void> {
    return this.#waits.for(typeof what === 'string' ? () => this.log.includes(what) : what);
  }

  get received(): Buffer {
    return Buffer.concat(this.#pieces);
  }

  #say(what: string, errno = 0): void {
    this.log.push(errno === 0 ? what : `${what} ${getSystemErrorName(-errno)}`);
    this.#waits.look();
  }

  override onData(buffers: ReceiveBuffers, start: number, length: number): void {
    this.#received(Buffer.from(buffers.memory.subarray(start, start + length)));
  }
  override onLargeData(buffers: LargeBuffers, id: number, length: number): void {
    this.#received(buffers.take(id, length));
  }
  #received(piece: Buffer): void {
    this.receivedBytes += piece.length;
    if (this.onPiece === undefined) this.#pieces.push(piece);
    else this.onPiece(piece);
    this.#waits.look();
  }
  override onConnect(errno: number): void {
    this.#say('connect', errno);
  }
  override onHead(bytes: Buffer): void {
    this.#received(bytes);
  }
  override onEnd(): void {
    this.#say('end');
  }
  override onReadError(errno: number): void {
    this.#say('read', errno);
  }
  override onSendProgress(): void {
    if (this.log.at(-1) !== 'progress') this.#say('progress');
  }
  override onSent(errno: number): void {
    this.#say('sent', errno);
  }
  override onShutdown(): void {
    this.#say('shutdown');
  }
  override onClosed(): void {
    this.#say('closed');
  }
  override get isSentInSilence(): boolean {
    return false;
  }
  override flush(): void {
    this.onFlush?.();
  }

  send(bytes: Uint8Array | string): number {
    return this.sendOne(bytes, 'latin1');
  }
}

export class Door extends Listener {
  readonly log: string[] = [];
  readonly accepted: number[] = [];
  port = 0;
  most = Number.POSITIVE_INFINITY;
  onDescriptor: ((fd: number) => void) | undefined;
  readonly #waits = new Waits();

  until(what: string | (() => boolean)): Promise<void> {
    return this.#waits.for(typeof what === 'string' ? () => this.log.includes(what) : what);
  }

  #say(what: string): void {
    this.log.push(what);
    this.#waits.look();
  }

  override onAccept(fd: number): void {
    this.accepted.push(fd);
    this.onDescriptor?.(fd);
    this.#waits.look();
  }
  override get isFull(): boolean {
    return this.accepted.length >= this.most;
  }
  override onAcceptError(errno: number): void {
    this.#say(`error ${getSystemErrorName(-errno)}`);
  }
  override onBackOff(errno: number, delayMs: number): void {
    this.#say(`${getSystemErrorName(-errno)} ${delayMs}`);
  }
  override onClosed(): void {
    this.#say('closed');
  }
}

/** Two ends of a unix stream. `isUnix: false` has them read with a multishot receive, as TCP does. */
export function pair(turn: Turn, isUnix = true): [Line, Line] {
  const fds = native.socketPair(SOCK.STREAM);
  assert.ok(typeof fds !== 'number', 'a pair of descriptors');
  return [new Line(turn, fds[0], isUnix), new Line(turn, fds[1], isUnix)];
}

/** A listening TCP socket, not accepting yet. */
export function open(turn: Turn, port = 0, isShared = false): Door {
  const fd = Connection.socket(turn, AF.INET);
  assert.equal(native.bind(fd, inetAddress(port)), 0);
  assert.equal(native.listen(fd, 511), 0);
  const name = Buffer.alloc(16);
  native.name(fd, false, name);
  if (isShared) native.setBlocking(fd, false);
  const door = new Door(turn, fd, false, isShared);
  door.port = name.readUInt16BE(2);
  return door;
}

/** A connection to a door; `connect` is in its log when it stands. */
export function dial(turn: Turn, door: Door): Line {
  const line = new Line(turn, Connection.socket(turn, AF.INET), false);
  line.connect(inetAddress(door.port));
  return line;
}

/** Two ends of a TCP connection. */
export async function tcpPair(turn: Turn): Promise<[Line, Line]> {
  const door = open(turn);
  door.accept();
  const client = dial(turn, door);
  await Promise.all([client.until('connect'), door.until(() => door.accepted.length === 1)]);
  door.close();
  await door.until('closed');
  client.log.length = 0;
  return [client, new Line(turn, door.accepted[0] as number, false)];
}

/** As little as possible between two ends. */
export function shrink(...lines: Line[]): void {
  const few = new Uint8Array(new Int32Array([1]).buffer); // the kernel's own minimum
  for (const { fd } of lines) {
    for (const option of [7, 8]) assert.equal(native.setOption(fd, 1, option, few), 0); // SO_SNDBUF, SO_RCVBUF
  }
}

/** Bytes in which every place can be told from its neighbours. */
export function pattern(bytes: number, seed = 0): Buffer {
  const out = Buffer.allocUnsafeSlow(bytes);
  for (let i = 0; i < bytes; i++) out[i] = (i * 31 + (i >>> 8) * 7 + seed) & 0xff;
  return out;
}

export interface Submission {
  opcode: number;
  flags: number;
  ioprio: number;
  fd: number;
  userOp: number;
  slot: number;
}

/** Writes down every submission from now on. */
export function submissions(turn: Turn): Submission[] {
  const all: Submission[] = [];
  const { ring } = turn;
  const push = ring.push.bind(ring);
  ring.push = (operation, fd, off, address, len, opFlags, userLow, userHigh, bufGroup, limit) => {
    all.push({
      opcode: operation & 0xff,
      flags: (operation >>> 8) & 0xff,
      ioprio: operation >>> 16,
      fd,
      userOp: userLow >>> 24,
      slot: userLow & 0xffffff,
    });
    push(operation, fd, off, address, len, opFlags, userLow, userHigh, bufGroup, limit);
  };
  return all;
}
