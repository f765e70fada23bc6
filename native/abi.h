/* The records that TypeScript and this folder exchange, and nothing else.
 *
 * Submission entries (64 bytes) and completion entries (16 bytes) are the kernel's own (io_uring(7)); the epoll ring
 * reads and writes the very same records in ordinary memory. src/engine/abi.ts is the other half of this file: change
 * both. We keep our own constants, each with its Linux version, because a user's kernel headers are older than the
 * kernel that the binary meets.
 */
#ifndef MILLRACE_ABI_H
#define MILLRACE_ABI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef uint8_t u8;
typedef uint16_t u16;
typedef uint32_t u32;
typedef uint64_t u64;
typedef int32_t s32;
typedef int64_t s64;

/* One submission. Offsets in bytes are what TypeScript writes. */
struct sqe {
  u8 opcode;      /*  0 */
  u8 flags;       /*  1  SQE_* */
  u16 ioprio;     /*  2  RECV_MULTISHOT, ACCEPT_MULTISHOT */
  s32 fd;         /*  4 */
  u64 off;        /*  8  connect: length of the address */
  u64 addr;       /* 16  memory; async cancel: the user_data to cancel */
  u32 len;        /* 24  bytes; shutdown: how */
  u32 op_flags;   /* 28  MSG_*, accept4(2) flags, cancel flags */
  u64 user_data;  /* 32  slot (24 bits) | operation (8) | generation (32) */
  u16 buf_group;  /* 40 */
  u16 personality;
  s32 limit;      /* 44  multishot receive: bytes after which it ends; 0: never (in io_uring also file_index) */
  u64 addr3;      /* 48 */
  s32 next;       /* 56  not io_uring's: links pending operations in epoll.c */
  u32 pad;
};

/* One completion. */
struct cqe {
  u64 user_data; /* 0 */
  s32 res;       /* 8   result or -errno */
  u32 flags;     /* 12  CQE_F_*, buffer id in the high half */
};

/* One entry of a buffer ring (IORING_REGISTER_PBUF_RING, Linux 5.19). The tail is the 16 bits at byte 14 of the first. */
struct buf {
  u64 addr;
  u32 len;
  u16 bid;
  u16 tail;
};

enum { /* opcodes, enum io_uring_op */
  OP_NOP = 0,
  OP_WRITEV = 2,
  OP_POLL_ADD = 6,
  OP_SENDMSG = 9,
  OP_ACCEPT = 13,
  OP_ASYNC_CANCEL = 14,
  OP_CONNECT = 16,
  OP_CLOSE = 19,
  OP_READ = 22, /* Linux 5.6; READ, WRITE and WRITEV are for pipes, which know no recv and send */
  OP_WRITE = 23,
  OP_SEND = 26,
  OP_RECV = 27,
  OP_SHUTDOWN = 34 /* Linux 5.11 */
};

enum { SQE_BUFFER_SELECT = 1u << 5 };
enum { ACCEPT_MULTISHOT = 1u << 0 }; /* Linux 5.19 */
enum { RECV_MULTISHOT = 1u << 1 };   /* Linux 6.0 */
enum { CQE_F_BUFFER = 1u << 0, CQE_F_MORE = 1u << 1, CQE_BUFFER_SHIFT = 16 };
enum { SQ_CQ_OVERFLOW = 1u << 1 }; /* in the SQ flags word: completions wait behind a full CQ */
enum { ENTER_GETEVENTS = 1u << 0 };

/* user_data: which operation a completion belongs to, so that teardown can tell an accepted descriptor. */
enum { USER_SLOT_MASK = 0xffffff, USER_OP_SHIFT = 24, USER_OP_ACCEPT = 1 };

enum { FEATURE_RECV_LIMIT = 1u << 0 }; /* Linux 6.17: sqe.limit limits the bytes of a multishot receive */

/* Where the words of a ring lie, in bytes from the start of its memory. Filled by the kernel or by epoll.c. */
struct layout {
  u32 features; /* FEATURE_* */
  u32 sq_entries, cq_entries;
  u32 sq_head, sq_tail, sq_mask, sq_flags;
  u32 cq_head, cq_tail, cq_mask, cq_overflow, cqes;
};

/* Memory that both sides share beside the ring. */
enum { MAX_SLOTS = 1 << 20 };
struct control {
  u32 wants_flush;        /* 1: TypeScript has gathered writes which the next prepare hook must turn into submissions */
  u32 slots_used;         /* slots below this number may hold a descriptor */
  u32 is_draining;        /* 1: a turn has begun and TypeScript has not said that it is done */
  u32 pad[13];
  s32 slot_fd[MAX_SLOTS]; /* descriptor + 1 of each live slot, 0 for none: what teardown has to close */
};

#endif
