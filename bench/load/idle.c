// idle: opens N connections, which stay silent until stdin closes.
#include "load.h"

void run_idle(void) {
  const uint32_t STDIN = UINT32_MAX;
  const uint64_t began = now_ns();
  int *fds = calloc(opt.connections, sizeof *fds);
  if (!fds) fail(EXIT_FAILED, "no memory for %u connections", opt.connections);
  int epoll_fd = epoll_create1(EPOLL_CLOEXEC);
  connect_all(epoll_fd, fds);
  struct epoll_event event = {.events = EPOLLIN, .data.u32 = STDIN};
  if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, 0, &event)) fail(EXIT_USAGE, "idle needs a pipe, socket or terminal as stdin: %s", strerror(errno));
  printf("{\"open\":%u,\"seconds\":%.3f}\n", opt.connections, (double)(now_ns() - began) / 1e9);
  fflush(stdout);
  for (;;) {
    int count = epoll_wait(epoll_fd, &event, 1, 1000);
    if (count < 0 && errno != EINTR) fail(EXIT_FAILED, "epoll_wait: %s", strerror(errno));
    // EAGAIN: a ticket of TLS, which is no data
    if (count > 0 && event.data.u32 != STDIN && (wire_recv(fds[event.data.u32], input, sizeof input) >= 0 || errno != EAGAIN))
      fail(EXIT_FAILED, "the server closed, or wrote to, idle connection %u", event.data.u32);
    if (count > 0 && read(0, input, sizeof input) <= 0) return;
    if (now_ns() > deadline_ns) fail(EXIT_LIMIT, "time limit of %g s while holding idle connections", opt.limit_s);
  }
}
