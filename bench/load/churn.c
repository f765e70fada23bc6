// churn: connections that live for one message: connect, send, get it back, close. N of them at any time, or, with --burst,
// N connects at once, and the next burst when all have been served. An operation is one connection; its latency counts
// from connect (in a burst: from the burst's begin) to the last byte of the echo.
#include "load.h"

struct slot {
  int fd;
  bool is_connected, is_open;
  uint32_t received;
  uint64_t began;
};
enum { WARM = 1500 };        // connections
static struct slot *slots;
static int epoll_fd;
static uint32_t begun;      // connections since the start: rotates source addresses, so that ports in TIME_WAIT don't run out
static uint32_t open_slots;
static bool measuring, draining;

static void watch(int operation, uint32_t index, uint32_t events) {
  struct epoll_event event = {.events = events, .data.u32 = index};
  if (epoll_ctl(epoll_fd, operation, slots[index].fd, &event)) fail(EXIT_FAILED, "epoll_ctl: %s", strerror(errno));
}

/** Connected: the message, when everything before it is done. */
static void say(uint32_t index) {
  slots[index].is_connected = true;
  slots[index].is_open = wire_begin(slots[index].fd, index);
  if (!slots[index].is_open) return;
  if (wire_send(slots[index].fd, pattern + index % PERIOD, opt.size) != (ssize_t)opt.size)
    fail(EXIT_FAILED, "send on a new connection: %s", strerror(errno));
}

static void begin(uint32_t index, uint64_t ns) {
  bool complete;
  slots[index] = (struct slot){.fd = begin_connect(begun++ % 200000, &complete), .began = ns};
  open_slots++;
  watch(EPOLL_CTL_ADD, index, complete ? EPOLLIN : EPOLLOUT);
  if (complete) say(index);
}

/** Says whether the connection's life is over. */
static bool serve(uint32_t index) {
  struct slot *s = &slots[index];
  if (!s->is_open) {
    if (!s->is_connected) {
      finish_connect(s->fd, index);
      watch(EPOLL_CTL_MOD, index, EPOLLIN);
    }
    say(index);
    return false;
  }
  ssize_t got = wire_recv(s->fd, input, sizeof input);
  if (got < 0 && (errno == EAGAIN || errno == EINTR)) return false;
  if (got < 0) fail(EXIT_FAILED, "recv on a new connection: %s", strerror(errno));
  if (got == 0) fail(EXIT_FAILED, "the server closed a connection after %u of %u bytes", s->received, opt.size);
  if (s->received + (uint64_t)got > opt.size) fail(EXIT_FAILED, "more came back than was sent");
  compare(pattern + index % PERIOD + s->received, (uint64_t)got, index, s->received);
  s->received += (uint32_t)got;
  if (s->received < opt.size) return false;
  if (measuring) record(now_ns() - s->began);
  operations++;
  if (!opt.burst) wire_close(s->fd); // this end closes first: TIME_WAIT stays with the load
  open_slots--;
  return true;
}

/** Until the time has come, or all that was begun is served. */
static void serve_until(uint64_t end_ns) {
  enum { BATCH = 256 };
  struct epoll_event events[BATCH];
  uint64_t last_progress = now_ns();
  while (open_slots > 0) {
    int count = epoll_wait(epoll_fd, events, BATCH, 20);
    if (count < 0 && errno != EINTR) fail(EXIT_FAILED, "epoll_wait: %s", strerror(errno));
    uint64_t now = now_ns();
    for (int i = 0; i < count; i++)
      if (serve(events[i].data.u32) && !opt.burst && !draining) begin(events[i].data.u32, now_ns());
    if (count > 0) last_progress = now;
    if ((double)(now - last_progress) > opt.stall_s * 1e9) fail(EXIT_FAILED, "no answer for %g s; %u connections wait", opt.stall_s, open_slots);
    if (now > deadline_ns) fail(EXIT_LIMIT, "time limit of %g s", opt.limit_s);
    if (now >= end_ns) return;
  }
}

static void stream_until(uint64_t end_ns) {
  if (open_slots == 0)
    for (uint32_t i = 0; i < opt.connections; i++) begin(i, now_ns());
  serve_until(end_ns);
}

static void bursts_until(uint64_t end_ns) {
  do {
    uint64_t began = now_ns();
    for (uint32_t i = 0; i < opt.burst; i++) begin(i, began);
    serve_until(UINT64_MAX);
    for (uint32_t i = 0; i < opt.burst; i++) wire_close(slots[i].fd);
    usleep(20000); // the server sees the ends of these before the next burst comes
  } while (now_ns() < end_ns);
}

void run_churn(void) {
  if (opt.size > CHUNK) fail(EXIT_USAGE, "--size: at most %d here", CHUNK);
  uint32_t count = opt.burst ? opt.burst : opt.connections;
  void (*run_until)(uint64_t) = opt.burst ? bursts_until : stream_until;
  slots = calloc(count, sizeof *slots);
  if (!slots) fail(EXIT_FAILED, "no memory for %u connections", count);
  epoll_fd = epoll_create1(EPOLL_CLOEXEC);
  // Just-in-time compilers go by how often code ran; see echo.c.
  uint64_t warm = now_ns() + (uint64_t)(opt.warmup_s * 1e9);
  run_until(warm);
  while (opt.warmup_s > 0 && operations < WARM && now_ns() < warm + 10000000000u) run_until(now_ns() + 20000000u);
  measuring = true;
  struct instant begin_at = instant();
  run_until(begin_at.wall + (uint64_t)(opt.seconds * 1e9));
  struct instant end = instant();
  measuring = false;
  draining = true;
  serve_until(UINT64_MAX);
  print_result(begin_at, end);
}
