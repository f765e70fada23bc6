// The limit for servers on readiness: one thread of C on epoll (level-triggered), one buffer of 64 KiB for all, no allocation
// but where the kernel does not take an answer at once. Kinds: echo, broadcast, source, sink (see servers/server.ts).
#include "server.h"
#include <sys/epoll.h>

struct connection {
  int fd;
  bool wants_out, has_ended;
  uint8_t *waiting;                     // what the kernel has not taken
  size_t waiting_at, waiting_end;
  uint64_t bytes;                       // source: still to be made; sink: counted
  struct connection *previous, *next;   // everybody, for broadcasts
};
static struct connection everybody = {.previous = &everybody, .next = &everybody};
static int epoll_fd;
static uint8_t input[65536];

static void watch(struct connection *c, bool wants_out) {
  if (c->wants_out == wants_out) return;
  c->wants_out = wants_out; // who does not take answers is not read
  struct epoll_event event = {.events = wants_out ? EPOLLOUT : EPOLLIN, .data.ptr = c};
  epoll_ctl(epoll_fd, EPOLL_CTL_MOD, c->fd, &event);
}

static void destroy(struct connection *c) {
  close(c->fd);
  c->previous->next = c->next;
  c->next->previous = c->previous;
  connections_open--;
  free(c->waiting);
  c->fd = -1; // freed after the batch: an event for it may still be to come
  c->next = NULL;
}

static void write_to(struct connection *c, const uint8_t *data, size_t length) {
  size_t sent = 0;
  if (c->waiting_at == c->waiting_end) {
    ssize_t n = send(c->fd, data, length, MSG_NOSIGNAL);
    if (n < 0 && errno != EAGAIN) return; // recv tells
    sent = n < 0 ? 0 : (size_t)n;
  }
  if (sent == length) return;
  if (c->waiting_at > 0) memmove(c->waiting, c->waiting + c->waiting_at, c->waiting_end - c->waiting_at);
  c->waiting_end -= c->waiting_at, c->waiting_at = 0;
  c->waiting = realloc(c->waiting, c->waiting_end + length - sent);
  if (!c->waiting) die("realloc");
  memcpy(c->waiting + c->waiting_end, data + sent, length - sent);
  c->waiting_end += length - sent;
  watch(c, true);
}

static void pump(struct connection *c) {
  while (c->bytes > 0) {
    size_t at = (parameter - c->bytes) % BLOCK, length = BLOCK - at < c->bytes ? BLOCK - at : c->bytes;
    ssize_t n = send(c->fd, block + at, length, MSG_NOSIGNAL);
    if (n < 0) return watch(c, true);
    c->bytes -= (uint64_t)n;
  }
  watch(c, false);
  shutdown(c->fd, SHUT_WR);
}

static void on_readable(struct connection *c) {
  ssize_t n = recv(c->fd, input, sizeof input, 0);
  if (n < 0 && errno == EAGAIN) return;
  if (n <= 0) {
    if (n < 0) errors++;
    if (n == 0 && kind == SINK) dprintf(c->fd, "%lu", (unsigned long)c->bytes);
    return destroy(c);
  }
  if (kind == ECHO) write_to(c, input, (size_t)n);
  if (kind == SINK) c->bytes += (uint64_t)n;
  if (kind == BROADCAST)
    for (uint64_t i = 0; i < parameter; i++)
      for (struct connection *each = everybody.next; each != &everybody; each = each->next) write_to(each, input, (size_t)n);
}

static void on_writable(struct connection *c) {
  if (kind == SOURCE) return pump(c);
  ssize_t n = send(c->fd, c->waiting + c->waiting_at, c->waiting_end - c->waiting_at, MSG_NOSIGNAL);
  if (n < 0) {
    if (errno != EAGAIN) errors++, destroy(c);
    return;
  }
  c->waiting_at += (size_t)n;
  if (c->waiting_at < c->waiting_end) return;
  c->waiting_at = c->waiting_end = 0;
  watch(c, false);
}

static void accept_all(int listener) {
  for (int fd; (fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0;) {
    struct connection *c = calloc(1, sizeof *c);
    if (!c) die("calloc");
    *c = (struct connection){.fd = fd, .bytes = kind == SOURCE ? parameter : 0, .previous = &everybody, .next = everybody.next};
    everybody.next->previous = c;
    everybody.next = c;
    connections_open++;
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = c};
    if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event)) die("epoll_ctl");
    if (kind == BROADCAST) write_to(c, (const uint8_t *)"+", 1);
    if (kind == SOURCE) pump(c);
  }
}

int main(int argc, char **argv) {
  enum { BATCH = 1024 };
  static struct epoll_event events[BATCH];
  static struct connection *dead[BATCH];
  int listener = begin(argc, argv, "c-epoll", SOCK_NONBLOCK);
  epoll_fd = epoll_create1(EPOLL_CLOEXEC);
  struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL};
  if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, 0, &event)) die("stdin");
  event.data.ptr = &everybody;
  if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, listener, &event)) die("epoll_ctl");
  for (;;) {
    int count = epoll_wait(epoll_fd, events, BATCH, -1), dead_count = 0;
    for (int i = 0; i < count; i++) {
      struct connection *c = events[i].data.ptr;
      if (!c) report();
      else if (c == &everybody) accept_all(listener);
      else if (c->wants_out) on_writable(c);
      else on_readable(c);
      if (c && c != &everybody && c->fd < 0) dead[dead_count++] = c;
    }
    for (int i = 0; i < dead_count; i++) free(dead[i]);
  }
}
