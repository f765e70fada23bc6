/* The epoll ring: io_uring's records where io_uring is refused. Submissions lie in ordinary memory; enter() does each
 * as a non-blocking system call and posts the completion that the kernel's ring would post. What has to wait is kept
 * in a list of its descriptor (one for what reads, one for what writes) until epoll reports the descriptor.
 *
 *   enter:   submission -> perform -> completion            collect: epoll_wait -> perform what waits -> completion
 *                             \-> EAGAIN: pending, watched
 *
 * epoll is level-triggered, and what is watched changes late: a descriptor is added once and stays when an operation
 * ends, since the next one usually follows in the same turn; only when epoll reports what nobody waits for (it would
 * do so again and again) is the mask cut down to what is waited for, or the descriptor taken out. So a message costs
 * one recv, one send and a share of an epoll_wait.
 *
 * Differences that a caller can see: pipes must be non-blocking, sockets that receive and send need not; the memory of a
 * sendmsg's header and vector must live until the completion, not only until the submission; close ends what still waits
 * on the descriptor (-ECANCELED); sockets to accept or connect on must be non-blocking; a cancel names the descriptor of
 * its target besides the user_data; a poll waits for reading or for writing, not for both; a multishot receive does not end for a full completion queue (it pauses, and epoll
 * reports the rest), and its limit is one buffer.
 */
#include "ring.h"
#include "sys.h"

enum { EPOLL_IN = 0x1, EPOLL_OUT = 0x4, EPOLL_ERR = 0x8, EPOLL_HUP = 0x10, EPOLL_ONESHOT = 1u << 30 };
enum { CTL_ADD = 1, CTL_DEL = 2, CTL_MOD = 3 };
enum { EPOLL_CLOEXEC = 02000000, EVENTFD_CLOEXEC = 02000000 };
enum { SO_ERROR_ = 4 };
enum { E_EXIST = 17, E_NOTCONN = 107 };

enum {
  MAX_GROUPS = 8,
  MAX_SQ_ENTRIES = 32768,
  MAX_DESCRIPTORS = 1 << 24,
  FIRST_DESCRIPTORS = 1 << 16, /* tables grow by doubling; pages that are never touched cost nothing */
  FIRST_PENDING = 1 << 12,
  FIRST_BACKLOG = 1 << 10,
  EVENTS = 1024,
  GUESSES_IN_A_ROW = 16,
  ACCEPTS_IN_A_ROW = 64 /* fairness: the other descriptors have their turn, too */
};

/* epoll_ctl(2): packed on x86-64 only, so that 32-bit programs pass the same bytes. */
struct event {
  u32 events;
  u64 fd;
}
#if defined(__x86_64__)
__attribute__((packed))
#endif
;
#define SIGNAL (~(u64)0) /* stands for the signal's descriptor */

/* The ring's memory. */
struct words {
  u32 sq_head, sq_tail, sq_mask, sq_flags, cq_head, cq_tail, cq_mask, cq_overflow;
  u32 pad[8];
  struct cqe cqes[];
};

/* What is known of a descriptor, by its number. */
struct watch {
  u64 owner;        /* slot and generation of the last operation: another one's descriptor may have the same number */
  s32 reads, writes; /* first pending operation of each list, 0 for none */
  u32 interest;     /* what epoll watches it for, 0: not watched; UNSURE: perhaps watched, perhaps another file's */
  bool is_drained;  /* the last single receive did not fill its memory: nothing is left to be read */
};
enum { UNSURE = EPOLL_ERR };

struct group {
  struct buf *bufs;
  u16 mask, head;
};

struct table {
  void *items;
  u32 capacity;
};

struct state {
  struct table watches; /* struct watch, by descriptor */
  struct table pending; /* struct sqe: copies of what waits */
  struct table backlog; /* struct cqe: completions that found the queue full */
  s32 free_pending;     /* list of free entries */
  u32 used_pending;     /* entries below were in use once; number 0 never is */
  u32 backlog_first, backlog_count;
  u32 event_next, event_count;
  s32 signal_fd;        /* an eventfd that is always readable */
  s32 lone_fd;          /* the only descriptor that epoll reported last time, -1 for none */
  u32 guesses;          /* how often it was tried since, without asking epoll */
  bool is_lending;      /* buffers lie in completions that TypeScript has not read yet: more may come back soon */
  struct group groups[MAX_GROUPS];
  struct event events[EVENTS];
};

