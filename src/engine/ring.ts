/**
 * A ring as typed arrays over its own memory: submissions are written and completions are read here, without a native
 * call for each and without an object for each. Whether io_uring or epoll stands behind it cannot be seen from here.
 *
 * Comes in: `push()` writes a submission entry. Goes out: `enter()` hands all of them over with one system call.
 */
import {
  CONTROL,
  ENTER_GETEVENTS,
  FEATURE_RECV_LIMIT,
  LAYOUT,
  type Layout,
  OP,
  SQ_CQ_OVERFLOW,
  SQE,
  SQE_WORDS,
} from './abi.ts';
import type { Native } from './native.ts';

export type RingKind = 'io_uring' | 'epoll';

export class Ring {
  readonly kind: RingKind;
  readonly native: Native;
  readonly id: number;
  readonly layout: Layout;
  /** Submission entries, 16 words each. */
  readonly sqes: Int32Array;
  /** Completion entries, 4 words each, from word `cqesAt` of `words`. */
  readonly words: Int32Array;
  readonly cqesAt: number;
  readonly cqMask: number;
  /** Words shared with the native part beside the ring, see `CONTROL`. */
  readonly control: Int32Array;
  /** Whether a multishot receive can be told to end after so many bytes. */
  readonly limitsReceive: boolean;
  /** The completion queue's head: entries below it were read. */
  head: number;
  readonly #sqMask: number;
  readonly #sqEntries: number;
  readonly #sqHeadAt: number;
  readonly #sqTailAt: number;
  readonly #sqFlagsAt: number;
  readonly #cqHeadAt: number;
  readonly #cqTailAt: number;
  #sqTail: number;

