/* The kernel's own ring. Needs Linux 6.0 (multishot receive); what is missing is found out by trying it, never by
 * comparing versions, since distributions port features back and containers refuse system calls.
 *
 * Comes in: submissions that TypeScript wrote straight into the ring's memory. Goes out: completions, likewise.
 */
#include "ring.h"
#include "sys.h"

enum { /* io_uring_setup(2) flags */
  SETUP_CQSIZE = 1u << 3,
  SETUP_CLAMP = 1u << 4,
  SETUP_SUBMIT_ALL = 1u << 7,    /* Linux 5.18: one bad entry does not stop the batch */
  SETUP_COOP_TASKRUN = 1u << 8,  /* Linux 5.19: no interrupt of this thread for each completion; 2 us a message */
  SETUP_SINGLE_ISSUER = 1u << 12 /* Linux 6.0 */
};
enum { FEAT_SINGLE_MMAP = 1u << 0, FEAT_NODROP = 1u << 1, FEAT_SUBMIT_STABLE = 1u << 2 };
enum { REGISTER_PBUF_RING = 22, UNREGISTER_PBUF_RING = 23, REGISTER_SYNC_CANCEL = 24 };
enum { CANCEL_ALL = 1u << 0, CANCEL_ANY = 1u << 2 };
#define MMAP_SQES 0x10000000ul

struct params {
  u32 sq_entries, cq_entries, flags, sq_thread_cpu, sq_thread_idle, features, wq_fd, resv[3];
  struct { u32 head, tail, mask, entries, flags, dropped, array, resv1; u64 user_addr; } sq;
  struct { u32 head, tail, mask, entries, overflow, cqes, flags, resv1; u64 user_addr; } cq;
};

/* The richest flags first; a kernel that does not know one says EINVAL. No SQPOLL: its thread burns a core and keeps the
 * credentials it was made with (CVE-2024-22017). No DEFER_TASKRUN: its completions do not wake a poll on the ring's
 * descriptor (seen on 6.18), and a registered eventfd instead costs 1-2 us a message. */
static const u32 setup_ladder[] = {
  SETUP_SINGLE_ISSUER | SETUP_COOP_TASKRUN | SETUP_SUBMIT_ALL,
  SETUP_COOP_TASKRUN | SETUP_SUBMIT_ALL,
  SETUP_SUBMIT_ALL,
  0,
};

static int setup(u32 sq_entries, u32 cq_entries, struct params *p) {
  long fd = -E_INVAL;
  for (size_t i = 0; i < sizeof setup_ladder / sizeof *setup_ladder && fd == -E_INVAL; i++) {
    *p = (struct params){ .flags = setup_ladder[i] | SETUP_CQSIZE | SETUP_CLAMP, .cq_entries = cq_entries };
    fd = sys2(SYS_io_uring_setup, sq_entries, p); /* always close-on-exec */
  }
  return (int)fd;
}

static void *map_ring(int fd, size_t bytes, u64 offset) {
  long p = sys6(SYS_mmap, 0, bytes, 3, 0x8001 /* MAP_SHARED|MAP_POPULATE */, fd, offset);
  return p < 0 && p > -4096 ? NULL : (void *)p;
}

static int uring_enter(struct ring *ring, u32 flags) {
  u32 count = ring_unsubmitted(ring);
  if (*ring_word(ring, ring->layout.sq_flags) & SQ_CQ_OVERFLOW) flags |= ENTER_GETEVENTS; /* moves the backlog over */
  if (!count && !flags) return 0;
  long n;
  do n = sys6(SYS_io_uring_enter, ring->fd, count, 0, flags, 0, 0);
  while (n == -E_INTR);
  return (int)n;
}

static int uring_register_buffers(struct ring *ring, struct buf *bufs, u32 entries, u16 group) {
  struct { u64 ring_addr; u32 ring_entries; u16 bgid, flags; u64 resv[3]; } reg = {
    .ring_addr = (u64)(uintptr_t)bufs, .ring_entries = entries, .bgid = group };
  return (int)sys4(SYS_io_uring_register, ring->fd, REGISTER_PBUF_RING, &reg, 1);
}

/* A socket pair, one byte, one multishot receive into a provided buffer: the three things without which the engine has
 * no point on this kernel. The registration and the completions are gone afterwards. */
static int try_receive(struct ring *ring, struct buf *bufs, s32 fd, s32 limit) {
  u32 sq_tail = *ring_word(ring, ring->layout.sq_tail), cq_head = *ring_word(ring, ring->layout.cq_head);
  bufs[0] = (struct buf){ .addr = (u64)(uintptr_t)bufs + 2048, .len = 64, .tail = bufs[0].tail };
  __atomic_store_n(&bufs[0].tail, bufs[0].tail + 1, __ATOMIC_RELEASE);
  ring->sqes[sq_tail & *ring_word(ring, ring->layout.sq_mask)] = (struct sqe){
    .opcode = OP_RECV, .flags = SQE_BUFFER_SELECT, .ioprio = RECV_MULTISHOT, .fd = fd, .buf_group = 0xffff,
    .limit = limit };
  __atomic_store_n(ring_word(ring, ring->layout.sq_tail), sq_tail + 1, __ATOMIC_RELEASE);
  int err = uring_enter(ring, ENTER_GETEVENTS);
  if (err < 0) return err;
  u32 count = ring_unread(ring);
  struct cqe *cqes = (struct cqe *)(void *)(ring->memory + ring->layout.cqes);
  struct cqe first = cqes[cq_head & *ring_word(ring, ring->layout.cq_mask)];
  __atomic_store_n(ring_word(ring, ring->layout.cq_head), cq_head + count, __ATOMIC_RELEASE);
  if (!count) return -E_INVAL;
  if (first.res < 0) return first.res;
  return first.res == 1 && (first.flags & CQE_F_BUFFER) && *(u8 *)(bufs + 128) == 'm' ? 0 : -E_INVAL;
}

