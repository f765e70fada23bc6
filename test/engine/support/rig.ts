/**
 * A ring for tests: operations by name, completions as words. `recv 5 more buffer` is a completion of the operation that
 * was submitted as `recv`, with `res` 5 and both flags; errors stand by their names, descriptors as `fd`.
 *
 * Completions are polled for (enter, collect, one turn of the loop), never slept for.
 */
import assert from 'node:assert/strict';
import { setImmediate as turnOfTheLoop } from 'node:timers/promises';
import { getSystemErrorName } from 'node:util';
import {
  ACCEPT_MULTISHOT,
  AF,
  CONTROL,
  CQE,
  CQE_BUFFER_SHIFT,
  CQE_F,
  CQE_WORDS,
  ENTER_GETEVENTS,
  MSG,
  MSGHDR,
  OP,
  RECV_MULTISHOT,
  SOCK,
  SQE_F,
  USER_OP,
  USER_OP_SHIFT,
} from '#src/engine/abi.ts';
import { loadNative, type Native } from '#src/engine/native.ts';
import { Ring, type RingKind } from '#src/engine/ring.ts';

const loaded = loadNative();
if (typeof loaded === 'string') throw new Error(loaded);
export const native: Native = loaded;

export const KINDS: readonly RingKind[] = ['io_uring', 'epoll'];

/** Why a kind of ring can't be had on this machine, or `false`. */
export function refusal(kind: RingKind): string | false {
  const ring = Ring.open(
    native,
    kind,
    8,
    8,
    () => {},
    () => {},
  );
  if (typeof ring === 'number') return `${kind} is refused here: ${getSystemErrorName(ring)}`;
  ring.close();
  return false;
}

export interface RigOptions {
  sqEntries?: number;
  cqEntries?: number;
  /** Provided buffers of group 0. A power of two. */
  buffers?: number;
  bufferBytes?: number;
  onTurn?: () => void;
}

export interface Completion {
  name: string;
  res: number;
  flags: number;
  userHigh: number;
  text: string;
}

const SOL_SOCKET = 1;
const SO_SNDBUF = 7;
const SO_RCVBUF = 8;
const SO_LINGER = 13;
const MEMORY_BYTES = 16 << 20;
let names = 0;

export class Rig {
  readonly kind: RingKind;
  readonly ring: Ring;
  /** What operations without a provided buffer read from and write to; `at` says where. */
  readonly memory: Uint8Array;
  readonly buffers: Uint8Array;
  readonly bufferBytes: number;
  /** Everything that arrived in provided buffers, in order of completion. */
  received = '';
  /** Descriptors of completed accepts. */
  accepted: number[] = [];
  /** Buffers go back as soon as their completion is read; `false` keeps them in `kept`. */
  givesBack = true;
  kept: number[] = [];
  turns = 0;
  generation = 1;
  readonly #names: string[] = [];
  readonly #open = new Set<number>();
  readonly #address: number;
  readonly #bufferAddress: number;
  readonly #bufferEntries: number;
  readonly #bufferWords: Int32Array;
  readonly #bufferTail: Uint16Array;
  #unread: Completion[] = [];
  #used = 0;
  #isEnded = false;