enum verdict {
  FINISHED, /* the last completion of the operation was posted */
  WAITING,  /* the descriptor is not ready, or had its share */
  STALLED   /* no room for any completion, or no buffer: TypeScript has to read completions first */
};

static struct words *words_of(const struct ring *ring) { return (struct words *)(void *)ring->memory; }
static struct state *state_of(const struct ring *ring) { return ring->state; }
static struct sqe *pending_at(const struct state *s, s32 i) { return (struct sqe *)s->pending.items + i; }

static bool reserve(struct table *t, u32 needed, u32 first, size_t item) {
  if (needed <= t->capacity) return true;
  u32 capacity = t->capacity ? t->capacity : first;
  while (capacity < needed) capacity *= 2;
  void *items = map_pages(capacity * item);
  if (!items) return false;
  if (t->items) __builtin_memcpy(items, t->items, t->capacity * item);
  unmap_pages(t->items, t->capacity * item);
  *t = (struct table){ items, capacity };
  return true;
}

/* ---- completions ---- */

static bool has_room(const struct ring *ring) {
  const struct words *w = words_of(ring);
  return w->cq_tail - w->cq_head <= w->cq_mask && !state_of(ring)->backlog_count;
}

static void append(struct words *w, struct cqe c) {
  w->cqes[w->cq_tail & w->cq_mask] = c;
  __atomic_store_n(&w->cq_tail, w->cq_tail + 1, __ATOMIC_RELEASE);
}

/* As with IORING_FEAT_NODROP: nothing is lost while there is memory. */
static void keep(struct ring *ring, struct cqe c) {
  struct state *s = state_of(ring);
  u32 end = s->backlog_first + s->backlog_count;
  if (end == s->backlog.capacity && s->backlog_first > s->backlog_count) { /* mostly moved over: use that again */
    struct cqe *items = s->backlog.items;
    __builtin_memcpy(items, items + s->backlog_first, s->backlog_count * sizeof c);
    s->backlog_first = 0;
    end = s->backlog_count;
  }
  if (!reserve(&s->backlog, end + 1, FIRST_BACKLOG, sizeof c)) {
    words_of(ring)->cq_overflow++;
    return;
  }
  ((struct cqe *)s->backlog.items)[end] = c;
  s->backlog_count++;
  words_of(ring)->sq_flags |= SQ_CQ_OVERFLOW;
}

static void post(struct ring *ring, u64 user_data, long res, u32 flags) {
  struct cqe c = { user_data, (s32)res, flags };
  if (has_room(ring)) append(words_of(ring), c);
  else keep(ring, c);
}

static void move_backlog(struct ring *ring) {
  struct words *w = words_of(ring);
  struct state *s = state_of(ring);
  if (!s->backlog_count) return;
  for (; s->backlog_count && w->cq_tail - w->cq_head <= w->cq_mask; s->backlog_count--)
    append(w, ((struct cqe *)s->backlog.items)[s->backlog_first++]);
  if (s->backlog_count) return;
  s->backlog_first = 0;
  w->sq_flags &= ~(u32)SQ_CQ_OVERFLOW;
}

/* ---- operations: each tries once, or a few times, and says how it stands ---- */

static enum verdict finish(struct ring *ring, const struct sqe *op, long res) {
  post(ring, op->user_data, res, 0);
  return FINISHED;
}

static struct watch *find_watch(const struct state *s, s32 fd) {
  return (u32)fd < s->watches.capacity ? (struct watch *)s->watches.items + fd : NULL;
}

/* The next buffer of a group; it is taken only when something was received into it. */
static struct buf *next_buffer(struct state *s, u32 group) {
  struct group *g = group < MAX_GROUPS && s->groups[group].bufs ? &s->groups[group] : NULL;
  if (!g || g->head == __atomic_load_n(&g->bufs->tail, __ATOMIC_ACQUIRE)) return NULL;
  return &g->bufs[g->head & g->mask];
}

