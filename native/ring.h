/* A ring: the one interface behind which io_uring and epoll stand. One ring belongs to one thread.
 *
 *   TypeScript writes submissions and reads completions in ring->memory (see abi.h);
 *   ring->engine->enter() takes what was submitted; ring->engine->collect() posts what became ready since.
 */
#ifndef MILLRACE_RING_H
#define MILLRACE_RING_H

#include "abi.h"

struct ring;

struct engine {
  /* Makes the ring; 0 or -errno. cq_entries is a power of two. */
  int (*open)(struct ring *ring, u32 sq_entries, u32 cq_entries);
  /* Takes every published submission and posts what completes at once. Submissions taken, or -errno. */
  int (*enter)(struct ring *ring, u32 flags);
  /* Called when ring->fd is readable, before TypeScript drains. */
  void (*collect)(struct ring *ring);
  /* The last thing before the loop may block: ring->fd is readable if completions are unread. */
  void (*before_block)(struct ring *ring);
  /* Announces the buffer ring `bufs` (entries is a power of two) as buffer group `group`; 0 or -errno. */
  int (*register_buffers)(struct ring *ring, struct buf *bufs, u32 entries, u16 group);
  /* Ends every operation in flight; their completions are posted. After it the kernel touches no memory of ours. */
  void (*cancel_all)(struct ring *ring);
  /* Frees the ring. Only after cancel_all. */
  void (*close)(struct ring *ring);
};

extern const struct engine uring_engine;
extern const struct engine epoll_engine;

struct ring {
  const struct engine *engine;
  int fd;               /* readable when there is something to collect or drain */
  struct layout layout; /* where the words below lie in memory */
  u8 *memory;           /* SQ and CQ heads, tails, flags, and the completion entries */
  size_t memory_size;
  struct sqe *sqes;
  size_t sqes_size;
  void *state;          /* the engine's own */
};

static inline u32 *ring_word(const struct ring *ring, u32 offset) { return (u32 *)(void *)(ring->memory + offset); }

/* Submissions that were published and not yet taken. */
static inline u32 ring_unsubmitted(const struct ring *ring) {
  return __atomic_load_n(ring_word(ring, ring->layout.sq_tail), __ATOMIC_ACQUIRE) -
         __atomic_load_n(ring_word(ring, ring->layout.sq_head), __ATOMIC_RELAXED);
}

/* Completions that were posted and not yet read. */
static inline u32 ring_unread(const struct ring *ring) {
  return __atomic_load_n(ring_word(ring, ring->layout.cq_tail), __ATOMIC_ACQUIRE) -
         __atomic_load_n(ring_word(ring, ring->layout.cq_head), __ATOMIC_RELAXED);
}

#endif
