// What the two servers in C share: the kinds, the report on stdin lines, the listening socket.
#pragma once
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

enum { BLOCK = 65536 };
static enum { ECHO, BROADCAST, SOURCE, SINK } kind;
static uint64_t parameter;
static uint8_t block[BLOCK];
static long connections_open, errors;

static inline void die(const char *what) {
  perror(what);
  exit(1);
}

/** Reads the arguments, listens, prints the first line; gives the listening socket. */
static int begin(int argc, char **argv, const char *engine, int socket_flags) {
  static const char *const kinds[] = {"echo", "broadcast", "source", "sink"};
  int found = -1;
  for (int i = 0; argc > 1 && i < 4; i++) if (!strcmp(argv[1], kinds[i])) found = i;
  if (found < 0) fprintf(stderr, "no such kind: %s\n", argc > 1 ? argv[1] : ""), exit(2);
  kind = found;
  parameter = argc > 2 ? strtoull(argv[2], NULL, 10) : 0;
  for (int p = 0; p < BLOCK; p++) block[p] = (uint8_t)(p ^ p >> 8);
  signal(SIGPIPE, SIG_IGN);
  struct rlimit limit;
  if (!getrlimit(RLIMIT_NOFILE, &limit)) limit.rlim_cur = limit.rlim_max, setrlimit(RLIMIT_NOFILE, &limit);

  struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  socklen_t length = sizeof address;
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | socket_flags, 0);
  if (fd < 0 || bind(fd, (struct sockaddr *)&address, length) || listen(fd, 4096)) die("listen");
  const int on = 1;
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on); // accepted sockets inherit it
  if (getsockname(fd, (struct sockaddr *)&address, &length)) die("getsockname");
  printf("{\"port\":%d,\"pid\":%d,\"engine\":\"%s\"}\n", ntohs(address.sin_port), getpid(), engine);
  fflush(stdout);
  return fd;
}

/** Stdin is readable: answers a line, ends with it. */
static void report(void) {
  char line[256];
  if (read(0, line, sizeof line) <= 0) exit(0);
  printf("{\"connections\":%ld,\"errors\":%ld}\n", connections_open, errors);
  fflush(stdout);
}