/* Buffers that ran out while completions are unread will be back after the turn, and the level-triggered epoll reports
 * the descriptor again: ending every receive with ENOBUFS in between, to be armed again, would only cost. ENOBUFS is
 * said, as the kernel says it, when TypeScript has seen everything and still has all buffers. */
static enum verdict without_buffer(struct ring *ring, const struct sqe *op) {
  struct state *s = state_of(ring);
  bool is_known = op->buf_group < MAX_GROUPS && s->groups[op->buf_group].bufs;
  return is_known && s->is_lending ? STALLED : finish(ring, op, -E_NOBUFS);
}

/* One receive at a time: if more is there, epoll says so again, and the other descriptors have their turn. A multishot that
 * has a limit ends with the first full buffer: the caller may want to stop, or another group for the rest. */
static enum verdict receive(struct ring *ring, const struct sqe *op) {
  struct state *s = state_of(ring);
  bool selects = op->flags & SQE_BUFFER_SELECT, is_multishot = op->ioprio & RECV_MULTISHOT;
  if (op->ioprio & ~RECV_MULTISHOT || (is_multishot && (!selects || op->len))) return finish(ring, op, -E_INVAL);
  u64 addr = op->addr;
  u32 len = op->len, flags = 0;
  if (selects) {
    const struct buf *b = next_buffer(s, op->buf_group);
    if (!b) return without_buffer(ring, op);
    addr = b->addr;
    if (!len || len > b->len) len = b->len;
    flags = CQE_F_BUFFER | (u32)b->bid << CQE_BUFFER_SHIFT;
  }
  /* With a full queue the kernel ends a multishot; here it waits until there is room. */
  if (is_multishot && !has_room(ring)) return STALLED;
  long n = op->opcode == OP_READ ? sys3(SYS_read, op->fd, addr, len)
                                 : sys6(SYS_recvfrom, op->fd, addr, len, op->op_flags | MSG_DONTWAIT_, 0, 0);
  if (n == -E_AGAIN && !(op->op_flags & MSG_DONTWAIT_)) return WAITING;
  if (n <= 0) return finish(ring, op, n); /* end or error: the buffer was not taken */
  if (selects) {
    s->groups[op->buf_group].head++;
    s->is_lending = true;
  }
  struct watch *w = find_watch(s, op->fd);
  bool is_over = !is_multishot || (op->limit && n == len);
  if (w && is_over) w->is_drained = n < len;
  post(ring, op->user_data, n, is_over ? flags : flags | CQE_F_MORE);
  return is_over ? FINISHED : WAITING;
}

static enum verdict transmit(struct ring *ring, const struct sqe *op) {
  u32 flags = op->op_flags | MSG_DONTWAIT_;
  long n = op->opcode == OP_SEND ? sys6(SYS_sendto, op->fd, op->addr, op->len, flags, 0, 0)
                                 : sys3(SYS_sendmsg, op->fd, op->addr, flags);
  return n == -E_AGAIN && !(op->op_flags & MSG_DONTWAIT_) ? WAITING : finish(ring, op, n);
}

/* A pipe, which is non-blocking: write(2) has no flag for it. */
static enum verdict write_pipe(struct ring *ring, const struct sqe *op) {
  long n = sys3(op->opcode == OP_WRITE ? SYS_write : SYS_writev, op->fd, op->addr, op->len);
  return n == -E_AGAIN ? WAITING : finish(ring, op, n);
}

static enum verdict accept_next(struct ring *ring, const struct sqe *op) {
  bool is_multishot = op->ioprio & ACCEPT_MULTISHOT;
  if (op->ioprio & ~ACCEPT_MULTISHOT) return finish(ring, op, -E_INVAL);
  for (int i = 0; i < ACCEPTS_IN_A_ROW; i++) {
    if (is_multishot && !has_room(ring)) return i ? WAITING : STALLED;
    u32 flags = op->op_flags | SOCK_NONBLOCK_ | SOCK_CLOEXEC_;
    long fd = sys4(SYS_accept4, op->fd, op->addr, op->off, flags);
    if (fd == -E_AGAIN) return WAITING;
    if (fd == -E_CONNABORTED || fd == -E_INTR) continue; /* accept(2): treat ECONNABORTED like EAGAIN */
    if (fd < 0 || !is_multishot) return finish(ring, op, fd);
    post(ring, op->user_data, fd, CQE_F_MORE);
  }
  return WAITING;
}

