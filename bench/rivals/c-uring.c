// The limit for servers on completions: one thread of C on io_uring (liburing): multishot accept and receive, buffers from a
// ring that both sides own, the answer sent out of the buffer it came in, one system call for all that a batch asks for.
// Kinds: echo, source, sink (see servers/server.ts). Needs Linux 6.1 (DEFER_TASKRUN).
#include "server.h"
#include <liburing.h>
#include <poll.h>

enum { BUFFERS = 4096, BUFFER_SIZE = 16384, GROUP = 0 };
enum operation { ACCEPT, RECEIVE, SEND, STDIN }; // the low bits of user_data; above them the connection's address

struct connection {
  int fd;
  bool is_receiving, is_sending, has_ended;
  uint64_t bytes;                 // source: still to be made; sink: counted
  int first, last;                // buffers that wait to be sent, linked by `next_of`; -1: none
};
static struct io_uring ring;
static struct io_uring_buf_ring *buffers;
static uint8_t *memory;
static uint32_t length_of[BUFFERS], sent_of[BUFFERS];
static int next_of[BUFFERS], lent;
static struct connection **starved;  // receives that ended for want of a buffer
static size_t starved_count, starved_room;

static struct io_uring_sqe *submission(void) {
  struct io_uring_sqe *sqe = io_uring_get_sqe(&ring);
  if (sqe) return sqe;
  io_uring_submit(&ring);
  return io_uring_get_sqe(&ring);
}

/** Prepares one submission: PREPARE(owner, operation, io_uring_prep_..., its arguments). liburing's prep clears user_data. */
#define PREPARE(owner, operation, prep, ...)                                                                          \
  ({                                                                                                                  \
    struct io_uring_sqe *sqe_ = submission();                                                                         \
    prep(sqe_, __VA_ARGS__);                                                                                          \
    io_uring_sqe_set_data64(sqe_, (uint64_t)(uintptr_t)(owner) | (operation));                                        \
    sqe_;                                                                                                             \
  })

static void give_back(int id) {
  lent--;
  io_uring_buf_ring_add(buffers, memory + (size_t)id * BUFFER_SIZE, BUFFER_SIZE, (unsigned short)id, io_uring_buf_ring_mask(BUFFERS), 0);
  io_uring_buf_ring_advance(buffers, 1);
}

static void receive(struct connection *c) {
  struct io_uring_sqe *sqe = PREPARE(c, RECEIVE, io_uring_prep_recv_multishot, c->fd, NULL, 0, 0);
  sqe->flags |= IOSQE_BUFFER_SELECT;
  sqe->buf_group = GROUP;
  c->is_receiving = true;
}

static void send_next(struct connection *c) {
  if (c->is_sending) return;
  if (kind == ECHO && c->first >= 0) {
    uint32_t at = sent_of[c->first];
    PREPARE(c, SEND, io_uring_prep_send, c->fd, memory + (size_t)c->first * BUFFER_SIZE + at, length_of[c->first] - at, MSG_WAITALL | MSG_NOSIGNAL);
    c->is_sending = true;
  }
  if (kind == SOURCE && c->bytes > 0) {
    size_t at = (parameter - c->bytes) % BLOCK, length = BLOCK - at < c->bytes ? BLOCK - at : c->bytes;
    PREPARE(c, SEND, io_uring_prep_send, c->fd, block + at, length, MSG_WAITALL | MSG_NOSIGNAL);
    c->is_sending = true;
  }
}

static void release(struct connection *c) {
  if (!c->has_ended || c->is_sending || c->is_receiving) return;
  for (int id = c->first; id >= 0; id = next_of[id]) give_back(id);
  close(c->fd);
  free(c);
  connections_open--;
}

static void on_accept(int listener, struct io_uring_cqe *cqe) {
  if (!(cqe->flags & IORING_CQE_F_MORE)) PREPARE(NULL, ACCEPT, io_uring_prep_multishot_accept, listener, NULL, NULL, SOCK_CLOEXEC);
  if (cqe->res < 0) return;
  struct connection *c = calloc(1, sizeof *c);
  if (!c) die("calloc");
  *c = (struct connection){.fd = cqe->res, .bytes = kind == SOURCE ? parameter : 0, .first = -1, .last = -1};
  connections_open++;
  receive(c);
  if (kind == SOURCE) send_next(c);
}

