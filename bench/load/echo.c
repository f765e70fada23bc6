// echo: N connections, each message must come back whole.
//
// Closed loop (the rule): M messages are on their way on each connection, the echo of one sends the next. Shows what a
// message costs; latency then is mostly the queue that the load itself keeps.
// Open loop (--rate R): message k is due at begin + k / R, on connection k mod N, whatever has come back until then, and
// its latency counts from when it was *due*: a server that stalls is charged for all that had to wait, so there is no
// coordinated omission. To be on time this loop never sleeps.
#include "load.h"

struct connection {
  uint32_t send_at, receive_at;    // where in the pattern
  uint64_t target, sent, received; // bytes: allowed to be sent, sent, come back
  uint64_t message_end;            // `received` that completes the oldest message on its way
  uint32_t oldest, waiting;        // its index in began_at; how many are on their way
  bool wants_out;
};

enum { MAX_WAITING = 4096 }; // on a connection, in the open loop
enum { WARM = 15000 };       // messages
static struct connection *connections;
static int *fds, epoll_fd;
static uint64_t *began_at;       // in_flight times for each connection
static uint64_t last_progress_ns;
static bool measuring, draining;
static uint64_t first_due_ns, issued; // open loop
static uint64_t measured_from = UINT64_MAX;

static void send_more(uint32_t index) {
  struct connection *c = &connections[index];
  bool blocked = false;
  while (c->sent < c->target && !blocked) {
    uint64_t left = c->target - c->sent;
    ssize_t n = wire_send(fds[index], pattern + c->send_at, left < CHUNK ? left : CHUNK);
    if (n < 0) {
      if (errno == EINTR) continue;
      if (errno != EAGAIN) fail(EXIT_FAILED, "send on connection %u after %" PRIu64 " bytes: %s", index, c->sent, strerror(errno));
      blocked = true;
    } else {
      c->sent += (uint64_t)n;
      c->send_at = (uint32_t)((c->send_at + (uint64_t)n) % PERIOD);
    }
  }
  if (blocked != c->wants_out) {
    c->wants_out = blocked;
    struct epoll_event event = {.events = EPOLLIN | (blocked ? EPOLLOUT : 0), .data.u32 = index};
    if (epoll_ctl(epoll_fd, EPOLL_CTL_MOD, fds[index], &event)) fail(EXIT_FAILED, "epoll_ctl: %s", strerror(errno));
  }
}

/** Allows one message more, which counts from `ns`. */
static void issue(uint32_t index, uint64_t ns) {
  struct connection *c = &connections[index];
  uint32_t free = c->oldest + c->waiting++;
  began_at[(size_t)index * opt.in_flight + (free < opt.in_flight ? free : free - opt.in_flight)] = ns;
  c->target += opt.size;
}

static void issue_due(uint64_t now) {
  for (;; issued++) {
    uint64_t due = first_due_ns + (uint64_t)((double)issued * 1e9 / opt.rate);
    if (due > now) return;
    uint32_t index = (uint32_t)(issued % opt.connections);
    if (connections[index].waiting == opt.in_flight)
      fail(EXIT_FAILED, "the server can't bear %.0f messages a second: %u wait on connection %u", opt.rate, opt.in_flight, index);
    issue(index, due);
    send_more(index);
  }
}

static void receive(uint32_t index) {
  struct connection *c = &connections[index];
  ssize_t got = wire_recv(fds[index], input, sizeof input);
  if (got < 0) {
    if (errno == EAGAIN || errno == EINTR) return;
    fail(EXIT_FAILED, "recv on connection %u after %" PRIu64 " bytes: %s", index, c->received, strerror(errno));
  }
  if (got == 0) fail(EXIT_FAILED, "the server closed connection %u: %" PRIu64 " bytes sent, %" PRIu64 " came back", index, c->sent, c->received);
  uint64_t n = (uint64_t)got;
  if (c->received + n > c->sent) fail(EXIT_FAILED, "connection %u got back more than it sent (%" PRIu64 " bytes)", index, c->sent);
  compare(pattern + c->receive_at, n, index, c->received);
  c->received += n;
  c->receive_at = (uint32_t)((c->receive_at + n) % PERIOD);
  if (c->received < c->message_end) return;

  uint64_t now = now_ns();
  last_progress_ns = now;
  for (; c->waiting > 0 && c->received >= c->message_end; c->message_end += opt.size) {
    operations++;
    uint64_t began = began_at[(size_t)index * opt.in_flight + c->oldest];
    // Open loop: what was due in the measured phase counts, even if it comes back after it.
    if (opt.rate > 0 ? began >= measured_from : measuring) record(now - began);
    c->oldest = c->oldest + 1 == opt.in_flight ? 0 : c->oldest + 1;
    c->waiting--;
    if (!draining && opt.rate == 0) issue(index, now);
  }
  if (c->sent < c->target) send_more(index);
}