/* connect(2): EINPROGRESS, then writable, then SO_ERROR. A pending connect has no address any more (see wait_for). */
static enum verdict connect_to(struct ring *ring, const struct sqe *op) {
  if (op->addr) {
    long res = sys3(SYS_connect, op->fd, op->addr, op->off);
    return res == -E_INPROGRESS ? WAITING : finish(ring, op, res);
  }
  s32 error = 0, bytes = sizeof error;
  long res = sys5(SYS_getsockopt, op->fd, SOL_SOCKET_, SO_ERROR_, &error, &bytes);
  if (res < 0 || error) return finish(ring, op, res < 0 ? res : -error);
  /* No error and no peer: the event was an older file's of this number, and the attempt still goes on. */
  u8 peer[128];
  bytes = sizeof peer;
  return sys3(SYS_getpeername, op->fd, peer, &bytes) == -E_NOTCONN ? WAITING : finish(ring, op, 0);
}

/* poll(2), for what is then read or written by other calls: which of the events asked for are there. */
static enum verdict poll_for(struct ring *ring, const struct sqe *op) {
  struct { s32 fd; u16 events, revents; } asked = { op->fd, (u16)op->op_flags, 0 };
  s64 at_once[2] = { 0, 0 };
  long n = sys5(SYS_ppoll, &asked, 1, at_once, 0, 0);
  return n == 0 ? WAITING : finish(ring, op, n < 0 ? n : asked.revents);
}

static enum verdict perform(struct ring *ring, const struct sqe *op) {
  switch (op->opcode) {
    case OP_RECV:
    case OP_READ: return receive(ring, op);
    case OP_SEND:
    case OP_SENDMSG: return transmit(ring, op);
    case OP_WRITE:
    case OP_WRITEV: return write_pipe(ring, op);
    case OP_ACCEPT: return accept_next(ring, op);
    case OP_POLL_ADD: return poll_for(ring, op);
    default: return connect_to(ring, op);
  }
}

/* ---- what waits ---- */

static u64 owner_of(const struct sqe *op) { return op->user_data & ~((u64)0xff << USER_OP_SHIFT); }
static u32 wanted_by(const struct watch *w) { return (w->reads ? EPOLL_IN : 0) | (w->writes ? EPOLL_OUT : 0); }

static long control(const struct ring *ring, int how, u64 fd, u32 events) {
  struct event e = { events, fd };
  return sys4(SYS_epoll_ctl, ring->fd, how, fd == SIGNAL ? (u64)state_of(ring)->signal_fd : fd, &e);
}

/* Closing a descriptor takes it out of epoll behind our back, and its number may be another file's by now. */
static long set_interest(struct ring *ring, s32 fd, struct watch *w, u32 wanted) {
  long err = control(ring, !wanted ? CTL_DEL : w->interest ? CTL_MOD : CTL_ADD, (u64)fd, wanted);
  if (wanted && err == -E_NOENT) err = control(ring, CTL_ADD, (u64)fd, wanted);
  if (wanted && err == -E_EXIST) err = control(ring, CTL_MOD, (u64)fd, wanted);
  w->interest = err < 0 ? 0 : wanted;
  return err;
}

static s32 take_pending(struct state *s) {
  s32 i = s->free_pending;
  if (i) {
    s->free_pending = pending_at(s, i)->next;
    return i;
  }
  if (!reserve(&s->pending, s->used_pending + 2, FIRST_PENDING, sizeof(struct sqe))) return 0;
  return (s32)++s->used_pending;
}

/* Takes the operation out to which `link` points. */
static void unlink_pending(struct state *s, s32 *link) {
  s32 i = *link;
  struct sqe *op = pending_at(s, i);
  *link = op->next;
  op->next = s->free_pending;
  s->free_pending = i;
}

