/**
 * The native part, typed. It is loaded by whoever opens a ring, and never throws for I/O: every failure is a negative
 * errno. native/addon.c is the other half.
 */
import { builtins } from './builtins.ts';

/** A number below zero is `-errno`. */
export interface Native {
  /** Opens a ring (1 io_uring, 2 epoll). Fills `out` with ring memory, submission entries, control memory and layout. */
  open(
    kind: 1 | 2,
    sqEntries: number,
    cqEntries: number,
    onTurn: () => void,
    onFlush: () => void,
    out: unknown[],
  ): number;
  close(ring: number): number;
  /** Hands over every published submission; returns how many were taken. */
  enter(ring: number, flags: number): number;
  /** Posts what became ready (the loop does it before each turn). */
  collect(ring: number): number;
  /** Whether the ring keeps Node's loop alive. */
  ref(ring: number, alive: boolean): number;
  registerBuffers(ring: number, memory: Uint8Array, entries: number, group: number): number;
  /** Zeroed pages that never move and live as long as the ring; the first `shown` bytes of them. */
  allocate(ring: number, bytes: number, shown: number): ArrayBuffer | number;
  /** More of what `allocate` gave; `memory` is its beginning. */
  show(ring: number, memory: Uint8Array, shown: number): ArrayBuffer | number;
  /** The address of a view's first byte. */
  address(view: Uint8Array): number;
  socket(domain: number, type: number, protocol: number): number;
  socketPair(type: number): [number, number] | number;
  /**
   * sendmsg(2) of what fits without waiting; returns how many bytes. The descriptors (at most 253) go with the first byte
   * and stay open here. `sockaddr` is empty for a connected socket.
   */
  sendMessage(fd: number, bytes: Uint8Array, descriptors: Int32Array, sockaddr: Uint8Array): number;
  /**
   * recvmsg(2) of what is there; returns how many bytes. `out` gets: how many descriptors came, 1 if the kernel had to
   * close others, and the descriptors, close-on-exec; it has room for 2 + 253.
   */
  receiveMessage(fd: number, bytes: Uint8Array, out: Int32Array): number;
  bind(fd: number, sockaddr: Uint8Array): number;
  /** connect(2), of a unix socket that is O_NONBLOCK: -EAGAIN when the backlog is full. */
  connect(fd: number, sockaddr: Uint8Array): number;
  listen(fd: number, backlog: number): number;
  /** accept4(2); close-on-exec. */
  accept(fd: number, flags: number): number;
  /** Bytes that the kernel holds for the next receive. */
  unread(fd: number): number;
  /** getsockname(2) or getpeername(2) into `out`; returns the length. */
  name(fd: number, peer: boolean, out: Uint8Array): number;
  /** shutdown(2) */
  shutdown(fd: number, how: number): number;
  setOption(fd: number, level: number, name: number, value: Uint8Array): number;
  getOption(fd: number, level: number, name: number, out: Uint8Array): number;
  /** send(2) of what fits without waiting; returns how many bytes. */
  send(fd: number, bytes: Uint8Array): number;
  /** fcntl(2) F_GETFL */
  flags(fd: number): number;
  setBlocking(fd: number, blocking: boolean): number;
  duplicate(fd: number): number;
  closeDescriptor(fd: number): number;
}

const require = builtins.module.createRequire(import.meta.url);

/** Where a native part may lie: compiled by the set-up of a checkout, or shipped in the package. */
function candidates(): string[] {
  const root = new URL('../../', import.meta.url);
  const override = process.env['MILLRACE_NATIVE'];
  const paths = [
    new URL('.build/millrace.node', root).pathname,
    new URL(`prebuilt/linux-${process.arch}.node`, root).pathname,
  ].map(decodeURIComponent);
  return override === undefined ? paths : [override];
}

/**
 * Loads the native part.
 * @returns the exports, or the reason in words why there are none
 */
export function loadNative(): Native | string {
  let reason = `no native part for ${process.platform}-${process.arch} in this package, and none was compiled`;
  for (const path of candidates()) {
    try {
      return require(path) as Native;
    } catch (error) {
      const { code, message } = error as NodeJS.ErrnoException;
      if (code !== 'MODULE_NOT_FOUND') reason = `the native part could not be loaded: ${message.split('\n')[0]}`;
    }
  }
  return reason;
}

let part: Native | null | undefined;

/** The native part without a ring, where there is one: for what Node itself can't do. */
export function nativePart(): Native | null {
  if (part === undefined) {
    const isForUs = process.platform === 'linux' && process.versions['bun'] === undefined;
    const loaded = isForUs ? loadNative() : '';
    part = typeof loaded === 'string' ? null : loaded;
  }
  return part;
}
