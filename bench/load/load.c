// The load generator: one thread, epoll, no dependency but libc; it knows nothing of the server but that it echoes.
//
//   load --port P [--host H] [--pid PID] --connections N --size S --in-flight M --warmup SEC (--seconds SEC | --messages N)
//   load --port P --connections N --idle      opens N connections, says {"open":N}, holds them until stdin closes
//
// N connections keep M messages of S bytes on the way each, and every byte that comes back is compared. Phases:
// connect, warm-up, measure, drain (nothing new is sent, everything outstanding must arrive), close. One JSON line
// on stdout; on any failure one sentence on stderr and exit status 1 (2: wrong arguments, 3: time limit).
// CPU time of the server is read from its process clock (clock_getcpuclockid(3): all threads, user + system, ns),
// at the two ends of the measured phase. Built by: cc -O2 -std=c11 -Wall -Wextra -o load load.c
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#ifndef IP_BIND_ADDRESS_NO_PORT
#define IP_BIND_ADDRESS_NO_PORT 24 // Linux 4.2: the port is chosen at connect, for the whole 4-tuple
#endif

enum { EXIT_FAILED = 1, EXIT_USAGE = 2, EXIT_LIMIT = 3 };

// ---- options -----------------------------------------------------------------------------------------------------

static struct {
  const char *host, *port;
  pid_t pid;
  uint32_t connections, size, in_flight;
  uint64_t messages;
  double warmup_s, seconds, limit_s, stall_s;
  bool idle, histogram;
} opt = {
  .host = "127.0.0.1", .connections = 1, .size = 64, .in_flight = 1,
  .warmup_s = 1, .seconds = 3, .limit_s = 60, .stall_s = 5,
};

static _Noreturn void fail(int status, const char *format, ...) {
  va_list args;
  va_start(args, format);
  fputs("load: ", stderr);
  vfprintf(stderr, format, args);
  fputc('\n', stderr);
  va_end(args);
  exit(status);
}

static double number(const char *name, const char *text, double min, double max) {
  char *end;
  errno = 0;
  double value = strtod(text, &end);
  if (end == text || *end || errno || !(value >= min && value <= max))
    fail(EXIT_USAGE, "--%s must be a number from %.15g to %.15g, not '%s'", name, min, max, text);
  return value;
}

static void parse(int argc, char **argv) {
  static const struct option table[] = {
    {"host", 1, 0, 'h'},     {"port", 1, 0, 'p'},    {"pid", 1, 0, 'P'},      {"connections", 1, 0, 'c'},
    {"size", 1, 0, 's'},     {"in-flight", 1, 0, 'm'}, {"messages", 1, 0, 'n'}, {"warmup", 1, 0, 'w'},
    {"seconds", 1, 0, 't'},  {"limit", 1, 0, 'l'},   {"stall", 1, 0, 'x'},    {"idle", 0, 0, 'i'},
    {"histogram", 0, 0, 'g'}, {0, 0, 0, 0},
  };
  int index = 0;
  for (int letter; (letter = getopt_long(argc, argv, "", table, &index)) != -1;) {
    const char *name = table[index].name;
    switch (letter) {
      case 'h': opt.host = optarg; break;
      case 'p': number(name, optarg, 1, 65535); opt.port = optarg; break;
      case 'P': opt.pid = (pid_t)number(name, optarg, 1, INT32_MAX); break;
      case 'c': opt.connections = (uint32_t)number(name, optarg, 1, 500000); break;
      case 's': opt.size = (uint32_t)number(name, optarg, 1, 64 << 20); break;
      case 'm': opt.in_flight = (uint32_t)number(name, optarg, 1, 65536); break;
      case 'n': opt.messages = (uint64_t)number(name, optarg, 1, 1e15); break;
      case 'w': opt.warmup_s = number(name, optarg, 0, 3600); break;
      case 't': opt.seconds = number(name, optarg, 0.01, 3600); break;
      case 'l': opt.limit_s = number(name, optarg, 1, 86400); break;
      case 'x': opt.stall_s = number(name, optarg, 0.1, 3600); break;
      case 'i': opt.idle = true; break;
      case 'g': opt.histogram = true; break;
      default: exit(EXIT_USAGE); // getopt has said why
    }
  }
  if (optind < argc) fail(EXIT_USAGE, "unexpected argument '%s'", argv[optind]);
  if (!opt.port) fail(EXIT_USAGE, "--port is missing");
}