static void wait_for(struct ring *ring, const struct sqe *sqe, u32 direction) {
  struct state *s = state_of(ring);
  long err = sqe->fd < 0 || sqe->fd >= MAX_DESCRIPTORS ? -E_BADF : 0;
  s32 i = 0;
  if (!err && !reserve(&s->watches, (u32)sqe->fd + 1, FIRST_DESCRIPTORS, sizeof(struct watch))) err = -E_NOMEM;
  if (!err && !(i = take_pending(s))) err = -E_NOMEM;
  struct watch *w = err ? NULL : find_watch(s, sqe->fd);
  if (w && !(w->interest & direction)) err = set_interest(ring, sqe->fd, w, wanted_by(w) | direction);
  if (err) {
    if (i) unlink_pending(s, &i);
    finish(ring, sqe, err);
    return;
  }
  s32 *link = direction == EPOLL_IN ? &w->reads : &w->writes;
  while (*link) link = &pending_at(s, *link)->next;
  *link = i;
  struct sqe *op = pending_at(s, i);
  *op = *sqe;
  op->next = 0;
  if (op->opcode == OP_CONNECT) op->addr = 0; /* the attempt is under way, and the address is the caller's again */
  w->owner = owner_of(op);
}

static bool is_for_one_message(const struct sqe *op) {
  return op->opcode != OP_ACCEPT && op->opcode != OP_CONNECT && !op->ioprio;
}

static void start(struct ring *ring, const struct sqe *sqe, u32 direction) {
  struct watch *w = find_watch(state_of(ring), sqe->fd);
  bool has_to_wait = false;
  if (w) {
    /* A new owner, or what begins something: the file that epoll watched under this number may be closed long since. */
    if (w->interest && (w->owner != owner_of(sqe) || !is_for_one_message(sqe))) {
      w->interest = UNSURE;
      w->is_drained = false;
    }
    w->owner = owner_of(sqe);
    has_to_wait = direction == EPOLL_IN ? w->reads : w->writes; /* in the order of submission */
    /* epoll will say when there is something: in a dialogue, trying now finds nothing. */
    if (direction == EPOLL_IN && w->is_drained && w->interest & EPOLL_IN) has_to_wait = true;
  }
  if (has_to_wait || perform(ring, sqe) != FINISHED) wait_for(ring, sqe, direction);
}

/* Goes on with what waits in a list, in order. */
static enum verdict run(struct ring *ring, s32 *first) {
  while (*first) {
    enum verdict verdict = perform(ring, pending_at(state_of(ring), *first));
    if (verdict != FINISHED) return verdict;
    unlink_pending(state_of(ring), first);
  }
  return FINISHED;
}

static void cancel(struct ring *ring, const struct sqe *sqe) {
  struct state *s = state_of(ring);
  struct watch *w = find_watch(s, sqe->fd);
  for (int i = 0; w && i < 2; i++) {
    for (s32 *link = i ? &w->writes : &w->reads; *link; link = &pending_at(s, *link)->next) {
      if (pending_at(s, *link)->user_data != sqe->addr) continue;
      unlink_pending(s, link);
      finish(ring, sqe, 0);
      post(ring, sqe->addr, -E_CANCELED, 0);
      return;
    }
  }
  finish(ring, sqe, -E_NOENT);
}

static void close_descriptor(struct ring *ring, const struct sqe *sqe) {
  struct state *s = state_of(ring);
  struct watch *w = find_watch(s, sqe->fd);
  if (w) {
    /* epoll(7), "Will closing a file descriptor cause it to be removed": not if a duplicate lives in another process. */
    if (w->interest) control(ring, CTL_DEL, (u64)sqe->fd, 0);
    for (int i = 0; i < 2; i++) {
      for (s32 *first = i ? &w->writes : &w->reads; *first; unlink_pending(s, first))
        finish(ring, pending_at(s, *first), -E_CANCELED);
    }
    *w = (struct watch){ 0 };
  }
  finish(ring, sqe, sys1(SYS_close, sqe->fd));
}

/* ---- the engine ---- */

