// download, upload: one connection after the other carries B bytes as fast as it goes. An operation is 1 MiB.
// Byte p of a transfer is (p ^ p >> 8) & 255 with p taken modulo 64 KiB: each server can make it without being told, and a
// stretch that is lost, doubled or moved by anything but a multiple of 64 KiB is seen; such a one changes the length.
#include "load.h"
#include <fcntl.h>
#include <poll.h>

enum { BLOCK = 65536, UNIT = 1 << 20 };
static uint8_t blocks[BLOCK + CHUNK];

static void fill_blocks(void) {
  for (size_t p = 0; p < sizeof blocks; p++) blocks[p] = (uint8_t)(p ^ (p % BLOCK) >> 8);
}

static int connect_one(uint32_t nth) {
  bool complete;
  int fd = begin_connect(nth % 1000, &complete);
  struct pollfd poller = {.fd = fd, .events = POLLOUT};
  if (!complete && poll(&poller, 1, 5000) != 1) fail(EXIT_FAILED, "connect: no answer for 5 s");
  finish_connect(fd, nth);
  fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) & ~O_NONBLOCK); // one connection, one thread: blocking calls are the cheapest
  struct timeval limit = {.tv_sec = (time_t)opt.stall_s + 1};
  setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
  if (!wire_begin(fd, nth)) fail(EXIT_FAILED, "no answer to the handshake");
  return fd;
}

static ssize_t receive(int fd, uint64_t at) {
  ssize_t got = wire_recv(fd, input, sizeof input);
  if (got < 0) fail(EXIT_FAILED, "recv after %" PRIu64 " bytes: %s", at, errno == EAGAIN ? "nothing came" : strerror(errno));
  return got;
}

static void download(uint32_t nth) {
  int fd = connect_one(nth);
  uint64_t got = 0;
  for (ssize_t n; (n = receive(fd, got)) > 0; got += (uint64_t)n) compare(blocks + got % BLOCK, (uint64_t)n, nth, got);
  if (got != opt.bytes) fail(EXIT_FAILED, "%" PRIu64 " bytes came instead of %" PRIu64, got, opt.bytes);
  wire_close(fd);
}

/** The server's answer to the end of the bytes is how many it got, in digits. */
static void upload(uint32_t nth) {
  int fd = connect_one(nth);
  for (uint64_t sent = 0; sent < opt.bytes;) {
    uint64_t left = opt.bytes - sent;
    ssize_t n = wire_send(fd, blocks + sent % BLOCK, left < CHUNK ? left : CHUNK);
    if (n < 0) fail(EXIT_FAILED, "send after %" PRIu64 " bytes: %s", sent, errno == EAGAIN ? "nothing was taken" : strerror(errno));
    sent += (uint64_t)n;
  }
  wire_finish(fd);
  uint64_t length = 0;
  char answer[32] = "";
  for (ssize_t n; (n = receive(fd, length)) > 0; length += (uint64_t)n) {
    if (length + (uint64_t)n >= sizeof answer) fail(EXIT_FAILED, "the answer to an upload is too long");
    memcpy(answer + length, input, (size_t)n);
  }
  if (strtoull(answer, NULL, 10) != opt.bytes) fail(EXIT_FAILED, "the server got '%s' bytes instead of %" PRIu64, answer, opt.bytes);
  wire_close(fd);
}

static void run(void (*transfer)(uint32_t)) {
  fill_blocks();
  uint32_t nth = 0;
  for (uint64_t end = now_ns() + (uint64_t)(opt.warmup_s * 1e9); nth == 0 || now_ns() < end;) transfer(nth++);
  operations = 0;
  struct instant begin = instant();
  for (uint64_t end = begin.wall + (uint64_t)(opt.seconds * 1e9), began = begin.wall; began < end;) {
    transfer(nth++);
    operations += opt.bytes / UNIT;
    uint64_t now = now_ns();
    record(now - began); // of a whole transfer
    began = now;
    if (now > deadline_ns) fail(EXIT_LIMIT, "time limit of %g s", opt.limit_s);
  }
  print_result(begin, instant());
}

void run_download(void) { run(download); }
void run_upload(void) { run(upload); }