static void on_receive(struct connection *c, struct io_uring_cqe *cqe) {
  c->is_receiving = cqe->flags & IORING_CQE_F_MORE;
  if (cqe->flags & IORING_CQE_F_BUFFER) {
    int id = (int)(cqe->flags >> IORING_CQE_BUFFER_SHIFT);
    lent++;
    if (cqe->res > 0 && kind == ECHO) {
      length_of[id] = (uint32_t)cqe->res, sent_of[id] = 0, next_of[id] = -1;
      if (c->first < 0) c->first = id;
      else next_of[c->last] = id;
      c->last = id;
      send_next(c);
    } else {
      if (cqe->res > 0 && kind == SINK) c->bytes += (uint64_t)cqe->res;
      give_back(id);
    }
  }
  if (cqe->res == -ENOBUFS) {
    if (starved_count == starved_room && !(starved = realloc(starved, (starved_room = starved_room * 2 + 64) * sizeof *starved))) die("realloc");
    starved[starved_count++] = c;
    c->is_receiving = true; // keeps it alive until it is armed again
    return;
  }
  if (cqe->res <= 0) {
    if (cqe->res < 0) errors++;
    if (cqe->res == 0 && kind == SINK) dprintf(c->fd, "%lu", (unsigned long)c->bytes);
    c->has_ended = true;
    return release(c);
  }
  if (!c->is_receiving) receive(c);
}

static void on_send(struct connection *c, struct io_uring_cqe *cqe) {
  c->is_sending = false;
  if (cqe->res < 0) {
    errors++;
    shutdown(c->fd, SHUT_RDWR); // ends the receive
    return release(c);
  }
  if (kind == ECHO) {
    int id = c->first;
    sent_of[id] += (uint32_t)cqe->res;
    if (sent_of[id] == length_of[id]) {
      c->first = next_of[id];
      give_back(id);
    }
  } else {
    c->bytes -= (uint64_t)cqe->res;
    if (c->bytes == 0) shutdown(c->fd, SHUT_WR);
  }
  send_next(c);
  release(c);
}

int main(int argc, char **argv) {
  int listener = begin(argc, argv, "c-uring", 0);
  if (kind == BROADCAST) return 2;
  struct io_uring_params params = {
    .flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_CQSIZE, .cq_entries = 32768};
  int error = io_uring_queue_init_params(4096, &ring, &params);
  if (error) errno = -error, die("io_uring_setup");
  memory = aligned_alloc(4096, (size_t)BUFFERS * BUFFER_SIZE);
  size_t ring_size = BUFFERS * sizeof(struct io_uring_buf);
  buffers = aligned_alloc(4096, ring_size);
  if (!memory || !buffers) die("aligned_alloc");
  memset(buffers, 0, ring_size);
  struct io_uring_buf_reg registration = {.ring_addr = (uintptr_t)buffers, .ring_entries = BUFFERS, .bgid = GROUP};
  if ((error = io_uring_register_buf_ring(&ring, &registration, 0))) errno = -error, die("io_uring_register_buf_ring");
  io_uring_buf_ring_init(buffers);
  lent = BUFFERS;
  for (int id = 0; id < BUFFERS; id++) give_back(id);
  PREPARE(NULL, ACCEPT, io_uring_prep_multishot_accept, listener, NULL, NULL, SOCK_CLOEXEC);
  PREPARE(NULL, STDIN, io_uring_prep_poll_add, 0, POLLIN);

  for (;;) {
    error = io_uring_submit_and_wait(&ring, 1);
    if (error < 0 && error != -EINTR && error != -EBUSY) errno = -error, die("io_uring_enter");
    unsigned head, count = 0;
    struct io_uring_cqe *cqe;
    io_uring_for_each_cqe(&ring, head, cqe) {
      count++;
      struct connection *c = (struct connection *)(uintptr_t)(cqe->user_data & ~7ull);
      switch ((enum operation)(cqe->user_data & 7)) {
        case ACCEPT: on_accept(listener, cqe); break;
        case RECEIVE: on_receive(c, cqe); break;
        case SEND: on_send(c, cqe); break;
        case STDIN:
          report();
          PREPARE(NULL, STDIN, io_uring_prep_poll_add, 0, POLLIN);
          break;
      }
    }
    io_uring_cq_advance(&ring, count);
    while (starved_count > 0 && lent < BUFFERS) receive(starved[--starved_count]);
  }
}