static void submit(struct ring *ring, const struct sqe *sqe) {
  bool may_select = sqe->opcode == OP_RECV || sqe->opcode == OP_READ;
  if (sqe->flags & ~(may_select ? SQE_BUFFER_SELECT : 0)) {
    finish(ring, sqe, -E_INVAL);
    return;
  }
  switch (sqe->opcode) {
    case OP_RECV:
    case OP_READ:
    case OP_ACCEPT: start(ring, sqe, EPOLL_IN); break;
    case OP_SEND:
    case OP_SENDMSG:
    case OP_WRITE:
    case OP_WRITEV:
    case OP_CONNECT: start(ring, sqe, EPOLL_OUT); break;
    case OP_POLL_ADD: start(ring, sqe, sqe->op_flags & EPOLL_OUT ? EPOLL_OUT : EPOLL_IN); break;
    case OP_SHUTDOWN: finish(ring, sqe, sys2(SYS_shutdown, sqe->fd, sqe->len)); break;
    case OP_CLOSE: close_descriptor(ring, sqe); break;
    case OP_ASYNC_CANCEL: cancel(ring, sqe); break;
    case OP_NOP: finish(ring, sqe, 0); break;
    default: finish(ring, sqe, -E_INVAL);
  }
}

static int epoll_enter(struct ring *ring, u32 flags) {
  (void)flags; /* ENTER_GETEVENTS asks for the backlog, which moves over anyway */
  struct words *w = words_of(ring);
  move_backlog(ring);
  state_of(ring)->is_lending = !has_room(ring) || ring_unread(ring);
  u32 count = ring_unsubmitted(ring);
  for (u32 left = count; left; left--) {
    submit(ring, &ring->sqes[w->sq_head & w->sq_mask]);
    __atomic_store_n(&w->sq_head, w->sq_head + 1, __ATOMIC_RELEASE);
  }
  return (int)count;
}

static enum verdict on_event(struct ring *ring, const struct event *event) {
  if (event->fd == SIGNAL) return FINISHED; /* it has woken the loop, and that was all */
  struct watch *w = find_watch(state_of(ring), (s32)event->fd);
  u32 ready = event->events, wanted = wanted_by(w);
  /* Looked at before anything is performed: who ends now is likely to have a successor within the turn. */
  if (!wanted || ready & (EPOLL_IN | EPOLL_OUT) & ~wanted) set_interest(ring, (s32)event->fd, w, wanted);
  if (ready & (EPOLL_ERR | EPOLL_HUP)) ready |= EPOLL_IN | EPOLL_OUT; /* the operation says what happened */
  enum verdict verdict = FINISHED;
  /* A socket's error is told once: it belongs to the connect that failed, not to a receive that waits behind it. */
  if (w->writes && pending_at(state_of(ring), w->writes)->opcode == OP_CONNECT) verdict = run(ring, &w->writes);
  if (verdict == FINISHED && ready & EPOLL_IN) verdict = run(ring, &w->reads);
  if (verdict != STALLED && ready & EPOLL_OUT) verdict = run(ring, &w->writes);
  return verdict;
}

/* In a dialogue on one connection, what was ready alone the last time is most likely what is ready now, and receiving tells
 * as much as asking epoll does. Not for ever: others may have become ready. True if something was received. */
static bool guess(struct ring *ring) {
  struct state *s = state_of(ring);
  struct watch *w = s->lone_fd < 0 ? NULL : find_watch(s, s->lone_fd);
  if (!w || !w->reads || s->guesses == GUESSES_IN_A_ROW) return false;
  u32 before = words_of(ring)->cq_tail;
  s->guesses++;
  run(ring, &w->reads);
  return words_of(ring)->cq_tail != before;
}

/* Stops when TypeScript has to read completions first. The events that are left are served first next time, or those at
 * the end of the list would starve; if one is out of date by then, its operation is told EAGAIN, and no harm is done. */
static void epoll_collect(struct ring *ring) {
  struct state *s = state_of(ring);
  move_backlog(ring);
  s->is_lending = !has_room(ring) || ring_unread(ring);
  if (s->event_next == s->event_count) {
    if (guess(ring)) return;
    long n = sys6(SYS_epoll_pwait, ring->fd, s->events, EVENTS, 0, 0, 0);
    s->event_next = 0;
    s->event_count = n < 0 ? 0 : (u32)n;
    s->lone_fd = n == 1 && s->events[0].fd != SIGNAL ? (s32)s->events[0].fd : -1;
    s->guesses = 0;
  }
  for (; s->event_next < s->event_count; s->event_next++) {
    if (!has_room(ring) || on_event(ring, &s->events[s->event_next]) == STALLED) return;
  }
}