  private constructor(kind: RingKind, native: Native, id: number, out: unknown[]) {
    const [memory, sqes, control, ...offsets] = out as [ArrayBuffer, ArrayBuffer, ArrayBuffer, ...number[]];
    const layout = Object.fromEntries(LAYOUT.map((name, i) => [name, offsets[i]])) as Layout;
    this.kind = kind;
    this.native = native;
    this.id = id;
    this.layout = layout;
    this.words = new Int32Array(memory, 0, memory.byteLength >>> 2);
    this.sqes = new Int32Array(sqes);
    this.control = new Int32Array(control);
    this.cqesAt = layout.cqes >>> 2;
    this.cqMask = layout.cqEntries - 1;
    this.limitsReceive = (layout.features & FEATURE_RECV_LIMIT) !== 0;
    this.#sqMask = layout.sqEntries - 1;
    this.#sqEntries = layout.sqEntries;
    this.#sqHeadAt = layout.sqHead >>> 2;
    this.#sqTailAt = layout.sqTail >>> 2;
    this.#sqFlagsAt = layout.sqFlags >>> 2;
    this.#cqHeadAt = layout.cqHead >>> 2;
    this.#cqTailAt = layout.cqTail >>> 2;
    this.#sqTail = this.words[this.#sqTailAt] as number;
    this.head = this.words[this.#cqHeadAt] as number;
  }

  /**
   * Opens a ring in this thread's loop.
   * @param onTurn called when completions wait
   * @param onFlush called before the loop blocks, if `control[WANTS_FLUSH]` is set
   * @returns the ring, or `-errno`
   */
  static open(
    native: Native,
    kind: RingKind,
    sqEntries: number,
    cqEntries: number,
    onTurn: () => void,
    onFlush: () => void,
  ): Ring | number {
    const out: unknown[] = [];
    const id = native.open(kind === 'io_uring' ? 1 : 2, sqEntries, cqEntries, onTurn, onFlush, out);
    return id < 0 ? id : new Ring(kind, native, id, out);
  }

  /**
   * Writes one submission entry and shows it to the other side; `enter` hands it over. When the queue is full, what is
   * in it is handed over first. The tail moves with every entry, since the prepare hook looks at it.
   * @param operation opcode | flags << 8 | ioprio << 16
   * @param address of memory, below 2^53
   * @hot
   */
  push(
    operation: number,
    fd: number,
    off: number,
    address: number,
    len: number,
    opFlags: number,
    userLow: number,
    userHigh: number,
    bufGroup: number,
    limit = 0,
  ): void {
    const words = this.words;
    if (((this.#sqTail - (words[this.#sqHeadAt] as number)) | 0) === this.#sqEntries) this.#makeRoom();
    const sqes = this.sqes;
    const at = (this.#sqTail & this.#sqMask) * SQE_WORDS;
    sqes[at + SQE.OPCODE_FLAGS_IOPRIO] = operation;
    sqes[at + SQE.FD] = fd;
    sqes[at + SQE.OFF_LOW] = off;
    sqes[at + SQE.OFF_HIGH] = 0;
    sqes[at + SQE.ADDR_LOW] = address | 0;
    sqes[at + SQE.ADDR_HIGH] = (address / 0x1_0000_0000) | 0;
    sqes[at + SQE.LEN] = len;
    sqes[at + SQE.OP_FLAGS] = opFlags;
    sqes[at + SQE.USER_LOW] = userLow;
    sqes[at + SQE.USER_HIGH] = userHigh;
    sqes[at + SQE.BUF_GROUP] = bufGroup;
    sqes[at + SQE.LIMIT] = limit; // the words behind it are never used
    this.#sqTail = (this.#sqTail + 1) | 0;
    words[this.#sqTailAt] = this.#sqTail;
  }

  /** An async cancel of the operation with this `user_data`; `fd` is a hint that the epoll ring finds it by. */
  pushCancel(fd: number, targetLow: number, targetHigh: number, userLow: number, userHigh: number): void {
    this.push(OP.ASYNC_CANCEL, fd, 0, 0, 0, 0, userLow, userHigh, 0);
    const at = ((this.#sqTail - 1) & this.#sqMask) * SQE_WORDS;
    this.sqes[at + SQE.ADDR_LOW] = targetLow;
    this.sqes[at + SQE.ADDR_HIGH] = targetHigh;
  }

  /** How many published submissions were not taken yet. */
  get unsubmitted(): number {
    return (this.#sqTail - (this.words[this.#sqHeadAt] as number)) | 0;
  }

  /** The completion queue's tail: entries below it are complete. @hot */
  tail(): number {
    return Atomics.load(this.words, this.#cqTailAt);
  }

  /** Gives the completion entries below `head` back. @hot */
  advance(head: number): void {
    this.head = head;
    this.words[this.#cqHeadAt] = head;
  }

  /** Completions that found no room wait in the kernel (or in the epoll ring) until the next enter. @hot */
  get hasOverflowed(): boolean {
    return ((this.words[this.#sqFlagsAt] as number) & SQ_CQ_OVERFLOW) !== 0;
  }

  /**
   * Hands every published submission over with one system call.
   * @returns submissions taken; `-EBUSY`/`-EAGAIN` mean: drain the completions, then enter again
   * @hot
   */
  enter(): number {
    return this.native.enter(this.id, this.hasOverflowed ? ENTER_GETEVENTS : 0);
  }

  /** A full completion queue is no reason to refuse submissions: both rings keep a backlog (IORING_FEAT_NODROP). */
  #makeRoom(): void {
    let taken = this.enter();
    for (let tries = 0; taken <= 0 && tries < 1000; tries++) taken = this.native.enter(this.id, ENTER_GETEVENTS);
    if (taken <= 0) throw new Error(`millrace: the kernel takes no submissions (errno ${-taken})`);
  }

  close(): void {
    this.native.close(this.id);
  }

  /** Asks for `onFlush` before the loop blocks. @hot */
  wantFlush(wants: boolean): void {
    this.control[CONTROL.WANTS_FLUSH] = wants ? 1 : 0;
  }
}