static void check_server_alive(uint64_t now) {
  if (now > deadline_ns) fail(EXIT_LIMIT, "time limit of %g s", opt.limit_s);
  if ((double)now - (double)last_progress_ns < opt.stall_s * 1e9) return;
  uint32_t waiting = 0;
  for (uint32_t i = 0; i < opt.connections; i++) waiting += connections[i].waiting > 0;
  fail(EXIT_FAILED, "no complete message for %g s; %u of %u connections wait for bytes", opt.stall_s, waiting, opt.connections);
}

/** Serves events until the time has come, or, draining, until all is back. */
static void serve_until(uint64_t end_ns) {
  enum { BATCH = 256 };
  struct epoll_event events[BATCH];
  uint32_t unfinished = 0;
  for (;;) {
    uint64_t now = now_ns();
    if (!draining && now >= end_ns) return;
    while (draining && connections[unfinished].waiting == 0)
      if (++unfinished == opt.connections) return;
    check_server_alive(now);
    if (opt.rate > 0 && !draining) issue_due(now);
    int count = epoll_wait(epoll_fd, events, BATCH, opt.rate > 0 ? 0 : 20);
    if (count < 0 && errno != EINTR) fail(EXIT_FAILED, "epoll_wait: %s", strerror(errno));
    for (int i = 0; i < count; i++) {
      uint32_t index = events[i].data.u32;
      if (events[i].events & ~(uint32_t)EPOLLOUT) receive(index); // errors and hang-ups are told by recv
      if (connections[index].wants_out) send_more(index);
    }
  }
}

void run_echo(void) {
  if (opt.rate > 0) opt.in_flight = MAX_WAITING;
  connections = calloc(opt.connections, sizeof *connections);
  fds = calloc(opt.connections, sizeof *fds);
  began_at = calloc((size_t)opt.connections * opt.in_flight, sizeof *began_at);
  if (!connections || !fds || !began_at) fail(EXIT_FAILED, "no memory for %u connections with %u messages on their way", opt.connections, opt.in_flight);
  epoll_fd = epoll_create1(EPOLL_CLOEXEC);
  connect_all(epoll_fd, fds);

  last_progress_ns = first_due_ns = now_ns();
  for (uint32_t i = 0; i < opt.connections; i++) {
    struct connection *c = &connections[i];
    c->send_at = c->receive_at = (uint32_t)((uint64_t)i * 7919 % PERIOD);
    c->message_end = opt.size;
    if (opt.rate > 0) continue;
    for (uint32_t m = 0; m < opt.in_flight; m++) issue(i, now_ns());
    send_more(i);
  }
  // Just-in-time compilers go by how often code ran. A slow server (or a test: no warm-up) is not waited for longer than 10 s.
  uint64_t warm = now_ns() + (uint64_t)(opt.warmup_s * 1e9);
  serve_until(warm);
  // And all that is on its way at first has come back a few times.
  uint64_t least = 3 * (uint64_t)opt.connections * (opt.rate > 0 ? 1 : opt.in_flight);
  if (least < WARM) least = WARM;
  while (opt.warmup_s > 0 && operations < least && now_ns() < warm + 10000000000u) serve_until(now_ns() + 20000000u);

  measuring = true;
  struct instant begin = instant();
  measured_from = begin.wall;
  serve_until(begin.wall + (uint64_t)(opt.seconds * 1e9));
  struct instant end = instant();
  measuring = false;

  draining = true;
  serve_until(0);
  for (uint32_t i = 0; i < opt.connections; i++) wire_close(fds[i]);
  print_result(begin, end);
}