// ---- clocks ------------------------------------------------------------------------------------------------------

static uint64_t clock_ns(clockid_t clock) {
  struct timespec t;
  if (clock_gettime(clock, &t)) fail(EXIT_FAILED, "the clock of process %d can't be read (has the server ended?): %s", opt.pid, strerror(errno));
  return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static uint64_t now_ns(void) { return clock_ns(CLOCK_MONOTONIC); }

/** Time the main thread was runnable but did not run, in ns: shows that somebody else was using its core. */
static uint64_t waited_ns(pid_t pid) {
  char path[64];
  uint64_t ran = 0, waited = 0;
  snprintf(path, sizeof path, "/proc/%d/schedstat", pid);
  FILE *file = fopen(path, "r");
  if (!file) return 0; // CONFIG_SCHED_INFO is off
  if (fscanf(file, "%" SCNu64 " %" SCNu64, &ran, &waited) != 2) waited = 0;
  fclose(file);
  return waited;
}

/** From /proc/PID/stat: user and system time in seconds (10 ms steps: for the split only, the sum comes from the clock), page faults. */
static void read_stat(pid_t pid, double *user, double *system, uint64_t *faults) {
  char path[64], line[1024];
  snprintf(path, sizeof path, "/proc/%d/stat", pid);
  FILE *file = fopen(path, "r");
  if (!file) return;
  unsigned long u = 0, s = 0, f = 0;
  char *rest = fgets(line, sizeof line, file) ? strrchr(line, ')') : NULL; // proc(5): the name may hold spaces
  if (rest && sscanf(rest + 2, "%*c %*d %*d %*d %*d %*d %*u %lu %*u %*u %*u %lu %lu", &f, &u, &s) == 3) {
    *faults = f;
    *user = (double)u / (double)sysconf(_SC_CLK_TCK);
    *system = (double)s / (double)sysconf(_SC_CLK_TCK);
  }
  fclose(file);
}

struct instant {
  uint64_t wall, server, own, server_waited, own_waited, messages, faults;
  double user, system;
};

static clockid_t server_clock;
static uint64_t messages; // complete echoes since the start

static struct instant instant(void) {
  struct instant at = {.messages = messages, .own = clock_ns(CLOCK_PROCESS_CPUTIME_ID), .own_waited = waited_ns(getpid())};
  if (opt.pid) {
    at.server_waited = waited_ns(opt.pid);
    read_stat(opt.pid, &at.user, &at.system, &at.faults);
    at.server = clock_ns(server_clock);
  }
  at.wall = now_ns();
  return at;
}

// ---- the pattern -------------------------------------------------------------------------------------------------
// Byte p of connection c is random[(c * 7919 + p) mod 65521]. 65521 is prime, so each connection starts elsewhere, and
// a byte that was lost, doubled, moved or given to another connection is seen. The table goes on past the period,
// so that a send or a compare of up to CHUNK bytes needs no wrapping and no copy.

enum { PERIOD = 65521, CHUNK = 256 * 1024 };
static uint8_t pattern[PERIOD + CHUNK];
static uint8_t input[CHUNK];

static void fill_pattern(void) {
  uint64_t x = 0x9e3779b97f4a7c15u; // xorshift64
  for (size_t i = 0; i < sizeof pattern; i++) {
    x ^= x << 13, x ^= x >> 7, x ^= x << 17;
    pattern[i] = i < PERIOD ? (uint8_t)(x >> 32) : pattern[i - PERIOD];
  }
}

// ---- the histogram -----------------------------------------------------------------------------------------------
// Log-linear: values below 128 ns exact, then 64 buckets for each power of two (error under 1.6 %).

enum { STEPS = 64, BUCKETS = STEPS * 60 };
static uint64_t buckets[BUCKETS], latency_sum_ns, latency_max_ns;

static void record(uint64_t ns) {
  unsigned shift = ns < 2 * STEPS ? 0 : 57u - (unsigned)__builtin_clzll(ns); // leaves 64..127
  buckets[shift * STEPS + (ns >> shift)]++;
  latency_sum_ns += ns;
  if (ns > latency_max_ns) latency_max_ns = ns;
}

/** Upper end of a bucket, in µs. */
static double bucket_us(unsigned index) {
  unsigned shift = index < 2 * STEPS ? 0 : index / STEPS - 1;
  uint64_t steps = index - (uint64_t)shift * STEPS;
  return (double)(((steps + 1) << shift) - 1) / 1000;
}

static double percentile_us(double share, uint64_t total) {
  uint64_t rank = (uint64_t)(share * (double)total), seen = 0;
  for (unsigned i = 0; i < BUCKETS; i++)
    if ((seen += buckets[i]) > rank) {
      double us = bucket_us(i), max = (double)latency_max_ns / 1000;
      return us < max ? us : max;
    }
  return (double)latency_max_ns / 1000;
}

// ---- connections -------------------------------------------------------------------------------------------------

struct connection {
  int fd;
  uint32_t send_at, receive_at; // where in the pattern
  uint64_t target, sent, received; // bytes: allowed to be sent, sent, come back
  uint64_t message_end;            // `received` that completes the oldest message on its way
  uint32_t oldest;                 // its index in sent_at
  bool open, wants_out;
};

static struct connection *connections;
static uint64_t *sent_at; // in_flight times for each connection
static int epoll_fd;
static uint64_t last_progress_ns;
static bool measuring, draining;

static void watch(int operation, uint32_t index, uint32_t events) {
  struct epoll_event event = {.events = events, .data.u32 = index};
  if (epoll_ctl(epoll_fd, operation, connections[index].fd, &event)) fail(EXIT_FAILED, "epoll_ctl: %s", strerror(errno));
}

static void raise_descriptor_limit(void) {
  struct rlimit limit;
  rlim_t wanted = opt.connections + 32;
  if (getrlimit(RLIMIT_NOFILE, &limit)) fail(EXIT_FAILED, "getrlimit: %s", strerror(errno));
  if (limit.rlim_cur >= wanted) return;
  if (limit.rlim_max < wanted) limit.rlim_max = wanted; // root (CAP_SYS_RESOURCE) may
  limit.rlim_cur = limit.rlim_max;
  if (setrlimit(RLIMIT_NOFILE, &limit))
    fail(EXIT_FAILED, "%u connections need a descriptor limit of %lu: %s", opt.connections, (unsigned long)wanted, strerror(errno));
}

static struct addrinfo *resolve(void) {
  struct addrinfo hints = {.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV, .ai_socktype = SOCK_STREAM}, *found;
  int error = getaddrinfo(opt.host, opt.port, &hints, &found);
  if (error) fail(EXIT_USAGE, "--host must be an IP address, not '%s': %s", opt.host, gai_strerror(error));
  return found;
}

/** Begins a connect; says whether it is complete. */
static bool begin_connect(uint32_t index, const struct addrinfo *to) {
  enum { PER_ADDRESS = 8000 }; // well below the 28,000 local ports of one source address
  struct connection *c = &connections[index];
  c->fd = socket(to->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (c->fd < 0) fail(EXIT_FAILED, "socket %u of %u: %s", index + 1, opt.connections, strerror(errno));
  const int on = 1;
  setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  if (to->ai_family == AF_INET && opt.connections > PER_ADDRESS) {
    uint32_t host = ntohl(((const struct sockaddr_in *)to->ai_addr)->sin_addr.s_addr);
    if (host >> 24 == 127) {
      struct sockaddr_in from = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(0x7f000001u + index / PER_ADDRESS)};
      setsockopt(c->fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on);
      if (bind(c->fd, (struct sockaddr *)&from, sizeof from)) fail(EXIT_FAILED, "bind to a source address: %s", strerror(errno));
    }
  }
  if (!connect(c->fd, to->ai_addr, to->ai_addrlen)) return true;
  if (errno != EINPROGRESS) fail(EXIT_FAILED, "connect %u of %u: %s", index + 1, opt.connections, strerror(errno));
  return false;
}

static void finish_connect(uint32_t index) {
  int error = 0;
  socklen_t length = sizeof error;
  if (getsockopt(connections[index].fd, SOL_SOCKET, SO_ERROR, &error, &length)) error = errno;
  if (error) fail(EXIT_FAILED, "connect %u of %u: %s", index + 1, opt.connections, strerror(error));
  connections[index].open = true;
}

static void connect_all(uint64_t deadline) {
  enum { WINDOW = 256, BURST = 64 };
  struct addrinfo *to = resolve();
  struct epoll_event events[WINDOW];
  for (uint32_t begun = 0, open = 0; open < opt.connections;) {
    for (uint32_t n = 0; n < BURST && begun < opt.connections && begun - open < WINDOW; n++, begun++) {
      bool complete = begin_connect(begun, to);
      watch(EPOLL_CTL_ADD, begun, complete ? EPOLLIN : EPOLLOUT);
      if (complete) connections[begun].open = true, open++;
    }
    // Not faster than a server can accept: a full accept queue drops SYNs, and they come again a second later.
    int count = epoll_wait(epoll_fd, events, WINDOW, begun < opt.connections ? 2 : 100);
    if (count < 0 && errno != EINTR) fail(EXIT_FAILED, "epoll_wait: %s", strerror(errno));
    for (int i = 0; i < count; i++) {
      uint32_t index = events[i].data.u32;
      if (connections[index].open) {
        if (events[i].events & (EPOLLERR | EPOLLHUP | EPOLLIN)) fail(EXIT_FAILED, "connection %u was closed, or got bytes, before anything was sent", index);
        continue;
      }
      finish_connect(index);
      watch(EPOLL_CTL_MOD, index, EPOLLIN);
      open++;
    }
    if (now_ns() > deadline) fail(EXIT_LIMIT, "time limit: %u of %u connections were open", open, opt.connections);
  }
  freeaddrinfo(to);
}

// ---- echo --------------------------------------------------------------------------------------------------------

static void send_more(uint32_t index) {
  struct connection *c = &connections[index];
  bool blocked = false;
  while (c->sent < c->target && !blocked) {
    uint64_t left = c->target - c->sent;
    ssize_t n = send(c->fd, pattern + c->send_at, left < CHUNK ? left : CHUNK, MSG_NOSIGNAL);
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
    watch(EPOLL_CTL_MOD, index, EPOLLIN | (blocked ? EPOLLOUT : 0));
  }
}

static void receive(uint32_t index) {
  struct connection *c = &connections[index];
  ssize_t got = recv(c->fd, input, sizeof input, 0);
  if (got < 0) {
    if (errno == EAGAIN || errno == EINTR) return;
    fail(EXIT_FAILED, "recv on connection %u after %" PRIu64 " bytes: %s", index, c->received, strerror(errno));
  }
  if (got == 0) fail(EXIT_FAILED, "the server closed connection %u: %" PRIu64 " bytes sent, %" PRIu64 " came back", index, c->sent, c->received);
  uint64_t n = (uint64_t)got;
  if (c->received + n > c->sent) fail(EXIT_FAILED, "connection %u got back more than it sent (%" PRIu64 " bytes)", index, c->sent);
  if (memcmp(input, pattern + c->receive_at, n)) {
    uint64_t i = 0;
    while (input[i] == pattern[c->receive_at + i]) i++;
    fail(EXIT_FAILED, "wrong byte on connection %u at position %" PRIu64 ": 0x%02x instead of 0x%02x", index, c->received + i, input[i], pattern[c->receive_at + i]);
  }
  c->received += n;
  c->receive_at = (uint32_t)((c->receive_at + n) % PERIOD);
  if (c->received < c->message_end) return;

  uint64_t now = now_ns(), *times = sent_at + (size_t)index * opt.in_flight;
  last_progress_ns = now;
  for (; c->received >= c->message_end; c->message_end += opt.size) {
    messages++;
    if (measuring) record(now - times[c->oldest]);
    if (draining) {
      if (c->received == c->target) break; // message_end must not move past the last message
    } else {
      times[c->oldest] = now;
      c->target += opt.size;
    }
    c->oldest = c->oldest + 1 == opt.in_flight ? 0 : c->oldest + 1;
  }
  send_more(index);
}

static void check_server_alive(uint64_t now, uint64_t deadline) {
  if (now > deadline) fail(EXIT_LIMIT, "time limit of %g s", opt.limit_s);
  if ((double)(now - last_progress_ns) < opt.stall_s * 1e9) return;
  uint32_t waiting = 0;
  for (uint32_t i = 0; i < opt.connections; i++) waiting += connections[i].received < connections[i].target;
  fail(EXIT_FAILED, "no complete message for %g s; %u of %u connections wait for bytes", opt.stall_s, waiting, opt.connections);
}

/** Serves events until the time or the number of messages is reached (0: does not count), or, draining, until all is back. */
static void serve_until(uint64_t end_ns, uint64_t end_messages, uint64_t deadline) {
  enum { BATCH = 256 };
  struct epoll_event events[BATCH];
  uint32_t unfinished = 0;
  for (;;) {
    uint64_t now = now_ns();
    if (end_ns && now >= end_ns) return;
    if (end_messages && messages >= end_messages) return;
    if (draining) {
      while (unfinished < opt.connections && connections[unfinished].received == connections[unfinished].target) unfinished++;
      if (unfinished == opt.connections) return;
    }
    check_server_alive(now, deadline);
    int count = epoll_wait(epoll_fd, events, BATCH, 20);
    if (count < 0 && errno != EINTR) fail(EXIT_FAILED, "epoll_wait: %s", strerror(errno));
    for (int i = 0; i < count; i++) {
      uint32_t index = events[i].data.u32;
      if (events[i].events & ~(uint32_t)EPOLLOUT) receive(index); // errors and hang-ups are told by recv
      if (connections[index].wants_out) send_more(index);
    }
  }
}

static void print_result(struct instant a, struct instant b) {
  double seconds = (double)(b.wall - a.wall) / 1e9, count = (double)(b.messages - a.messages);
  uint64_t total = b.messages - a.messages;
  if (!total) fail(EXIT_FAILED, "no message came back in the measured phase");
  printf("{\"connections\":%u,\"size\":%u,\"inFlight\":%u,\"messages\":%" PRIu64 ",\"seconds\":%.6f,\"messagesPerSecond\":%.1f",
         opt.connections, opt.size, opt.in_flight, total, seconds, count / seconds);
  printf(",\"latencyUs\":{\"mean\":%.2f,\"p50\":%.2f,\"p90\":%.2f,\"p99\":%.2f,\"p999\":%.2f,\"max\":%.2f}",
         (double)latency_sum_ns / count / 1000, percentile_us(.5, total), percentile_us(.9, total), percentile_us(.99, total),
         percentile_us(.999, total), (double)latency_max_ns / 1000);
  if (opt.histogram) {
    printf(",\"histogram\":["); // pairs: upper end in µs, count
    const char *comma = "";
    for (unsigned i = 0; i < BUCKETS; i++)
      if (buckets[i]) printf("%s[%.3f,%" PRIu64 "]", comma, bucket_us(i), buckets[i]), comma = ",";
    printf("]");
  }
  if (opt.pid) {
    double cpu = (double)(b.server - a.server) / 1e9;
    printf(",\"server\":{\"cpuSeconds\":%.9f,\"cpuUsPerMessage\":%.4f,\"userSeconds\":%.2f,\"systemSeconds\":%.2f,\"faultsPerMessage\":%.4f,\"busy\":%.4f,\"waited\":%.4f}",
           cpu, cpu * 1e6 / count, b.user - a.user, b.system - a.system,
           (double)(b.faults - a.faults) / count, cpu / seconds, (double)(b.server_waited - a.server_waited) / 1e9 / seconds);
  }
  double own = (double)(b.own - a.own) / 1e9;
  printf(",\"load\":{\"cpuSeconds\":%.9f,\"cpuUsPerMessage\":%.4f,\"busy\":%.4f,\"waited\":%.4f}}\n",
         own, own * 1e6 / count, own / seconds, (double)(b.own_waited - a.own_waited) / 1e9 / seconds);
}

static void run_echo(uint64_t deadline) {
  sent_at = calloc((size_t)opt.connections * opt.in_flight, sizeof *sent_at);
  if (!sent_at) fail(EXIT_FAILED, "no memory for %u connections with %u messages on their way", opt.connections, opt.in_flight);
  last_progress_ns = now_ns();
  for (uint32_t i = 0; i < opt.connections; i++) {
    struct connection *c = &connections[i];
    c->send_at = c->receive_at = (uint32_t)((uint64_t)i * 7919 % PERIOD);
    c->target = (uint64_t)opt.size * opt.in_flight;
    c->message_end = opt.size;
    for (uint32_t m = 0; m < opt.in_flight; m++) sent_at[(size_t)i * opt.in_flight + m] = now_ns();
    send_more(i);
  }
  serve_until(now_ns() + (uint64_t)(opt.warmup_s * 1e9), 0, deadline);

  measuring = true;
  struct instant begin = instant();
  serve_until(opt.messages ? 0 : begin.wall + (uint64_t)(opt.seconds * 1e9), opt.messages ? messages + opt.messages : 0, deadline);
  struct instant end = instant();
  measuring = false;

  draining = true;
  serve_until(0, 0, deadline);
  for (uint32_t i = 0; i < opt.connections; i++) close(connections[i].fd);
  print_result(begin, end);
}

// ---- idle --------------------------------------------------------------------------------------------------------

static void hold_until_stdin_closes(uint64_t began, uint64_t deadline) {
  const uint32_t STDIN = UINT32_MAX;
  struct epoll_event event = {.events = EPOLLIN, .data.u32 = STDIN};
  if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, 0, &event)) fail(EXIT_USAGE, "--idle needs a pipe, socket or terminal as stdin: %s", strerror(errno));
  printf("{\"open\":%u,\"seconds\":%.3f}\n", opt.connections, (double)(now_ns() - began) / 1e9);
  fflush(stdout);
  for (;;) {
    int count = epoll_wait(epoll_fd, &event, 1, 1000);
    if (count < 0 && errno != EINTR) fail(EXIT_FAILED, "epoll_wait: %s", strerror(errno));
    if (count > 0 && event.data.u32 != STDIN) fail(EXIT_FAILED, "the server closed, or wrote to, idle connection %u", event.data.u32);
    if (count > 0 && read(0, input, sizeof input) <= 0) return;
    if (now_ns() > deadline) fail(EXIT_LIMIT, "time limit of %g s while holding idle connections", opt.limit_s);
  }
}

