// Sockets to the server: one, or very many without losing a SYN.
#include "load.h"
#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <sys/resource.h>

#ifndef IP_BIND_ADDRESS_NO_PORT
#define IP_BIND_ADDRESS_NO_PORT 24 // Linux 4.2: the port is chosen at connect, for the whole 4-tuple
#endif

struct addrinfo *server_address;

void resolve_server(void) {
  struct addrinfo hints = {.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV, .ai_socktype = SOCK_STREAM};
  int error = getaddrinfo(opt.host, opt.port, &hints, &server_address);
  if (error) fail(EXIT_USAGE, "--host must be an IP address, not '%s': %s", opt.host, gai_strerror(error));
}

void raise_descriptor_limit(void) {
  struct rlimit limit;
  rlim_t wanted = (opt.burst > opt.connections ? opt.burst : opt.connections) + 32;
  if (getrlimit(RLIMIT_NOFILE, &limit)) fail(EXIT_FAILED, "getrlimit: %s", strerror(errno));
  if (limit.rlim_cur >= wanted) return;
  if (limit.rlim_max < wanted) limit.rlim_max = wanted; // root (CAP_SYS_RESOURCE) may
  limit.rlim_cur = limit.rlim_max;
  if (setrlimit(RLIMIT_NOFILE, &limit))
    fail(EXIT_FAILED, "%lu descriptors are needed: %s", (unsigned long)wanted, strerror(errno));
}

int begin_connect(uint32_t nth, bool *complete) {
  enum { PER_ADDRESS = 8000 }; // well below the 28,000 local ports of one source address
  int fd = socket(server_address->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) fail(EXIT_FAILED, "socket %u: %s", nth + 1, strerror(errno));
  const int on = 1;
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  if (server_address->ai_family == AF_INET && nth >= PER_ADDRESS) {
    uint32_t host = ntohl(((const struct sockaddr_in *)server_address->ai_addr)->sin_addr.s_addr);
    if (host >> 24 == 127) {
      struct sockaddr_in from = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(0x7f000001u + nth / PER_ADDRESS)};
      setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on);
      if (bind(fd, (struct sockaddr *)&from, sizeof from)) fail(EXIT_FAILED, "bind to a source address: %s", strerror(errno));
    }
  }
  *complete = !connect(fd, server_address->ai_addr, server_address->ai_addrlen);
  if (!*complete && errno != EINPROGRESS) fail(EXIT_FAILED, "connect %u: %s", nth + 1, strerror(errno));
  return fd;
}

void finish_connect(int fd, uint32_t nth) {
  int error = 0;
  socklen_t length = sizeof error;
  if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &length)) error = errno;
  if (error) fail(EXIT_FAILED, "connect %u: %s", nth + 1, strerror(error));
}

static void watch(int epoll_fd, int operation, int fd, uint32_t index, uint32_t events) {
  struct epoll_event event = {.events = events, .data.u32 = index};
  if (epoll_ctl(epoll_fd, operation, fd, &event)) fail(EXIT_FAILED, "epoll_ctl: %s", strerror(errno));
}

void connect_all(int epoll_fd, int *fds) {
  enum { WINDOW = 256, BURST = 64 };
  struct epoll_event events[WINDOW];
  enum { CONNECTING, BEGINNING, OPEN };
  uint8_t *state = calloc(opt.connections, sizeof *state);
  if (!state) fail(EXIT_FAILED, "no memory for %u connections", opt.connections);
  for (uint32_t begun = 0, open = 0; open < opt.connections;) {
    for (uint32_t n = 0; n < BURST && begun < opt.connections && begun - open < WINDOW; n++, begun++) {
      bool is_connected;
      fds[begun] = begin_connect(begun, &is_connected);
      watch(epoll_fd, EPOLL_CTL_ADD, fds[begun], begun, is_connected ? EPOLLIN : EPOLLOUT);
      if (is_connected) state[begun] = wire_begin(fds[begun], begun) ? OPEN : BEGINNING;
      open += state[begun] == OPEN;
    }
    // Not faster than a server can accept: a full accept queue drops SYNs, and they come again a second later.
    int count = epoll_wait(epoll_fd, events, WINDOW, begun < opt.connections ? 2 : 100);
    if (count < 0 && errno != EINTR) fail(EXIT_FAILED, "epoll_wait: %s", strerror(errno));
    for (int i = 0; i < count; i++) {
      uint32_t index = events[i].data.u32;
      if (state[index] == OPEN) {
        if (events[i].events & (EPOLLERR | EPOLLHUP)) fail(EXIT_FAILED, "connection %u was closed before anything was sent", index);
        wire_settle(fds[index]);
        continue; // a greeting
      }
      if (state[index] == CONNECTING) {
        finish_connect(fds[index], index);
        watch(epoll_fd, EPOLL_CTL_MOD, fds[index], index, EPOLLIN);
      }
      state[index] = wire_begin(fds[index], index) ? OPEN : BEGINNING;
      open += state[index] == OPEN;
    }
    if (now_ns() > deadline_ns) fail(EXIT_LIMIT, "time limit: %u of %u connections were open", open, opt.connections);
  }
  free(state);
}
