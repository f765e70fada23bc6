// rounds: connection 0 sends one message, and each of the N connections must get it W times (a server of kind `broadcast`).
// With many connections this is fan-out, with one it is W small writes to a socket. When all copies have arrived everywhere
// the next round begins with another message. An operation is one copy delivered; latency is that of a whole round.
// The server greets each connection with '+', so that the first round finds all of them accepted.
#include "load.h"

static int *fds, epoll_fd;
static uint64_t *received;       // bytes of this round, for each connection
static uint8_t *expected;        // the message, so often that any stretch of CHUNK bytes can be compared
static uint32_t complete;        // connections that have all of this round

static void receive(uint32_t index, uint64_t round_bytes) {
  ssize_t got = recv(fds[index], input, sizeof input, 0);
  if (got < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (got < 0) fail(EXIT_FAILED, "recv on connection %u: %s", index, strerror(errno));
  if (got == 0) fail(EXIT_FAILED, "the server closed connection %u", index);
  if (received[index] + (uint64_t)got > round_bytes) fail(EXIT_FAILED, "connection %u got more than %u copies", index, opt.copies);
  compare(expected + received[index] % opt.size, (uint64_t)got, index, received[index]);
  received[index] += (uint64_t)got;
  if (received[index] == round_bytes) complete++;
}

static void wait_for_greetings(void) {
  struct epoll_event events[256];
  for (uint32_t greeted = 0; greeted < opt.connections;) {
    int count = epoll_wait(epoll_fd, events, 256, 100);
    for (int i = 0; i < count; i++, greeted++)
      if (recv(fds[events[i].data.u32], input, 2, 0) != 1 || input[0] != '+') fail(EXIT_FAILED, "connection %u was not greeted with '+'", events[i].data.u32);
    if (now_ns() > deadline_ns) fail(EXIT_LIMIT, "time limit: %u of %u connections were greeted", greeted, opt.connections);
  }
}

/** One round. */
static void round_trip(uint64_t number) {
  enum { BATCH = 256 };
  struct epoll_event events[BATCH];
  const uint64_t round_bytes = (uint64_t)opt.size * opt.copies;
  for (uint64_t at = 0; at < CHUNK + opt.size; at += opt.size) memcpy(expected + at, pattern + number % PERIOD, opt.size);
  memset(received, 0, opt.connections * sizeof *received);
  complete = 0;
  if (send(fds[0], expected, opt.size, MSG_NOSIGNAL) != (ssize_t)opt.size) fail(EXIT_FAILED, "send: %s", strerror(errno));
  for (uint64_t began = now_ns(); complete < opt.connections;) {
    int count = epoll_wait(epoll_fd, events, BATCH, 100);
    if (count < 0 && errno != EINTR) fail(EXIT_FAILED, "epoll_wait: %s", strerror(errno));
    for (int i = 0; i < count; i++) receive(events[i].data.u32, round_bytes);
    if (count <= 0 && (double)(now_ns() - began) > opt.stall_s * 1e9)
      fail(EXIT_FAILED, "a round was not complete after %g s: %u of %u connections have all", opt.stall_s, complete, opt.connections);
    if (now_ns() > deadline_ns) fail(EXIT_LIMIT, "time limit of %g s", opt.limit_s);
  }
  operations += (uint64_t)opt.connections * opt.copies;
}

void run_rounds(void) {
  if (opt.size > 16384) fail(EXIT_USAGE, "--size: a message of a round has at most 16384 bytes");
  fds = calloc(opt.connections, sizeof *fds);
  received = calloc(opt.connections, sizeof *received);
  expected = malloc(CHUNK + 2 * (size_t)opt.size);
  if (!fds || !received || !expected) fail(EXIT_FAILED, "no memory for %u connections", opt.connections);
  epoll_fd = epoll_create1(EPOLL_CLOEXEC);
  connect_all(epoll_fd, fds);

  uint64_t number = 0;
  wait_for_greetings();
  for (uint64_t end = now_ns() + (uint64_t)(opt.warmup_s * 1e9); number == 0 || now_ns() < end;) round_trip(number++);
  struct instant begin = instant();
  for (uint64_t end = begin.wall + (uint64_t)(opt.seconds * 1e9), began = begin.wall; began < end;) {
    round_trip(number++);
    uint64_t now = now_ns();
    record(now - began);
    began = now;
  }
  print_result(begin, instant());
}