/* The ring's descriptor must be readable while completions are unread, as io_uring's is. A turn reads what it collects,
 * so this is needed only for what the prepare hook's enter posted, or what a turn left: one system call then. The
 * eventfd is always readable; one-shot, it is switched off by the report itself, and nothing need be written or read. */
static void epoll_before_block(struct ring *ring) {
  if (ring_unread(ring) || state_of(ring)->backlog_count) control(ring, CTL_MOD, SIGNAL, EPOLL_IN | EPOLL_ONESHOT);
}

static int epoll_register_buffers(struct ring *ring, struct buf *bufs, u32 entries, u16 group) {
  if (group >= MAX_GROUPS || entries > 1u << 15) return -E_INVAL; /* io_uring_register(2): at most 32768 */
  state_of(ring)->groups[group] = (struct group){ .bufs = bufs, .mask = (u16)(entries - 1) };
  return 0;
}

static void epoll_cancel_all(struct ring *ring) { (void)ring; /* nothing happens outside of enter and collect */ }

static void epoll_close(struct ring *ring) {
  struct state *s = state_of(ring);
  if (s) {
    if (s->signal_fd >= 0) sys1(SYS_close, s->signal_fd);
    unmap_pages(s->watches.items, s->watches.capacity * sizeof(struct watch));
    unmap_pages(s->pending.items, s->pending.capacity * sizeof(struct sqe));
    unmap_pages(s->backlog.items, s->backlog.capacity * sizeof(struct cqe));
    unmap_pages(s, sizeof *s);
  }
  if (ring->fd >= 0) sys1(SYS_close, ring->fd);
  unmap_pages(ring->memory, ring->memory_size);
  unmap_pages(ring->sqes, ring->sqes_size);
  ring->fd = -1;
  ring->memory = NULL;
  ring->sqes = NULL;
  ring->state = NULL;
}

static int epoll_open(struct ring *ring, u32 sq_entries, u32 cq_entries) {
  u32 entries = 1;
  while (entries < sq_entries && entries < MAX_SQ_ENTRIES) entries *= 2;
  ring->memory_size = sizeof(struct words) + cq_entries * sizeof(struct cqe);
  ring->memory = map_pages(ring->memory_size);
  ring->sqes_size = entries * sizeof(struct sqe);
  ring->sqes = map_pages(ring->sqes_size);
  struct state *s = ring->state = map_pages(sizeof *s);
  if (s) s->signal_fd = s->lone_fd = -1;
  int err = -E_NOMEM;
  if (!ring->memory || !ring->sqes || !s) goto fail;
  err = ring->fd = (int)sys1(SYS_epoll_create1, EPOLL_CLOEXEC);
  if (err < 0) goto fail;
  err = s->signal_fd = (int)sys2(SYS_eventfd2, 1, EVENTFD_CLOEXEC);
  if (err < 0) goto fail;
  err = (int)control(ring, CTL_ADD, SIGNAL, EPOLL_ONESHOT); /* watched for nothing until before_block */
  if (err < 0) goto fail;
  words_of(ring)->sq_mask = entries - 1;
  words_of(ring)->cq_mask = cq_entries - 1;
#define AT(word) offsetof(struct words, word)
  ring->layout = (struct layout){
    .features = FEATURE_RECV_LIMIT, /* one buffer is the limit: a cancellation is seen before the next turn */
    .sq_entries = entries, .cq_entries = cq_entries,
    .sq_head = AT(sq_head), .sq_tail = AT(sq_tail), .sq_mask = AT(sq_mask), .sq_flags = AT(sq_flags),
    .cq_head = AT(cq_head), .cq_tail = AT(cq_tail), .cq_mask = AT(cq_mask), .cq_overflow = AT(cq_overflow),
    .cqes = AT(cqes) };
  return 0;
fail:
  epoll_close(ring);
  return err;
}

const struct engine epoll_engine = {
  epoll_open, epoll_enter, epoll_collect, epoll_before_block, epoll_register_buffers, epoll_cancel_all,
  epoll_close
};