// ---- main --------------------------------------------------------------------------------------------------------

/** Last resort, should something block that must not; the deadlines in the loops say more and come first. */
static void on_alarm(int signal) {
  (void)signal;
  static const char text[] = "load: time limit (stuck)\n";
  ssize_t ignored = write(2, text, sizeof text - 1);
  (void)ignored;
  _exit(EXIT_LIMIT);
}

int main(int argc, char **argv) {
  parse(argc, argv);
  prctl(PR_SET_PDEATHSIG, SIGKILL); // never outlive the benchmark
  signal(SIGALRM, on_alarm);
  alarm((unsigned)opt.limit_s + 3);
  const uint64_t began = now_ns(), deadline = began + (uint64_t)(opt.limit_s * 1e9);

  int error = opt.pid ? clock_getcpuclockid(opt.pid, &server_clock) : 0;
  if (error) fail(EXIT_FAILED, "no CPU clock of process %d: %s", opt.pid, strerror(error));
  raise_descriptor_limit();
  fill_pattern();
  connections = calloc(opt.connections, sizeof *connections);
  if (!connections) fail(EXIT_FAILED, "no memory for %u connections", opt.connections);
  epoll_fd = epoll_create1(EPOLL_CLOEXEC);
  if (epoll_fd < 0) fail(EXIT_FAILED, "epoll_create1: %s", strerror(errno));

  connect_all(deadline);
  if (opt.idle) hold_until_stdin_closes(began, deadline);
  else run_echo(deadline);
  return fflush(stdout) ? EXIT_FAILED : 0;
}