static int self_test(struct ring *ring) {
  struct buf *bufs = map_pages(4096);
  if (!bufs) return -E_NOMEM;
  int pair[2];
  long err = sys4(SYS_socketpair, AF_UNIX_, SOCK_STREAM_ | SOCK_CLOEXEC_, 0, pair);
  if (err < 0) goto unmap;
  err = uring_register_buffers(ring, bufs, 1, 0xffff);
  if (err < 0) goto close_pair;
  sys6(SYS_sendto, pair[1], "m", 1, MSG_NOSIGNAL_, 0, 0);
  err = try_receive(ring, bufs, pair[0], 1);
  if (!err) {
    ring->layout.features |= FEATURE_RECV_LIMIT;
  } else if (err == -E_INVAL) { /* before Linux 6.17 nothing may stand in that word */
    sys2(SYS_shutdown, pair[1], 1);
    err = try_receive(ring, bufs, pair[0], 0);
  }
  struct { u64 ring_addr; u32 ring_entries; u16 bgid, flags; u64 resv[3]; } reg = { .bgid = 0xffff };
  sys4(SYS_io_uring_register, ring->fd, UNREGISTER_PBUF_RING, &reg, 1);
close_pair:
  sys1(SYS_close, pair[0]);
  sys1(SYS_close, pair[1]);
unmap:
  unmap_pages(bufs, 4096);
  return (int)err;
}

/* close(2) of a ring ends its operations later, from a kernel worker, when the memory is gone. Linux 6.0 */
static void uring_cancel_all(struct ring *ring) {
  struct { u64 addr; s32 fd; u32 flags; long long timeout[2]; u8 opcode, pad[7]; u64 pad2[3]; } all = {
    .fd = -1, .flags = CANCEL_ALL | CANCEL_ANY, .timeout = { 1, 0 } };
  sys4(SYS_io_uring_register, ring->fd, REGISTER_SYNC_CANCEL, &all, 1);
}

static void uring_close(struct ring *ring) {
  if (ring->fd >= 0) sys1(SYS_close, ring->fd);
  unmap_pages(ring->memory, ring->memory_size);
  unmap_pages(ring->sqes, ring->sqes_size);
  ring->fd = -1;
  ring->memory = NULL;
  ring->sqes = NULL;
}

static int uring_open(struct ring *ring, u32 sq_entries, u32 cq_entries) {
  struct params p;
  ring->fd = setup(sq_entries, cq_entries, &p);
  if (ring->fd < 0) return ring->fd;
  u32 needed = FEAT_SINGLE_MMAP | FEAT_NODROP | FEAT_SUBMIT_STABLE; /* Linux 5.4, 5.5, 5.5 */
  int err = -E_NOSYS;
  if ((p.features & needed) != needed) goto fail;
  err = -E_NOMEM;
  size_t sq_end = p.sq.array + p.sq_entries * sizeof(u32), cq_end = p.cq.cqes + p.cq_entries * sizeof(struct cqe);
  ring->memory_size = sq_end > cq_end ? sq_end : cq_end;
  ring->memory = map_ring(ring->fd, ring->memory_size, 0);
  ring->sqes_size = p.sq_entries * sizeof(struct sqe);
  ring->sqes = map_ring(ring->fd, ring->sqes_size, MMAP_SQES);
  if (!ring->memory || !ring->sqes) goto fail;
  ring->layout = (struct layout){
    .sq_entries = p.sq_entries, .cq_entries = p.cq_entries,
    .sq_head = p.sq.head, .sq_tail = p.sq.tail, .sq_mask = p.sq.mask, .sq_flags = p.sq.flags,
    .cq_head = p.cq.head, .cq_tail = p.cq.tail, .cq_mask = p.cq.mask, .cq_overflow = p.cq.overflow, .cqes = p.cq.cqes };
  for (u32 i = 0; i < p.sq_entries; i++) ring_word(ring, p.sq.array)[i] = i; /* entry i is always entry i */
  err = self_test(ring);
  if (!err) return 0;
fail:
  uring_close(ring);
  return err;
}

static void uring_collect(struct ring *ring) { (void)ring; /* the kernel has posted them already */ }

static void uring_before_block(struct ring *ring) { (void)ring; /* the kernel's descriptor is readable by itself */ }

const struct engine uring_engine = {
  uring_open, uring_enter, uring_collect, uring_before_block, uring_register_buffers, uring_cancel_all, uring_close
};
