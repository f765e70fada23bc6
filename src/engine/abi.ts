/**
 * The records that TypeScript and the native part exchange: io_uring's own submission and completion entries
 * (io_uring(7)), which the epoll ring reads and writes likewise. native/abi.h is the other half; change both.
 *
 * Offsets are in 32-bit words, because that is how the hot path reads and writes them.
 */

/** Opcodes, `enum io_uring_op`. */
export const OP = {
  NOP: 0,
  WRITEV: 2,
  POLL_ADD: 6,
  SENDMSG: 9,
  ACCEPT: 13,
  ASYNC_CANCEL: 14,
  CONNECT: 16,
  CLOSE: 19,
  READ: 22, // Linux 5.6; READ, WRITE and WRITEV are for pipes, which know no recv and send
  WRITE: 23,
  SEND: 26,
  RECV: 27,
  SHUTDOWN: 34, // Linux 5.11
} as const;

/** Flags of a submission entry. */
export const SQE_F = { BUFFER_SELECT: 1 << 5 } as const;

/** `ioprio` bits that make an operation repeat itself. */
export const ACCEPT_MULTISHOT = 1 << 0; // Linux 5.19
export const RECV_MULTISHOT = 1 << 1; // Linux 6.0

/** Flags of a completion entry. The id of the provided buffer stands in the high half. */
export const CQE_F = { BUFFER: 1 << 0, MORE: 1 << 1 } as const;
export const CQE_BUFFER_SHIFT = 16;

/** A bit of the SQ flags word: completions wait behind a full completion queue. */
export const SQ_CQ_OVERFLOW = 1 << 1;

/** Flags of enter. */
export const ENTER_GETEVENTS = 1 << 0;

/** One submission entry: 16 words. */
export const SQE_WORDS = 16;
export const SQE = {
  OPCODE_FLAGS_IOPRIO: 0, // u8 opcode, u8 flags, u16 ioprio
  FD: 1,
  OFF_LOW: 2, // connect: length of the address
  OFF_HIGH: 3,
  ADDR_LOW: 4, // memory; async cancel: the user_data to cancel
  ADDR_HIGH: 5,
  LEN: 6, // bytes; shutdown: how
  OP_FLAGS: 7, // MSG_*, accept4(2) flags, cancel flags
  USER_LOW: 8,
  USER_HIGH: 9,
  BUF_GROUP: 10, // u16 buffer group, u16 personality
  LIMIT: 11, // multishot receive: bytes after which it ends (FEATURE_RECV_LIMIT)
} as const;

/** One completion entry: 4 words. */
export const CQE_WORDS = 4;
export const CQE = { USER_LOW: 0, USER_HIGH: 1, RES: 2, FLAGS: 3 } as const;

/** One entry of a buffer ring: 4 words; the ring's tail is the high half of word 3 of the first entry. */
export const BUF_WORDS = 4;
export const BUF = { ADDR_LOW: 0, ADDR_HIGH: 1, LEN: 2, BID_TAIL: 3 } as const;

/** `struct msghdr` and `struct iovec` on 64-bit machines, in words. */
export const MSGHDR_WORDS = 14;
export const MSGHDR = { IOV_LOW: 4, IOV_HIGH: 5, IOVLEN: 6 } as const;
export const IOVEC_WORDS = 4;

/** The order in which `open` reports where a ring's words lie (bytes from the start of its memory). */
export const LAYOUT = [
  'features',
  'sqEntries',
  'cqEntries',
  'sqHead',
  'sqTail',
  'sqMask',
  'sqFlags',
  'cqHead',
  'cqTail',
  'cqMask',
  'cqOverflow',
  'cqes',
] as const;
export type Layout = Record<(typeof LAYOUT)[number], number>;

/** Linux 6.17: word `SQE.LIMIT` ends a multishot receive after so many bytes. */
export const FEATURE_RECV_LIMIT = 1 << 0;

/** The memory that both sides share beside the ring, in words. */
export const CONTROL = { WANTS_FLUSH: 0, SLOTS_USED: 1, IS_DRAINING: 2, SLOT_FD: 16 } as const;
export const MAX_SLOTS = 1 << 20;

/**
 * `user_data`: which operation of which slot a completion belongs to. Never the descriptor: its number is reused as
 * soon as it is closed, while the generation tells an old completion from a new one.
 *
 * ```
 *  63            32 31        24 23            0
 * +----------------+------------+---------------+
 * |   generation   |  USER_OP   |     slot      |
 * +----------------+------------+---------------+
 * ```
 */
export const USER_OP = {
  ACCEPT: 1,
  CONNECT: 2,
  RECV: 3,
  SEND: 4,
  SHUTDOWN: 5,
  CLOSE: 6,
  CANCEL: 7,
  RECV_LARGE: 8,
  READY: 9,
  HEAD: 10,
} as const;
export const USER_SLOT_MASK = 0xffffff;
export const USER_OP_SHIFT = 24;

/** errno values that the engine itself acts on; the same on x86-64 and arm64. */
export const ERRNO = {
  ENOENT: 2,
  EINTR: 4,
  EBADF: 9,
  EAGAIN: 11,
  ENOMEM: 12,
  EBUSY: 16,
  EEXIST: 17,
  EINVAL: 22,
  ENFILE: 23,
  EMFILE: 24,
  EPIPE: 32,
  ENOTSOCK: 88,
  EADDRINUSE: 98,
  EADDRNOTAVAIL: 99,
  ECONNABORTED: 103,
  ECONNRESET: 104,
  ENOBUFS: 105,
  EISCONN: 106,
  ENOTCONN: 107,
  ETOOMANYREFS: 109,
  ETIMEDOUT: 110,
  ECONNREFUSED: 111,
  EHOSTUNREACH: 113,
  EALREADY: 114,
  ECANCELED: 125,
} as const;

/** SCM_MAX_FD: how many descriptors one message of a unix socket can have (unix(7)). */
export const MOST_RIGHTS = 253;

/** Constants of socket(7), ip(7), tcp(7) on Linux. */
export const AF = { UNIX: 1, INET: 2, INET6: 10 } as const;
export const SOCK = { STREAM: 1, DGRAM: 2, NONBLOCK: 0o4000, CLOEXEC: 0o2000000 } as const;
export const MSG = { DONTWAIT: 0x40, NOSIGNAL: 0x4000 } as const;
export const SHUT_WR = 1;
/** Of poll(2). */
export const POLL = { IN: 1, OUT: 4 } as const;
/** Of open(2): the two low bits of a descriptor's flags. */
export const O = { RDONLY: 0, WRONLY: 1, RDWR: 2, ACCMODE: 3 } as const;
