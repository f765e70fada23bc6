// Connections as they are: TCP.
#include "load.h"

bool wire_begin(int fd, uint32_t nth) {
  (void)fd;
  (void)nth;
  return true;
}

ssize_t wire_send(int fd, const void *data, size_t n) { return send(fd, data, n, MSG_NOSIGNAL); }
ssize_t wire_recv(int fd, void *data, size_t n) { return recv(fd, data, n, 0); }
void wire_settle(int fd) { (void)fd; }
void wire_finish(int fd) { shutdown(fd, SHUT_WR); }
void wire_close(int fd) { close(fd); }
