// exchange: N connections on which the same bytes are sent again and again and the same answer must come, whatever the
// protocol (HTTP, WebSocket); all given as hexadecimal digits. With --prelude, each connection first sends that and reads
// until an empty line (the handshake of a WebSocket). Closed loop, one request on its way on each connection.
#include "load.h"

struct bytes {
  uint8_t *data;
  uint32_t length;
};
static struct bytes prelude, request, answer;
static int *fds, epoll_fd;
static uint32_t *received;
static uint64_t *began_at;
static bool measuring, draining;
static uint32_t finished; // draining: connections that have their answer

static struct bytes from_hex(const char *name, const char *text) {
  struct bytes bytes = {.length = (uint32_t)strlen(text) / 2};
  bytes.data = malloc(bytes.length + 1);
  for (uint32_t i = 0; i < bytes.length; i++) {
    unsigned byte;
    if (sscanf(text + 2 * (size_t)i, "%2x", &byte) != 1) fail(EXIT_USAGE, "--%s takes hexadecimal digits", name);
    bytes.data[i] = (uint8_t)byte;
  }
  return bytes;
}

static void say(uint32_t index, struct bytes bytes) {
  began_at[index] = now_ns();
  if (send(fds[index], bytes.data, bytes.length, MSG_NOSIGNAL) != (ssize_t)bytes.length)
    fail(EXIT_FAILED, "send on connection %u: %s", index, strerror(errno));
}

static void receive(uint32_t index) {
  ssize_t got = recv(fds[index], input, sizeof input, 0);
  if (got < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (got < 0) fail(EXIT_FAILED, "recv on connection %u: %s", index, strerror(errno));
  if (got == 0) fail(EXIT_FAILED, "the server closed connection %u", index);
  if (received[index] + (uint64_t)got > answer.length) fail(EXIT_FAILED, "connection %u got more than the answer", index);
  compare(answer.data + received[index], (uint64_t)got, index, received[index]);
  received[index] += (uint32_t)got;
  if (received[index] < answer.length) return;
  received[index] = 0;
  operations++;
  if (measuring) record(now_ns() - began_at[index]);
  if (draining) finished++;
  else say(index, request);
}

static void shake_hands(void) {
  for (uint32_t i = 0; prelude.length > 0 && i < opt.connections; i++) say(i, prelude);
  for (uint32_t i = 0; prelude.length > 0 && i < opt.connections; i++) {
    ssize_t at = 0;
    while (at < 4 || memcmp(input + at - 4, "\r\n\r\n", 4)) {
      ssize_t got = recv(fds[i], input + at, sizeof input - (size_t)at, 0);
      if (got > 0) at += got;
      else if (got == 0 || errno != EAGAIN) fail(EXIT_FAILED, "connection %u: no answer to the prelude", i);
      if (now_ns() > deadline_ns) fail(EXIT_LIMIT, "time limit: no answer to the prelude");
    }
  }
}

static void serve_until(uint64_t end_ns) {
  struct epoll_event events[256];
  static uint64_t last_progress, seen;
  if (last_progress == 0) last_progress = now_ns();
  for (uint64_t now; (now = now_ns()) < end_ns;) {
    int count = epoll_wait(epoll_fd, events, 256, 20);
    for (int i = 0; i < count; i++) receive(events[i].data.u32);
    if (operations != seen) seen = operations, last_progress = now;
    if ((double)(now - last_progress) > opt.stall_s * 1e9) fail(EXIT_FAILED, "no answer for %g s", opt.stall_s);
    if (now > deadline_ns) fail(EXIT_LIMIT, "time limit of %g s", opt.limit_s);
  }
}

void run_exchange(void) {
  prelude = from_hex("prelude", opt.prelude);
  request = from_hex("request", opt.request);
  answer = from_hex("answer", opt.answer);
  if (request.length == 0 || answer.length == 0) fail(EXIT_USAGE, "--request and --answer are missing");
  fds = calloc(opt.connections, sizeof *fds);
  received = calloc(opt.connections, sizeof *received);
  began_at = calloc(opt.connections, sizeof *began_at);
  if (!fds || !received || !began_at) fail(EXIT_FAILED, "no memory for %u connections", opt.connections);
  epoll_fd = epoll_create1(EPOLL_CLOEXEC);
  connect_all(epoll_fd, fds);
  shake_hands();
  for (uint32_t i = 0; i < opt.connections; i++) say(i, request);
  serve_until(now_ns() + (uint64_t)(opt.warmup_s * 1e9));
  measuring = true;
  struct instant begin = instant();
  serve_until(begin.wall + (uint64_t)(opt.seconds * 1e9));
  struct instant end = instant();
  measuring = false;
  draining = true;
  while (finished < opt.connections) serve_until(now_ns() + 10000000u);
  for (uint32_t i = 0; i < opt.connections; i++) close(fds[i]);
  print_result(begin, end);
}