  constructor(kind: RingKind, options: RigOptions = {}) {
    const { sqEntries = 64, cqEntries = 256, buffers = 8, bufferBytes = 4096, onTurn } = options;
    const turn = (): void => {
      this.ring.control[CONTROL.IS_DRAINING] = 0; // what is left is for the next turn
      this.turns++;
      onTurn?.();
    };
    const ring = Ring.open(native, kind, sqEntries, cqEntries, turn, () => {});
    assert.ok(typeof ring !== 'number', `${kind}: ${typeof ring === 'number' ? getSystemErrorName(ring) : ''}`);
    this.kind = kind;
    this.ring = ring;
    this.memory = new Uint8Array(this.#allocate(MEMORY_BYTES));
    this.#address = native.address(this.memory);
    this.bufferBytes = bufferBytes;
    this.buffers = new Uint8Array(this.#allocate(buffers * bufferBytes));
    this.#bufferAddress = native.address(this.buffers);
    this.#bufferEntries = buffers;
    const entries = this.#allocate(Math.max(4096, buffers * 16));
    this.#bufferWords = new Int32Array(entries);
    this.#bufferTail = new Uint16Array(entries, 14, 1);
    assert.equal(native.registerBuffers(ring.id, new Uint8Array(entries), buffers, 0), 0);
    for (let id = 0; id < buffers; id++) this.give(id);
  }

  #allocate(bytes: number): ArrayBuffer {
    const memory = native.allocate(this.ring.id, bytes, bytes);
    assert.ok(typeof memory !== 'number');
    return memory;
  }

  /** Gives a provided buffer (back) to the ring. */
  give(id: number): void {
    const tail = this.#bufferTail[0] as number;
    const at = (tail & (this.#bufferEntries - 1)) * 4;
    const address = this.#bufferAddress + id * this.bufferBytes;
    this.#bufferWords[at] = address | 0;
    this.#bufferWords[at + 1] = Math.floor(address / 2 ** 32);
    this.#bufferWords[at + 2] = this.bufferBytes;
    new Uint16Array(this.#bufferWords.buffer, at * 4 + 12, 1)[0] = id;
    this.#bufferTail[0] = tail + 1;
  }

  // ---- descriptors; what is still open at the end is closed ----

  track(fd: number): number {
    assert.ok(fd >= 0, `no descriptor: ${fd < 0 ? getSystemErrorName(fd) : ''}`);
    this.#open.add(fd);
    return fd;
  }

  /** io_uring waits on blocking descriptors only; the epoll ring needs them non-blocking to connect and accept. */
  socket(domain: number): number {
    return this.track(native.socket(domain, SOCK.STREAM | (this.kind === 'epoll' ? SOCK.NONBLOCK : 0), 0));
  }

  /** A listening socket, and the address to connect to. */
  listen(domain: number = AF.INET, backlog = 16): [fd: number, address: Uint8Array] {
    const fd = this.socket(domain);
    const any = domain === AF.UNIX ? unixAddress() : domain === AF.INET ? inetAddress(0) : inet6Address(0);
    assert.equal(native.bind(fd, any), 0);
    assert.equal(native.listen(fd, backlog), 0);
    const out = new Uint8Array(128);
    const length = native.name(fd, false, out);
    return [fd, out.slice(0, length)];
  }

  unixPair(): [number, number] {
    const pair = native.socketPair(SOCK.STREAM);
    assert.ok(typeof pair !== 'number');
    return [this.track(pair[0]), this.track(pair[1])];
  }

  /** Two ends of a TCP connection: connected and accepted. */
  async tcpPair(domain: number = AF.INET): Promise<[number, number]> {
    const [listener, address] = this.listen(domain);
    const client = this.socket(domain);
    this.accept('accept', listener);
    this.connect('connect', client, address);
    await this.take(2);
    const server = this.accepted.pop() as number;
    this.closeNow(listener);
    return [client, server];
  }

  closeNow(fd: number): void {
    this.#open.delete(fd);
    assert.equal(native.closeDescriptor(fd), 0);
  }

  /** The next close(2) of `fd` resets its connection. */
  resetOnClose(fd: number): void {
    this.#setOption(fd, SO_LINGER, [1, 0]);
  }

  /** Small buffers in the kernel: little fits in before a send has to wait. */
  shrink(sender: number, receiver: number): void {
    this.#setOption(sender, SO_SNDBUF, [4096]);
    this.#setOption(receiver, SO_RCVBUF, [4096]);
  }

  #setOption(fd: number, name: number, value: number[]): void {
    assert.equal(native.setOption(fd, SOL_SOCKET, name, new Uint8Array(new Int32Array(value).buffer)), 0);
  }

  // ---- submissions ----

  #user(name: string): number {
    let index = this.#names.indexOf(name);
    if (index < 0) index = this.#names.push(name) - 1;
    // Teardown knows accepted descriptors by this operation; to a ring it means nothing.
    return index | ((name.startsWith('accept') ? USER_OP.ACCEPT : USER_OP.RECV) << USER_OP_SHIFT);
  }

  push(name: string, operation: number, fd: number, off: number, address: number, len: number, flags: number): void {
    this.ring.push(operation, fd, off, address, len, flags, this.#user(name), this.generation, 0);
  }

  nop(name = 'nop'): void {
    this.push(name, OP.NOP, -1, 0, 0, 0, 0);
  }

  accept(name: string, fd: number): void {
    this.push(name, OP.ACCEPT, fd, 0, 0, 0, SOCK.CLOEXEC);
  }

  acceptMany(name: string, fd: number): void {
    this.push(name, OP.ACCEPT | (ACCEPT_MULTISHOT << 16), fd, 0, 0, 0, SOCK.CLOEXEC);
  }

  /** The address is overwritten once it was handed over, as an engine would. */
  connect(name: string, fd: number, address: Uint8Array): void {
    this.#used = (this.#used + 128) % 4096;
    const at = MEMORY_BYTES - 8192 + this.#used;
    this.memory.set(address, at);
    this.push(name, OP.CONNECT, fd, address.length, this.#address + at, 0, 0);
    this.ring.enter();
    this.memory.fill(0xff, at, at + address.length);
  }

  /** Receives into `memory` at 0. */
  recv(name: string, fd: number, bytes: number, flags = 0): void {
    this.push(name, OP.RECV, fd, 0, this.#address, bytes, flags);
  }

  /** Receives into a provided buffer. */
  recvOne(name: string, fd: number): void {
    this.push(name, OP.RECV | (SQE_F.BUFFER_SELECT << 8), fd, 0, 0, 0, 0);
  }

  recvMany(name: string, fd: number): void {
    this.push(name, OP.RECV | (SQE_F.BUFFER_SELECT << 8) | (RECV_MULTISHOT << 16), fd, 0, 0, 0, 0);
  }

  send(name: string, fd: number, text: string, flags: number = MSG.NOSIGNAL): void {
    this.#used = (this.#used + text.length) % 65536;
    const at = (1 << 20) + this.#used;
    Buffer.from(this.memory.buffer).write(text, at, 'latin1');
    this.push(name, OP.SEND, fd, 0, this.#address + at, text.length, flags);
  }

  /** Sends `bytes` of whatever lies in `memory` from 2 MB on. */
  sendBytes(name: string, fd: number, bytes: number, flags: number = MSG.NOSIGNAL): void {
    this.push(name, OP.SEND, fd, 0, this.#address + (2 << 20), bytes, flags);
  }

  /** Sends the pieces with one sendmsg(2). */
  sendPieces(name: string, fd: number, pieces: string[]): void {
    const at = (1 << 20) - 4096;
    const words = new BigUint64Array(this.memory.buffer, at, 512);
    let textAt = at - 4096;
    words.fill(0n);
    pieces.forEach((piece, i) => {
      Buffer.from(this.memory.buffer).write(piece, textAt, 'latin1');
      words[8 + i * 2] = BigInt(this.#address + textAt);
      words[9 + i * 2] = BigInt(piece.length);
      textAt += piece.length;
    });
    words[MSGHDR.IOV_LOW / 2] = BigInt(this.#address + at + 64);
    words[MSGHDR.IOVLEN / 2] = BigInt(pieces.length);
    this.push(name, OP.SENDMSG, fd, 0, this.#address + at, 1, MSG.NOSIGNAL);
  }

  shutdown(name: string, fd: number, how = 1): void {
    this.push(name, OP.SHUTDOWN, fd, 0, 0, how, 0);
  }

  close(name: string, fd: number): void {
    this.#open.delete(fd);
    this.push(name, OP.CLOSE, fd, 0, 0, 0, 0);
  }

  cancel(name: string, fd: number, target: string, generation = this.generation): void {
    this.ring.pushCancel(fd, this.#user(target), generation, this.#user(name), this.generation);
  }

  // ---- completions ----

  /** Reads what is complete now, at most `limit`, without a system call. */
  read(limit = Infinity): Completion[] {
    const { ring } = this;
    assert.ok(!this.#isEnded, 'the ring was closed: its memory is gone');
    const tail = ring.tail();
    const read: Completion[] = [];
    for (; ring.head !== tail && read.length < limit; ring.advance((ring.head + 1) | 0)) {
      const at = ring.cqesAt + (ring.head & ring.cqMask) * CQE_WORDS;
      const [low, userHigh, res, flags] = ring.words.subarray(at, at + CQE_WORDS) as unknown as [
        number,
        number,
        number,
        number,
      ];
      assert.equal(CQE.FLAGS, 3);
      const name = this.#names[low & 0xffff] ?? `user ${low}`;
      read.push({ name, res, flags, userHigh, text: this.#describe(name, res, flags) });
    }
    return read;
  }

  #describe(name: string, res: number, flags: number): string {
    let what = res < 0 ? getSystemErrorName(res) : `${res}`;
    if (name.startsWith('accept') && res >= 0) {
      this.accepted.push(this.track(res));
      what = 'fd';
    }
    if (flags & CQE_F.BUFFER) {
      const id = flags >>> CQE_BUFFER_SHIFT;
      this.received += Buffer.from(this.buffers.buffer, id * this.bufferBytes, Math.max(res, 0)).toString('latin1');
      if (this.givesBack) this.give(id);
      else this.kept.push(id);
    }
    return `${name} ${what}${flags & CQE_F.MORE ? ' more' : ''}${flags & CQE_F.BUFFER ? ' buffer' : ''}`;
  }

  /** Hands over what was submitted, and one turn later reads what completed. */
  async poll(): Promise<void> {
    assert.ok(!this.#isEnded, 'the ring was closed: its memory is gone');
    native.enter(this.ring.id, this.ring.hasOverflowed ? ENTER_GETEVENTS : 0);
    native.collect(this.ring.id);
    this.#unread.push(...this.read());
    await turnOfTheLoop();
  }

  /** The next `count` completions, in order. */
  async take(count: number): Promise<string[]> {
    while (this.#unread.length < count) await this.poll();
    return this.#unread.splice(0, count).map(({ text }) => text);
  }

  /** The next `count` completions where their order is the ring's own business. */
  async takeUnordered(count: number): Promise<string[]> {
    return (await this.take(count)).sort();
  }

  async takeWhole(): Promise<Completion> {
    while (this.#unread.length === 0) await this.poll();
    return this.#unread.shift() as Completion;
  }

  /** What completes although nobody asked: several turns, then whatever is there. */
  async rest(): Promise<string[]> {
    for (let i = 0; i < 5; i++) await this.poll();
    return this.#unread.splice(0).map(({ text }) => text);
  }

  /** Closes the ring and every descriptor. A scenario that timed out must not touch the memory any more. */
  end(): void {
    this.#isEnded = true;
    this.ring.close();
    for (const fd of this.#open) native.closeDescriptor(fd);
  }
}

export function inetAddress(port: number): Uint8Array {
  return Uint8Array.of(AF.INET, 0, port >> 8, port & 255, 127, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0);
}

export function inet6Address(port: number): Uint8Array {
  const address = new Uint8Array(28);
  address.set([AF.INET6, 0, port >> 8, port & 255]);
  address[23] = 1;
  return address;
}

/** A name in the abstract namespace, unix(7): nothing is left behind in a file system. */
export function unixAddress(name = `millrace-${process.pid}-${names++}`): Uint8Array {
  return Uint8Array.of(AF.UNIX, 0, 0, ...Buffer.from(name));
}
