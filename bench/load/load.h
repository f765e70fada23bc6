// What the files of the load generator share. main.c lists modes and options; each mode is a file.
#pragma once
#define _GNU_SOURCE
#include <errno.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <time.h>
#include <unistd.h>

enum { EXIT_FAILED = 1, EXIT_USAGE = 2, EXIT_LIMIT = 3 };

struct options {
  const char *host, *port;
  const char *prelude, *request, *answer; // exchange: hexadecimal digits
  pid_t pid;                        // the server, whose CPU is read; 0: nobody's
  uint32_t connections, size;
  uint32_t in_flight;               // echo: messages on their way on each connection
  uint32_t copies;                  // rounds: how often each connection gets the message
  uint32_t burst;                   // churn: connects at once, 0: `connections` in a steady stream
  uint64_t bytes;                   // transfers: bytes on each connection
  double rate;                      // echo: messages a second over all connections, 0: closed loop
  double warmup_s, seconds, limit_s, stall_s;
  bool histogram;
  bool resumes;                     // TLS: each handshake takes up the session of one before it
};
extern struct options opt;
extern uint64_t deadline_ns;        // of the whole run

_Noreturn void fail(int status, const char *format, ...) __attribute__((format(printf, 2, 3)));

// ---- clock.c
struct instant {
  uint64_t wall, server, own, server_waited, own_waited, operations, faults;
  double user, system;
};
extern uint64_t operations;         // complete since the start, whatever one is in this mode
uint64_t now_ns(void);
void open_server_clock(void);
struct instant instant(void);
void print_result(struct instant begin, struct instant end);

// ---- histogram.c
void record(uint64_t ns);
double percentile_us(double share);
double mean_us(void), max_us(void);
void print_histogram(void);

// ---- pattern.c: what echoes are made of
enum { PERIOD = 65521, CHUNK = 256 * 1024 };
extern uint8_t pattern[PERIOD + CHUNK], input[CHUNK];
void fill_pattern(void);
void compare(const uint8_t *expected, uint64_t n, uint32_t connection, uint64_t position);

// ---- connect.c
extern struct addrinfo *server_address;
void resolve_server(void);
void raise_descriptor_limit(void);
/** A socket with TCP_NODELAY whose connect has begun; says in `complete` whether it is done. `nth` chooses the source address. */
int begin_connect(uint32_t nth, bool *complete);
/** Fails if the connect did. */
void finish_connect(int fd, uint32_t nth);
/** Opens all and watches them for EPOLLIN, with their index as data. */
void connect_all(int epoll_fd, int *fds);

// ---- plain.c; in the load that speaks TLS, tls.c
/** What has to happen between connect and the first byte. Says whether it is done; if not, again when bytes have come. */
bool wire_begin(int fd, uint32_t nth);
/** As send(2), recv(2) and close(2). */
ssize_t wire_send(int fd, const void *data, size_t n);
ssize_t wire_recv(int fd, void *data, size_t n);
void wire_close(int fd);
/** Takes in what has come and is no data. */
void wire_settle(int fd);
/** No more will be sent. */
void wire_finish(int fd);

// ---- the modes
void run_echo(void);
void run_rounds(void);
void run_download(void), run_upload(void);
void run_churn(void);
void run_idle(void);
void run_exchange(void);
